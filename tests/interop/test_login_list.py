"""Two real relays in one list, with one account: the first is down, and the spare one refuses the login."""

import re

import pytest

from daemon import Nullmta
from login_servers import MODES, CyrusPostfix, Door, DovecotPostfix, certificates
from pki import NAME, Authority
from recorder import Recorder
from waiting import wait_until

PASSWORD, ANOTHER = "s3cret pass/word", "an0ther pass/word"
DOOR = Door(MODES[0], "1.3")


class Relays:
    """The first one knows the password; what the spare one knows is an argument. Neither runs."""

    def __init__(self, base, authority, spare_knows):
        shown = certificates(authority, Authority(base / "stranger", "a stranger's CA"))
        self.recorder = Recorder()
        families = {"first": (DovecotPostfix, PASSWORD), "spare": (CyrusPostfix, spare_knows)}
        self.first, self.spare = (
            family(base / name, shown, self.recorder.port, {"user": password}, authority.ca_file)
            for name, (family, password) in families.items()
        )
        self.nullmta = Nullmta(base / "nullmta", 1, authority.ca_file, NAME, "user", PASSWORD)
        hosts = ", ".join(f'"{self.place(relay)}"' for relay in (self.first, self.spare))
        text = self.nullmta.config.read_text()
        self.nullmta.config.write_text(text.replace('relayhost = "127.0.0.1:1"', f"relayhost = [{hosts}]"))

    @staticmethod
    def place(relay):
        host, port = relay.places[DOOR]
        return f"{host}:{port}"

    def refusals(self):
        """The number of logins that the spare one has refused."""
        return len(re.findall(r"SASL \S+ authentication failed", self.spare.log()))

    def has_arrived(self):
        """Waits until a message has come out behind them."""
        wait_until(self.recorder.take, 30, "the message behind the relay")

    def close(self):
        if self.nullmta.process is not None:
            self.nullmta.kill()
        for relay in (self.first, self.spare):
            relay.kill()
        self.recorder.close()


@pytest.fixture
def make_relays(scratch, authority):
    made = []

    def make(spare_knows):
        made.append(Relays(scratch / "relays", authority, spare_knows))
        return made[-1]

    yield make
    for relays in made:
        relays.close()


def send(relays):
    return relays.nullmta.send(b"Subject: hello\r\n\r\nHello.\r\n")


def test_a_spare_relay_that_refuses_the_login_does_not_hold_the_list_up(make_relays):
    """The whole list had the pause of the refused login, a minute at least: nobody saw that the first relay was back."""
    relays = make_relays(ANOTHER)
    nullmta, spare = relays.nullmta, relays.place(relays.spare)
    relays.spare.start()
    nullmta.start()
    sent = send(relays)
    nullmta.wait_for_log(rf"relayhost {spare} is left alone for 60s, and the other hosts of the list are tried meanwhile")
    nullmta.wait_for_log(r"relay paused: .*AUTH.*535 ")
    # The first one is probed, and the spare one is not.
    wait_until(lambda: "Connection refused" in nullmta.command("status"), 30, "a probe of the first relay")
    assert relays.refusals() == 1, relays.spare.log()[-2000:]
    told = nullmta.command("status")
    assert re.search(rf"{spare} is left alone for up to \d+s, or until .*: .*535 ", told), told
    relays.first.start()
    nullmta.wait_for_log(f"{sent}: removed", 30)
    assert relays.refusals() == 1
    relays.has_arrived()
    assert "bounced" not in nullmta.log() and "possible duplicate" not in nullmta.log()


def test_a_flush_and_another_password_try_the_spare_relay_at_once(make_relays):
    relays = make_relays(ANOTHER)
    nullmta = relays.nullmta
    relays.spare.start()
    nullmta.start()
    sent = send(relays)
    nullmta.wait_for_log("is left alone for 60s")
    nullmta.try_command("flush")
    nullmta.wait_for_log("is left alone for 120s")
    assert relays.refusals() == 2
    nullmta.set_password(ANOTHER)
    nullmta.wait_for_log(f"{sent}: removed", 30)
    assert relays.refusals() == 2
    relays.has_arrived()
