"""Relays for the matrix of logins. Each has doors, and its own log says who came in, how, and by which version of TLS.

A door is a port with one TLS mode, one version of TLS (or both) and one certificate. Each user of a server comes once, so
that the user's name tells the logins apart. What a server takes it forwards to a recorder.
"""

import base64
import hashlib
import hmac
import itertools
import json
import re
import shutil
import subprocess
import time
from typing import NamedTuple

from pki import NAME
from postfix import Instance
from servers import Rooted, Server, in_namespace
from waiting import free_port

MODES = ("starttls", "implicit")
VERSIONS = ("1.2", "1.3")
FAULTS = ("expired", "wrong-name", "unknown")
# The name in the certificate that has the wrong one.
OTHER_NAME = "other.nullmta.test"
REALM = "nullmta.test"


class Door(NamedTuple):
    """`version` is the only one that is spoken, or the newest."""

    mode: str
    version: str
    certificate: str = "good"


class Login(NamedTuple):
    """What a server's log says of one login."""

    user: str
    mechanism: str
    version: str


# The mechanisms that prove an access token.
TOKENS = ("OAUTHBEARER", "XOAUTH2")
# The mechanisms that are bound to the TLS session.
BOUND = ("SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS")
# What Dovecot knows tokens by.
TOKEN_KEY = b"0123456789abcdef0123456789abcdef"

DOORS = [Door(*each) for each in itertools.product(MODES, VERSIONS, ("good", *FAULTS))]


def certificates(authority, stranger) -> dict:
    """The PEM file and the key of each certificate that a door may show."""
    right, other = f"DNS:{NAME}", f"DNS:{OTHER_NAME}"
    return {
        "good": authority.issue("good", right),
        "expired": authority.issue("expired", right, expired=True),
        "wrong-name": authority.issue("wrong-name", other),
        "unknown": stranger.issue("unknown", right),
    }


def access_token(user: str, key=TOKEN_KEY) -> str:
    """A JSON web token for `user`, signed with `key`, as a server takes it that has the same key (RFC 7515, RFC 7519)."""
    encoded = lambda octets: base64.urlsafe_b64encode(octets).rstrip(b"=")
    claims = {"sub": user, "iat": int(time.time()) - 60, "exp": int(time.time()) + 3600}
    text = b".".join(encoded(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "HS256"}, claims))
    return (text + b"." + encoded(hmac.digest(key, text, hashlib.sha256))).decode()


class LoginServer(Server):
    """`users` has the password of each user, or what stands for it."""

    # What it offers.
    mechanisms: tuple = ()
    # The reason why it cannot offer another mechanism that nullmta knows.
    absent: dict = {}
    # A line of the file `users`.
    user_line = "{}:{{PLAIN}}{}\n"

    def __init__(self, base, shown: dict, backend_port, users: dict, clients_ca):
        self.shown, self.users, self.clients_ca = shown, users, clients_ca
        self.places = {door: ("127.0.0.1", free_port()) for door in DOORS}
        super().__init__(base, *shown["good"], backend_port)

    def prepare(self):
        self.port = self.places[DOORS[0]][1]
        for name, pair in self.shown.items():
            for path, suffix in zip(pair, ("pem", "key")):
                shutil.copy(path, self.base / f"{name}.{suffix}")
        shutil.copy(self.clients_ca, self.base / "clients-ca.pem")
        self.write("users", "".join(self.user_line.format(*user) for user in self.users.items()))

    def logins(self) -> list:
        """The logins that its log tells of, each a `Login`."""
        raise NotImplementedError


class CyrusPostfix(LoginServer):
    """Postfix whose SASL is Cyrus."""

    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512")
    absent = {
        "OAUTHBEARER": "Cyrus SASL has no such plug-in",
        "XOAUTH2": "Cyrus SASL has no such plug-in of its own",
        "EXTERNAL": "Postfix tells Cyrus SASL nothing of the client's certificate",
        **dict.fromkeys(BOUND, "Postfix gives Cyrus SASL no channel binding"),
    }
    sasl, sasl_path = "cyrus", "smtpd"

    def prepare(self):
        super().prepare()
        self._values |= dict(sasl=self.sasl, sasl_path=self.sasl_path.format(base=self.base), realm=REALM)
        services = "".join(map(self._service, DOORS)) + "smtp unix - - n - - smtp\n"
        self._instance = Instance(self.base / "postfix", self.fill_in("login_postfix.cf"), services)
        self.write("start.sh", self.fill_in("login_postfix.sh"))
        self.make_users()

    def _service(self, door):
        host, port = self.places[door]
        options = {
            "smtpd_tls_cert_file": self.base / f"{door.certificate}.pem",
            "smtpd_tls_key_file": self.base / f"{door.certificate}.key",
            "smtpd_tls_wrappermode": "yes" if door.mode == "implicit" else "no",
        }
        options["smtpd_tls_mandatory_protocols"] = f"TLSv{door.version}"
        lines = "".join(f"  -o {name}={text}\n" for name, text in options.items())
        return f"{host}:{port} inet n - n - - smtpd\n{lines}"

    def make_users(self):
        names = " ".join(self.mechanisms)
        self.write("postfix/etc/sasl/smtpd.conf", f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
                   f"sasldb_path: {self.base}/sasldb2\nmech_list: {names}\n")
        for user, password in self.users.items():
            subprocess.run(
                ["saslpasswd2", "-p", "-c", "-f", str(self.base / "sasldb2"), "-u", REALM, user],
                input=password.encode(), check=True, capture_output=True, timeout=60,
            )
        shutil.chown(self.base / "sasldb2", "postfix", "postfix")

    def command(self):
        return in_namespace("--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run",
                            "/bin/sh", str(self.base / "start.sh"))

    def log(self):
        return super().log() + self._instance.log()

    def logins(self):
        found, version = [], {}
        for line in self._instance.log().splitlines():
            if told := re.search(r"smtpd\[(\d+)\]: \w+ TLS connection established .*: TLSv(\S+) with", line):
                version[told[1]] = told[2]
            elif told := re.search(r"smtpd\[(\d+)\]: .* sasl_method=(\S+), sasl_username=([^@]+)", line):
                found.append(Login(told[3], told[2], version[told[1]]))
        return found


def write_token_key(server):
    """As Dovecot looks for it: no client, the algorithm, no key id."""
    server.write("keys/default/HS256/default", base64.b64encode(TOKEN_KEY).decode())


class DovecotPostfix(CyrusPostfix):
    """Postfix whose SASL is Dovecot 2.3, or what this host has of it."""

    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", *TOKENS)
    absent = {
        "SCRAM-SHA-512": "Dovecot has no such mechanism",
        "EXTERNAL": "Postfix tells Dovecot nothing of the client's certificate",
        **dict.fromkeys(BOUND, "Postfix gives Dovecot no channel binding"),
    }
    sasl, sasl_path = "dovecot", "{base}/auth"

    def make_users(self):
        self._values["mechanisms"] = " ".join(self.mechanisms).lower()
        self.write("dovecot.conf", self.fill_in("login_dovecot_auth.conf"))
        self.write("oauth2.conf", "introspection_mode = local\nusername_attribute = sub\n"
                   f"local_validation_key_dict = fs:posix:prefix={self.base}/keys/\n")
        write_token_key(self)


class DovecotSubmission(LoginServer, Rooted):
    """Dovecot 2.4's submission service. Only OpenSSL's own configuration keeps it from TLS 1.3, so that the doors for
    TLS 1.2 belong to a second instance."""

    root = "dovecot"
    mechanisms = (
        "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", *TOKENS,
        "EXTERNAL",
    )
    absent = dict.fromkeys(("SCRAM-SHA-512", "SCRAM-SHA-512-PLUS"), "Dovecot has no such mechanism")

    def prepare(self):
        super().prepare()
        # A certificate belongs to an address.
        hosts = {(door.version, door.certificate): f"127.0.0.{10 + number}" for number, door in enumerate(DOORS)}
        ports = dict(starttls=self.port, implicit=self.places[DOORS[-1]][1])
        self.places = {door: (hosts[door.version, door.certificate], ports[door.mode]) for door in DOORS}
        self._values |= dict(mechanisms="".join(f"  {name.lower()} = yes\n" for name in self.mechanisms), **ports)
        old, new = ({certificate: host for (version, certificate), host in hosts.items() if version == wanted}
                    for wanted in VERSIONS)
        self._write_instance("old", ["127.0.0.1", *old.values()], old)
        self._write_instance("new", list(new.values()), new)
        write_token_key(self)
        self.write("openssl.cnf", "openssl_conf = it\n[it]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n"
                   "[all]\nMaxProtocol = TLSv1.2\n")
        self.write("start.sh", self.fill_in("login_dovecot.sh"))

    def _write_instance(self, name, hosts, shown):
        local = "".join(
            f"local {host} {{\n"
            f"  ssl_server_cert_file = /srv/{certificate}.pem\n  ssl_server_key_file = /srv/{certificate}.key\n}}\n"
            for certificate, host in shown.items()
        )
        self._values |= dict(instance=name, hosts=" ".join(hosts), local=local)
        self.write(f"{name}.conf", self.fill_in("login_dovecot.conf"))

    def run(self):
        return ["/bin/sh", "/srv/start.sh"]

    def log(self):
        told = self.base / "dovecot.log"
        return super().log() + (told.read_text() if told.exists() else "")

    def logins(self):
        found = re.findall(r"Logged in: user=<([^>]*)>, method=([^,]+), TLSv(\S+)", self.log())
        return [Login(user, mechanism, version) for user, mechanism, version in found]


class EximLogins(LoginServer, Rooted):
    """Exim 4, Debian's exim4-daemon-heavy: its own authenticators, and SCRAM by Cyrus."""

    root = "exim-heavy"
    binds = {"/etc/exim4": "etc", "/etc/sasl2": "sasl"}
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "EXTERNAL")
    absent = {
        **dict.fromkeys(TOKENS, "Debian's Exim has no authenticator for it"),
        **dict.fromkeys(BOUND, "only Exim's gsasl authenticator binds logins, and Debian's Exim is made without it"),
    }
    user_line = "{}: {}\n"

    def prepare(self):
        super().prepare()
        ports = {door: port for door, (_, port) in self.places.items()}
        implicit = [str(port) for door, port in ports.items() if door.mode == "implicit"]
        self._values |= dict(
            ports=" : ".join(map(str, ports.values())), implicit=" : ".join(implicit), realm=REALM,
            certificates=" ".join(f"p{port}={door.certificate}" for door, port in ports.items()),
            priorities=" ".join(
                f"p{port}=NORMAL:-VERS-ALL:+VERS-TLS{door.version}" for door, port in ports.items()
            ),
        )
        self.write("etc/exim4.conf", self.fill_in("login_exim.conf"))
        self.write("sasl/exim.conf", "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: /srv/sasldb2\n")
        for name in ("spool", "log"):
            (self.base / name).mkdir()
        lines = "".join(f"printf %s '{password}' | saslpasswd2 -p -c -f /srv/sasldb2 -u {REALM} '{user}'\n"
                        for user, password in self.users.items())
        self.write("make_users", "set -e\n" + lines, 0o600)
        self.within("sh", "/srv/make_users")
        self.within("sh", "-c", "chown -R Debian-exim:Debian-exim /srv/spool /srv/log /srv/*.key /srv/sasldb2 /srv/users")

    def run(self):
        return ["/usr/sbin/exim4", "-bdf", "-q1m"]

    def log(self):
        told = "".join(path.read_text(errors="replace") for path in sorted((self.base / "log").glob("*log")))
        return super().log() + told

    def logins(self):
        found = re.findall(r" X=TLS([0-9.]+):.* A=(\w+):([^@\s]+)", self.log())
        return [Login(user, name.upper().replace("_", "-"), version) for version, name, user in found]


LOGIN_SERVERS = {
    "postfix-cyrus": CyrusPostfix,
    "postfix-dovecot": DovecotPostfix,
    "dovecot": DovecotSubmission,
    "exim": EximLogins,
}
