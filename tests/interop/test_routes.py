"""`[[route]]` with a real daemon: each relay gets its own mail, one that does not work holds up only its own, and the queue
follows the routes of now, over a reload, `kill -9` and a start."""

import signal
import threading
from collections import Counter

import pytest

from as_user import send_as
from scripted_relay import CLOSE, ScriptedRelay
from waiting import wait_until

ROUTE = """
[[route]]
name = "{name}"
{condition}
relayhost = "127.0.0.1:{port}"
tls.mode = "none"
"""
OURS, BRAND = "ann@example.org", "shop@brand.example"


@pytest.fixture
def two_relays(make_nullmta):
    """Two relays, the second one for `brand.example` and closed to it while `is_down` is set; and a daemon for both."""
    is_down = threading.Event()
    first = ScriptedRelay()
    # It leaves a connection that was open before at the next message.
    second = ScriptedRelay(
        lambda session, place: CLOSE if place in ("CONNECT", "MAIL") and is_down.is_set() else None
    )
    nullmta = make_nullmta(first.port, queue='retry-min = "1s"\nretry-max = "1s"')
    nullmta.relay_in_the_clear()
    without = nullmta.config.read_text()

    def route(condition):
        """Puts this route to the second relay into the file; none for an empty condition."""
        text = ROUTE.format(name="brand", condition=condition, port=second.port) if condition else ""
        nullmta.config.write_text(without + text)

    route('senders = ["@brand.example"]')
    yield first, second, is_down, nullmta, route
    first.close()
    second.close()


def send(nullmta, subject, reverse_path=OURS, recipients=("bob@example.net",)):
    return nullmta.send(f"Subject: {subject}\r\n\r\nx\r\n".encode(), reverse_path=reverse_path, recipients=recipients)


def test_a_relay_that_is_down_holds_up_only_its_own_mail(two_relays):
    first, second, is_down, nullmta, _ = two_relays
    nullmta.start()
    send(nullmta, "one"), send(nullmta, "two", BRAND)
    nullmta.wait_until_empty()
    assert (first.subjects(), second.subjects()) == (["one"], ["two"])
    is_down.set()
    waiting = [send(nullmta, f"brand {number}", BRAND) for number in range(30)]
    nullmta.wait_for_log("relay paused")
    for number in range(30):
        send(nullmta, f"ours {number}")
    wait_until(lambda: len(first.messages) == 31, 60, "31 messages at the relay that works")
    wait_until(lambda: len(nullmta.queue()) <= len(waiting), 30, "their end")
    assert {message["id"] for message in nullmta.queue()} == set(waiting)
    is_down.clear()
    nullmta.probe()
    nullmta.wait_until_empty()
    assert Counter(second.subjects()) == Counter(["two"] + [f"brand {number}" for number in range(30)])


def open_recipients(nullmta):
    return [recipient["address"] for message in nullmta.queue() for recipient in message["recipients"]]


def test_one_message_to_two_relays_reaches_each_recipient_once(two_relays):
    first, second, is_down, nullmta, route = two_relays
    route('recipients = ["@brand.example"]')
    is_down.set()
    nullmta.start()
    send(nullmta, "both", recipients=["bob@example.net", "ben@brand.example", "cat@example.net"])
    nullmta.wait_for_log(r"to=<cat@example.net>.*status=sent")
    # The line comes before its record: a kill in between would rightly make a copy.
    wait_until(lambda: open_recipients(nullmta) == ["ben@brand.example"], 30, "only the other relay's recipient is left")
    nullmta.kill()
    nullmta.start()
    is_down.clear()
    nullmta.probe()
    nullmta.wait_until_empty()
    assert [sorted(message.recipients) for message in first.messages] == [["bob@example.net", "cat@example.net"]]
    assert [message.recipients for message in second.messages] == [["ben@brand.example"]]


@pytest.mark.parametrize("how", ["reload", "start"])
def test_queued_mail_follows_the_routes_of_now(two_relays, how):
    first, second, is_down, nullmta, route = two_relays
    is_down.set()
    nullmta.start()
    subjects = sorted(f"moved {number}" for number in range(20))
    for subject in subjects:
        send(nullmta, subject, BRAND)
    nullmta.wait_for_log("relay paused")
    route("")
    if how == "reload":
        nullmta.signal(signal.SIGHUP)
    else:
        nullmta.kill()
        nullmta.start()
    nullmta.wait_until_empty()
    assert (first.subjects(), second.subjects()) == (subjects, [])


def test_a_route_takes_the_mail_of_a_user_over_tcp(two_relays):
    """It took what came by the socket alone."""
    first, second, _, nullmta, route = two_relays
    theirs, others = 64721, 64722
    route(f"uid = {theirs}")
    nullmta.start()
    for uid in (theirs, others, theirs):
        send_as(uid, nullmta.port, f"of {uid}")
    nullmta.wait_until_empty()
    assert (first.subjects(), second.subjects()) == ([f"of {others}"], [f"of {theirs}"] * 2)
