"""Logins at real relays: each mechanism at each server, by STARTTLS and implicit TLS, with TLS 1.2 and 1.3; certificates
that are good, expired, for another name, of an unknown issuer, and pinned; wrong secrets; and the strongest mechanism where
none is named.

The table is the whole product, server x mechanism x mode x version x certificate x secret, but for three things. A wrong
secret behind a certificate that is refused would be the same cell as a right one: no relay there sees either, which the right
one shows more sharply. What is pinned is each certificate that is refused without its pin; a good one makes no difference. And
what a server cannot offer is no cell: `absent` of its class gives the reason, and
`test_each_mechanism_is_offered_or_said_to_be_absent` holds it to that.

One daemon has a route for each cell, and gets one message for each, some at a time. When all have come to an end it is killed,
and its log is read once.
"""

import base64
import hashlib
import itertools
import re
import subprocess
from collections import Counter, defaultdict
from typing import NamedTuple

import pytest

from daemon import TREE, Nullmta, submit
from login_servers import (
    BOUND, FAULTS, LOGIN_SERVERS, MODES, OTHER_NAME, TOKENS, VERSIONS, Door, Login, access_token, certificates,
)
from pki import NAME, Authority
from recorder import Recorder
from waiting import wait_until

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"
PASSWORD, WRONG = "s3cret pass/word", "wr0ng pass/word"
# What `auth.mechanisms` may name, as the configuration file says. Of those in `BY_DEFAULT` the first one that is offered is used
# where it names none.
LISTED = re.search(r"# Only these SASL mechanisms: ([^.]*)\.", (TREE / "config" / "nullmta.toml").read_text()).group(1)
MECHANISMS = re.findall(r"[A-Z0-9-]+", LISTED)
BY_DEFAULT = (*reversed(BOUND), "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN")
STRANGE_PIN = "ab" * 32


class Cell(NamedTuple):
    """One login. `case` is "right", "by-default" (no mechanism is named), "wrong-secret", "pinned", "pinned-wrong-secret",
    "other-pin", or "too-old" (its mechanism cannot be bound to TLS 1.2)."""

    server: str
    mechanism: str
    door: Door
    case: str = "right"

    @property
    def user(self) -> str:
        door = self.door
        return f"{self.mechanism}-{door.mode}-{door.version}-{door.certificate}-{self.case}".lower()

    @property
    def recipient(self) -> str:
        return f"{self.user}@{self.server}.test"

    def __str__(self):
        return f"{self.server}-{self.user}"


def offered_by(family) -> list:
    """Those that nullmta knows, too."""
    return [mechanism for mechanism in family.mechanisms if mechanism in MECHANISMS]


def product(server, mechanism, mode, version):
    """The cells of one mechanism by one TLS mode and version: each certificate, trusted by a CA and by its pin, and both
    secrets wherever the relay gets to see one."""
    good = Door(mode, version)
    yield Cell(server, mechanism, good, "other-pin")
    yield from (Cell(server, mechanism, Door(mode, version, fault)) for fault in FAULTS)
    if mechanism in BOUND and version == "1.2":
        # nullmta binds logins to TLS 1.3 alone, by its exporter.
        yield Cell(server, mechanism, good, "too-old")
        return
    yield from (Cell(server, mechanism, good, case) for case in ("right", "wrong-secret"))
    for fault in FAULTS:
        pinned = Door(mode, version, fault)
        yield from (Cell(server, mechanism, pinned, case) for case in ("pinned", "pinned-wrong-secret"))


def cells():
    for server, family in LOGIN_SERVERS.items():
        for each in itertools.product(offered_by(family), MODES, VERSIONS):
            yield from product(server, *each)
        offered = [mechanism for mechanism in BY_DEFAULT if mechanism in offered_by(family)]
        unbound = [mechanism for mechanism in offered if mechanism not in BOUND]
        yield Cell(server, offered[0], Door("starttls", "1.3"), "by-default")
        yield Cell(server, unbound[0], Door("starttls", "1.2"), "by-default")


CELLS = list(cells())
WRONG_SECRET = [cell for cell in CELLS if cell.case.endswith("wrong-secret")]
TOO_OLD = [cell for cell in CELLS if cell.case == "too-old"]
REFUSED_CERTIFICATE = [
    cell for cell in CELLS if cell.case == "other-pin" or cell.case == "right" and cell.door.certificate != "good"
]
WRONG_SECRETS = set(WRONG_SECRET)
WAITING = {*WRONG_SECRET, *TOO_OLD, *REFUSED_CERTIFICATE}
DELIVERED = [cell for cell in CELLS if cell not in WAITING]
# The name of the route of each cell.
ROUTES = {cell: f"cell-{number}" for number, cell in enumerate(CELLS)}
# So many cells are under way at a time, of all servers: each is a connection.
AT_ONCE = 360


def each(cells):
    return pytest.mark.parametrize("cell", cells, ids=str)


def pin_of(certificate) -> str:
    """As the configuration file says it is made."""
    command = f"openssl x509 -in {certificate} -pubkey -noout | openssl pkey -pubin -outform der"
    return hashlib.sha256(subprocess.run(["sh", "-c", command], check=True, capture_output=True).stdout).hexdigest()


ROUTE = """
[[route]]
name = "{route}"
recipients = "{cell.recipient}"
relayhost = "{host}:{port}"
[route.auth]
{proof}
{mechanisms}
[route.tls]
mode = "{cell.door.mode}"
server-name = "{name}"
{trust}
{client}
[route.relay]
idle = "off"
"""


def secret_of(cell) -> str:
    """Its password or its access token."""
    if cell.mechanism in TOKENS:
        return access_token(cell.user, **({"key": b"not that of the server"} if cell in WRONG_SECRETS else {}))
    return WRONG if cell in WRONG_SECRETS else PASSWORD


def users_of(server) -> dict:
    return {cell.user: PASSWORD for cell in CELLS if cell.server == server}


class Matrix:
    """The servers, the recorder behind them, and the daemon that has sent, or kept, the message of each cell."""

    def __init__(self, base, authority):
        base.mkdir()
        self.stranger = Authority(base / "stranger", "a stranger's CA")
        self.authority, self.shown = authority, certificates(authority, self.stranger)
        self.pins = {name: pin_of(certificate) for name, (certificate, _) in self.shown.items()}
        self.recorder, self.came_out = Recorder(), Counter()
        self.servers = {
            name: family(base / name, self.shown, self.recorder.port, users_of(name), authority.ca_file)
            for name, family in LOGIN_SERVERS.items()
        }
        self.ca_file = authority.ca_file
        self.nullmta = Nullmta(base / "nullmta", 1, authority.ca_file, NAME, "nobody", PASSWORD)
        self.secrets = {cell: secret_of(cell) for cell in CELLS}
        text = self.nullmta.config.read_text() + '\n[log]\nlevel = "debug"\n'
        self.nullmta.config.write_text(text + "".join(map(self._route, CELLS)))

    def _route(self, cell):
        host, port = self.place(cell)
        its_pin = self.pins[cell.door.certificate]
        pins = {"pinned": its_pin, "pinned-wrong-secret": its_pin, "other-pin": STRANGE_PIN}
        trust = f'pin-sha256 = "{pins[cell.case]}"' if cell.case in pins else f'ca-file = "{self.ca_file}"'
        mechanisms = "" if cell.case == "by-default" else f'mechanisms = ["{cell.mechanism}"]'
        client = self._client_certificate(cell) if cell.mechanism == "EXTERNAL" else ""
        return ROUTE.format(
            cell=cell, route=ROUTES[cell], host=host, port=port, name=NAME, trust=trust, mechanisms=mechanisms, client=client,
            proof="" if client else self._proof(cell),
        )

    def _proof(self, cell):
        path = self.nullmta.base / f"secret-{cell}"
        path.write_text(self.secrets[cell])
        path.chmod(0o600)
        key = "token-file" if cell.mechanism in TOKENS else "password-file"
        return f'username = "{cell.user}"\n{key} = "{path}"'

    def _client_certificate(self, cell):
        """In place of a name and a secret: a certificate with the name; the wrong one has an issuer that nobody knows."""
        issuer = self.stranger if cell in WRONG_SECRETS else self.authority
        certificate, key = issuer.issue(cell.user, "DNS:client.nullmta.test", usage="clientAuth")
        return f'client-certificate = "{certificate}"\nclient-key = "{key}"'

    def run(self):
        for server in self.servers.values():
            server.start()
        self.nullmta.start()
        self.ids = {}
        # Those of all servers take turns.
        turns = sorted(CELLS, key=lambda cell: [other for other in CELLS if other.server == cell.server].index(cell))
        for begin in range(0, len(turns), AT_ONCE):
            with self.nullmta.client() as client:
                for cell in turns[begin:begin + AT_ONCE]:
                    self.ids[cell] = submit(client, MESSAGE, recipients=[cell.recipient])
            try:
                wait_until(self._is_settled, 60, "an end of each")
            except AssertionError:
                pass  # each cell says for itself what it lacks
        self.queued = {message["id"] for message in self.nullmta.queue()}
        self.nullmta.kill()
        self._read_logs()
        return self

    def _read_logs(self):
        """What all cells ask for, by message, by route, and by user."""
        self.lines_of, self.pauses_of, self.logins_of = defaultdict(list), defaultdict(list), defaultdict(list)
        known = set(self.ids.values())
        for line in self.nullmta.log().splitlines():
            if told := re.search(r" ([0-9A-F]{16}): ", line):
                if told[1] in known:
                    self.lines_of[told[1]].append(line)
            if told := re.search(r" route (\S+): relay paused: (.*); 1 in the queue, next probe in (.*)s", line):
                self.pauses_of[told[1]].append((told[2], told[3]))
        for name, server in self.servers.items():
            for login in server.logins():
                self.logins_of[name, login.user].append(login)

    def close(self):
        if self.nullmta.process is not None:
            self.nullmta.kill()
        for server in self.servers.values():
            server.kill()
        self.recorder.close()

    def _is_settled(self):
        """Whether all that is still queued is what is to wait, and has met a pause."""
        ids = {message["id"] for message in self.nullmta.queue()}
        waiting = [cell for cell in self.ids if cell in WAITING]
        if len(ids) != len(waiting):
            return False
        paused = set(re.findall(r" route (\S+): relay paused: ", self.nullmta.log()))
        return all(ROUTES[cell] in paused for cell in waiting)

    def pauses(self, cell) -> list:
        """The reason and the length of each pause that its relay had for a reason of this cell's kind."""
        kind = "TLS" if cell in REFUSED_CERTIFICATE else "AUTH:" if cell in TOO_OLD else f"AUTH: {cell.mechanism}:"
        host, port = self.place(cell)
        # Somebody must let the relay speak TLS 1.3, or allow another mechanism.
        told = "configuration: " if cell in TOO_OLD else ""
        begin = f"{told}{host}[{host}]:{port}: {kind}"
        return [(reason, pause) for reason, pause in self.pauses_of[ROUTES[cell]] if reason.startswith(begin)]

    def place(self, cell):
        return self.servers[cell.server].places[cell.door]

    def log_of(self, cell) -> str:
        """The lines about its message."""
        return "\n".join(self.lines_of[self.ids[cell]])

    def waits(self, cell) -> bool:
        """Whether its message is queued, and nothing was said of its recipient."""
        return self.ids[cell] in self.queued and "status=" not in self.log_of(cell)

    def story(self, cell) -> str:
        """What is known of it, for a test that fails."""
        told = [line for line in self.nullmta.log().splitlines() if f"route {ROUTES[cell]}: " in line]
        return "\n".join([self.log_of(cell), *told[-30:], self.servers[cell.server].log()[-2000:]])

    def arrived(self, cell) -> int:
        """How often its message has come out behind the server."""
        for transaction in self.recorder.take():
            self.came_out.update(re.match("<([^>]*)>", recipient)[1] for recipient in transaction.recipients)
        return self.came_out[cell.recipient]

    def logins(self, cell) -> list:
        return self.logins_of[cell.server, cell.user]


@pytest.fixture(scope="module")
def matrix(base, authority):
    made = Matrix(base / "matrix", authority)
    try:
        yield made.run()
    finally:
        made.close()


@pytest.mark.parametrize("server", LOGIN_SERVERS)
def test_each_mechanism_is_offered_or_said_to_be_absent(server):
    family = LOGIN_SERVERS[server]
    told = [*family.mechanisms, *family.absent]
    assert len(MECHANISMS) > 6 and set(MECHANISMS) <= set(told) and len(set(told)) == len(told)
    assert all(family.absent.values())


@each(DELIVERED)
def test_it_logs_in_and_delivers(matrix, cell):
    told = matrix.log_of(cell)
    assert re.search(rf"to=<{re.escape(cell.recipient)}>.* tls=TLSv1\.\d, .*status=sent ", told), matrix.story(cell)
    wait_until(lambda: matrix.arrived(cell), 30, lambda: f"the message behind the server\n{matrix.story(cell)}")
    assert matrix.arrived(cell) == 1
    assert f"tls=TLSv{cell.door.version}," in told
    assert matrix.logins(cell) == [Login(cell.user, cell.mechanism, cell.door.version)]


def what_is_said(matrix, cell) -> str:
    """The words for a certificate that is refused, with what to do."""
    pin = matrix.pins[cell.door.certificate]
    its_own = f'route.tls.pin-sha256 = "{pin}"'
    if cell.case == "other-pin":
        return f"the relay's key is none of route.tls.pin-sha256; its pin is {pin}"
    return {
        "expired": f"expired on .*: it must be renewed there; .*{its_own}",
        "wrong-name": f'for {OTHER_NAME}, not for {NAME} .*set route.tls.server-name = "{OTHER_NAME}"',
        "unknown": rf"is not trusted \(route.tls.ca-file names a private CA\).*{its_own}",
    }[cell.door.certificate]


@each(REFUSED_CERTIFICATE)
def test_a_refused_certificate_costs_nothing_and_says_what_to_set(matrix, cell):
    ((reason, _),) = matrix.pauses(cell)
    assert re.search(what_is_said(matrix, cell), reason)
    assert matrix.waits(cell)
    assert matrix.logins(cell) == [] and matrix.arrived(cell) == 0


@each(WRONG_SECRET)
def test_a_wrong_secret_makes_the_message_wait(matrix, cell):
    ((reason, pause),) = matrix.pauses(cell)
    assert re.search(r"the relay said: 535 ", reason)
    # A login that is refused has a pause of its own, so that no account is locked.
    assert float(pause) > 30
    assert matrix.waits(cell)
    assert matrix.logins(cell) == [] and matrix.arrived(cell) == 0


@each(TOO_OLD)
def test_a_login_that_cannot_be_bound_to_its_session_is_not_tried(matrix, cell):
    ((reason, _),) = matrix.pauses(cell)
    assert "let the relay speak TLS 1.3, or allow SCRAM without -PLUS (route.auth.mechanisms)" in reason
    assert matrix.waits(cell)
    assert matrix.logins(cell) == [] and matrix.arrived(cell) == 0


def test_no_secret_is_in_the_log(matrix):
    """Nor is it in base64, in whole or as the end of another text (as PLAIN sends it), with the dialogue in the log."""
    log = matrix.nullmta.log()
    assert " AUTH" in log
    for secret in set(matrix.secrets.values()):
        assert secret not in log
        for before in range(3):
            inner = base64.b64encode(b"x" * before + secret.encode())[4:-4].decode()
            assert inner not in log
