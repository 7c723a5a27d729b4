"""The relay goes away and comes back; what it refuses for good comes home as a DSN."""

import socket
import threading
import time

from daemon import submit
from postfix import field
from waiting import wait_until

MESSAGE = b"Subject: outage %d\r\n\r\nbody %d\r\n"


def subjects(messages):
    return sorted(field(message, "Subject") for message in messages)


def test_postfix_stopped_and_started_mid_stream(nullmta, postfix):
    """300 messages from three clients while the relay is taken down and brought up again, twice."""
    count, errors = 300, []

    def send(start):
        try:
            with nullmta.client() as client:
                for number in range(start, count, 3):
                    submit(client, MESSAGE % (number, number))
        except Exception as error:  # told below, by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=send, args=(start,)) for start in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        wait_until(lambda: postfix.count() > 0, 30, "the first deliveries")
        postfix.stop()
        time.sleep(0.5)
        postfix.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    nullmta.probe()
    nullmta.wait_until_empty(120)
    # Duplicates count as deliveries, too: each message is waited for.
    expected = {f"outage {number}" for number in range(count)}
    lost = lambda: expected - set(subjects(postfix.delivered()))
    wait_until(lambda: not lost(), 60, lambda: f"messages that are lost: {lost()}")
    delivered = subjects(postfix.delivered())
    assert set(delivered) == expected
    twice = [subject for subject in set(delivered) if delivered.count(subject) > 1]
    # A relay that dies between the dot and its reply makes duplicates; the log says so, each time.
    assert len(twice) <= nullmta.log().count("possible duplicate"), twice


def test_mail_waits_while_the_relay_is_down(nullmta, postfix):
    postfix.stop()
    for number in range(5):
        nullmta.send(MESSAGE % (number, number))
    nullmta.wait_for_log(r"relay paused: .*refused")
    queue = nullmta.queue()
    assert len(queue) == 5 and {"id", "from", "recipients", "state", "age", "reason"} <= set(queue[0])
    assert nullmta.status()["relay"] != "usable"
    postfix.start()
    # The breaker's own probe finds it: nobody tells the daemon.
    assert subjects(postfix.wait_for(5, 60)) == [f"outage {number}" for number in range(5)]
    nullmta.wait_until_empty()
    nullmta.wait_for_log("relay usable again")


def test_a_long_queue_is_listed_whole_and_in_order(nullmta, postfix):
    """Listings go in pages; the last one here is not full."""
    postfix.stop()
    with nullmta.client() as client:
        ids = [submit(client, MESSAGE % (number, number)) for number in range(600)]
    assert [message["id"] for message in nullmta.queue()] == ids


def test_a_restart_in_between_loses_nothing(nullmta, postfix):
    postfix.stop()
    for number in range(5):
        nullmta.send(MESSAGE % (number, number))
    assert nullmta.stop() == 0
    postfix.start()
    nullmta.start()
    assert subjects(postfix.wait_for(5)) == [f"outage {number}" for number in range(5)]


def test_each_deferral_and_refusal_concerns_its_own_recipient(sink_and_nullmta):
    sink, nullmta = sink_and_nullmta(
        "--envelope", "--fail", "rcpt:busy@example.net=450 4.2.1 busy*1", "--fail", "rcpt:gone@example.net=550",
        queue='retry-min = "1s"\nretry-max = "1s"',
    )
    recipients = ["fine@example.net", "busy@example.net", "gone@example.net"]
    nullmta.send(b"Subject: three\r\n\r\nx\r\n", recipients=recipients)
    received = sink.wait_for(3)
    assert received[0].startswith(b"Return-Path: <ann@example.org>\r\nX-Envelope-To: <fine@example.net>\r\n")
    dsn = next(message for message in received if message.startswith(b"Return-Path: <>\r\n"))
    assert b"X-Envelope-To: <ann@example.org>" in dsn
    assert b"Content-Type: multipart/report" in dsn and b"Final-Recipient: rfc822; gone@example.net" in dsn
    assert b"Status: 5.1.1" in dsn and b"busy@example.net" not in dsn
    assert any(b"X-Envelope-To: <busy@example.net>" in message for message in received)
    nullmta.wait_until_empty()
    log = nullmta.log()
    for recipient, status in zip(recipients, ("sent", "deferred", "bounced")):
        assert any(f"to=<{recipient}>" in line and f"status={status}" in line for line in log.splitlines())


def test_a_reply_lost_behind_the_dot_is_said_to_be_a_possible_duplicate(sink_and_nullmta):
    sink, nullmta = sink_and_nullmta("--fail", "dot=lose-reply*1")
    queue_id = nullmta.send(b"Subject: once or twice\r\n\r\nx\r\n")
    assert len(sink.wait_for(2)) == 2
    nullmta.wait_until_empty()
    nullmta.wait_for_log(f"{queue_id}: possible duplicate")


def test_a_relay_that_hangs_up_or_stalls_is_tried_again(sink_and_nullmta):
    sink, nullmta = sink_and_nullmta(
        "--fail", "connect=drop*1", "--fail", "greeting=421*1", "--fail", "starttls=454*1", "--fail", "auth=454*1",
        "--fail", "mail=drop*1", "--fail", "data=stall*1", "--fail", "content=drop*1",
        relay='[relay.timeouts]\ndata = "1s"\nmail = "1s"\nrcpt = "1s"',
    )
    nullmta.send(b"Subject: at last\r\n\r\nx\r\n")

    def delivered():
        nullmta.probe()
        time.sleep(0.2)
        return sink.received()

    wait_until(delivered, 60, lambda: f"the delivery; {sink.log()}")
    nullmta.wait_until_empty()
    assert len(sink.received()) == 1
    assert "status=bounced" not in nullmta.log()
    for phase in ("connect", "greeting", "starttls", "auth", "mail", "data", "content"):
        assert f"fault at {phase}" in sink.log()


def test_a_connection_lost_within_the_content_leaves_its_line(sink_and_nullmta):
    """Every attempt has a line for each recipient, also one that ended without a reply."""
    sink, nullmta = sink_and_nullmta("--fail", "content=drop*1")
    queue_id = nullmta.send(b"Subject: cut off\r\n\r\nx\r\n", recipients=["bob@example.net", "eve@example.net"])
    nullmta.probe()
    sink.wait_for(1)
    nullmta.wait_until_empty()
    assert "fault at content" in sink.log()
    for recipient in ("bob@example.net", "eve@example.net"):
        lines = [line for line in nullmta.log().splitlines() if f"{queue_id}: to=<{recipient}>" in line]
        assert ["deferred", "sent"] == [line.split("status=")[1].split()[0] for line in lines], lines


def test_etrn_probes_at_once(nullmta, postfix):
    postfix.stop()
    nullmta.send(MESSAGE % (1, 1))
    nullmta.wait_for_log("relay paused")
    postfix.start()
    with nullmta.client() as client:
        client.ehlo()
        code, said = client.docmd("ETRN", socket.gethostname())
        assert 250 <= code < 260, said
    postfix.wait_for(1, 10)
