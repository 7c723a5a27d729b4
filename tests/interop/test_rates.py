"""The rates that a relay allows: the daemon keeps them on a socket, and over a kill."""

import time

import pytest

from scripted_relay import ScriptedRelay
from waiting import wait_until


@pytest.fixture
def paced(make_nullmta):
    """Starts a daemon with these keys in [relay], and a relay that keeps the moment of each message that it takes."""
    relays, taken = [], []

    def script(session, place):
        if place == "DOT":
            taken.append(time.monotonic())

    def make(keys):
        relays.append(ScriptedRelay(script))
        nullmta = make_nullmta(relays[-1].port, relay=keys)
        nullmta.relay_in_the_clear()
        return taken, nullmta.start()

    yield make
    for relay in relays:
        relay.close()


def send(nullmta, count):
    for number in range(count):
        nullmta.send(f"Subject: {number}\r\n\r\nx\r\n".encode(), recipients=["bob@example.net"])


def most_within(taken, period):
    return max(sum(first <= moment < first + period for moment in taken) for first in taken)


def test_five_a_second_are_five_a_second(paced):
    taken, nullmta = paced('rate = "5/s"')
    send(nullmta, 25)
    nullmta.wait_until_empty()
    assert len(taken) == 25
    # One more may come into a second that the network has shortened.
    assert most_within(taken, 1.0) <= 6
    assert "deferred" not in nullmta.log()


def test_a_day_s_rate_does_not_begin_anew_after_a_kill(paced):
    taken, nullmta = paced('rate = "100/day"')
    send(nullmta, 30)
    wait_until(lambda: len(taken) == 10, 30, "a tenth goes at once")
    for _ in range(3):
        nullmta.kill()
        nullmta.start()
        pace = nullmta.status()["pace"]
        assert pace["rates"] == [{"rate": "100/day", "left": 0}] and pace["next-message"], pace
    assert len(taken) == 10
