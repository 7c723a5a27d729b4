"""`mailq` beside Postfix's: what people's eyes and the scripts of monitoring find where they look for it."""

import re

import pytest

from beside import MAIN_CF, NullmtaSide, PostfixSide, sendmail
from recorder import Recorder
from waiting import wait_until

MESSAGE = b"Subject: x\n\nbody\n"


@pytest.fixture
def sides(scratch):
    """Both programs, with relays that do not answer."""
    relays = [Recorder(), Recorder()]
    main_cf = MAIN_CF.format(relay_port=relays[0].port) + "enable_long_queue_ids = yes\n"
    sides = [PostfixSide(scratch / "postfix", main_cf, relays[0]), NullmtaSide(scratch / "nullmta", relays[1])]
    for relay in relays:
        relay.close()
    yield sides
    for side in sides:
        side.stop()


def mailq(side) -> str:
    done = sendmail(side, ["-bp"], b"")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def deferred(side) -> str:
    """The queue, once it says why each message is still there."""
    return wait_until(lambda: (shown := mailq(side)).count("refused") == 2 and shown, 20, lambda: mailq(side))


def shape(shown) -> list:
    """The entries, sorted, with the heading and the sum; what is of one program or one moment is masked."""
    for pattern, mask in [
        (r"^[0-9A-Za-z]{11,16}[ *!] *(\d+) \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d ", "ID SIZE DATE "),
        (r"^ +\(.*\)$", "(reason)"),
        (r"-- \d+ Kbytes", "-- SIZE Kbytes"),
    ]:
        shown = re.sub(pattern, mask, shown, flags=re.MULTILINE)
    heading, _, rest = shown.partition("\n")
    *entries, total = rest.split("\n\n")
    return [heading, *sorted(entries), total]


def test_the_queue_is_listed_in_the_same_shape(sides):
    for side in sides:
        assert mailq(side) == "Mail queue is empty\n"
        assert sendmail(side, ["-f", "ann@example.org", "bob@example.net", "carl@example.net"], MESSAGE).returncode == 0
        assert sendmail(side, ["-f", "<>", "bob@example.net"], MESSAGE).returncode == 0
    postfix, ours = (deferred(side) for side in sides)
    assert shape(ours) == shape(postfix)
    assert "ID SIZE DATE MAILER-DAEMON" in shape(ours)[1], "the shape was found"
