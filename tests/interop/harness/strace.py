"""Reads what strace wrote: every call with its place in time, from many threads."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from waiting import wait_until

_LINE = re.compile(r"^(\d+)\s+(.*)$")
_WHOLE = re.compile(r"^(\w+)\((.*)\)\s+= (.+)$", re.DOTALL)
_BEGUN = re.compile(r"^(\w+)\((.*?)\s*<unfinished \.\.\.>$", re.DOTALL)
_ENDED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)\)\s+= (.+)$", re.DOTALL)


def available() -> bool:
    """Whether strace may trace here: containers often forbid it."""
    with tempfile.NamedTemporaryFile() as output:
        try:
            return subprocess.run(["strace", "-f", "-o", output.name, "true"], capture_output=True).returncode == 0
        except OSError:
            return False


@dataclass
class Call:
    """One system call; `begun` and `ended` are line numbers, and so in the order of time."""

    name: str
    arguments: str
    result: str
    begun: int
    ended: int

    def is_sync(self) -> bool:
        return self.name in ("fsync", "fdatasync") and self.result.startswith("0")

    def is_write(self) -> bool:
        return self.name in ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg")

    def is_to_socket(self) -> bool:
        return self.is_write() and re.match(r"\d+<(TCP|socket|UNIX)", self.arguments) is not None

    def path(self) -> str:
        """The file behind the first argument, a descriptor."""
        found = re.match(r"\d+<([^>]*)>", self.arguments)
        return found.group(1) if found else ""


class Trace:
    """The calls of one trace in the order in which they began."""

    # -D: the traced program is the direct child, so that signals and exit codes are its own.
    FLAGS = [
        "-D", "-f", "-yy", "-s", "6000",
        "-e", "trace=openat,open,rename,renameat,renameat2,write,writev,pwrite64,pwritev,pwritev2,"
        "sendto,sendmsg,fsync,fdatasync",
    ]

    def __init__(self, path: Path, pid: int):
        """Reads the trace of the process `pid`, which has ended."""
        ended = re.compile(rf"^{pid}\s+\+\+\+ ", re.MULTILINE)
        wait_until(lambda: ended.search(path.read_text(errors="replace")), 20, "the end of the trace")
        self.calls = []
        unfinished = {}
        for number, line in enumerate(path.read_text(errors="replace").splitlines()):
            thread, text = _LINE.match(line).groups() if _LINE.match(line) else (None, "")
            if found := _BEGUN.match(text):
                unfinished[thread] = (*found.groups(), number)
            elif found := _ENDED.match(text):
                name, arguments, begun = unfinished.pop(thread, (found.group(1), "", number))
                self.calls.append(Call(name, arguments + found.group(2), found.group(3), begun, number))
            elif found := _WHOLE.match(text):
                self.calls.append(Call(*found.groups(), number, number))
        self.calls.sort(key=lambda call: call.begun)

    def all(self, wanted) -> list:
        return [call for call in self.calls if wanted(call)]

    def first(self, wanted) -> Call:
        """The first call that is `wanted`; there must be one."""
        found = self.all(wanted)
        assert found, "no such call in the trace"
        return found[0]
