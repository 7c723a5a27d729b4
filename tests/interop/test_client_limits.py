"""`[[limit]]`: what certain users may submit, over TCP and by sendmail, and what the others notice of it."""

import pytest

from as_user import start_as
from waiting import wait_until

RUNAWAY, OTHER = 64731, 64732

# Sends so many messages over one connection, and prints the replies to the last command of each.
SEND_MANY = """\
import smtplib, sys
port, count, sender = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
    for _ in range(count):
        try:
            client.sendmail(sender, ["bob@example.net"], b"Subject: x\\r\\n\\r\\nx\\r\\n")
            print("250 queued")
        except smtplib.SMTPResponseException as refused:
            print(refused.smtp_code, refused.smtp_error.decode())
"""

LIMITS = f"""
[[limit]]
name = "runaway"
uid = {RUNAWAY}
messages = "5/hour"
allow-from = "@app.example"

[[limit]]
messages = "100/day"
size = "10K"
"""


@pytest.fixture
def sink(make_sink):
    return make_sink().start()


@pytest.fixture
def nullmta(make_nullmta, sink):
    daemon = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD
    )
    with daemon.config.open("a") as config:
        config.write(LIMITS)
    yield daemon.start()
    daemon.stop()


# A message that is larger than it says, and what is said behind it.
LARGE = """\
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=60) as client:
    client.ehlo("x")
    for command in ["MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.net>"]:
        assert client.docmd(command)[0] == 250
    print(*client.data(b"Subject: x\\r\\n\\r\\n" + b"y\\r\\n" * 4000))
"""


def replies(uid, port, count, sender):
    said, trouble = start_as(uid, SEND_MANY, port, count, sender).communicate(timeout=120)
    assert not trouble, trouble
    return said.splitlines()


def test_a_runaway_program_is_stopped_and_no_other(nullmta, sink):
    said = replies(RUNAWAY, nullmta.port, 20, "noreply@app.example")
    assert said[:5] == ["250 queued"] * 5
    used_up = '450 4.7.1 messages of 5/h are used up (limit "runaway" of this host): try again in 12 min'
    assert said[5:] == [used_up] * 15, said
    assert replies(OTHER, nullmta.port, 20, "ann@example.org") == ["250 queued"] * 20
    sink.wait_for(25)
    log = nullmta.log()
    refused = f"not queued from localhost[127.0.0.1] uid {RUNAWAY}: messages of 5/h are used up"
    assert log.count(f"NOQUEUE: {refused}") == 5, log[-3000:]
    assert f"NOQUEUE: not queued: 10 more like this from localhost[127.0.0.1] uid {RUNAWAY}" in log, log[-3000:]
    status = nullmta.command("status")
    assert 'limit   runaway: 0 messages left of 5/h; 15 refused, there is room again at' in status, status


def test_a_program_sends_as_itself_only(nullmta):
    said = replies(RUNAWAY, nullmta.port, 1, "root@example.com")
    assert said == ['550 5.7.1 clients of the limit "runaway" may not send as <root@example.com> (MAIL FROM), only as @app.example'], said
    assert replies(OTHER, nullmta.port, 1, "root@example.com") == ["250 queued"]


@pytest.mark.parametrize("restart", ["stop", "kill"])
def test_a_restart_forgets_nothing(nullmta, restart):
    replies(RUNAWAY, nullmta.port, 4, "noreply@app.example")
    if restart == "kill":
        rates = nullmta.base / "spool" / "rates"
        wait_until(lambda: rates.exists() and "limit runaway" in rates.read_text(), 30, lambda: "the note of the limit")
        nullmta.kill()
    else:
        nullmta.stop()
    nullmta.start()
    said = replies(RUNAWAY, nullmta.port, 3, "noreply@app.example")
    assert [line[:3] for line in said] == ["250", "450", "450"], said


def test_a_size_that_was_not_announced_is_refused_behind_the_content(nullmta):
    said, trouble = start_as(OTHER, LARGE, nullmta.port).communicate(timeout=60)
    assert said.startswith("552 b'5.3.4 a message may have 10240 octets"), said + trouble
    # Root is not within a limit that names nobody.
    nullmta.send(b"Subject: x\r\n\r\n" + b"y\r\n" * 8000)
