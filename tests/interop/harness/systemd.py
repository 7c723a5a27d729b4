"""What systemd does for a service, played by a test: passed sockets, and the other end of NOTIFY_SOCKET."""

import os
import socket
import sys
import time
from pathlib import Path

# Puts the descriptors named in PASS to 3, 4, … and becomes the command: only then is its own pid known.
_PLACE = """\
import fcntl, os, sys
passed = [int(number) for number in os.environ.pop("PASS", "").split()]
# Out of the way first: one of them may sit where another is to go.
for place, kept in enumerate([fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in passed], 3):
    os.dup2(kept, place)
    os.close(kept)
for name in os.environ.pop("PID_NAMES", "").split():
    os.environ[name] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""
WRAPPER = (sys.executable, "-c", _PLACE)


def passing(*sockets) -> dict:
    """Options of `launch`, under WRAPPER: these sockets are passed as systemd passes them."""
    numbers = [passed.fileno() for passed in sockets]
    environment = {
        **os.environ, "LISTEN_FDS": str(len(sockets)), "PID_NAMES": "LISTEN_PID",
        "PASS": " ".join(map(str, numbers)),
    }
    return dict(pass_fds=numbers, env=environment)


class NotifySocket:
    """Where a daemon's notifications come in; each with the time it was read."""

    def __init__(self, path: Path):
        self.path, self._received = path, []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def options(self, watchdog_usec=None) -> dict:
        """Options of `launch`, under WRAPPER."""
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.path)}
        if watchdog_usec:
            environment.update(WATCHDOG_USEC=str(watchdog_usec), PID_NAMES="WATCHDOG_PID")
        return dict(env=environment)

    def next(self, seconds) -> list:
        """The assignments of the next notification; none when there is none in time."""
        self._socket.settimeout(max(seconds, 0.001))
        try:
            return self._socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return []

    def wait_for(self, assignment, seconds=30) -> list:
        """Reads up to the notification with `assignment`, or one that begins so; all that was read."""
        deadline, read = time.monotonic() + seconds, []
        while time.monotonic() < deadline:
            read.append(self.next(deadline - time.monotonic()))
            if any(line.startswith(assignment) for line in read[-1]):
                return read
        raise AssertionError(f"no {assignment} in {seconds} s, only {read}")

    def close(self):
        self._socket.close()
