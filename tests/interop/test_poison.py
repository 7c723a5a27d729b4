"""Many messages at which the relay always ends the dialogue, in front of many others.

From the ninth on they looked like an outage: each further one cost a pause of up to five minutes, and the others waited
for more than an hour.
"""

import collections
import time

import pytest

from daemon import submit
from scripted_relay import CLOSE, ScriptedRelay
from waiting import wait_until

POISON, OTHERS = 30, 500
STALL = "(and says nothing)"


class PoisonedRelay(ScriptedRelay):
    """Is away at first; then takes all mail but that to poison…@example.net, at which it does `what` at `place`."""

    def __init__(self, place, what):
        self.is_away, self.place, self.what, self.tries = True, place, what, collections.Counter()
        super().__init__(self._answer_to)

    def _answer_to(self, session, place):
        if self.is_away:
            return CLOSE if place == "CONNECT" else None
        recipient = session.asked or ""
        if place != self.place or not recipient.startswith("poison"):
            return None
        self.tries[recipient] += 1
        if self.what == STALL:
            # Longer than the daemon's time limit.
            time.sleep(1.5)
            return CLOSE
        return self.what


@pytest.mark.parametrize(
    "place, what",
    [
        ("RCPT", CLOSE),
        ("RCPT", f"421 4.3.2 going down {CLOSE}"),
        ("DATA", STALL),
        ("DOT", CLOSE),
        ("DOT", "503 5.5.1 what"),
    ],
)
def test_thirty_hold_up_five_hundred_others_for_seconds_and_have_few_copies(make_nullmta, place, what):
    relay = PoisonedRelay(place, what)
    relay_table = 'max-connections = 4\n[relay.timeouts]\nmail = "1s"\nrcpt = "1s"\ndata = "1s"\ndot = "1s"'
    nullmta = make_nullmta(relay.port, relay=relay_table)
    nullmta.relay_in_the_clear()
    nullmta.start()
    try:
        names = [f"poison{number}" for number in range(POISON)] + [f"other{number}" for number in range(OTHERS)]
        with nullmta.client() as client:
            for name in names:
                submit(client, f"Subject: {name}\r\n\r\nx\r\n".encode(), recipients=[f"{name}@example.net"])
        relay.is_away = False
        nullmta.probe()
        others = sorted(name for name in names if name.startswith("other"))
        wait_until(lambda: relay.subjects() == others, 120, "the others leave")
        wait_until(lambda: len(nullmta.queue()) == POISON, 30, "what the relay took is recorded")
        log = nullmta.log()
        assert "status=bounced" not in log and "status=expired" not in log
        assert log.count("status=sent") == OTHERS
        # A few each while it could have been an outage, and then by their age.
        assert max(relay.tries.values()) <= 12, relay.tries
        if place == "DOT" and what == CLOSE:
            assert log.count("possible duplicate") <= sum(relay.tries.values())
        assert nullmta.stop() == 0
    finally:
        relay.close()
