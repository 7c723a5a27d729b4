"""Waiting for what another process does, always with a deadline; and whether it listens yet."""

import random
import socket
import time
from pathlib import Path


def wait_until(condition, seconds, what):
    """Polls `condition` until it is true; fails with `what` (text, or a function that makes it)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain for {what() if callable(what) else what}")


_given = set()


def free_port() -> int:
    """A loopback port that nobody has, and that no program is given unasked while it is free for a moment: a server found
    its port taken by a connection that had begun meanwhile."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(1000):
        port = random.randrange(10_000, lowest)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise AssertionError(f"no port is free between 10000 and {lowest}")


def accepts(port) -> bool:
    """Whether somebody listens on this loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False


def greets(port) -> bool:
    """Whether an SMTP server on this loopback port takes clients."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(3) == b"220"
    except OSError:
        return False
