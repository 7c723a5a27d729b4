"""A host of its own: Debian booted by a real systemd in a container without a network, nullmta installed as the README
says, and `nullmta sink` on its loopback as the relay.

The root directory is made by `servers/make`; each host works on a copy. Commands are run in it as root, or as
another user of it.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from daemon import TREE, binary
from servers import HOME
from waiting import wait_until

ROOT = HOME / "systemd"
CONFIG = """\
relayhost = "127.0.0.1:2525"

[auth]
username = "sinkuser"
password-file = "/etc/nullmta.secret"

[tls]
ca-file = "/var/lib/sink/ca.pem"
server-name = "localhost"

[rewrite]
origin = "host.example"
sender = "host@example.org"
"""


class BootedHost:
    """A host that has booted, with nullmta installed, configured and not yet started."""

    def __init__(self, base: Path):
        self.root = base / "root"
        subprocess.run(["cp", "-a", str(ROOT), str(self.root)], check=True)
        self.leader = None
        self._install()
        self._console = open(base / "console", "wb")
        # Its own session: what is typed at the terminal of the suite is not for it.
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--register=no", "--keep-unit",
             "--private-network", "--boot", "--console=pipe", f"--machine=nullmta-{os.getpid()}"],
            stdin=subprocess.DEVNULL, stdout=self._console, stderr=self._console, start_new_session=True,
        )
        try:
            self.leader = wait_until(self._find_leader, 60, "systemd in the container")
            wait_until(self._is_up, 120, "the host to boot")
        except BaseException:
            self.close()
            raise

    def _install(self):
        for source, target in (
            (binary(), "usr/bin/nullmta"),
            (TREE / "systemd" / "nullmta.service", "etc/systemd/system/nullmta.service"),
            (TREE / "systemd" / "nullmta.socket", "etc/systemd/system/nullmta.socket"),
            (TREE / "systemd" / "nullmta.sysusers.conf", "usr/lib/sysusers.d/nullmta.conf"),
            (TREE / "systemd" / "nullmta.tmpfiles.conf", "usr/lib/tmpfiles.d/nullmta.conf"),
        ):
            place = self.root / target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
        (self.root / "usr/bin/nullmta").chmod(0o755)
        for name in ("usr/sbin/sendmail", "usr/bin/mailq"):
            (self.root / name).symlink_to("/usr/bin/nullmta")
        (self.root / "etc/hostname").write_text("host\n")
        self.configure(CONFIG)

    def configure(self, text: str):
        (self.root / "etc/nullmta.toml").write_text(text)

    def _find_leader(self):
        """The pid of the container's own pid 1, as this host counts."""
        assert self.process.poll() is None, "systemd-nspawn has ended"
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        # Before there is a pid 1 there are others, which make its namespaces.
        is_init = lambda pid: Path(f"/proc/{pid}/comm").read_text().strip() == "systemd"
        return next((int(pid) for pid in children if is_init(pid)), None)

    def _is_up(self):
        # `starting` ends in `running`, or in `degraded` where something of no concern here failed.
        return self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def run(self, *command, user=None, text=None, seconds=60) -> subprocess.CompletedProcess:
        """Runs a command on the host and waits for it."""
        as_user = ["runuser", "-u", user, "--"] if user else []
        return subprocess.run(
            ["nsenter", f"--target={self.leader}", "--all", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
             *as_user, *command],
            input=text or "", capture_output=True, text=True, timeout=seconds,
        )

    def send_many(self, count):
        """Submits that many messages over its loopback, on one connection."""
        sender = (
            "import smtplib\n"
            "with smtplib.SMTP('127.0.0.1', 25) as client:\n"
            f"  for number in range({count}):\n"
            "    client.sendmail('ann@example.org', ['bob@example.net'], b'Subject: x\\r\\n\\r\\nx\\r\\n')\n"
        )
        inside = ["nsenter", f"--target={self.leader}", "--net", "--", sys.executable, "-c", sender]
        subprocess.run(inside, check=True, stdin=subprocess.DEVNULL, timeout=120)

    def must(self, *command, **options) -> str:
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout}{done.stderr}\n{self.journal()[-3000:]}"
        return done.stdout

    def begin(self):
        """The README's five minutes, behind the installation: user, secret, relay, start."""
        self.must("systemctl", "daemon-reload")
        self.must("sh", "-c", "systemd-sysusers && systemd-tmpfiles --create /usr/lib/tmpfiles.d/nullmta.conf")
        self.must("install", "-m", "600", "-o", "nullmta", "/dev/stdin", "/etc/nullmta.secret", text="sinkpass\n")
        self.start_sink()
        self.must("systemctl", "enable", "--now", "nullmta.socket", "nullmta.service")

    def start_sink(self, *flags):
        self.must("install", "-d", "-m", "755", "/var/lib/sink")
        self.must("systemd-run", "--quiet", "--unit=sink", "/usr/bin/nullmta", "sink", "--listen", "127.0.0.1:2525",
                  "--maildir", "/var/lib/sink/mail", "--ca-file", "/var/lib/sink/ca.pem", "--user", "sinkuser:sinkpass", *flags)
        wait_until((self.root / "var/lib/sink/ca.pem").exists, 20, "the sink's certificate")

    def received(self) -> list:
        return [path.read_bytes() for path in sorted((self.root / "var/lib/sink/mail/new").glob("*"))]

    def wait_for(self, count, seconds=60) -> list:
        wait_until(
            lambda: len(self.received()) >= count, seconds,
            lambda: f"{count} messages in the sink, which has {len(self.received())}\n{self.journal()[-3000:]}",
        )
        return self.received()

    def journal(self, *flags) -> str:
        return self.run("journalctl", "-u", "nullmta", "-o", "cat", "--no-pager", *flags).stdout

    def close(self):
        # Its pid 1 takes all processes of the container with it; the program that started it does not.
        if self.leader:
            os.kill(self.leader, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        self._console.close()
