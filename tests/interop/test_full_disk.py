"""A real small disk, full: mail is refused in time, the queue still drains, and service returns by itself."""

import os
import signal
import smtplib
import subprocess
import time

import pytest

from daemon import queue_id
from waiting import wait_until

MIB = 1 << 20
# Room for the active segment and the one made ahead (32 MiB each), what is kept free (64 MiB), and some mail.
SIZE = 256 * MIB
CONTENT = b"Subject: one of many\r\n\r\n" + b"x" * 76 + b"\r\n"


def mount(image, directory):
    """ext4 on a loop device; a tmpfs of the same size where there are no loop devices."""
    directory.mkdir()
    with open(image, "wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(directory)], capture_output=True)
    if done.returncode != 0:
        print(f"no loop device ({done.stderr.decode().strip()}): tmpfs instead")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(directory)], check=True)


@pytest.fixture
def small_disk(scratch):
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    directory = scratch / "small"
    mount(scratch / "image", directory)
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def answer_to(client, content):
    """The final answer to a message. A refusal comes in place of 354, or at the end of the content where the room was used up
    meanwhile."""
    assert client.mail("ann@example.org")[0] == client.rcpt("bob@example.net")[0] == 250
    try:
        return client.data(content)
    except smtplib.SMTPDataError as refused:
        return refused.args


def fill(client, content, most):
    """Submits until the daemon refuses; the ids taken, and the refusal."""
    client.ehlo_or_helo_if_needed()
    taken = []
    while len(taken) < most:
        code, said = answer_to(client, content)
        if code != 250:
            return taken, (code, said)
        taken.append(queue_id(said))
    raise AssertionError(f"{most} messages and no refusal")


def free(directory):
    room = os.statvfs(directory)
    return room.f_bavail * room.f_frsize


def test_a_full_disk_refuses_drains_and_serves_again(make_sink, make_nullmta, small_disk):
    sink = make_sink().start()
    nullmta = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD,
        queue='min-free-space = "64M"',
    )
    sink.stop()
    (nullmta.base / "spool").symlink_to(small_disk)
    nullmta.start()

    with nullmta.client() as client:
        taken, (code, said) = fill(client, CONTENT * 5000, 2000)
        assert (code, said[:5]) == (452, b"4.3.1"), said
        assert free(small_disk) > 0, "refused before the disk is quite full"
        assert taken

        # Somebody else takes all that is left.
        rest = small_disk / "somebody-elses"
        with open(rest, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * MIB):
                    pass
            except OSError:
                pass
        assert free(small_disk) < 2 * MIB

        def is_refused():
            client.rset()
            code, said = answer_to(client, CONTENT)
            if code == 250:
                taken.append(queue_id(said))
            return code == 452

        # The answer of the disk is believed for a second, and a small message may have had room by it.
        wait_until(is_refused, 30, "a refusal by what is left of the disk now")
        nullmta.wait_for_log("spool full: .*(MiB free on its disk, .* needed|gives no room for a segment)")

    # The relay is back: what became of each message is recorded without any room left.
    sink.start()
    # Each start of a sink comes with a new certificate.
    nullmta.signal(signal.SIGHUP)
    nullmta.probe()
    nullmta.wait_until_empty(120)
    assert len(sink.wait_for(len(taken))) == len(taken), "each of them once"
    rest.unlink()

    def serves():
        try:
            return nullmta.send(CONTENT)
        except (AssertionError, smtplib.SMTPException):
            time.sleep(0.2)

    wait_until(serves, 30, "service without a restart")
    sink.wait_for(len(taken) + 1)
    nullmta.stop()
