"""A booted host with nullmta on it, installed and started by the README's own commands, and `nullmta sink` on its
loopback as the relay that they speak of.
"""

import shutil
import sys
from pathlib import Path

import readme
from booted import BootedHost
from daemon import TREE, binary
from waiting import wait_until

USER, PASSWORD = "apikey", "sinkpass"
RELAY = "127.0.0.1:2525"
TLS = '\n[tls]\nca-file = "/var/lib/sink/ca.pem"\nserver-name = "localhost"\n'
# The README's, with the relay that there is.
CONFIG = readme.configuration().replace("smtp.example.com:587", RELAY) + TLS
assert RELAY in CONFIG and f'"{USER}"' in CONFIG

SINK = f"""\
[Service]
StateDirectory=sink
ExecStart=/src/target/release/nullmta sink --listen {RELAY} --user {USER}:{PASSWORD} --maildir /var/lib/sink/mail \\
    --ca-file /var/lib/sink/ca.pem
"""

# What is not on this host: the binary is built, and swaks runs from the real one.
_ELSEWHERE = "cargo() { :; }; cd /src && "


class InstalledHost(BootedHost):
    """A host on which the daemon has been started once."""

    def __init__(self, base: Path):
        super().__init__(base)
        try:
            self._install()
        except BaseException:
            self.close()
            raise

    def _install(self):
        """What the README says, word for word, in its order."""
        (self.root / "src/target/release").mkdir(parents=True)
        shutil.copytree(TREE / "systemd", self.root / "src/systemd")
        shutil.copy(binary(), self.root / "src/target/release/nullmta")
        self.configure(CONFIG)
        self.write("/etc/systemd/system/sink.service", SINK)
        self.must("systemctl", "daemon-reload")
        self.start_sink()
        for command in readme.commands():
            if command.startswith("swaks"):
                swaks = self.beside("sh", "-c", command)
                said, trouble = swaks.communicate(timeout=60)
                assert swaks.returncode == 0, said + trouble
            else:
                self.must("sh", "-c", _ELSEWHERE + command, text=f"{PASSWORD}\n")
        self.wait_for(2)

    def settle(self):
        """Makes it as it was behind the installation: the README's configuration, an empty queue, the daemon up."""
        self.must("systemctl stop nullmta.socket nullmta.service sink.service")
        self.must("rm -rf /var/spool/nullmta /var/lib/sink/mail && systemd-tmpfiles --create /etc/tmpfiles.d/nullmta.conf")
        self.configure(CONFIG)
        self.must("chown nullmta /etc/nullmta.secret && systemctl reset-failed")
        self._cursor = self.must("journalctl", "-n", "0", "--show-cursor").split("cursor: ")[-1].strip()
        self.start_sink()
        self.must("systemctl start nullmta.socket nullmta.service")

    def configure(self, text: str):
        self.write("/etc/nullmta.toml", text)

    def start_sink(self):
        self.path("/var/lib/sink/ca.pem").unlink(missing_ok=True)
        self.must("systemctl start sink.service")
        wait_until(self.path("/var/lib/sink/ca.pem").exists, 20, "the sink's certificate")
        knock = ("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2525")
        wait_until(lambda: self.run(*knock).returncode == 0, 20, "the sink to listen")

    def received(self) -> list:
        """The messages that the relay has."""
        return [path.read_bytes() for path in sorted(self.path("/var/lib/sink/mail/new").glob("*"))]

    def wait_for(self, count, seconds=60) -> list:
        """Waits until the relay has so many messages."""
        wait_until(
            lambda: len(self.received()) >= count, seconds,
            lambda: f"{count} messages in the sink, which has {len(self.received())}\n{self.journal()[-3000:]}",
        )
        return self.received()

    def wait_until_up(self):
        wait_until(
            lambda: self.run("systemctl", "is-active", "nullmta.service").returncode == 0, 60,
            lambda: f"the daemon to start\n{self.journal()[-3000:]}",
        )

    _cursor = None

    def journal(self) -> str:
        """What the unit said since `settle`."""
        since = [f"--after-cursor={self._cursor}"] if self._cursor else []
        return self.run("journalctl", "-u", "nullmta", "-o", "cat", "--no-pager", *since).stdout

    def client(self, script: str, *arguments):
        """Starts a client in Python on this host's loopback."""
        return self.beside(sys.executable, "-c", script, *map(str, arguments))
