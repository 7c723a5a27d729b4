"""What a relay says of quotas, rates and senders, and what becomes of the mail.

A daily quota that was used up (550) bounced the whole queue, and a sender that the provider does not know bounced its mail.
"""

import json
import re
from datetime import datetime, timedelta, timezone

import pytest
from daemon import submit
from scripted_relay import ScriptedRelay
from waiting import wait_until

QUOTA = "550 5.4.5 Daily user sending limit exceeded."
SENDER = "554 Message rejected: Email address is not verified."
RULES = """
[[relay.reply]]
match = 'daily user sending limit'
means = "quota"
pause = "2s"

[[relay.reply]]
match = 'address is not verified'
phase = "dot"
means = "configuration"
scope = "sender"
pause = "2s"
"""
# A sender is tried again after an hour.
SLOW_RULES = RULES.replace('scope = "sender"\npause = "2s"', 'scope = "sender"')


class LimitedRelay(ScriptedRelay):
    """Takes `quota` messages and refuses all others; with `unknown` it refuses that sender's mail, and with `unverified` mail
    to that domain in the same words."""

    def __init__(self, quota=1_000_000, unknown=None, unverified=None):
        self.quota, self.unknown, self.unverified = quota, unknown, unverified
        super().__init__(self._answer_to)

    def _answer_to(self, session, place):
        if place != "DOT":
            return None
        is_unverified = self.unverified and any(to.endswith(self.unverified) for to in session.recipients)
        if session.reverse_path == self.unknown or is_unverified:
            return SENDER
        return QUOTA if len(self.messages) >= self.quota else None


def start(make_nullmta, relay):
    nullmta = make_nullmta(relay.port, relay=RULES)
    nullmta.relay_in_the_clear()
    nullmta.start()
    return nullmta


def test_a_used_up_quota_bounces_nothing_and_all_is_delivered_when_it_ends(make_nullmta):
    relay = LimitedRelay(quota=20)
    nullmta = start(make_nullmta, relay)
    try:
        names = [f"m{number}" for number in range(60)]
        with nullmta.client() as client:
            for name in names:
                submit(client, f"Subject: {name}\r\n\r\nx\r\n".encode())
        wait_until(lambda: "relay paused: quota: " in nullmta.log(), 30, "the relay is paused")
        tried = relay.said["DOT"]
        wait_until(lambda: relay.said["DOT"] > tried + 1, 30, "it is probed")
        assert "quota: " in json.dumps(nullmta.status())
        log = nullmta.log()
        assert "status=bounced" not in log and "status=deferred" not in log and "status=held" not in log
        assert log.count("relay paused: ") == 1, "said once"
        relay.quota = 1_000_000
        wait_until(lambda: relay.subjects() == sorted(names), 30, "all leave")
        wait_until(lambda: nullmta.queue() == [], 30, "what the relay took is recorded")
    finally:
        relay.close()


def test_a_restart_does_not_end_the_pause_for_a_quota(make_nullmta):
    """Each restart tried at once, where there are blocks that each try prolongs."""
    relay = LimitedRelay(quota=0)
    nullmta = make_nullmta(relay.port, relay=RULES.replace('"quota"\npause = "2s"', '"quota"\npause = "3h"'))
    nullmta.relay_in_the_clear()
    nullmta.start()
    try:
        for _ in range(3):
            nullmta.send(b"Subject: x\r\n\r\nx\r\n")
        nullmta.wait_for_log("WARN.*relay paused: quota: ")
        tried = relay.said["DOT"]
        for restart in range(3):
            nullmta.stop()
            nullmta.start()
            paused = r"relay paused: quota: before the restart the relay had said .*\(.*end of data: the relay said: \d{3}.*\); nullmta"
            wait_until(lambda n=restart: len(re.findall(paused, nullmta.log())) > n, 30, "it goes on")
            assert nullmta.status()["relay"] == "paused" and nullmta.status()["ready"] == 3
        assert relay.said["DOT"] == tried, nullmta.log()
        relay.quota = 1_000_000
        assert nullmta.command("flush").startswith("the relay was reached; 3 messages have left, the queue is empty")
        nullmta.wait_until_empty()
    finally:
        relay.close()


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S UTC", "%Y-%m-%dT%H:%M:%SZ"])
def test_the_relay_is_tried_again_when_it_says_and_not_after_an_hour(make_nullmta, form):
    """A relay whose reply named the date on which its limit ends was asked after one, two, four hours."""
    ends = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=7)
    said = f"421 Domain a.example is not allowed to send: recipient limit exceeded, try again after {ends:{form}}"
    relay = ScriptedRelay(lambda session, place: said if place == "DOT" else None)
    nullmta = make_nullmta(relay.port, relay="[[relay.reply]]\nmatch = 'limit exceeded'\nmeans = \"quota\"\n")
    nullmta.relay_in_the_clear()
    nullmta.start()
    try:
        nullmta.send(b"Subject: x\r\n\r\nx\r\n")
        nullmta.wait_for_log("WARN.*relay paused: quota: ")
        for _ in range(2):
            status = nullmta.status()
            probe = datetime.fromisoformat(status["next-probe"])
            assert ends <= probe <= ends + timedelta(seconds=5), status
            nullmta.stop()
            nullmta.start()
            wait_until(lambda: nullmta.status()["relay"] == "paused", 30, "the pause goes on")
        assert "status=bounced" not in nullmta.log() and relay.said["DOT"] == 1
        shown = json.loads(nullmta.command("relay-reply", said, "--relayhost", "smtp.mailgun.org", "--json"))
        assert shown["class"] == "quota" and 6 * 3600 < shown["pause_seconds"] <= 7 * 3600 + 1, shown
    finally:
        relay.close()


def test_a_sender_that_is_not_verified_delays_only_its_own_mail(make_nullmta):
    relay = LimitedRelay(unknown="shop@example.org")
    nullmta = start(make_nullmta, relay)
    try:
        with nullmta.client() as client:
            for number in range(10):
                submit(client, f"Subject: shop{number}\r\n\r\nx\r\n".encode(), reverse_path="shop@example.org")
                submit(client, f"Subject: app{number}\r\n\r\nx\r\n".encode(), reverse_path="app@example.org")
        others = [f"app{number}" for number in range(10)]
        wait_until(lambda: relay.subjects() == others, 30, "the others leave")
        held = ["held"] * 10
        wait_until(lambda: [one["state"] for one in nullmta.queue()] == held, 30, "the sender's mail is held")
        log = nullmta.log()
        assert len(re.findall("mail from <shop@example.org> is held, other mail goes on: 554", log)) == 1
        assert "status=bounced" not in log and "relay paused" not in log
        relay.unknown = None
        wait_until(lambda: nullmta.queue() == [], 30, "it leaves when the sender is verified")
        assert "mail from <shop@example.org> is taken again" in nullmta.log()
    finally:
        relay.close()


def test_new_mail_of_a_sender_that_is_not_verified_is_not_tried(make_nullmta):
    """Each of its messages was tried once before it was held."""
    relay = LimitedRelay(unknown="shop@example.org")
    nullmta = make_nullmta(relay.port, relay=SLOW_RULES)
    nullmta.relay_in_the_clear()
    nullmta.start()
    try:
        with nullmta.client() as client:
            submit(client, b"Subject: first\r\n\r\nx\r\n", reverse_path="shop@example.org")
            wait_until(lambda: [one["state"] for one in nullmta.queue()] == ["held"], 30, "the first is held")
            for number in range(500):
                submit(client, f"Subject: {number}\r\n\r\nx\r\n".encode(), reverse_path="shop@example.org")
            submit(client, b"Subject: other\r\n\r\nx\r\n", reverse_path="app@example.org")
        wait_until(lambda: relay.subjects() == ["other"], 30, "other mail leaves")
        wait_until(lambda: len(nullmta.queue()) == 501, 30, "only the sender's mail is left")
        tried = relay.said["DOT"]
        assert 3 <= tried <= 3 + 20, "three in a row stop the sender, and as many are under way as there are connections"
        reasons = {one["reason"] for one in nullmta.queue()}
        assert reasons == {SENDER, f"not tried, since the relay refused other messages of this sender: {SENDER}"}
        assert "the relay does not take mail from <shop@example.org>, which is held" in nullmta.command("status")
        relay.unknown = None
        nullmta.command("flush")
        wait_until(lambda: nullmta.queue() == [], 60, "all of it leaves when the sender is verified")
        assert len(relay.subjects()) == 502, "once each"
    finally:
        relay.close()


def test_a_sender_with_good_and_bad_mail_is_tried_twice_for_each_bad_one(make_nullmta):
    """Amazon's sandbox refuses messages by their recipients, in words about the sender: twenty messages cost 65
    transactions, and the log said ten times that the sender is held."""
    relay = LimitedRelay(unverified="@bad.example")
    nullmta = make_nullmta(relay.port, relay=SLOW_RULES)
    nullmta.relay_in_the_clear()
    nullmta.start()
    try:
        with nullmta.client() as client:
            for number in range(10):
                bad = submit(client, b"Subject: bad\r\n\r\nx\r\n", "app@example.org", [f"user{number}@bad.example"])
                nullmta.wait_for_log(f"{bad}: .*status=held")
                submit(client, b"Subject: good\r\n\r\nx\r\n", "app@example.org")
                nullmta.wait_for_log(f"{bad}: .*status=deferred")
        assert relay.subjects() == ["good"] * 10
        log = nullmta.log()
        held, deferred = log.count("status=held"), log.count("status=deferred")
        assert held == 10 and relay.said["DOT"] == held + deferred, "held once, and then tried by its age"
        assert "status=bounced" not in log and log.count("mail from <app@example.org> is held, other mail") <= 2
        assert {message["state"] for message in nullmta.queue()} == {"deferred"}
    finally:
        relay.close()


PERMANENT = """
[[relay.reply]]
match = 'address is not verified'
means = "permanent"
"""


def test_a_rule_that_says_permanent_ends_what_was_held(make_nullmta):
    """A held message ended only by being taken, even if the operator said afterwards that the reply is permanent."""
    relay = LimitedRelay(unknown="shop@example.org")
    nullmta = make_nullmta(relay.port, relay=SLOW_RULES)
    nullmta.relay_in_the_clear()
    nullmta.start()
    try:
        with nullmta.client() as client:
            for number in range(5):
                submit(client, f"Subject: {number}\r\n\r\nx\r\n".encode(), reverse_path="shop@example.org")
        held = ["held"] * 5
        wait_until(lambda: [one["state"] for one in nullmta.queue()] == held, 30, "the sender's mail is held")
        nullmta.config.write_text(nullmta.config.read_text().replace(SLOW_RULES, PERMANENT))
        nullmta.command("reload")
        wait_until(lambda: nullmta.log().count("status=bounced") == 5, 30, "each of them bounces")
        wait_until(lambda: nullmta.queue() == [], 30, "their bounces leave")
    finally:
        relay.close()


def test_the_commands_show_the_rules_and_what_is_made_of_a_reply(make_nullmta):
    nullmta = make_nullmta(1, relay=RULES)
    nullmta.relay_in_the_clear()
    listed = nullmta.command("check", "--relay-rules", "--json").splitlines()
    rules = [json.loads(line) for line in listed]
    assert [rule["rule"] for rule in rules[:2]] == ["[[relay.reply]] 1", "[[relay.reply]] 2"]
    assert rules[0] == {
        "relayhost": rules[0]["relayhost"],
        "rule": "[[relay.reply]] 1",
        "match": "daily user sending limit",
        "phase": [],
        "means": "quota",
        "scope": None,
        "pause_seconds": 2,
    }
    assert any(rule["rule"].startswith("any relay: ") for rule in rules)
    shown = nullmta.command("relay-reply", "550 5.4.5 Daily limit exceeded", "--relayhost", "smtp.gmail.com")
    assert "class: quota\nrule: Gmail: daily limit\n" in shown and "nothing bounces" in shown
    shown = nullmta.command("relay-reply", SENDER, "--json")
    assert json.loads(shown)["class"] == "configuration" and json.loads(shown)["scope"] == "sender"
    shown = nullmta.command("relay-reply", "550 5.1.1 no such user", "--phase", "rcpt")
    assert "class: permanent\nrule: none fits" in shown
