"""`sendmail` while the daemon is killed and started again and again: its exit code tells the truth.

0: the message arrives, be it by the socket or by the drop directory. 75: nothing was queued. 74: it says
`possible duplicate`. Nothing arrives twice without a word in the log. NULLMTA_KILL_ROUNDS sets the number of
rounds.
"""

import collections
import os
import random
import re
import subprocess
import threading
import time

import pytest

from load import make_message, read
from waiting import wait_until

ROUNDS = int(os.environ.get("NULLMTA_KILL_ROUNDS", "6"))
CALLERS = 4
LARGE = 30_000_000


class Callers:
    """Processes one after the other, several at a time, until they are told to stop; how each ended."""

    def __init__(self, host, dice):
        self.ends, self._stop = {}, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(host, name, random.Random(dice.random())))
            for name in range(CALLERS)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, host, name, dice):
        count = 0
        while not self._stop.is_set():
            # One in twenty goes to a file of its own, here and on the spool.
            size = 1_500_000 if dice.random() < 0.05 else dice.choice([0, 500, 4000, 40_000])
            number = f"{name}-{count}"
            done = host.run("sendmail", "-i", "bob@example.net", input=make_message(number, size))
            self.ends[number] = (done.returncode, done.stderr.decode())
            count += 1

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.ends


def arrived(host, nullmta, sink) -> collections.Counter:
    """How often each message arrived, once all has: whole, and not twice without a word in the log."""
    wait_until(lambda: host.dropped() == [], 60, host.dropped)
    nullmta.wait_until_empty()
    copies, ids = collections.Counter(), collections.defaultdict(set)
    for content in sink.received():
        number, queue_id, is_whole = read(content)
        assert is_whole, number
        copies[number] += 1
        ids[number].add(queue_id)
    told = set(re.findall(r"(\w+): possible duplicate", nullmta.log()))
    silent = [number for number, count in copies.items() if count > 1 and not ids[number] & told]
    assert not silent, f"delivered twice without a word in the log: {silent[:5]}"
    return copies


def check(ends, copies):
    """Each exit code, and what was said with it, against what arrived."""
    lost = [number for number, (code, _) in ends.items() if code == 0 and number not in copies]
    assert not lost, f"{len(lost)} messages were lost: {lost[:5]}"
    queued = [said for number, (code, said) in ends.items() if code == 75 and number in copies]
    assert not queued, f"queued all the same: {queued[:5]}"
    untold = [said for code, said in ends.values() if (code == 74) != ("possible duplicate" in said)]
    assert not untold, f"in doubt, or not: {untold[:5]}"


@pytest.fixture
def killed(_host, make_sink, make_nullmta):
    """The host, its daemon, not yet started, and the relay."""
    sink = make_sink().start()
    nullmta = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD
    )
    _host.settle(nullmta)
    return _host, nullmta, sink


@pytest.fixture
def dice():
    seed = int(os.environ.get("NULLMTA_KILL_SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}")
    return random.Random(seed)


def test_the_exit_code_tells_the_truth(killed, dice):
    host, nullmta, sink = killed
    callers = Callers(host, dice)
    for _ in range(ROUNDS):
        host.start()
        time.sleep(dice.uniform(0, 0.4))
        nullmta.kill()
        time.sleep(dice.uniform(0, 0.2))
    ends = callers.stop()
    host.start()
    copies = arrived(host, nullmta, sink)
    by_code = collections.Counter(code for code, _ in ends.values())
    print(f"exit codes {dict(by_code)}; {nullmta.log().count('picked up')} by the drop directory")
    assert set(by_code) <= {0, 74, 75} and by_code[0] > 3 * ROUNDS
    assert nullmta.log().count("picked up") >= ROUNDS
    check(ends, copies)


def submit_with_a_kill(host, nullmta, message, dice):
    """One message, and the daemon killed within it, or when it was just written; how it ended."""
    sendmail = host.launch("sendmail", "-i", "bob@example.net", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    is_within = dice.random() < 0.7
    kill_at = dice.randrange(len(message)) if is_within else len(message)
    sendmail.stdin.write(message[:kill_at])
    sendmail.stdin.flush()
    if not is_within:
        sendmail.stdin.close()
        sendmail.stdin = None
    time.sleep(dice.uniform(0, 0.1))
    nullmta.kill()
    if dice.random() < 0.5:
        host.start()
    said = sendmail.communicate(message[kill_at:] if is_within else None, timeout=60)[1]
    if nullmta.process is None:
        host.start()
    return is_within, sendmail.returncode, said.decode()


def test_a_large_message_under_way_is_queued(killed, dice):
    """It was 75, and nothing queued, when the daemon died within a message that memory does not hold."""
    host, nullmta, sink = killed
    host.start()
    ends, within = {}, []
    for number in range(ROUNDS):
        message = make_message(str(number), LARGE)
        is_within, *ends[str(number)] = submit_with_a_kill(host, nullmta, message, dice)
        within += [str(number)] if is_within else []
    copies = arrived(host, nullmta, sink)
    print(f"{len(within)} of {ROUNDS} within the message; {dict(collections.Counter(code for code, _ in ends.values()))}")
    assert {code for code, _ in ends.values()} <= {0, 74}, ends
    assert all(ends[number][0] == 0 for number in within), ends
    check(ends, copies)
