"""What one user may take of the listener from the others, over TCP too: places, time and lines of the log."""

import re
import smtplib
import socket

import pytest

from as_user import PORT_IN_TURNS, SEND, start_as
from waiting import free_port

HOSTILE, OTHER = 64721, 64722

# Takes as many places as it gets, says how many, and holds each with an octet now and then until it is told to go.
HOG = """\
import select, socket, sys
port, count = map(int, sys.argv[1:])
held = []
for _ in range(count):
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    if client.recv(1024).startswith(b"220"):
        held.append(client)
print(len(held), flush=True)
while not select.select([sys.stdin], [], [], 0.2)[0]:
    for client in held:
        client.send(b"N")
"""


@pytest.fixture
def nullmta(make_nullmta, make_sink):
    sink = make_sink().start()
    daemon = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD
    )
    yield daemon.start()
    daemon.stop()


def test_slow_connections_of_one_user_leave_places_to_others(nullmta):
    """Two hundred slow connections over TCP took all places, and nobody else was served."""
    hog = start_as(HOSTILE, HOG, nullmta.port, 200)
    try:
        held = int(hog.stdout.readline())
        # Half of what is there for all but root, and no more than there are left.
        assert 90 <= held <= 96, held
        for _ in range(3):
            sent, trouble = start_as(OTHER, SEND, nullmta.port).communicate(timeout=60)
            assert sent == "{}\n", trouble
        # Root has places, too, though it has no share.
        nullmta.send(b"Subject: x\r\n\r\nx\r\n")
    finally:
        hog.communicate("\n", timeout=60)
    log = nullmta.log()
    assert log.count(f"client=localhost[127.0.0.1] uid {OTHER}, from=<ann@example.org>") == 3, log[-3000:]
    refused = f"reject: CONNECT from localhost[127.0.0.1] uid {HOSTILE}: 421 4.7.0 too many sessions of yours"
    assert log.count(refused) == 5, log[-3000:]


def test_a_session_that_brings_no_message_ends(nullmta):
    """NOOP for ever held a place for ever."""
    with nullmta.client() as client:
        assert [client.noop()[0] for _ in range(100)] == [250] * 100
        code, said = client.noop()
        assert (code, said) == (421, b"4.7.0 too many commands without a message, closing")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()
    # A client that looks before each message whether it is still connected goes on.
    with nullmta.client() as client:
        for number in range(120):
            client.noop()
            client.sendmail("ann@example.org", ["bob@example.net"], b"Subject: x\r\n\r\nx\r\n")


def test_refusals_in_many_sessions_are_counted(nullmta):
    """Each of 2,000 sessions with one refusal wrote two lines."""
    for _ in range(400):
        client = nullmta.client()
        client.ehlo()
        client.mail("ann@example.org")
        assert client.rcpt("bob@@example.net")[0] == 501
        client.close()
    assert nullmta.stop() == 0
    log = nullmta.log()
    refusals = [line for line in log.splitlines() if "reject: RCPT from" in line]
    ends = [line for line in log.splitlines() if "within a transaction from" in line]
    numbers = [line for line in log.splitlines() if "more like this" in line]
    # Unless that takes minutes: each has as many.
    assert len(refusals) % 5 == len(ends) % 5 == 0 and len(refusals) + len(ends) <= 40, log[-3000:]
    assert 2 <= len(numbers) <= 8, numbers


def test_no_user_is_taken_for_one_who_had_the_port_before(nullmta):
    """Two users share a port, and the one hangs up the moment before the other connects from there."""
    pair, port, turns = socket.socketpair(), free_port(), 400
    users = {"ann": HOSTILE, "ben": OTHER}
    programs = []
    for first, (end, (name, uid)) in enumerate(zip(pair, users.items())):
        arguments = (name, nullmta.port, port, turns, end.fileno(), 1 - first)
        programs.append(start_as(uid, PORT_IN_TURNS, *arguments, pass_fds=[end.fileno()]))
        end.close()
    sent = {}
    for name, program in zip(users, programs):
        said, trouble = program.communicate(timeout=300)
        assert program.returncode == 0, trouble
        sent[name] = int(said)
    for name, uid in users.items():
        known = re.findall(rf"client=localhost\[127\.0\.0\.1\](?: uid (\d+))?, from=<{name}@example\.org>", nullmta.log())
        assert known == [str(uid)] * sent[name], (name, sent, set(known))
        assert sent[name] > turns / 10
    others = set(re.findall(r"localhost\[127\.0\.0\.1\] uid (\d+)", nullmta.log()))
    assert others <= {str(uid) for uid in users.values()}, others
