"""A host of its own: Debian booted by a real systemd, in a container without a network.

The root directory is made by `servers/make`; each host works on a copy. Commands run in it as root, or as another
user of it; a program of the real host may run in its network. Where no container can be booted the test is skipped,
with the reason; one that boots and does not come up is a failure.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from servers import HOME
from waiting import wait_until

ROOT = HOME / "systemd"


class BootedHost:
    """A host that has booted, in the directory `base`."""

    def __init__(self, base: Path):
        _skip_without(os.geteuid() == 0, "only root can boot a container")
        _skip_without(shutil.which("systemd-nspawn"), "systemd-nspawn is not installed")
        _skip_without(ROOT.is_dir(), f"there is no {ROOT}, which tests/interop/servers/make makes")
        self.root, self.leader, self._console_path = base / "root", None, base / "console"
        subprocess.run(["cp", "-a", str(ROOT), str(self.root)], check=True)
        (self.root / "etc/hostname").write_text("web1.example.com\n")
        self._console = open(self._console_path, "wb")
        # Its own session: what is typed at the terminal of the suite is not for it.
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--register=no", "--keep-unit",
             "--private-network", "--boot", "--console=pipe", f"--machine=nullmta-{os.getpid()}"],
            stdin=subprocess.DEVNULL, stdout=self._console, stderr=self._console, start_new_session=True,
        )
        try:
            self.leader = wait_until(self._find_leader, 60, "systemd in the container")
            wait_until(self._is_up, 120, lambda: f"the host to boot; {self._last_words()}")
        except BaseException:
            self.close()
            raise

    def _last_words(self) -> str:
        return f"its console ends\n{self._console_path.read_text(errors='replace')[-2000:]}"

    def _find_leader(self):
        """The pid of the container's own pid 1, as the real host counts."""
        _skip_without(self.process.poll() is None, f"systemd-nspawn cannot boot here: {self._last_words()}")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        # Before there is a pid 1 there are others, which make its namespaces.
        is_init = lambda pid: Path(f"/proc/{pid}/comm").read_text().strip() == "systemd"
        return next((int(pid) for pid in children if is_init(pid)), None)

    def _is_up(self):
        # `starting` ends in `running`, or in `degraded` where something of no concern here failed.
        return self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def run(self, *command, user=None, text="", seconds=60) -> subprocess.CompletedProcess:
        """Runs a command on this host to its end; a single one with spaces is for a shell."""
        return subprocess.run(
            self._command_line(command, user), input=text, capture_output=True, text=True, timeout=seconds
        )

    def must(self, *command, **options) -> str:
        """The same of one that must succeed; what it printed."""
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout}{done.stderr}"
        return done.stdout

    def launch(self, *command, user=None) -> subprocess.Popen:
        """Starts a command on this host."""
        return _start(self._command_line(command, user))

    def beside(self, *command) -> subprocess.Popen:
        """Starts a program of the real host in the network of this one."""
        return _start(["nsenter", f"--target={self.leader}", "--net", "--", *command])

    def _command_line(self, command, user) -> list:
        as_user = ["runuser", "-u", user, "--"] if user else []
        if len(command) == 1 and " " in command[0]:
            command = ["sh", "-c", command[0]]
        return ["nsenter", f"--target={self.leader}", "--all", "--", "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *as_user, *command]

    def path(self, path: str) -> Path:
        """The file that this host has at this absolute path."""
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str):
        """Writes a file of root's that everybody may read."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def close(self):
        # Its pid 1 takes all processes of the container with it; the program that started it does not.
        if self.leader:
            os.kill(self.leader, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        self._console.close()


def _start(command_line) -> subprocess.Popen:
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.Popen(command_line, text=True, **pipes)


def _skip_without(condition, reason):
    if not condition:
        pytest.skip(reason)
