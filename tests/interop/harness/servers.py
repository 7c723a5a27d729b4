"""Mail servers of other families as relays: what each makes of our dialogue, with its own words and habits.

A server in `SERVERS` listens on one free loopback port, in the clear or with STARTTLS and AUTH, and forwards what it
takes to a `Recorder`, which is asked what arrived. Exim, OpenSMTPD 7, Sendmail and Courier cannot be installed beside
Postfix: each has a root directory of its own, made by `make_servers`, and runs in it under bwrap with its own
processes, so that its end is the end of all of them. Dovecot is installed; Haraka, smtp-server and aiosmtpd come from
npm and pip. Where they lie `NULLMTA_SERVERS` names, else it is `target/interop-servers`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from daemon import TREE
from postfix import Instance
from waiting import accepts, free_port, greets, wait_until

HOME = Path(os.environ.get("NULLMTA_SERVERS", TREE / "target" / "interop-servers"))
USER, PASSWORD = "relayuser", "s3cret"
CONFIGS = TREE / "tests" / "interop" / "servers"


class Server:
    """One server in `base`, with what is common: a port, files, a process that is started and killed."""

    has_auth = True
    # A recipient that it refuses for good.
    refused = "gone@example.net"
    # It refuses a message with a longer line than this many octets.
    longest_line = 1_000_000
    # A recipient that it refuses since there are too many is not told to its backend.
    keeps_the_surplus = True

    def __init__(self, base: Path, certificate: Path, key: Path, backend_port: int, **settings):
        self.base, self.port, self.process = base, free_port(), None
        base.mkdir(parents=True)
        base.chmod(0o755)
        shutil.copy(certificate, base / "cert.pem")
        shutil.copy(key, base / "key.pem")
        self._values = dict(
            port=self.port, backend=backend_port, user=USER, password=PASSWORD, base=self.directory,
            tree=TREE, recipients=settings.get("recipients", 1000),
        )
        self.prepare()

    @property
    def directory(self):
        """`base`, as the server's own processes see it."""
        return self.base

    def prepare(self):
        """Writes the configuration."""

    def command(self) -> list:
        """What is run, in the foreground."""
        raise NotImplementedError

    def write(self, name: str, text: str, mode=0o644) -> Path:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def fill_in(self, template: str) -> str:
        """A configuration out of `servers/`: `@name@` stands for a value."""
        text = (CONFIGS / template).read_text()
        for name, value in self._values.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    def start(self):
        with open(self.base / "output.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.base,
            )
        wait_until(self._greets, 30, lambda: f"{type(self).__name__}'s greeting\n{self.log()[-3000:]}")
        return self

    def kill(self):
        """kill -9 of all its processes."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            wait_until(lambda: not accepts(self.port), 20, f"{type(self).__name__}'s end")

    def log(self) -> str:
        return (self.base / "output.log").read_text(errors="replace")

    def _greets(self):
        assert self.process.poll() is None, f"{type(self).__name__} did not start:\n{self.log()[-3000:]}"
        return greets(self.port)


def in_namespace(*arguments) -> list:
    """`arguments` under bwrap in a namespace of processes of their own: when it is killed, so are they all."""
    return ["bwrap", "--die-with-parent", "--unshare-pid", *arguments]


class Rooted(Server):
    """A server with a root directory of its own; `base` is `/srv` in it."""

    root = ""
    binds: dict = {}

    @property
    def directory(self):
        return Path("/srv")

    def command(self):
        binds = [part for inner, name in self.binds.items() for part in ("--bind", str(self.base / name), inner)]
        return in_namespace(
            "--bind", str(HOME / self.root), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", "--tmpfs", "/tmp",
            "--bind", str(self.base), "/srv", *binds, *self.run(),
        )

    def run(self) -> list:
        """What is run within the root directory."""
        raise NotImplementedError

    def copy(self, inner: str, name: str):
        """Copies a directory of the root to `base`, with its owners."""
        subprocess.run(["cp", "-a", f"{HOME / self.root}{inner}", str(self.base / name)], check=True)

    def within(self, *arguments):
        """Runs a command in the root directory, to its end."""
        subprocess.run(
            ["bwrap", "--bind", str(HOME / self.root), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
             "--bind", str(self.base), "/srv", *arguments],
            check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
        )


class ForwardingPostfix(Server):
    """Postfix, that of this host with a directory of its own; hosts on loopback may relay."""

    has_auth = False

    def prepare(self):
        services = "127.0.0.1:{port} inet n - n - 100 smtpd\nsmtp unix - - n - - smtp\n"
        self._instance = Instance(self.base / "postfix", self.fill_in("postfix.cf"), services)
        self.port = self._instance.port

    def command(self):
        return in_namespace("--bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
                            "postfix", "-c", str(self.base / "postfix" / "etc"), "start-fg")

    def log(self):
        return super().log() + self._instance.log()


class Exim(Rooted):
    """Exim 4, Debian's."""

    root = "exim-heavy"
    binds = {"/etc/exim4": "etc"}

    def prepare(self):
        self.write("etc/exim4.conf", self.fill_in("exim.conf"))
        for name in ("spool", "log"):
            (self.base / name).mkdir()
        self.within("chown", "-R", "Debian-exim:Debian-exim", "/srv/spool", "/srv/log", "/srv/key.pem")

    def run(self):
        return ["/usr/sbin/exim4", "-bdf", "-q1m"]


class OpenSMTPD(Rooted):
    """OpenSMTPD 7."""

    root = "opensmtpd"
    longest_line = 65_535
    binds = {"/var/spool/smtpd": "spool"}

    def prepare(self):
        # It makes what is to lie in it at its start.
        (self.base / "spool").mkdir(mode=0o711)
        self.write("smtpd.conf", self.fill_in("opensmtpd.conf"))
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True, timeout=30,
        )
        self.write("users", f"{USER} {hashed.stdout}")
        (self.base / "key.pem").chmod(0o600)

    def run(self):
        return ["/usr/sbin/smtpd", "-d", "-f", "/srv/smtpd.conf"]


class Sendmail(Rooted):
    """Sendmail 8, as it comes: STARTTLS, and hosts on loopback may relay."""

    root = "sendmail"
    has_auth = False
    binds = {"/etc/mail": "mail"}

    def prepare(self):
        self.write("mail/sendmail.mc", self.fill_in("sendmail.mc"))
        (self.base / "queue").mkdir(mode=0o700)
        (self.base / "key.pem").chmod(0o600)
        self.write("mail/access", "To:gone@example.net\tERROR:5.1.1:550 no such user\n")
        self.within("sh", "-c", "m4 -D_CF_DIR_=/usr/share/sendmail/cf/ /usr/share/sendmail/cf/m4/cf.m4 "
                    "/srv/mail/sendmail.mc > /srv/mail/sendmail.cf && makemap hash /srv/mail/access < /srv/mail/access && chown -R root:smmsp /srv/mail")

    def run(self):
        return ["/usr/libexec/sendmail/sendmail", "-bD", "-q1m", "-C", "/srv/mail/sendmail.cf"]


class Courier(Rooted):
    """Courier: its `esmtpd` and its queue; hosts on loopback may relay."""

    root = "courier"
    has_auth = False
    refused = "gone@relay.nullmta.test"
    # It takes 5,000 octets, and calls 70,000 too large a header.
    longest_line = 65_535
    binds = {"/etc/courier": "etc", "/var/lib/courier": "var"}

    def prepare(self):
        self.copy("/etc/courier", "etc")
        self.copy("/var/lib/courier", "var")
        self.write("etc/me", "relay.nullmta.test\n")
        self.write("etc/locals", "relay.nullmta.test\n")
        self.write("etc/esmtproutes", f":[127.0.0.1],{self._values['backend']}\n")
        self.write("etc/smtpaccess/default", "127\tallow,RELAYCLIENT\n")
        self.write("etc/bofh", f"opt BOFHBADMIME=accept\nmaxrcpts {self._values['recipients']}\n")
        self.write("etc/esmtpd.pem", (self.base / "key.pem").read_text() + (self.base / "cert.pem").read_text(), 0o600)
        self.write("run", self.fill_in("courier.sh"), 0o755)
        self.within("sh", "-c", "chown courier:courier /srv/etc/esmtpd.pem")

    def run(self):
        return ["/bin/sh", "/srv/run"]


class Dovecot(Server):
    """Dovecot's submission service, which passes each command on to its backend."""

    # Of RCPTs in one write it passes on some that it then answers with 4xx: these get the message all the same.
    keeps_the_surplus = False

    def prepare(self):
        self.write("dovecot.conf", self.fill_in("dovecot.conf"))

    def command(self):
        return in_namespace("--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run",
                            "dovecot", "-F", "-c", str(self.base / "dovecot.conf"))


class Haraka(Server):
    """Haraka, which forwards to its backend within the reply to the dot."""

    def prepare(self):
        config = {
            "smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes=0\n",
            "plugins": "tls\nauth/flat_file\nrefuse\nqueue/smtp_forward\n",
            "tls.ini": f"key={self.base}/key.pem\ncert={self.base}/cert.pem\n",
            "auth_flat_file.ini": f"[core]\nmethods=PLAIN\n[users]\n{USER}={PASSWORD}\n",
            "smtp_forward.ini": f"host=127.0.0.1\nport={self._values['backend']}\nenable_outbound=true\n",
            "me": "relay.nullmta.test\n",
            "host_list": "",
            "loglevel": "LOGINFO\n",
        }
        for name, text in config.items():
            self.write(f"config/{name}", text)
        shutil.copy(self._program.parents[1] / "config" / "connection.ini", self.base / "config")
        self.write("plugins/refuse.js", self.fill_in("haraka_refuse.js"))

    @property
    def _program(self) -> Path:
        return HOME / "node_modules" / "Haraka" / "bin" / "haraka"

    def command(self):
        return in_namespace("--bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
                            "node", str(self._program), "-c", str(self.base))


class SmtpServer(Server):
    """nodemailer's smtp-server."""

    def command(self):
        arguments = [str(self._values[name]) for name in ("port", "backend", "user", "password", "recipients")]
        return in_namespace("--bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
                            "node", str(CONFIGS / "smtp_server.js"), str(HOME), str(self.base), *arguments)


class Aiosmtpd(Server):
    """Python's aiosmtpd."""

    longest_line = 1_000

    def command(self):
        arguments = [str(self._values[name]) for name in ("port", "backend", "user", "password", "recipients")]
        return in_namespace("--bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
                            sys.executable, str(CONFIGS / "aio.py"), str(self.base), *arguments)


SERVERS = [ForwardingPostfix, Exim, OpenSMTPD, Sendmail, Courier, Dovecot, Haraka, SmtpServer, Aiosmtpd]
