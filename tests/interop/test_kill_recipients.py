"""kill -9 with recipients that each have their own end: taken, refused for good, deferred at times.

Whoever the relay takes gets each acknowledged message, twice only where the log says `possible duplicate`
for that queue id; each recipient it refuses leads to one DSN, to which the same applies.
"""

import collections
import os
import random
import re
import time

from load import Load, read

ROUNDS = int(os.environ.get("NULLMTA_KILL_ROUNDS", "8"))
GOOD, BUSY, BAD = "good@example.net", "busy@example.net", "bad@example.net"


class Account:
    """What the relay has: copies by message and recipient; queue ids, and those of the DSNs, by message."""

    def __init__(self, received):
        self.copies, self.ids, self.torn = collections.Counter(), {}, []
        self.dsns = {}
        for content in received:
            if content.startswith(b"Return-Path: <>\r\n"):
                self._add_dsn(content)
            else:
                self._add_copy(content)

    def _add_dsn(self, content):
        assert b"X-Envelope-To: <ann@example.org>\r\n" in content
        assert re.findall(rb"Final-Recipient: rfc822; (\S+)", content) == [BAD.encode()], content
        number = re.search(rb"^X-Number: (\S+)\r$", content, re.MULTILINE).group(1).decode()
        queue_id = re.search(rb"^Message-ID: <(\w+)\.", content, re.MULTILINE).group(1).decode()
        self.dsns.setdefault(number, []).append(queue_id)

    def _add_copy(self, content):
        number, spool_id, is_whole = read(content)
        self.ids.setdefault(number, set()).add(spool_id)
        for recipient in re.findall(rb"^X-Envelope-To: <(\S+)>\r$", content, re.MULTILINE):
            self.copies[number, recipient.decode()] += 1
        if not is_whole:
            self.torn.append(number)


def test_each_recipient_has_its_end_and_once(sink_and_nullmta):
    seed = int(os.environ.get("NULLMTA_KILL_SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}")
    dice = random.Random(seed)
    sink, nullmta = sink_and_nullmta(
        "--envelope", "--fail", f"rcpt:{BAD}=550", "--fail", f"rcpt:{BUSY}=450%50", "--seed", str(seed),
        queue='retry-min = "1s"\nretry-max = "1s"',
    )
    acknowledged = {}
    for round_number in range(ROUNDS):
        load = Load(nullmta, round_number, dice, (GOOD, BAD, BUSY))
        time.sleep(dice.uniform(0.05, 1.0))
        nullmta.kill()
        acknowledged.update(load.join())
        nullmta.start()
    nullmta.wait_until_empty(180)
    assert nullmta.stop() == 0

    account = Account(sink.received())
    twice = {key for key, count in account.copies.items() if count > 1}
    dsns_twice = [ids for ids in account.dsns.values() if len(ids) > 1]
    print(f"{ROUNDS} rounds, {len(acknowledged)} acknowledged, {len(account.copies)} copies, {len(twice)} of them "
          f"twice; {len(account.dsns)} DSNs, {len(dsns_twice)} of them twice")
    assert len(acknowledged) > 5 * ROUNDS, "hardly any load"
    assert not account.torn, account.torn
    lost = [(number, to) for number in acknowledged for to in (GOOD, BUSY) if not account.copies[number, to]]
    assert not lost, f"{len(lost)} copies were lost: {lost[:5]}"
    assert not [key for key in account.copies if key[1] == BAD]
    untold = [number for number in acknowledged if number not in account.dsns]
    assert not untold, f"{len(untold)} refusals led to no DSN: {untold[:5]}"
    several = [ids for ids in dsns_twice if len(set(ids)) > 1]
    assert not several, f"{len(several)} refusals led to more than one DSN: {several[:5]}"
    told = set(re.findall(r"(\w+): possible duplicate", nullmta.log()))
    silent = [ids[0] for ids in dsns_twice if ids[0] not in told]
    assert not silent, f"{len(silent)} DSNs came twice without a word in the log: {silent[:5]}"
    silent = [key for key in twice if not account.ids[key[0]] <= told]
    assert not silent, f"{len(silent)} copies came twice without a word in the log: {silent[:5]}"
