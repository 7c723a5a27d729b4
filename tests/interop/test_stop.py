"""SIGTERM in the middle of things: what the relay has taken is known to be taken, and clients are told."""

import re
import signal
import time

import pytest

from held_relay import HeldRelay

MESSAGE = b"Subject: once\r\n\r\nx\r\n"


@pytest.fixture
def held_relay():
    relay = HeldRelay()
    yield relay
    relay.close()


@pytest.fixture
def at_dot(held_relay, make_nullmta):
    """A daemon whose only message waits for the reply to its final dot; its queue id."""
    nullmta = make_nullmta(held_relay.port)
    nullmta.relay_in_the_clear()
    nullmta.start()
    queue_id = nullmta.send(MESSAGE)
    assert held_relay.at_dot.wait(30), nullmta.log()
    return nullmta, queue_id


def test_a_stop_waits_for_the_reply_to_the_final_dot(at_dot, held_relay):
    nullmta, queue_id = at_dot
    nullmta.signal(signal.SIGTERM)
    nullmta.wait_for_log("stopping")
    time.sleep(2)
    assert nullmta.process.poll() is None, "the reply was not waited for"
    held_relay.release.set()
    assert nullmta.stop() == 0
    assert re.search(rf"{queue_id}: to=<bob@example\.net>.* status=sent", nullmta.log()), nullmta.log()
    nullmta.start()
    assert nullmta.queue() == []
    nullmta.probe()
    time.sleep(1)  # what is sent again is sent at once
    assert len(held_relay.messages) == 1
    assert "possible duplicate" not in nullmta.log()


def test_a_relay_that_never_replies_does_not_keep_a_stop_forever(at_dot, held_relay):
    nullmta, queue_id = at_dot
    begun = time.monotonic()
    assert nullmta.stop(seconds=40) == 0
    assert 15 < time.monotonic() - begun < 30
    held_relay.release.set()
    nullmta.start()
    nullmta.wait_until_empty()
    # Whether the relay had it cannot be known: sent again, and said so.
    assert len(held_relay.messages) == 2
    nullmta.wait_for_log(f"{queue_id}: possible duplicate")


def test_idle_sessions_are_told_of_a_stop(sink_and_nullmta):
    _, nullmta = sink_and_nullmta()
    fresh, greeted, within = nullmta.client(), nullmta.client(), nullmta.client()
    greeted.ehlo()
    within.ehlo()
    assert within.mail("ann@example.org")[0] == 250
    nullmta.signal(signal.SIGTERM)
    for session in (fresh, greeted, within):
        code, said = session.getreply()
        assert code == 421 and said.startswith(b"4.3.2 "), (code, said)
        assert session.file.read() == b"", "the connection was not closed"
    assert nullmta.stop() == 0
