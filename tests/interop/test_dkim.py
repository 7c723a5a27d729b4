"""A message that an application has signed passes through, and a real verifier (dkimpy) accepts it at the relay:
whatever the rules do, as long as they are not about what is signed."""

import base64
import subprocess

import dkim
import pytest

from beside import NullmtaSide, sendmail
from daemon import UnixSMTP, submit
from recorder import Recorder

DOMAIN, SELECTOR = b"shop.example", b"x"
SIGNED = [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Reply-To", b"MIME-Version", b"Content-Type"]
MESSAGE = b"""\
From: "The  Shop"   <shop@shop.example>\r
To: ann@customer.example (Ann),\r
\tBob <bob@customer.example>\r
Subject:  your\r
  order =?utf-8?q?=C3=BC?=\r
Date: Sat, 21 Nov 2026 02:10:00 +0000\r
Message-ID: <1@shop.example>\r
MIME-Version: 1.0\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: 8bit\r
Sender: www-data\r
Bcc: archive@shop.example\r
X-Mailer: x\r
\r
.a dot\r
trailing blanks   \t\r
K\xc3\xb6ln\r
From here on\r
\r
\r
"""

# About everything but what is signed.
BUSY = """
[rewrite]
origin = "shop.example"
senders = { www-data = "ops@example.com" }
sender = "noreply@example.com"
verified-domains = ["shop.example"]
masquerade = "shop.example"
recipients = { "ops@lists.example" = "night@lists.example" }
keep-original = true
reply-to-original = true
hide-received = true
header = [{ match = "^X-Mailer:", remove = true }, { match = "^X-Seen: (.*)", prepend = "X-Was: $1" }]
"""
# About the From that is signed.
MEDDLING = """
[rewrite]
sender = "noreply@example.com"
"""


@pytest.fixture(scope="module")
def key(base):
    """A signing key, and the record that publishes it."""
    private = base / "dkim.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(private), "2048"], check=True, capture_output=True)
    public = subprocess.run(
        ["openssl", "rsa", "-in", str(private), "-pubout", "-outform", "DER"], check=True, capture_output=True,
    ).stdout
    return private.read_bytes(), b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


@pytest.fixture
def make_side(scratch):
    """nullmta with these rules, and a relay that keeps every octet."""
    sides = []

    def make(rules):
        def toml(daemon):
            daemon.relay_in_the_clear()
            return daemon.config.read_text() + rules

        sides.append(NullmtaSide(scratch / f"nullmta-{len(sides)}", Recorder(), toml=toml))
        return sides[-1]

    yield make
    for side in sides:
        side.stop()


def signed(key, canonical):
    algorithms = tuple(canonical.encode().split(b"/"))
    return dkim.sign(MESSAGE, SELECTOR, DOMAIN, key[0], canonicalize=algorithms, include_headers=SIGNED) + MESSAGE


def verifies(key, content):
    records = {b"x._domainkey.shop.example.": key[1]}
    return dkim.verify(content, dnsfunc=lambda name, timeout=5: records.get(name))


def passed_on(side, way, content):
    """What the relay gets of `content`, octet by octet."""
    recipients = ["ann@customer.example", "bob@customer.example"]
    if way == "smtp":
        with UnixSMTP(str(side.config.parent / "submit.sock"), timeout=60) as client:
            submit(client, content, "shop@shop.example", recipients)
    else:
        stdin = content.replace(b"\r\n", b"\n")
        done = sendmail(side, ["-i", "-f", "shop@shop.example", "--", *recipients], stdin)
        assert done.returncode == 0, done.stderr
    side.wait_until_sent()
    (transaction,) = side.recorder.take()
    return transaction.content


@pytest.mark.parametrize("canonical", ["simple/simple", "relaxed/relaxed", "relaxed/simple"])
@pytest.mark.parametrize("way", ["smtp", "sendmail"])
@pytest.mark.parametrize("rules", [pytest.param("", id="no rules"), pytest.param(BUSY, id="busy rules")])
def test_a_signature_survives(make_side, key, rules, way, canonical):
    content = signed(key, canonical)
    assert verifies(key, content), "the verifier's own"
    passed = passed_on(make_side(rules), way, content)
    assert verifies(key, passed), passed
    assert b"archive@" not in passed and b"\r\nSender: www-data\r\n" not in passed, "rules were applied"
    assert (b"X-Mailer" in passed) == (rules == ""), "rules were applied"


def test_the_verifier_sees_a_rule_that_is_about_what_is_signed(make_side, key):
    assert not verifies(key, passed_on(make_side(MEDDLING), "smtp", signed(key, "relaxed/relaxed")))
