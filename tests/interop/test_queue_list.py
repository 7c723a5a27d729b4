"""`nullmta queue list` as an operator sees it: in a terminal, in a pipe, beside a relay that is down."""

import subprocess

import pytest

from daemon import submit
from terminal import shown
from waiting import free_port

LONG = "a-recipient-with-a-name-that-is-long-enough-for-two@a-domain-of-some-length.example.net"


@pytest.fixture
def nullmta(make_nullmta):
    """A daemon whose relay is down, with three messages."""
    daemon = make_nullmta(free_port()).start()
    with daemon.client() as client:
        for recipients in (["ann@example.net"], [LONG, "bob@example.net"], [LONG]):
            client.sendmail("app@client.nullmta.test", recipients, b"Subject: hello\r\n\r\nx\r\n")
    daemon.wait_for_log("relay paused")
    return daemon


def listing(nullmta, *words) -> list:
    return [str(nullmta.program), "queue", "list", "-c", str(nullmta.config), *words]


def test_a_listing_fits_the_terminal(nullmta):
    code, text = shown(80, *listing(nullmta))
    assert code == 0 and max(map(len, text.splitlines())) <= 80, text
    assert "..." in text and LONG not in text, "cut"
    code, wide = shown(80, *listing(nullmta, "--wide"))
    assert code == 0 and LONG in wide, wide
    assert LONG in nullmta.command("queue", "list"), "cut where there is no terminal"


def test_trouble_of_the_relay_is_said_once_and_each_message_says_why_it_is_here(nullmta):
    lines = nullmta.command("queue", "list").splitlines()
    # Two lines about the relay, an empty one, the heading, three lines for each message, an empty one, and the total.
    assert len(lines) == 15 and " is paused" in lines[0], lines
    trouble = lines[1].strip()
    assert sum(trouble in line for line in lines) == 1, lines
    assert lines[3].startswith("QUEUE ID "), lines
    assert [line.strip() for line in lines[6:13:3]] == ["waits for the relay, as said above"] * 3, lines
    assert lines[5] == "  to ann@example.net", lines
    assert lines[-2] == "" and lines[-1].startswith("3 messages, ") and lines[-1].endswith(" octets: 3 ready."), lines


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_reader_that_has_seen_enough_is_told_nothing(nullmta, form):
    """More than fits into the buffers of both ends, so that the pipe closes within the listing."""
    with nullmta.client() as client:
        for _ in range(400):
            submit(client, b"Subject: hello\r\n\r\nx\r\n", "app@client.nullmta.test")
    script = 'set -o pipefail; "$@" | head -n 1'
    done = subprocess.run(["bash", "-c", script, "-", *listing(nullmta, *form)], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 1), done
