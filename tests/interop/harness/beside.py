"""The same mail through Postfix and through nullmta, and what a relay gets of each.

Evened out is what must differ: the Received fields of the host, the values of a Date and a Message-ID that were
made on it, and ORCPT, which Postfix adds and RFC 3461 5.2.1 leaves to each. Nothing else is.
"""

import itertools
import re
import subprocess
from dataclasses import dataclass

from content import split
from daemon import Nullmta, binary
from postfix_client import PostfixClient
from waiting import wait_until

HOST = "client.nullmta.test"
# A null client, with the header that Postfix adds only on request and nullmta always.
MAIN_CF = """\
myhostname = client.nullmta.test
mydestination =
local_transport = error:no mail is delivered here
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{relay_port}
smtp_tls_security_level = none
undisclosed_recipients_header = To: undisclosed-recipients:;
alias_maps =
alias_database =
"""
# A date that was made on the way: one that is not of the minute which messages here are of.
MADE_DATE = re.compile(rb"\d\d\d\d (?!02:0\d:\d\d )\d\d:\d\d:\d\d ")


class PostfixSide:
    """A Postfix null client, and the recorder that is its relay; `main_cf` names its port. `files` lie beside."""

    def __init__(self, base, main_cf, recorder, host=HOST, files=(), **parameters):
        self.recorder, self.host, self.program = recorder, host, ["/usr/sbin/sendmail"]
        self._client = PostfixClient(base, main_cf)
        self.config, self.port = self._client.config, self._client.port
        for name, text in files:
            (self.config / name).write_text(text)
        self._client.set(**parameters)
        for table in set(re.findall(r"hash:\S+", main_cf)):
            self._client.map(table)
        self._client.start()

    def wait_until_sent(self):
        self._client.wait_until_empty()

    def stop(self):
        self._client.stop()
        self.recorder.close()


class NullmtaSide:
    """nullmta's daemon, and the recorder that is its relay; `toml` makes its configuration, if it is no plain one."""

    def __init__(self, base, recorder, host=HOST, toml=None):
        self.recorder, self.host, self.program = recorder, host, [str(binary()), "sendmail"]
        self._daemon = Nullmta(base, recorder.port, "", "", "", "hunter2")
        self.config, self.port = self._daemon.config, self._daemon.port
        if toml:
            self.config.write_text(toml(self._daemon))
        else:
            self._daemon.relay_in_the_clear()
        self._daemon.start()

    def wait_until_sent(self):
        def is_empty():
            return self._daemon.status()["messages"] == 0

        wait_until(is_empty, 30, lambda: f"nullmta's empty queue; its log ends\n{self._daemon.log()[-3000:]}")

    def start_again(self):
        """After `stop_daemon`; until all that was left for it meanwhile is picked up."""
        self._daemon.start()
        drop = self._daemon.base / "spool" / "drop"
        wait_until(lambda: not any(drop.iterdir()), 60, lambda: f"an empty {drop}; {self._daemon.log()[-3000:]}")

    def stop_daemon(self):
        assert self._daemon.stop() == 0

    def stop(self):
        self.stop_daemon()
        self.recorder.close()


@dataclass
class Sent:
    """One transaction at the relay, evened out."""

    reverse_path: str
    parameters: list
    recipients: list
    recipient_parameters: list
    header: list
    body: bytes
    user: str

    @classmethod
    def of(cls, transaction, host):
        reverse_path, parameters = _parted(transaction.mail)
        recipients = sorted(_parted(recipient) for recipient in transaction.recipients)
        of_recipients = {parameter for _, parameters in recipients for parameter in parameters}
        fields, body = split(transaction.content.replace(b"\r\n", b"\n"))
        return cls(
            reverse_path, parameters, [path for path, _ in recipients],
            sorted(parameter for parameter in of_recipients if not parameter.startswith("ORCPT=")),
            _evened(fields, host.encode()), body, transaction.user,
        )

    def differing(self, other):
        """The names of what is not the same in both."""
        return {name for name, value in vars(self).items() if value != getattr(other, name)}


def _parted(text):
    """The path, and the parameters behind it, sorted."""
    path, *parameters = re.findall(r'<(?:"(?:\\.|[^"\\])*"|[^>])*>|[^\s<]+', text)
    return path, sorted(parameters)


def _evened(fields, host):
    """Without the Received fields of the host in front; what was made on it stands last, by name."""
    fields = itertools.dropwhile(lambda field: field[0] == b"received" and b"by %s " % host in field[1], fields)
    kept, made = [], []
    for name, octets in fields:
        is_made_id = name.endswith(b"message-id") and b"@%s>" % host in octets
        is_made_date = name.endswith(b"date") and MADE_DATE.search(octets)
        if is_made_id or is_made_date:
            made.append(name + b": made")
        else:
            kept.append(octets)
    return kept + sorted(made)


def sendmail(side, arguments, message):
    """Runs the side's `sendmail`, its configuration first."""
    arguments = [argument.replace("{etc}", str(side.config)) for argument in arguments]
    return subprocess.run(
        [*side.program, "-C", str(side.config), *arguments], input=message, capture_output=True, timeout=60,
    )


def settled(side) -> list:
    """What the relay has got since it was last asked, of all that was handed in."""
    side.wait_until_sent()
    return [Sent.of(transaction, side.host) for transaction in side.recorder.take()]
