"""Octet for octet: what an application hands in is what lies in the relay's mailbox."""

import base64
import os
import random

import pytest

from content import assert_delivered_unchanged
from daemon import Nullmta
from pki import NAME
from postfix import PASSWORD, USER, field

HEADER = b"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: =?utf-8?q?K=C3=B6ln?=\r\n"
DATED = HEADER + b"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <one@example.org>\r\n"


def attachment(octets):
    lines = base64.encodebytes(random.Random(7).randbytes(octets)).replace(b"\n", b"\r\n")
    return DATED + b"Content-Transfer-Encoding: base64\r\n\r\n" + lines


CASES = {
    "plain": DATED + b"\r\nHello.\r\n",
    "no date, no message-id": HEADER + b"\r\nHello.\r\n",
    "8-bit body": DATED + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + bytes(range(128, 256)) * 7 + b"\r\nK\xc3\xb6ln\r\n",
    "8-bit header": b"Subject: K\xc3\xb6ln \xe4\r\n" + DATED + b"\r\nx\r\n",
    "dots at line starts": DATED + b"\r\n.\r\n..\r\n...\r\n.dot\r\n..dot\r\n . \r\n",
    "a dot at the very end": DATED + b"\r\nlast\r\n.\r\n",
    "998-octet line": DATED + b"\r\n" + b"x" * 998 + b"\r\n",
    "longer lines": DATED + b"\r\n" + b"y" * 999 + b"\r\n" + b"." * 5000 + b"\r\n" + b"z" * 100_000 + b"\r\n",
    "empty body": DATED + b"\r\n",
    "header only": DATED,
    "no header at all": b"\r\njust a body\r\n",
    "no header and no empty line": b"just a body\r\n\r\nmore of it\r\n",
    "folded and odd fields": b"X-Long: a\r\n\tb\r\n   c: d\r\nX-Empty:\r\nx-lower:no blank\r\n" + DATED + b"\r\nx\r\n",
    "old trace fields": b"Received: from a by b; Sat, 21 Nov 2026 09:00:00 +0000\r\n" + DATED + b"\r\nx\r\n",
    "lines that look like ends": DATED + b"\r\nFrom me\r\n>From you\r\n\r\n\r\n \r\nQUIT\r\n",
    "trailing white space": DATED + b"\r\nends in blanks   \t\r\n   \r\n\r\n\r\n",
    "1.5 MB": attachment(1_100_000),
    "20 MB attachment": attachment(20 * 1024 * 1024),
}


@pytest.fixture(scope="module")
def daemon(base, authority, _postfix):
    """One daemon for all cases."""
    if not _postfix.is_running():
        _postfix.start()
    # Every octet is to go through: without that, lines over 998 octets are folded.
    keep = dict(rewrite='[rewrite]\nlong-lines = "keep"')
    nullmta = Nullmta(base / "content", _postfix.port, authority.ca_file, NAME, USER, PASSWORD, **keep).start()
    yield nullmta
    assert nullmta.stop() == 0


@pytest.mark.parametrize("name", CASES)
def test_octets(daemon, postfix, name):
    sent = CASES[name]
    options = ["BODY=8BITMIME"] if any(octet > 127 for octet in sent) else []
    daemon.send(sent, options=options)
    (delivered,) = postfix.wait_for(1, 120)
    assert_delivered_unchanged(delivered, sent)
    daemon.wait_until_empty()


def test_bare_line_feeds_become_line_ends(daemon, postfix):
    daemon.send(DATED.replace(b"\r\n", b"\n") + b"\none\ntwo\r\n.\nthree\r\n")
    (delivered,) = postfix.wait_for(1)
    assert_delivered_unchanged(delivered, DATED + b"\r\none\r\ntwo\r\n.\r\nthree\r\n")


def test_one_thousand_recipients(daemon, postfix):
    recipients = [f"r{number}@d{number % 7}.example.net" for number in range(1000)]
    queue_id = daemon.send(DATED + b"\r\nto many\r\n", recipients=recipients)
    copies = postfix.wait_for(1000, 180)
    assert sorted(field(copy, "Delivered-To") for copy in copies) == sorted(recipients)
    for copy in copies[:3]:
        assert_delivered_unchanged(copy, DATED + b"\r\nto many\r\n")
    daemon.wait_until_empty()
    assert daemon.log().count(f"{queue_id}: to=<") == 1000


def test_utf8_addresses(daemon, postfix):
    content = "From: jürgen@example.org\r\nSubject: grüße\r\n\r\nHallo.\r\n".encode()
    with daemon.client() as client:
        client.ehlo()
        assert client.has_extn("smtputf8")
        assert client.mail("jürgen@exämple.org", ["SMTPUTF8", "BODY=8BITMIME"])[0] == 250
        assert client.rcpt("päivi@exämple.net")[0] == 250
        assert client.data(content)[0] == 250
    (delivered,) = postfix.wait_for(1)
    assert_delivered_unchanged(delivered, content)
    assert "Delivered-To: päivi@exämple.net".encode() in delivered
    assert "Return-Path: <jürgen@exämple.org>".encode() in delivered


def test_the_null_reverse_path_and_odd_local_parts(daemon, postfix):
    recipients = ['"quoted local"@example.net', "user+tag@example.net", "a.b-c_d@example.net"]
    daemon.send(DATED + b"\r\nx\r\n", reverse_path="", recipients=recipients)
    copies = postfix.wait_for(3)
    assert {field(copy, "Return-Path") for copy in copies} == {"<>"}
    assert {field(copy, "X-Original-To").replace('"', "") for copy in copies} == {
        recipient.replace('"', "") for recipient in recipients
    }


def test_chunking(daemon, postfix):
    """BDAT in odd pieces, the last one empty; nothing in it is a dot or a line to unstuff."""
    content = DATED + b"\r\n.\r\n..\r\nend\r\n" + os.urandom(3000).hex().encode() + b"\r\n"
    with daemon.client() as client:
        client.ehlo()
        assert client.mail("ann@example.org")[0] == 250
        assert client.rcpt("bob@example.net")[0] == 250
        for piece in (content[:1], content[1:700], content[700:]):
            client.send(b"BDAT %d\r\n" % len(piece) + piece)
            assert client.getreply()[0] == 250
        client.send(b"BDAT 0 LAST\r\n")
        assert client.getreply()[0] == 250
    (delivered,) = postfix.wait_for(1)
    assert_delivered_unchanged(delivered, content)
