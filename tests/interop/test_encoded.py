"""Bodies that a relay does not take as they are: without 8BITMIME, or with lines that are too long. Python's `email` reads
what was delivered, and finds what was handed in."""

import email
import email.policy
from email.message import EmailMessage

import pytest

HTML = "<p>Grüße aus Köln</p>\n" + "<td>" * 2000 + "\n"
LATIN_1 = "Übergröße, naïve, façade\n" * 40


@pytest.fixture
def seven_bit_relay(postfix):
    """Postfix that offers neither 8BITMIME nor SMTPUTF8."""
    postfix.set(smtpd_discard_ehlo_keywords="8bitmime, smtputf8, silent-discard")
    postfix.stop()
    postfix.start()
    yield postfix
    postfix.set(smtpd_discard_ehlo_keywords="")
    postfix.stop()


def message():
    """A message with parts of each kind, all of them 8-bit, and a message within it."""
    eight_bit = dict(cte="8bit")
    inner = EmailMessage()
    inner["Subject"], inner["From"] = "inner", "cat@example.org"
    inner.set_content("Zwölf Boxkämpfer\n", **eight_bit)
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = "outer", "ann@example.org", "bob@example.net"
    made.set_content("Größe\n日本語\n.\nFrom me\n", **eight_bit)
    made.add_alternative(LATIN_1, subtype="html", charset="iso-8859-1", **eight_bit)
    made.add_attachment("ascii only\n", filename="a.txt", cte="7bit")
    made.add_attachment(inner)
    return made.as_bytes(policy=email.policy.SMTP.clone(cte_type="8bit"))


def parts(octets):
    """The type, name and decoded octets of each part that is no composite."""
    read = email.message_from_bytes(octets, policy=email.policy.default)
    return [
        (part.get_content_type(), part.get_filename(), part.get_payload(decode=True).replace(b"\r\n", b"\n"))
        for part in read.walk()
        if not part.is_multipart()
    ]


def body(octets):
    return octets.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


@pytest.mark.parametrize("setting, stays", [("keep", True), ("encode", False)])
def test_a_relay_without_8bitmime(make_nullmta, seven_bit_relay, setting, stays):
    sent = message()
    assert not sent.isascii()
    nullmta = make_nullmta(seven_bit_relay.port, relay=f'eight-bit = "{setting}"').start()
    nullmta.send(sent, options=["BODY=8BITMIME"])
    (delivered,) = seven_bit_relay.wait_for(1)
    nullmta.wait_until_empty()
    assert parts(delivered) == parts(sent)
    assert body(delivered).isascii() != stays
    assert (body(delivered) == body(sent)) == stays
    assert ("bodies encoded for" in nullmta.log()) != stays


def test_a_relay_with_8bitmime_gets_the_octets_themselves(make_nullmta, postfix):
    sent = message()
    nullmta = make_nullmta(postfix.port, relay='eight-bit = "encode"').start()
    nullmta.send(sent)
    (delivered,) = postfix.wait_for(1)
    assert body(delivered) == body(sent)


def test_it_bounces_where_that_is_asked_for(make_nullmta, seven_bit_relay):
    nullmta = make_nullmta(seven_bit_relay.port, relay='eight-bit = "bounce"').start()
    queue_id = nullmta.send(message(), options=["BODY=8BITMIME"])
    nullmta.wait_for_log(f'{queue_id}: to=<bob@example.net>.*dsn=5.6.3, status=bounced .*"bounce"')
    (dsn,) = seven_bit_relay.wait_for(1)
    assert b"5.6.3" in dsn


def test_long_lines_are_encoded_and_read_as_they_were(make_nullmta, postfix):
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = "outer", "ann@example.org", "bob@example.net"
    made.set_content("short\n")
    made.add_alternative(HTML, subtype="html", cte="8bit")
    sent = made.as_bytes(policy=email.policy.SMTP.clone(cte_type="8bit", max_line_length=None))
    nullmta = make_nullmta(postfix.port, rewrite='[rewrite]\nlong-lines = "encode"').start()
    nullmta.send(sent)
    (delivered,) = postfix.wait_for(1)
    assert parts(delivered) == parts(sent)
    assert max(map(len, delivered.splitlines())) <= 998
    assert "lines over 998 octets kept, and encoded on the way to the relay" in nullmta.log()
