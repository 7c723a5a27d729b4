"""`nullmta queue shape`: what fills the queue, and who may count what."""

import json

import pytest

from local_user import ANN, BEN, ROOT
from terminal import shown
from waiting import free_port

# How many messages each user sends to each domain.
SENT = [(ANN, "one.example", 3), (ANN, "two.example", 1), (BEN, "two.example", 1)]


@pytest.fixture
def host(_host, make_nullmta):
    """A host whose relay is down."""
    _host.settle(make_nullmta(free_port()))
    _host.start()
    for user, domain, times in SENT:
        for _ in range(times):
            done = _host.run("sendmail", f"bob@{domain}", user=user, input=b"Subject: hello\n\nx\n")
            assert done.returncode == 0, done.stderr
    _host.daemon.wait_for_log("relay paused")
    return _host


def shape(host, user, *words):
    done = host.run(host.program, "queue", "shape", "--json", *words, user=user)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(sum(row["ages"]) == row["messages"] and len(row["ages"]) == 10 for row in rows), rows
    return [(row["kind"], row["key"], row["messages"]) for row in rows]


def test_messages_are_counted_by_what_is_asked_for(host):
    total = ("total", "", 5)
    assert shape(host, ROOT, "--by", "domain") == [total, ("key", "one.example", 3), ("key", "two.example", 2)]
    assert shape(host, ROOT, "--by", "domain", "--top", "1") == [total, ("key", "one.example", 3), ("others", "", 2)]
    assert shape(host, ROOT, "--by", "submitter") == [total, ("key", f"uid {ANN.uid}", 4), ("key", f"uid {BEN.uid}", 1)]
    assert shape(host, ROOT, "--by", "route") == [total, ("key", "(no route)", 5)]
    assert shape(host, ROOT, "--by", "domain", "--uid", str(BEN.uid)) == [("total", "", 1), ("key", "two.example", 1)]
    assert shape(host, ROOT, "--state", "dead") == [("total", "", 0)]
    (_, reason, count) = shape(host, ROOT)[1]
    assert count == 5 and "connect" in reason


def test_a_reason_is_a_pattern_for_a_filter(host):
    reason = shape(host, ROOT)[1][1]
    done = host.run(host.program, "queue", "list", "--json", "--reason", reason, user=ROOT)
    assert len(done.stdout.splitlines()) == 5, done


def test_an_ordinary_user_counts_their_own_mail(host):
    assert shape(host, BEN, "--by", "domain") == [("total", "", 1), ("key", "two.example", 1)]


def test_the_spool_has_the_same_shape_while_no_daemon_runs(host):
    then = shape(host, ROOT, "--by", "domain")
    host.daemon.kill()
    assert shape(host, ROOT, "--by", "domain") == then


def test_in_a_terminal_there_are_bars_that_fit(host):
    words = [str(host.daemon.program), "queue", "shape", "-c", str(host.daemon.config)]
    code, bars = shown(80, *words)
    code_of_table, table = shown(80, *words, "--table")
    assert (code, code_of_table) == (0, 0)
    assert bars.startswith("MESSAGES 5 to 1280+ REASON\n") and table.startswith("MESSAGES     5    10 "), bars + table
    assert max(len(line) for line in (bars + table).splitlines()) <= 80
