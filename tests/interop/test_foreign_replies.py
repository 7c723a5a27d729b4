"""Replies of a relay in another charset, or with octets that steer a terminal, followed to every place where they are shown.

An ESC or a line end in a reply could write lines of its own into the log of whoever reads it, and one octet that is not
UTF-8 made a JSON line that no program reads.
"""

import email
import email.policy
import json
import re

import pytest

from scripted_relay import ScriptedRelay
from waiting import wait_until

TEXTS = {
    "latin-1": "Empf\xe4nger unbekannt \xdf".encode("latin-1"),
    "shift-jis": "\u5b9b\u5148\u4e0d\u660e".encode("shift-jis"),
    "utf-8": "\u5b9b\u5148\u4e0d\u660e \u202e\u2028".encode(),
    "broken-utf-8": b"\xe5\xae \xf0\x9f \xc0\xaf",
    "nul": b"no\0body",
    "escape": b"\x1b[2J\x1b]0;owned\x07\x9b31m",
    "carriage-return": b"no\rJan 1 00:00:00 host nullmta: FORGED",
    "controls": bytes(range(1, 9)) + b"\x0b\x0c\x7f",
}
# Nothing but line ends may steer a terminal: C0, DEL, C1, line separators and marks that turn the direction.
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reply_in_any_octets_stays_one_harmless_line(make_nullmta, name, form):
    def script(session, place):
        if place == "RCPT" and session.asked == "gone@example.net":
            return b"550 5.1.1 " + TEXTS[name]
        if place == "DOT" and "later@example.net" in session.recipients:
            return b"450 4.2.0 " + TEXTS[name]
        return None

    relay = ScriptedRelay(script)
    try:
        nullmta = make_nullmta(relay.port)
        nullmta.relay_in_the_clear()
        with open(nullmta.config, "a") as config:
            config.write(f'\n[log]\nformat = "{form}"\n')
        nullmta.start()
        nullmta.send(b"Subject: gone\r\n\r\nx\r\n", recipients=["gone@example.net"])
        nullmta.send(b"Subject: later\r\n\r\nx\r\n", recipients=["later@example.net"])
        wait_until(lambda: "status=deferred" in raw_log(nullmta).decode("utf-8", "replace"), 30, "it is deferred")
        wait_until(lambda: any(message.reverse_path == "" for message in relay.messages), 30, "the bounce arrives")

        log = raw_log(nullmta).decode("utf-8")
        told = [line for line in log.split("\n") if "gone@example.net" in line and "bounced" in line]
        assert len(told) == 1 and not any(STEERS.search(line) for line in log.split("\n")), told
        assert not re.search(r"^.{0,40}FORGED", log, re.MULTILINE), log
        if form == "json":
            assert all(json.loads(line) for line in log.splitlines() if line.startswith("{"))
            assert [line for line in log.splitlines() if not line.startswith("{")] == []

        wait_until(lambda: len(nullmta.queue()) == 1, 30, "the bounce has left the queue")
        listed = nullmta.command("queue", "list", "--json")
        reasons = [json.loads(line)["reason"] for line in listed.splitlines()]
        assert len(reasons) == 1 and reasons[0].startswith("450 4.2.0 "), listed
        assert not STEERS.search(nullmta.command("queue", "list"))

        bounce = next(message.content for message in relay.messages if message.reverse_path == "")
        report = email.message_from_bytes(bounce, policy=email.policy.SMTP)
        for part in report.walk():
            if not part.is_multipart():
                octets = part.get_payload(decode=True) or part.as_bytes()
                assert not STEERS.search(octets.decode("utf-8").replace("\r\n", "\n")), octets
        assert b"550 5.1.1" in bounce
        assert re.search(rb"(?m)^Diagnostic-Code: smtp; 550 5.1.1[ -~]*\r?$", bounce), bounce
    finally:
        relay.close()


def raw_log(nullmta):
    return nullmta._log_file.read_bytes()
