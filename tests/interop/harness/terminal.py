"""A terminal of a certain width, as the standard output of a command."""

import fcntl
import os
import pty
import struct
import subprocess
import termios


def shown(columns: int, *command) -> tuple:
    """Runs the command in a terminal; its exit code, and what it has shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    while piece := _read(ours):
        output += piece
    os.close(ours)
    return running.wait(timeout=60), output.decode().replace("\r\n", "\n")


def _read(terminal) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        # The last one that had it open for writing is gone.
        return b""
