"""`nullmta queue watch` in a terminal, and without one."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from waiting import free_port, wait_until

CTRL_C = b"\x03"
LEAVE = b"\x1b[?25h\x1b[?1049l"


class Watched:
    """The command in a terminal of 80 columns."""

    def __init__(self, daemon):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.process = subprocess.Popen(
            [daemon.program, "queue", "watch", "-c", daemon.config], stdin=self.theirs, stdout=self.theirs,
            stderr=self.theirs, env=dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm"), start_new_session=True,
        )
        self.shown = b""

    def wait_for(self, words, seconds=60):
        until = time.monotonic() + seconds
        while words not in self.shown:
            ready, _, _ = select.select([self.ours], [], [], max(0, until - time.monotonic()))
            assert ready, (words, self.shown[-3000:])
            self.shown += os.read(self.ours, 65536)

    def screen(self):
        """The lines of the last picture, without what moves the cursor."""
        last = self.shown.rpartition(b"\x1b[H")[2].partition(b"\x1b[J")[0].decode()
        for code in ("\x1b[K", "\x1b[0m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[1m"):
            last = last.replace(code, "")
        return last.split("\r\n")

    def end(self):
        """The exit code, once the terminal is as it was before."""
        code = self.process.wait(timeout=30)
        self.wait_for(LEAVE)
        assert self.shown.endswith(LEAVE), self.shown[-100:]
        assert termios.tcgetattr(self.theirs) == self.before
        os.close(self.ours)
        os.close(self.theirs)
        return code


@pytest.fixture
def stuck(make_nullmta):
    """A daemon whose relay is down, with a message for it."""
    daemon = make_nullmta(free_port()).start()
    daemon.send(b"Subject: x\r\n\r\nx\r\n")
    wait_until(lambda: daemon.status()["relays"][0]["state"] == "paused", 30, "the pause")
    return daemon


@pytest.mark.parametrize("quit_by", [b"q", CTRL_C, signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=repr)
def test_it_quits_with_the_terminal_as_it_was(stuck, quit_by):
    watched = Watched(stuck)
    watched.wait_for(b"\x1b[J")
    if isinstance(quit_by, bytes):
        os.write(watched.ours, quit_by)
    else:
        watched.process.send_signal(quit_by)
    assert watched.end() == 0


def test_it_shows_what_is_stuck_and_a_daemon_that_goes_and_comes_back(stuck):
    watched = Watched(stuck)
    watched.wait_for(b"relay trouble, connect")
    screen = watched.screen()
    assert len(screen) <= 24 and all(len(line) <= 80 for line in screen), screen
    assert screen[0].startswith("nullmta queue watch ") and screen[0].endswith(" q quits")
    assert screen[1].startswith("relay   paused for ") and screen[2].startswith("to do   check the host and the port")
    assert screen[3].startswith("queue   1 to be sent, the oldest for "), screen
    assert any(line.startswith("        |") for line in screen), screen
    stuck.kill()
    watched.wait_for(b"no daemon answers at ")
    watched.shown = b""
    stuck.start()
    watched.wait_for(b"1 to be sent")
    os.write(watched.ours, b"q")
    assert watched.end() == 0


def test_without_a_terminal_it_prints_lines_until_nobody_reads(stuck):
    with subprocess.Popen(
        [stuck.program, "queue", "watch", "-c", stuck.config],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:
        lines = [running.stdout.readline() for _ in range(2)]
        running.stdout.close()
        assert running.wait(timeout=30) == 0
        assert running.stderr.read() == ""
    for line in lines:
        assert " 1 to be sent, the oldest for " in line and "; paused for " in line and "\x1b" not in line, line


def test_a_wrong_path_of_the_configuration_ends_it(stuck, tmp_path):
    """It told the same each second, for ever."""
    done = subprocess.run(
        [str(stuck.program), "queue", "watch", "-c", str(tmp_path / "none.toml")], capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 78 and "none.toml: cannot be read" in done.stderr and done.stdout == "", done
