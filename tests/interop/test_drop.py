"""The drop directory, where users who trust nobody leave mail for a daemon without privileges.

The user and the directories are those that systemd makes of the files shipped, in a root of their own.
"""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from daemon import TREE, binary
from strace import available
from waiting import wait_until

OWNER, STRANGER = 64711, 64712
MESSAGE = b"Subject: left behind\n\nlook into the drop directory\n"
SECRET = b"EHLO x\r\nMAIL FROM:<root>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\nSubject: stolen\r\n\r\nx\r\n.\r\nQUIT\r\n"


def become(uid) -> tuple:
    """The start of a command line that is run by an ordinary user."""
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs")


def run_as(uid, *command, **options):
    return subprocess.run([*become(uid), *map(str, command)], capture_output=True, timeout=60, cwd="/", **options)


class Host:
    """A daemon as a user of its own, not yet started, and a relay."""

    def __init__(self, sink, daemon, spool, uid):
        self.sink, self.daemon, self.uid = sink, daemon, uid
        self.drop, self.corrupt = spool / "drop", spool / "corrupt"
        config = daemon.config.read_text()
        daemon.config.write_text(config.replace(f'spool = "{daemon.base}/spool"', f'spool = "{spool}"'))
        for path in (daemon.base, daemon.base / "secret"):
            os.chown(path, uid, uid)

    def start(self):
        self.daemon.start(*become(self.uid))
        return self

    def sendmail(self, uid=OWNER):
        """Hands in a message while the daemon is down."""
        done = run_as(
            uid, binary(), "sendmail", "-C", self.daemon.config, "-i", "-f", "ann@example.org", "bob@example.net",
            input=MESSAGE,
        )
        assert (done.returncode, done.stderr) == (0, b"")

    def left(self) -> Path:
        """The one file in the drop directory."""
        (path,) = self.drop.iterdir()
        return path

    def wait_until_delivered(self, count=1):
        received = self.sink.wait_for(count)
        assert len(received) == count and all(b"look into the drop directory" in message for message in received)

        def are_gone():
            return not any(path.is_file() for path in self.drop.glob("*.claimed"))

        wait_until(are_gone, 10, "the files to go")


def make_user(root) -> int:
    """The user of sysusers.d, who exists in `root` only."""
    (root / "etc").mkdir(parents=True)
    conf = (TREE / "systemd/nullmta.sysusers.conf").read_bytes()
    subprocess.run(["systemd-sysusers", f"--root={root}", "-"], input=conf, check=True, capture_output=True)
    (uid,) = re.findall(r"^nullmta:x:(\d+):", (root / "etc/passwd").read_text(), re.MULTILINE)
    return int(uid)


def make_directories(root) -> Path:
    """Those of tmpfiles.d; the spool."""
    conf = (TREE / "systemd/nullmta.tmpfiles.conf").read_bytes()
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={root}", "-"], input=conf, check=True)
    return root / "var/spool/nullmta"


def keep_secret(host, directory) -> Path:
    """A file that would be a message, and which the daemon could read."""
    secret = directory / "secret.bsmtp"
    secret.write_bytes(SECRET)
    secret.chmod(0o640)
    os.chown(secret, 0, host.uid)
    return secret


@pytest.fixture
def make_host(scratch, make_sink, make_nullmta, monkeypatch):
    def make(spool_by_daemon=False):
        # Where any user may run it.
        monkeypatch.setenv("NULLMTA", str(shutil.copy(binary(), scratch / "nullmta")))
        root = scratch / "root"
        uid = make_user(root)
        sink = make_sink().start()
        daemon = make_nullmta(
            sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD
        )
        host = Host(sink, daemon, daemon.base / "own" if spool_by_daemon else make_directories(root), uid)
        if spool_by_daemon:
            host.start().daemon.stop()
        return host

    return make


@pytest.mark.parametrize("spool_by_daemon", [False, True], ids=["tmpfiles", "daemon"])
def test_mail_left_while_the_daemon_is_down_is_its_own_user_s_and_delivered(make_host, spool_by_daemon):
    host = make_host(spool_by_daemon)
    assert stat.filemode(host.drop.stat().st_mode) == "drwx-ws-wt"
    host.sendmail()
    path = host.left()
    status, content = path.stat(), path.read_bytes()
    assert (status.st_uid, status.st_gid, stat.filemode(status.st_mode)) == (OWNER, host.uid, "-rw-r-----")

    attempts = [
        ("ls", host.drop), ("cat", path), ("rm", "-f", path), ("mv", path, host.drop / "mine.bsmtp"),
        ("truncate", "-s0", path), ("chmod", "666", path), ("ls", host.drop.parent),
    ]
    for attempt in attempts:
        assert run_as(STRANGER, *attempt).returncode != 0, attempt
    assert (host.left(), path.read_bytes()) == (path, content)

    host.start()
    host.wait_until_delivered()
    assert re.search(rf"picked up from {re.escape(str(host.drop))}/\S+ of uid {OWNER}$", host.daemon.log(), re.M)
    assert not list(host.drop.iterdir()) and not list(host.corrupt.iterdir())
    assert host.daemon.stop() == 0


def test_a_dead_writer_is_seen_by_its_lock(make_host):
    """What a killed sendmail leaves, and what one is writing: the daemon's own user tells them apart."""
    host = make_host()
    writer = subprocess.Popen(
        [*become(OWNER), str(binary()), "sendmail", "-C", str(host.daemon.config), "-i", "bob@example.net"],
        stdin=subprocess.PIPE, cwd="/",
    )
    try:
        writer.stdin.write(b"Subject: x\n\n" + b"a line\n" * 400_000)
        writer.stdin.flush()
        wait_until(lambda: list(host.drop.glob("*.tmp")), 30, "a file that is being written")
        path = host.left()
        wait_until(lambda: path.stat().st_size > 0, 30, "its first octets")

        def is_locked():
            return run_as(host.uid, "flock", "--nonblock", "--shared", path, "true").returncode != 0

        assert is_locked()
    finally:
        writer.kill()
        writer.wait()
    assert host.left() == path and not is_locked()
    # It may be one that an earlier sendmail writes, which locks nothing.
    host.start().sendmail(STRANGER)
    host.wait_until_delivered()
    assert host.left() == path
    assert host.daemon.stop() == 0


@pytest.mark.skipif(not available(), reason="strace cannot trace here")
def test_where_no_setgid_bit_may_be_set_the_spool_is_made_without_it(make_nullmta):
    """As under RestrictSUIDSGID: the fifth directory's mode, that of drop/, is refused with the bit."""
    nullmta = make_nullmta(1)
    nullmta.start("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=/chmod:error=EPERM:when=5")
    assert stat.filemode((nullmta.base / "spool/drop").stat().st_mode) == "drwx-wx-wt"
    nullmta.send(MESSAGE)
    assert nullmta.stop() == 0


def test_what_a_hostile_user_leaves_harms_nobody(make_host, scratch):
    host = make_host()
    secret = keep_secret(host, scratch)
    # Each of these once, by a user who may do nothing special.
    script = r"""
cd "$1" || exit 1
ln -s "$2" link.bsmtp; ln -s /dev/zero endless.bsmtp; ln -s link.bsmtp circle.claimed
mkfifo pipe.bsmtp
mkdir directory.bsmtp full.claimed; echo x >full.claimed/x
echo x >one.bsmtp; ln one.bsmtp two.bsmtp
truncate -s 1T huge.bsmtp
printf 'half of' >half.bsmtp; printf 'half of' >half.tmp
printf '.\r\nQUIT\r\n' >empty.bsmtp
printf 'x\r\n.\r\nQUIT\r\n' >unreadable.bsmtp; chmod 000 unreadable.bsmtp
printf 'x\r\n.\r\nQUIT\r\n' >"$(printf 'odd\n\033[31m\377.bsmtp')"
i=0; while [ $i -lt 3000 ]; do : >$i.tmp; i=$((i + 1)); done
"""
    assert run_as(OWNER, "sh", "-c", script, "-", host.drop, secret).returncode == 0
    host.sendmail(STRANGER)
    host.start()
    host.wait_until_delivered()

    moved = ("link", "endless", "circle", "pipe", "one", "two")
    wait_until(
        lambda: all(list(host.corrupt.glob(f"drop-{name}.*")) for name in moved), 30,
        lambda: f"all of {moved} in {sorted(os.listdir(host.corrupt))}",
    )
    # More than corrupt/ keeps of ordinary users.
    wait_until(lambda: not (host.drop / "huge.bsmtp").exists(), 30, "the end of huge.bsmtp")
    assert not list(host.corrupt.glob("drop-huge*"))
    stay = {"directory.bsmtp", "full.claimed", "half.bsmtp", "half.tmp", "unreadable.bsmtp", "2999.tmp"}
    assert stay <= set(os.listdir(host.drop))
    for path in (host.drop / "directory.bsmtp", host.drop / "unreadable.bsmtp"):
        host.daemon.wait_for_log(re.escape(str(path)))
    log = host.daemon.log()
    for path in (host.drop / "directory.bsmtp", host.drop / "unreadable.bsmtp"):
        assert log.count(str(path)) == 1, "told, and once"
    assert "\033" not in log and b"stolen" not in b"".join(host.sink.received())
    assert secret.read_bytes() == SECRET
    assert host.daemon.stop() == 0


def test_a_file_that_changes_while_it_is_looked_at_is_never_another_s(make_host, scratch):
    """A symbolic link takes the place of a file, and back, 3000 times."""
    host = make_host()
    secret = keep_secret(host, scratch)
    host.start()
    program = """
import os, sys
os.chdir(sys.argv[1])
os.umask(0o027)
for number in range(3000):
    name = f"{number % 50}.bsmtp"
    with open("new.x", "w") as file:
        file.write("EHLO x\\r\\nMAIL FROM:<root>\\r\\nRCPT TO:<own@example.net>\\r\\nDATA\\r\\n\\r\\n.\\r\\nQUIT\\r\\n")
    os.symlink(sys.argv[2], "link.x")
    os.rename("new.x", name)
    os.rename("link.x", name)
"""
    done = run_as(OWNER, "/usr/bin/python3", "-c", program, host.drop, secret)
    assert (done.returncode, done.stderr) == (0, b"")
    wait_until(lambda: not list(host.drop.glob("*.bsmtp")), 30, lambda: f"nothing left in {os.listdir(host.drop)}")
    host.daemon.wait_until_empty()
    assert b"stolen" not in b"".join(host.sink.received())
    assert secret.read_bytes() == SECRET and host.daemon.stop() == 0
