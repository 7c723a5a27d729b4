"""A Postfix that refuses mail from <>: bounces go on as from `queue.bounce-sender`, and each to `queue.bounce-copy` as well."""

import re

import pytest

from postfix import field

NO_NULL_SENDER = "check_sender_access inline:{ {<> = 550 5.7.1 not from the null sender} }"
GONE = "check_recipient_access inline:{ {gone@example.net = 550 5.1.1 no such user} }, permit_sasl_authenticated, reject"
BOUNCE_SENDER = 'bounce-sender = "bounces@example.org"'


@pytest.fixture
def refusing(postfix):
    """Postfix that refuses <>, and the recipient gone@example.net."""

    def restarted(senders, recipients):
        postfix.set(smtpd_sender_restrictions=senders, smtpd_recipient_restrictions=recipients)
        postfix.stop()
        postfix.start()
        return postfix

    yield restarted(NO_NULL_SENDER, GONE)
    restarted("", "permit_sasl_authenticated, reject")


def bounce(nullmta):
    """Sends what bounces; the queue id of its bounce."""
    queue_id = nullmta.send(b"Subject: to nobody\r\n\r\nx\r\n", recipients=["gone@example.net"])
    return nullmta.wait_for_log(rf"{queue_id}: sender non-delivery notification: (\w+)").group(1)


def refused(postfix, since):
    return postfix.log()[since:].count("not from the null sender")


def test_bounces_go_as_from_bounce_sender_and_a_copy_to_bounce_copy(make_nullmta, refusing):
    since = len(refusing.log())
    nullmta = make_nullmta(refusing.port, queue=f'{BOUNCE_SENDER}\nbounce-copy = "ops@example.com"').start()
    first = bounce(nullmta)
    nullmta.wait_for_log(r"the relay refuses mail from <>: 550 5.7.1 .*; such mail is sent again as from bounces@example.org ")
    nullmta.wait_until_empty()
    for recipient in ("ann@example.org", "ops@example.com"):
        assert re.search(rf"{first}: to=<{recipient}>.* status=sent ", nullmta.log())
    messages = refusing.wait_for(2)
    assert {field(message, "Return-Path") for message in messages} == {"<bounces@example.org>"}
    assert {field(message, "X-Original-To") for message in messages} == {"ann@example.org", "ops@example.com"}
    assert all(b"gone@example.net" in message and b"550 5.1.1" in message for message in messages)
    # The relay is not asked again.
    asked = refused(refusing, since)
    assert asked > 0
    bounce(nullmta)
    nullmta.wait_until_empty()
    refusing.wait_for(4)
    assert refused(refusing, since) == asked
    assert nullmta.log().count("the relay refuses mail from <>") == 1
    assert not re.search("dead|status=held", nullmta.log())


def test_mail_that_a_program_sends_from_the_null_sender_goes_so_too(make_nullmta, refusing):
    nullmta = make_nullmta(refusing.port, queue=BOUNCE_SENDER).start()
    queue_id = nullmta.send(b"Subject: vacation\r\n\r\nx\r\n", reverse_path="")
    nullmta.wait_for_log(f"{queue_id}: removed")
    (message,) = refusing.wait_for(1)
    assert field(message, "Return-Path") == "<bounces@example.org>"


def test_without_bounce_sender_the_bounce_is_kept_and_the_postmaster_has_it_where_there_is_one(make_nullmta, refusing):
    nullmta = make_nullmta(refusing.port).start()
    # A relay that has never taken a message would be suspected of refusing this host.
    nullmta.send(b"Subject: first\r\n\r\nx\r\n")
    refusing.wait_for(1)
    refusing.empty()
    notification = bounce(nullmta)
    nullmta.wait_for_log(f"WARN .*{notification}: dead, kept on the spool: .* takes no mail from <>, .*: queue.bounce-sender$")
    assert nullmta.status()["dead"] == 1 and refusing.count() == 0
    nullmta.configure(queue='postmaster = "ops@example.com"')
    nullmta.command("reload")
    second = bounce(nullmta)
    nullmta.wait_for_log("the relay refuses mail from <>: 550 5.7.1 .*queue.bounce-sender or rewrite.null-sender")
    (message,) = refusing.wait_for(1)
    assert field(message, "X-Original-To") == "ops@example.com" and b"to nobody" in message, second


def test_a_bounce_that_fails_makes_no_other_bounce(make_nullmta, refusing):
    nullmta = make_nullmta(refusing.port, queue=f'{BOUNCE_SENDER}\nbounce-copy = "ops@example.com"').start()
    queue_id = nullmta.send(b"Subject: x\r\n\r\nx\r\n", reverse_path="gone@example.net", recipients=["gone@example.net"])
    notification = nullmta.wait_for_log(rf"{queue_id}: sender non-delivery notification: (\w+)").group(1)
    nullmta.wait_for_log(rf"{notification}: to=<gone@example.net>.* status=bounced ")
    (message,) = refusing.wait_for(1)
    assert field(message, "X-Original-To") == "ops@example.com"
    assert nullmta.log().count("sender non-delivery notification") == 1
