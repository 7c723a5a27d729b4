"""What `sendmail` does beside taking one message: SMTP on its standard input, a session shown, a large message."""

import re
import subprocess

import pytest

from callers import BODY, HOST
from content import split
from daemon import own_memory
from postfix import field

LARGE = 30_000_000
LINE = b"%098d\n"
PEAK = 8 * 1024  # KiB, without the pages of the program; it takes 2 MiB, as for a message of one line


@pytest.fixture(params=["up", "down"])
def handed_in(request, host, postfix):
    """Has a function hand in a message while the daemon is up, or down; the one that then comes to the relay."""

    def hand_in(function):
        if request.param == "up":
            host.start()
        function()
        if request.param == "down":
            assert [file.suffix for file in host.dropped()] == [".bsmtp"]
            host.start()
        (message,) = postfix.wait_for(1)
        host.daemon.wait_until_empty()
        return message

    return hand_in


def test_octets(host, handed_in):
    """What a job may print: lines of any length, octets of any value, and no end of the last line. What is longer
    than relays take is folded."""
    long, high = b"x" * 100_000 + b"\n", bytes(range(128, 256)) + b"\0\x1b\n"
    printed = BODY + b"From here\n>From there\n\tx \t\n" + long + high + b"..\nend"

    def write():
        done = host.run("sendmail", "-i", "root", input=b"Subject: odd\n\n" + printed)
        assert (done.returncode, done.stderr) == (0, b"")

    assert split(handed_in(write))[1].replace(b"x\n x", b"xx") == printed + b"\n"


class Dialogue:
    """`sendmail -bs`, to which is spoken as mail libraries do: command by command, over pipes."""

    def __init__(self, host):
        self._program = host.launch("sendmail", "-bs", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.expect("220")

    def expect(self, code):
        lines = iter(self._program.stdout.readline, b"")
        reply = next(line for line in lines if line[3:4] != b"-")
        assert reply.decode().startswith(code), reply

    def say(self, line, code):
        self.write(line.encode() + b"\r\n")
        self.expect(code)

    def write(self, octets):
        self._program.stdin.write(octets)
        self._program.stdin.flush()

    def quit(self):
        self.say("QUIT", "221")
        self._program.stdin.close()
        assert self._program.wait(timeout=20) == 0


def test_smtp_on_standard_input(host, handed_in):
    """One process, a transaction that comes to nothing, and then the message."""

    def speak():
        dialogue = Dialogue(host)
        dialogue.say("EHLO [127.0.0.1]", "250")
        dialogue.say("MAIL FROM:<nobody>", "250")
        dialogue.say("RSET", "250")
        dialogue.say("MAIL FROM:<shop@example.org>", "250")
        dialogue.say("RCPT TO:<root>", "250")
        dialogue.say("DATA", "354")
        stuffed = b"From: Shop <shop>\n\n" + BODY.replace(b"\n.", b"\n..")
        dialogue.write(stuffed.replace(b"\n", b"\r\n"))
        dialogue.say(".", "250")
        dialogue.quit()

    message = handed_in(speak)
    assert field(message, "Return-Path") == "<shop@example.org>"
    assert field(message, "Delivered-To") == f"root@{HOST}"
    assert field(message, "From") == f"Shop <shop@{HOST}>"
    assert split(message)[1] == BODY


def test_the_session_is_shown(host, postfix):
    host.start()
    done = host.run("sendmail", "-v", "root", input=BODY)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode().splitlines()
    ours = [line.removeprefix(">>> ") for line in shown if line.startswith(">>> ")]
    assert ours == ["EHLO localhost", "MAIL FROM:<ann>", "RCPT TO:<root>", "DATA", ".", "QUIT"]
    assert [line[:3] for line in shown if not line.startswith(">>>")] == ["220", *["250"] * 3, "354", "250", "221"]
    queue_id = re.search(r"queued as (\w+)", done.stdout.decode()).group(1)
    postfix.wait_for(1)
    host.daemon.wait_for_log(f"{queue_id}: .*status=sent")


def test_what_is_done_instead_is_shown(host):
    done = host.run("sendmail", "-v", "root", input=BODY)
    assert (done.returncode, done.stderr) == (0, b"")
    (file,) = host.dropped()
    assert done.stdout.decode().startswith(f"left in {host.drop} as {file.stem}: "), done.stdout


def test_a_message_of_30_mb_streams(host, handed_in):
    sent = b"".join(LINE % number for number in range(LARGE // 99))

    def write():
        sendmail = host.launch("sendmail", "-i", "bob@example.net", stdin=subprocess.PIPE)
        sendmail.stdin.write(b"Subject: large\n\n" + sent)
        sendmail.stdin.flush()
        # All but what the pipe holds has gone through it.
        peak = own_memory(sendmail)
        sendmail.stdin.close()
        assert sendmail.wait(timeout=120) == 0
        print(f"peak memory: {peak} KiB")
        assert peak < PEAK

    message = handed_in(write)
    assert split(message)[1] == sent


def test_newaliases_has_nothing_to_do(host):
    for command in (["newaliases"], ["sendmail", "-bi"], ["sendmail", "-I"]):
        done = host.run(*command)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), command
