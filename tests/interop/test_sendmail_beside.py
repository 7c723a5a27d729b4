"""The same command lines and messages through Postfix's `sendmail` and ours.

Compared are the exit code, what is printed, the envelope that the relay is told, header and body as they
arrive. Every difference is in `sendmail_differences.py`, with its reason; one that is not there fails, and so
does one that is there and no longer occurs.
"""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from beside import MAIN_CF, NullmtaSide, PostfixSide, sendmail, settled
from recorder import Recorder
from sendmail_cases import CASES, NOTHING, QUEUED
from sendmail_differences import DIFFERENCES


@pytest.fixture(scope="module")
def sides(base):
    """Both programs, each with its own relay."""
    relays = [Recorder(), Recorder()]
    main_cf = MAIN_CF.format(relay_port=relays[0].port)
    sides = [PostfixSide(base / "beside-postfix", main_cf, relays[0]), NullmtaSide(base / "beside-nullmta", relays[1])]
    yield sides
    for side in sides:
        side.stop()


@pytest.fixture(scope="module")
def at_once():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def outcome(side, case):
    """All that is compared, by aspect, and how many messages were sent."""
    done = sendmail(side, case.arguments, case.message)
    sent = settled(side)
    aspects = {"exit": done.returncode, "output": printed(case, done.stdout), "messages": len(sent)}
    if len(sent) == 1:
        aspects.update(vars(sent[0]))
    return aspects


def printed(case, output):
    """Of an SMTP session, the codes of the replies; else what was printed."""
    return re.findall(rb"^\d{3}(?= )", output, re.MULTILINE) if "-bs" in case.arguments else output


def differing(postfix, ours):
    """The aspects that differ. Of different numbers of messages nothing further is compared."""
    return {aspect for aspect in postfix.keys() & ours.keys() if postfix[aspect] != ours[aspect]}


@pytest.mark.parametrize("name", CASES)
def test_case(sides, at_once, name):
    case = CASES[name]
    postfix, ours = at_once.map(lambda side: outcome(side, case), sides)
    code = 0 if case.expected in (QUEUED, NOTHING) else case.expected
    assert (ours["exit"], ours["messages"]) == (code, int(case.expected == QUEUED)), ours
    listed = {aspect for difference in DIFFERENCES if name in difference.cases for aspect in difference.aspects}
    found = differing(postfix, ours)
    both = [f"{aspect}: Postfix {postfix[aspect]!s:.1000}\n    nullmta {ours[aspect]!s:.1000}" for aspect in found]
    assert found == listed, "\n".join(both)


@pytest.fixture
def alone(scratch):
    """Ours by itself."""
    side = NullmtaSide(scratch / "nullmta", Recorder())
    yield side
    side.stop()


def test_with_the_daemon_down_the_same_is_sent(alone):
    """What lies in the drop directory becomes what the daemon would have made of it, octet by octet."""
    cases = [case for case in CASES.values() if case.expected == QUEUED]

    def submit():
        for case in cases:
            done = sendmail(alone, case.arguments, case.message)
            assert done.returncode == 0, (case.arguments, done.stderr)

    submit()
    by_daemon = settled(alone)
    alone.stop_daemon()
    submit()
    alone.start_again()
    assert len(by_daemon) == len(cases)
    assert sorted(map(repr, settled(alone))) == sorted(map(repr, by_daemon))


def test_every_difference_is_of_a_case():
    for difference in DIFFERENCES:
        assert set(difference.cases) <= CASES.keys(), difference.reason
        assert difference.reason and difference.aspects and difference.cases
