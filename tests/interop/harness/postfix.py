"""A throw-away Postfix that acts as the relayhost: STARTTLS, SASL, and a Maildir to read back.

It has its own configuration, queue and data directories under one temporary directory, listens on
one free loopback port, relays for authenticated clients only, and delivers every recipient of every
domain into one Maildir, a file each. Nothing of the host's own Postfix is read or changed.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from email.parser import BytesHeaderParser
from pathlib import Path

from pki import NAME
from waiting import accepts, free_port, greets, wait_until

USER, PASSWORD, REALM = "relayuser", "s3cret pass/word", "nullmta.test"
MECHANISMS = ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "CRAM-MD5"]

# What keeps an instance to its own directory.
HOME_CF = """\
compatibility_level = 3.6
config_directory = {base}/etc
queue_directory = {base}/queue
data_directory = {base}/data
maillog_file = {base}/postfix.log
maillog_file_prefixes = {base}
"""

MAIN_CF = """\
myhostname = {name}
mydomain = nullmta.test
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtputf8_enable = yes
local_header_rewrite_clients =
message_drop_headers =
message_size_limit = 104857600
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_recipient_limit = 5000
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_auth_only = yes
smtpd_tls_received_header = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = {realm}
smtpd_sasl_security_options = noanonymous
cyrus_sasl_config_path = {base}/etc/sasl
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_data_restrictions =
mydestination =
local_transport = error:no local mail here
alias_maps =
alias_database =
virtual_mailbox_domains = static:all
virtual_mailbox_base = {base}/mail
virtual_mailbox_maps = static:inbox/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""

# The services that every instance has.
HOME_SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
showq unix n - n - - showq
flush unix n - n 1000? 0 flush
postlog unix-dgram n - n - 1 postlogd
"""

RELAY_SERVICES = """\
127.0.0.1:{port} inet n - n - {processes} smtpd
virtual unix - n n - 20 virtual
"""


class Instance:
    """A throw-away Postfix in `base`; `start` and `stop` may be called again and again."""

    def __init__(self, base: Path, main_cf: str, services: str):
        self.base, self.port = base, free_port()
        for name in ("etc", "queue", "data"):
            (base / name).mkdir(parents=True, mode=0o755)
        shutil.chown(base / "data", "postfix", "postfix")
        # A start behind an end that left half a file warns of it, as this user, and fails where it cannot.
        self._log.touch()
        shutil.chown(self._log, "postfix", "postfix")
        values = dict(base=base, port=self.port)
        (base / "etc" / "main.cf").write_text(HOME_CF.format(**values) + main_cf)
        (base / "etc" / "master.cf").write_text((services + HOME_SERVICES).format(**values))

    def set(self, **parameters):
        """Changes main.cf; takes effect at the next start or reload."""
        for name, value in parameters.items():
            self._run("postconf", "-e", f"{name} = {value}")

    def start(self):
        """Starts the master and waits until the port answers with a greeting."""
        self._run("postfix", "start")
        wait_until(lambda: greets(self.port), 20, f"Postfix on port {self.port}\n{self.log()[-2000:]}")

    def is_running(self) -> bool:
        return self._master_pid() is not None

    def stop(self):
        """Ends the master and with it its children; does nothing when it is down."""
        pid = self._master_pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        # Its smtpd processes may hold the port a moment longer than the master lives.
        wait_until(lambda: self._master_pid() is None and not accepts(self.port), 20, "Postfix's end")

    def _master_pid(self):
        try:
            pid = int((self.base / "queue" / "pid" / "master.pid").read_text())
            comm = Path(f"/proc/{pid}/comm").read_text().strip()
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, ValueError):
            return None
        return pid if comm == "master" and state != "Z" else None

    def _run(self, tool, *arguments):
        done = subprocess.run(
            [tool, "-c", str(self.base / "etc"), *arguments],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
        )
        assert done.returncode == 0, f"{tool} {arguments}: {done.stderr}\n{self.log()[-2000:]}"

    @property
    def _log(self) -> Path:
        return self.base / "postfix.log"

    def log(self) -> str:
        return self._log.read_text(errors="replace")


class Postfix(Instance):
    """The relay."""

    def __init__(self, base: Path, certificate: Path, key: Path, processes=100):
        owner = pwd.getpwnam("nobody")
        values = dict(
            base=base, name=NAME, realm=REALM, certificate=certificate, key=key, uid=owner.pw_uid, gid=owner.pw_gid,
        )
        super().__init__(base, MAIN_CF.format(**values), RELAY_SERVICES.replace("{processes}", str(processes)))
        self.inbox = base / "mail" / "inbox"
        (base / "mail").mkdir(mode=0o755)
        os.chown(base / "mail", owner.pw_uid, owner.pw_gid)
        (base / "etc" / "sasl").mkdir(mode=0o755)
        self._make_users()

    def _make_users(self):
        database = self.base / "etc" / "sasl" / "sasldb2"
        (self.base / "etc" / "sasl" / "smtpd.conf").write_text(
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
            f"sasldb_path: {database}\nmech_list: {' '.join(MECHANISMS)}\n"
        )
        self.add_user(USER, PASSWORD)

    def add_user(self, name, password):
        """Makes an account for AUTH, at once."""
        database = self.base / "etc" / "sasl" / "sasldb2"
        subprocess.run(
            ["saslpasswd2", "-p", "-c", "-f", str(database), "-u", REALM, name],
            input=password.encode(), check=True, capture_output=True,
        )
        shutil.chown(database, "postfix", "postfix")

    def delivered(self) -> list:
        """The octets of every message in the Maildir, as the relay stored them (lines end in LF)."""
        return [path.read_bytes() for path in sorted((self.inbox / "new").glob("*"))]

    def wait_for(self, count: int, seconds=60) -> list:
        """Waits until `count` messages are there, and returns them; more than that is an error."""
        wait_until(
            lambda: self.count() >= count, seconds,
            lambda: f"{count} messages in the relay's mailbox, {self.count()} are there\n{self.log()[-3000:]}",
        )
        time.sleep(0.2)  # a duplicate would come right behind
        messages = self.delivered()
        assert len(messages) == count, f"{len(messages)} messages were delivered, not {count}"
        return messages

    def _under_way(self) -> bool:
        """Whether something that was taken is not in the mailbox yet. What is deferred stays so."""
        queues = [self.base / "queue" / name for name in ("maildrop", "incoming", "active")]
        return any(path.is_file() for queue in queues for path in queue.rglob("*"))

    def count(self) -> int:
        return sum(1 for _ in (self.inbox / "new").glob("*"))

    def empty(self):
        """Forgets what was delivered, and what was taken and is on its way there."""
        wait_until(lambda: not self._under_way(), 60, lambda: f"the end of local deliveries\n{self.log()[-2000:]}")
        for path in (self.inbox / "new").glob("*"):
            path.unlink()


def field(message: bytes, name: str):
    """The first header field of that name, as text."""
    return BytesHeaderParser().parsebytes(message).get(name)
