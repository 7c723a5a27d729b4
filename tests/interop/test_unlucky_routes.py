"""Relays in trouble, each of its own kind and each with many messages behind it: none holds up another, and `status`, `queue
list` and the log say of each route what is wrong there, and nothing of another."""

import re
import threading
from collections import Counter

import pytest

from daemon import submit
from scripted_relay import CLOSE, ScriptedRelay
from waiting import wait_until

EACH = 150
BEFORE_THE_QUOTA = 20
QUOTA = "550 5.4.5 Daily user sending limit exceeded."
ROUTE = """
[[route]]
name = "{name}"
senders = "@{name}.example"
relayhost = "127.0.0.1:{port}"
tls.mode = "{mode}"
[route.relay.timeouts]
greeting = "2s"
"""
# What is said of each.
TROUBLE = {
    "hangs": "greeting: no answer within 2 s",
    "busy": "421 4.3.2 too busy",
    "quota": "quota",
    "certificate": "certificate",
}


@pytest.fixture
def unlucky(make_nullmta, make_sink):
    """A daemon with four routes to relays in trouble, which last until `healed` is set, and one relay that is well."""
    healed, granted = threading.Event(), threading.Semaphore(BEFORE_THE_QUOTA)

    def hangs(session, place):
        if place == "CONNECT" and not healed.is_set():
            healed.wait(300)
        return None

    def busy(session, place):
        return "421 4.3.2 too busy " + CLOSE if place == "CONNECT" and not healed.is_set() else None

    def quota(session, place):
        return QUOTA if place == "DOT" and not healed.is_set() and not granted.acquire(blocking=False) else None

    well, hanging, refusing, limited = ScriptedRelay(), ScriptedRelay(hangs), ScriptedRelay(busy), ScriptedRelay(quota)
    # It shows a certificate of a CA of its own.
    sink = make_sink().start()
    nullmta = make_nullmta(well.port)
    nullmta.relay_in_the_clear()
    ports = {"hangs": hanging.port, "busy": refusing.port, "quota": limited.port, "certificate": sink.port}
    routes = [
        ROUTE.format(name=name, port=port, mode="starttls" if name == "certificate" else "none")
        for name, port in ports.items()
    ]
    nullmta.config.write_text(nullmta.config.read_text() + "".join(routes))
    nullmta.start()
    yield nullmta, well, {"hangs": hanging, "busy": refusing, "quota": limited}, healed
    healed.set()
    for relay in (well, hanging, refusing, limited):
        relay.close()


def test_a_paused_route_holds_up_no_other_and_each_is_told_of_by_itself(unlucky):
    nullmta, well, relays, healed = unlucky
    with nullmta.client() as client:
        for number in range(EACH):
            for name in (*TROUBLE, "well"):
                submit(client, f"Subject: {number}\r\n\r\nx\r\n".encode(), reverse_path=f"app@{name}.example")
    wait_until(lambda: len(well.messages) == EACH, 120, lambda: f"all at the relay that is well; {nullmta.log()[-3000:]}")
    wait_until(lambda: len(relays["quota"].messages) == BEFORE_THE_QUOTA, 60, "what the quota lets through")

    def of_routes():
        return {relay["route"]: relay for relay in nullmta.status()["relays"]}

    left = {name: EACH - (BEFORE_THE_QUOTA if name == "quota" else 0) for name in TROUBLE}

    def are_told_apart():
        """A relay has no next probe while one is under way, so this is not true at every moment."""
        shown = of_routes()
        troubles = {shown[name].get("trouble") for name in TROUBLE}
        return len(troubles) == len(TROUBLE) and all(
            shown[name]["state"] == "paused" and shown[name]["messages"] == left[name]
            and re.search(words, shown[name]["trouble"]) and shown[name]["next-probe"] and shown[name]["paused-since"]
            for name, words in TROUBLE.items()
        )

    wait_until(are_told_apart, 60, lambda: f"all four paused: {of_routes()}")
    wait_until(lambda: of_routes()[None]["messages"] == 0, 60, "the end of what was sent")
    first = of_routes()[None]
    assert first["state"] != "paused" and first.get("trouble") is None, first

    listed = nullmta.queue()
    assert Counter(one["recipients"][0]["route"] for one in listed) == Counter(left)
    for one in listed:
        [recipient] = one["recipients"]
        # One that was refused for the quota has that reply as its reason, and others the trouble of their relay.
        assert re.search(TROUBLE[recipient["route"]] + "|Daily user sending limit", recipient["reason"]), one
    log = nullmta.log()
    for name, words in TROUBLE.items():
        assert re.search(rf" route {name}: relay paused: .*(?:{words})", log), name
    assert not re.search(r" relay paused", re.sub(r" route \S+ relay paused", "", log)), "not the relay that is well"
    assert "status=bounced" not in log

    healed.set()
    for name in relays:
        nullmta.command("flush", "--route", name)
    for name, relay in relays.items():
        wait_until(lambda: len(relay.messages) == EACH, 120, lambda: f"all of {name}; {nullmta.log()[-3000:]}")
        assert Counter(relay.subjects()) == Counter(str(number) for number in range(EACH))
    wait_until(lambda: of_routes()["certificate"]["messages"] == EACH == nullmta.status()["messages"], 60, "one route left")
