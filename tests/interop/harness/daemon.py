"""The program under test: the daemon with a configuration of its own, and the sink."""

import json
import os
import re
import signal
import smtplib
import socket
import subprocess
from pathlib import Path

from waiting import free_port, wait_until

TREE = Path(__file__).resolve().parents[3]


def binary() -> Path:
    """`NULLMTA` names it; else the newer of the two builds in target/."""
    if named := os.environ.get("NULLMTA"):
        return Path(named).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", TREE / "target"))
    built = [path for profile in ("debug", "release") if (path := target / profile / "nullmta").exists()]
    assert built, "no binary: run `cargo build` first, or name one in NULLMTA"
    return max(built, key=lambda path: path.stat().st_mtime)


CONFIG = """\
relayhost = "127.0.0.1:{relay_port}"
spool = "{base}/spool"

[auth]
username = "{user}"
password-file = "{base}/secret"
{auth}

[tls]
ca-file = "{ca_file}"
server-name = "{server_name}"
{tls}

[listen]
addresses = ["127.0.0.1:{port}"]
socket = "{base}/submit.sock"
hostname = "client.nullmta.test"
max-recipients = 2000
max-message-size = "{max_message_size}"
{listen}

{rewrite}

[queue]
{queue}

[relay]
{relay}

[admin]
control = "{base}/control.sock"
{admin}
"""


class Nullmta:
    """One daemon in `base`; started, killed and started again on the same spool and log file."""

    def __init__(self, base: Path, relay_port, ca_file, server_name, user, password, **tables):
        self.base = base
        base.mkdir(parents=True, exist_ok=True)
        self.program = binary()
        self.port = free_port()
        self.config = base / "nullmta.toml"
        self.socket = base / "submit.sock"
        self._log_file = base / "daemon.log"
        self._values = dict(
            base=base, port=self.port, relay_port=relay_port, ca_file=ca_file, server_name=server_name,
            user=user, auth="", tls="", listen="", rewrite="", queue="", relay="", admin="", max_message_size="50M",
        )
        self.process = None
        self.set_password(password)
        self.configure(**tables)

    def set_password(self, password):
        secret = self.base / "secret"
        secret.write_text(password)
        secret.chmod(0o600)

    def configure(self, **values):
        """Rewrites the configuration file with other values; the daemon sees it when it is told to."""
        self._values.update(values)
        self.config.write_text(CONFIG.format(**self._values))

    def relay_in_the_clear(self):
        """Rewrites the configuration file for a relay with neither TLS nor AUTH."""
        self.leave_out("username", "password-file", "ca-file", "server-name")
        self.config.write_text(self.config.read_text().replace("[tls]", '[tls]\nmode = "none"'))

    def leave_out(self, *keys):
        """Rewrites the configuration file without these keys."""
        lines = self.config.read_text().splitlines()
        self.config.write_text("\n".join(line for line in lines if not line.startswith(keys)))

    def launch(self, *wrapper, **options):
        """Starts it, under `wrapper` (strace …) if given, and waits for nothing."""
        with open(self._log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, str(self.program), "run", "-c", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options,
            )
        return self

    def start(self, *wrapper):
        """Starts it, under `wrapper` if given, and waits for the greeting."""
        self.launch(*wrapper)
        wait_until(self._greets, 30, lambda: f"the daemon's greeting; its log ends\n{self.log()[-3000:]}")
        return self

    def _greets(self):
        assert self.process.poll() is None, f"the daemon did not start:\n{self.log()[-3000:]}"
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=5):
                return True
        except (OSError, smtplib.SMTPException):
            return False

    def stop(self, seconds=30) -> int:
        """SIGTERM; its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(timeout=seconds)
        self.process = None
        return code

    def kill(self):
        """kill -9: no code of the daemon runs any more."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def signal(self, number):
        self.process.send_signal(number)

    def probe(self):
        """SIGUSR1: the relay is tried now, whatever the breaker says."""
        self.signal(signal.SIGUSR1)

    def log(self) -> str:
        try:
            return self._log_file.read_text(errors="replace")
        except OSError:
            return ""

    def wait_for_log(self, pattern, seconds=30) -> re.Match:
        return wait_until(
            lambda: re.search(pattern, self.log()), seconds,
            lambda: f"{pattern!r} in the daemon's log, which ends\n{self.log()[-3000:]}",
        )

    def command(self, *arguments):
        """What a command prints that succeeds."""
        done = self.try_command(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.returncode} {done.stderr}"
        return done.stdout

    def try_command(self, *arguments):
        """The exit code and the output of a command that may fail."""
        return subprocess.run(
            [str(binary()), *arguments, "-c", str(self.config)],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
        )

    def queue(self) -> list:
        return [json.loads(line) for line in self.command("queue", "list", "--json").splitlines()]

    def status(self) -> dict:
        return json.loads(self.command("status", "--json"))

    def wait_until_empty(self, seconds=60):
        wait_until(
            lambda: not self.queue(), seconds,
            lambda: f"an empty queue; {len(self.queue())} are left, the log ends\n{self.log()[-3000:]}",
        )

    def client(self, timeout=120) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=timeout)

    def send(self, content: bytes, reverse_path="ann@example.org", recipients=("bob@example.net",), options=()):
        """Submits one message by smtplib; the queue id that the 250 names."""
        with self.client() as client:
            return submit(client, content, reverse_path, recipients, options)


def submit(client, content, reverse_path="ann@example.org", recipients=("bob@example.net",), options=()):
    """One transaction on an open connection; the queue id that its 250 names."""
    client.ehlo_or_helo_if_needed()
    for code, said in [client.mail(reverse_path, list(options))] + [client.rcpt(to) for to in recipients]:
        assert code == 250, (code, said)
    code, said = client.data(content)
    assert code == 250, (code, said)
    return queue_id(said)


def queue_id(said: bytes) -> str:
    return re.search(r"queued as (\w+)", said.decode()).group(1)


def peak_memory(process) -> int:
    """The most that a process, which still runs, ever had in memory, in KiB."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text()).group(1))


def own_memory(process) -> int:
    """The most that a process, which still runs, had in memory but for the pages of its program, in KiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    of = {name: int(re.search(rf"{name}:\s+(\d+) kB", status).group(1)) for name in ("VmHWM", "RssFile", "RssAnon")}
    return max(of["RssAnon"], of["VmHWM"] - of["RssFile"])


class UnixSMTP(smtplib.SMTP):
    """smtplib over the daemon's unix socket; the host argument is its path."""

    def _get_socket(self, host, port, timeout):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        connection.connect(host)
        return connection


class Sink:
    """`nullmta sink`: a relay that can be told to fail."""

    USER, PASSWORD = "sinkuser", "sinkpass"

    def __init__(self, base: Path, *flags, port=0, host="127.0.0.1"):
        self.base = base
        base.mkdir(parents=True, exist_ok=True)
        self.maildir, self.ca_file = base / "mail", base / "ca.pem"
        self._flags, self.port, self._host, self.process = flags, port, host, None

    def start(self, *wrapper):
        with open(self.base / "sink.log", "ab") as log:
            start = log.tell()
            self.process = subprocess.Popen(
                [
                    *wrapper, str(binary()), "sink", "--listen", f"{self._host}:{self.port}",
                    "--maildir", str(self.maildir), "--ca-file", str(self.ca_file),
                    "--user", f"{self.USER}:{self.PASSWORD}", *self._flags,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        told = wait_until(
            lambda: re.search(rf"^listening on {re.escape(self._host)}:(\d+)$", self.log()[start:], re.MULTILINE), 20,
            lambda: f"the sink, which says {self.log()}",
        )
        self.port = int(told.group(1))
        return self

    def log(self) -> str:
        return (self.base / "sink.log").read_text()

    def stop(self) -> int:
        if self.process is None:
            return 0
        self.process.terminate()
        code = self.process.wait(timeout=20)
        self.process = None
        return code

    def received(self) -> list:
        return [path.read_bytes() for path in sorted((self.maildir / "new").glob("*"))]

    def wait_for(self, count, seconds=60) -> list:
        new = self.maildir / "new"
        wait_until(
            lambda: sum(1 for _ in new.glob("*")) >= count, seconds,
            lambda: f"{count} messages in the sink, which has {len(self.received())}",
        )
        return self.received()

    def transactions(self) -> list:
        """The recipients of each message that it has taken, in the order in which they came."""
        taken = re.findall(r"^\S+: received from=<.*?>, to=(\S*), proto=", self.log(), re.MULTILINE)
        return [re.findall(r"<(.*?)>", to) for to in taken]

    def refusals(self) -> list:
        """Each fault and each limit that struck: its phase, and what was said or done."""
        return re.findall(r"^fault at (\w+): (.*)$", self.log(), re.MULTILINE)
