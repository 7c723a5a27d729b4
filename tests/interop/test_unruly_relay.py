"""A relay that does everything wrong at every phase, while the daemon is reloaded, stopped, killed and flushed.

What the relay really did with each message is held against what the log says of it: a message is sent only where the
relay took it, bounced only by words that the relay meant for it, and else still queued; a copy more than that is
announced. `NULLMTA_UNRULY_SEEDS=100` runs so many seeds.
"""

import collections
import os
import random
import re
import signal
import subprocess
import time

import pytest

from daemon import submit
from unruly_relay import CLOSE, RESET, STALL, UnrulyRelay
from waiting import wait_until

SEEDS = int(os.environ.get("NULLMTA_UNRULY_SEEDS", "3"))
FIRST = int(os.environ.get("NULLMTA_UNRULY_FIRST", "1"))
MESSAGES = 200
TIMES = "\n".join(f'{name} = "1s"' for name in "connect greeting ehlo mail rcpt data block dot quit".split())
OUTCOME = re.compile(r"^\S+ +\w+ +(\w+): to=<([^>]*)>.* status=(\w+) \((.*)\)$", re.MULTILINE)
QUEUED = re.compile(r"(\w+): client=.* from=<ann(\d+)@example\.org>.*\(queued\)")
NOTIFIED = re.compile(r"(\w+): sender non-delivery notification: (\w+)")


def relay_table(draw):
    return f"""max-connections = {draw.choice([1, 2, 4, 8])}
messages-per-connection = {draw.choice([1, 5, 100])}
recipients-per-message = {draw.choice([1, 3, 50])}
pipelining = "{draw.choice(["group", "group", "across", "off"])}"
idle = "1s"
[relay.timeouts]
{TIMES}"""


class Trial:
    """A daemon, its unruly relay, and what was submitted."""

    def __init__(self, seed, make_nullmta):
        self.draw = random.Random(seed)
        ends = [CLOSE, CLOSE, RESET, STALL, "421 4.3.2 bye", "503 5.5.1 no", "530 5.7.0 who", "garbage"]
        poison = {
            str(number): (self.draw.choice(["MAIL", "RCPT", "DATA", "DOT"]), self.draw.choice(ends))
            for number in self.draw.sample(range(MESSAGES), self.draw.choice([0, 1, 6, 20]))
        }
        self.relay = UnrulyRelay(seed, poison)
        queue = 'retry-min = "1s"\nretry-max = "2s"\n' + self.draw.choice(["", 'on-refusal = "bounce"', 'on-refusal = "hold"'])
        # The dialogue, for whoever reads the log of a seed that failed.
        queue += '\n[log]\nlevel = "debug"\n'
        self.nullmta = make_nullmta(self.relay.port, queue=queue, relay=relay_table(self.draw))
        self.nullmta.relay_in_the_clear()
        self.recipients, self.sizes, self.killed = {}, {}, 0

    def submit(self, count):
        with self.nullmta.client() as client:
            for number in range(len(self.recipients), len(self.recipients) + count):
                several = self.draw.choice([1, 1, 1, 2, 7])
                self.recipients[number] = [f"bob{number}.{place}@host{number % 5}.example" for place in range(several)]
                lines = self.draw.choice([1, 1, 1, 100, 3000])
                self.sizes[number] = b"x" * 60 + b"\r\n.dot\r\n", lines
                submit(client, self.content(number), f"ann{number}@example.org", self.recipients[number])

    def content(self, number):
        text, lines = self.sizes[number]
        return b"Subject: number %d\r\n\r\n" % number + text * lines

    def meddle(self):
        """What an operator, a failing host or nobody does between two moods of the relay."""
        what = self.draw.choice(["nothing", "nothing", "reload", "probe", "restart", "kill"])
        if what == "reload":
            self.nullmta.configure(relay=relay_table(self.draw))
            self.nullmta.relay_in_the_clear()
            self.nullmta.signal(signal.SIGHUP)
        elif what == "probe":
            self.nullmta.probe()
        elif what == "restart":
            assert self.nullmta.stop() == 0
            self.nullmta.start()
        elif what == "kill":
            self.killed += 1
            self.nullmta.kill()
            self.nullmta.start()

    def run(self):
        self.relay.mood = self.draw.choice(["refusing", "mixed", "odd", "throttling", "leaving", "down"])
        self.nullmta.start()
        for _ in range(8):
            self.submit(MESSAGES // 8)
            time.sleep(self.draw.uniform(0.2, 1.0))
            self.meddle()
            self.relay.mood = self.draw.choice(["refusing", "mixed", "odd", "odd", "throttling", "leaving", "down"])

    def drain(self, seconds=120):
        """The relay does everything right from now on: everything leaves but what is dead."""
        self.relay.mood = "calm"
        deadline = time.monotonic() + seconds
        while left := [message for message in self.nullmta.queue() if message["state"] != "dead"]:
            assert time.monotonic() < deadline, f"{len(left)} left, such as {left[0]}\n{self.nullmta.log()[-5000:]}"
            self.nullmta.probe()
            time.sleep(0.5)
        assert self.nullmta.stop() == 0


class Account:
    """What the log says of each message and recipient, by the names that the relay knows."""

    def __init__(self, log):
        self.keys = {queue_id: number for queue_id, number in QUEUED.findall(log)}
        self.notified = collections.Counter()
        for original, notification in NOTIFIED.findall(log):
            self.keys[notification] = f"dsn{self.keys[original]}"
            self.notified[self.keys[original]] += 1
        self.outcomes = collections.defaultdict(list)
        for queue_id, recipient, status, said in OUTCOME.findall(log):
            self.outcomes[self.keys[queue_id], recipient].append((status, said))
        self.duplicates = collections.Counter(self.keys[queue_id] for queue_id in re.findall(r"(\w+): possible duplicate", log))

    def said(self, of, status):
        return [said for outcome, said in self.outcomes[of] if outcome == status]


def assert_is_true(trial, account):
    """Each end that the log tells is one that the relay meant."""
    relay = trial.relay
    for of in set(account.outcomes) | set(relay.taken):
        sent, bounced = account.said(of, "sent"), account.said(of, "bounced")
        story = f"{of}: {account.outcomes[of]}; taken {relay.taken[of]}, refused {relay.refused[of]}, {account.duplicates[of[0]]} duplicates told"
        meant = relay.refused[of] + relay.refused[of[0], "all"]
        assert not (sent and bounced), story
        for said in sent:
            # One said twice over is true whichever is quoted.
            assert words(said) <= set(relay.taken[of]), story
            assert relay.taken[of], story
        for said in bounced:
            assert meant and words(said) <= set(meant) and "surplus" not in said, story
        # Of a message to several there may be several DSNs.
        messages = max(1, account.notified[of[0].removeprefix("dsn")])
        assert len(relay.taken[of]) <= min(len(sent), messages) + account.duplicates[of[0]], story
        assert len(sent + bounced) <= messages + account.duplicates[of[0]] * bool(trial.killed), story


def words(said):
    return set(re.findall(r"word\d+", said))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_nothing_is_lost_doubled_or_bounced_by_another_s_reply(make_nullmta, seed):
    trial = Trial(seed, make_nullmta)
    try:
        trial.run()
        trial.drain()
    finally:
        trial.relay.close()
    log = trial.nullmta.log()
    account = Account(log)
    assert_is_true(trial, account)
    for number, recipients in trial.recipients.items():
        ends = [bool(account.said((str(number), to), "sent") or account.said((str(number), to), "bounced")) for to in recipients]
        assert all(ends), f"{number}: {[account.outcomes[str(number), to] for to in recipients]}"
        body = trial.content(number).partition(b"\r\n\r\n")[2]
        assert trial.relay.content.get(str(number), {body}) == {body}, f"another content of {number}"
        has_bounced = any(account.said((str(number), to), "bounced") for to in recipients)
        assert (account.notified[str(number)] > 0) == has_bounced, f"{number}: {account.notified[str(number)]} notifications"
    for word in ("ERROR", "panicked", "internal error"):
        assert word not in log, re.findall(f".*{word}.*", log)
    verified = subprocess.run(
        [str(trial.nullmta.program), "spool", "verify", "-c", str(trial.nullmta.config)], capture_output=True, text=True,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
