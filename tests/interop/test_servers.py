"""Relays of every family that can be had here: a burst, an end in the midst, restarts, refusals, long lines, many
recipients.

The server forwards to a recorder; what counts is what the daemon says of each message and what arrives behind the
server. A server that is killed may send twice what it had taken: that is between it and the recorder, so a message
doubled is an error only where nothing was killed.
"""

import collections
import email
import re
import time

import pytest

from daemon import submit
from pki import NAME
from recorder import Recorder
from servers import PASSWORD, SERVERS, USER
from waiting import wait_until

MESSAGE = b"Subject: number %d\r\n\r\nbody %d\r\n"


@pytest.fixture(params=SERVERS, ids=lambda family: family.__name__)
def family(request):
    return request.param


class Relayed:
    """A daemon, the server that is its relay, and the recorder behind that."""

    def __init__(self, family, scratch, authority, make_nullmta, relay="", **settings):
        certificate, key = authority.issue("server", f"DNS:{NAME},DNS:localhost,IP:127.0.0.1")
        self.recorder = Recorder(refused=family.refused)
        self.server = family(scratch / "server", certificate, key, self.recorder.port, **settings)
        self.nullmta = make_nullmta(self.server.port, user=USER, password=PASSWORD, queue='retry-min = "1s"', relay=relay)
        if not family.has_auth:
            self.nullmta.leave_out("username", "password-file")
        self.arrived, self.transactions = collections.Counter(), []

    def collect(self):
        """How often each message (by its subject) and recipient came out behind the server, until now."""
        for transaction in self.recorder.take():
            self.transactions.append(transaction)
            number = int(re.search(rb"^Subject: number (\d+)", transaction.content, re.MULTILINE).group(1))
            for recipient in transaction.recipients:
                self.arrived[number, recipient.split(">")[0].strip("<")] += 1
        return self.arrived

    def wait_for(self, expected: set, seconds=60):
        wait_until(
            lambda: expected <= set(self.collect()), seconds,
            lambda: f"{len(expected - set(self.arrived))} of {len(expected)} to arrive; the server said\n"
            f"{self.server.log()[-2000:]}\nand the daemon\n{self.nullmta.log()[-3000:]}",
        )

    def drain(self, seconds=120):
        """Waits for an empty queue; the relay is asked now and then, as an operator would."""
        deadline = time.monotonic() + seconds
        while self.nullmta.queue():
            left = len(self.nullmta.queue())
            assert time.monotonic() < deadline, f"{left} left; the log ends\n{self.nullmta.log()[-3000:]}"
            self.nullmta.probe()
            time.sleep(0.5)

    def submit(self, count, recipients=("bob@example.net",)):
        with self.nullmta.client() as client:
            for number in range(count):
                submit(client, MESSAGE % (number, number), recipients=recipients)
        return {(number, to) for number in range(count) for to in recipients}

    def sent(self) -> collections.Counter:
        """How often each queue id has a line that says `sent`, for each recipient."""
        return collections.Counter(re.findall(r"(\w+): to=<([^>]*)>.* status=sent ", self.nullmta.log()))

    def close(self):
        self.server.kill()
        self.recorder.close()


@pytest.fixture
def relayed(family, scratch, authority, make_nullmta):
    made = []

    def make(**settings):
        made.append(Relayed(family, scratch, authority, make_nullmta, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_burst_arrives_once_and_without_a_word_of_trouble(relayed):
    relayed = relayed()
    relayed.server.start()
    relayed.nullmta.start()
    expected = relayed.submit(100)
    relayed.wait_for(expected)
    relayed.nullmta.wait_until_empty(60)
    assert relayed.collect() == collections.Counter(expected)
    assert set(relayed.sent().values()) == {1} and len(relayed.sent()) == 100
    log = relayed.nullmta.log().partition("started as")[2]
    for word in ("relay paused", "relay trouble", "possible duplicate", "status=deferred", "WARN", "ERROR"):
        assert word not in log, log[-3000:]


def test_a_server_killed_in_the_midst_costs_nothing(relayed):
    relayed = relayed()
    relayed.server.start()
    relayed.nullmta.start()
    expected = relayed.submit(100)
    wait_until(lambda: relayed.sent(), 60, "the first delivery")
    relayed.server.kill()
    relayed.server.start()
    relayed.drain()
    relayed.wait_for(expected)
    told = set(re.findall(r"(\w+): possible duplicate", relayed.nullmta.log()))
    assert all(count == 1 or queue_id in told for (queue_id, _), count in relayed.sent().items())
    assert "status=bounced" not in relayed.nullmta.log()


def test_restarts_under_five_hundred(relayed):
    relayed = relayed()
    relayed.nullmta.start()
    expected = relayed.submit(500)
    for count in (100, 200, 300):
        relayed.server.start()
        relayed.nullmta.probe()
        wait_until(
            lambda: len(relayed.sent()) >= count, 60,
            lambda: f"{count} deliveries, {len(relayed.sent())} are made\n{relayed.nullmta.log()[-3000:]}",
        )
        relayed.server.kill()
    relayed.server.start()
    relayed.drain()
    relayed.wait_for(expected)
    assert "status=bounced" not in relayed.nullmta.log()


def test_a_refused_recipient_concerns_nobody_else(relayed):
    relayed = relayed()
    relayed.server.start()
    relayed.nullmta.start()
    refused = relayed.server.refused
    for number in range(10):
        recipients = [f"bob{number}@example.net", refused]
        relayed.nullmta.send(MESSAGE % (number, number), recipients=recipients, reverse_path="")
    relayed.wait_for({(number, f"bob{number}@example.net") for number in range(10)})
    for line in (rf"to=<{re.escape(refused)}>.* status=bounced ", r"to=<bob\d@example.net>.* status=sent "):
        told = lambda: len(re.findall(line, relayed.nullmta.log()))
        wait_until(lambda: told() >= 10, 30, lambda: f"ten lines {line}\n{relayed.nullmta.log()[-3000:]}")
        assert told() == 10, relayed.nullmta.log()[-3000:]


SIGNED = b"DKIM-Signature: v=1; d=example.org; b=x\r\n"
EIGHT_BIT = "Grüße".encode()


def with_line(octets: int) -> bytes:
    return b"Subject: number %d\r\n\r\n" + b"0123456789" * (octets // 10) + b"\r\n"


# What is signed is not folded.
ODD = [
    with_line(5_000),
    with_line(70_000),
    SIGNED + with_line(5_000),
    SIGNED + with_line(70_000),
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nSubject: number %d\r\n\r\n" + EIGHT_BIT + b"\r\n",
]


def is_refused(server, text: bytes) -> bool:
    return text.startswith(SIGNED) and max(map(len, text.split(b"\r\n"))) > server.longest_line


def assert_same_text(content: bytes, sent: bytes):
    """What a server puts into a line that it breaks (a line end, a blank, `!`) is no digit."""
    digits = lambda text: re.sub(rb"[^0-9]", b"", text)
    body, original = email.message_from_bytes(content).get_payload(decode=True), sent.partition(b"\r\n\r\n")[2]
    assert digits(body) == digits(original)
    assert (EIGHT_BIT in body) == (EIGHT_BIT in original)


def test_long_lines_and_8_bit_text_concern_nobody_else(relayed):
    """A relay refused a long line within the content and again at the dot: the harmless mail behind it on the
    connection bounced by the second refusal. Here a harmless message is behind each."""
    relayed = relayed(relay="max-connections = 1")
    relayed.server.start()
    harmless = b"Subject: number %d\r\n\r\nx\r\n"
    sent = [harmless, *(text for odd in ODD for text in (odd, harmless))]
    refused = {number for number, text in enumerate(sent) if is_refused(relayed.server, text)}
    relayed.nullmta.start()
    with relayed.nullmta.client() as client:
        for number, text in enumerate(sent):
            submit(client, text % number)
    relayed.nullmta.wait_until_empty(90)
    # Of what is refused its sender hears.
    expected = {(number, "ann@example.org" if number in refused else "bob@example.net") for number in range(len(sent))}
    relayed.wait_for(expected)
    assert relayed.collect() == collections.Counter(expected), relayed.nullmta.log()[-6000:]
    assert relayed.nullmta.log().count("status=bounced") == len(refused)
    for transaction in relayed.transactions:
        number = int(re.search(rb"^Subject: number (\d+)", transaction.content, re.MULTILINE).group(1))
        if number not in refused:
            assert_same_text(transaction.content, sent[number])


def test_more_recipients_than_the_server_takes_at_once(relayed):
    """Of 1,000 recipients a relay took fifty at a time, and those of the next fifty after a wait as for a refusal."""
    relayed = relayed(relay="max-connections = 1", recipients=10)
    relayed.server.start()
    relayed.nullmta.start()
    many = [f"bob{number}@example.net" for number in range(120)]
    with relayed.nullmta.client() as client:
        for number, recipients in enumerate((["ann@example.net"], many, ["ann@example.net"])):
            submit(client, MESSAGE % (number, number), recipients=recipients)
    expected = {(1, recipient) for recipient in many} | {(0, "ann@example.net"), (2, "ann@example.net")}
    relayed.wait_for(expected, 90)
    relayed.nullmta.wait_until_empty(60)
    if relayed.server.keeps_the_surplus:
        assert relayed.collect() == collections.Counter(expected)
    assert set(relayed.sent().values()) == {1} and len(relayed.sent()) == len(expected)
    for word in ("status=deferred", "status=bounced", "relay paused", "possible duplicate"):
        assert word not in relayed.nullmta.log(), relayed.nullmta.log()[-3000:]
