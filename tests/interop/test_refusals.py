"""A relay that is not the right one, or not satisfied, gets nothing; and the mail stays queued."""

import hashlib
import re
import signal
import subprocess

import pytest

from pki import NAME, Authority
from postfix import PASSWORD, Postfix, field
from waiting import wait_until

SECRET = b"Subject: for the right relay only\r\n\r\nsecret\r\n"


def assert_got_nothing(relay, since):
    """The relay has seen the client, but neither AUTH nor MAIL."""
    log = relay.log()[since:]
    assert "connect from" in log
    for line in log.splitlines():
        if "disconnect from" in line:
            assert "mail=" not in line and "auth=" not in line, line
    assert relay.count() == 0


def assert_waits(nullmta, queue_id, reason):
    """The message is queued, the relay paused, and the reason is told in log and status."""
    nullmta.wait_for_log(f"(?i)relay paused: .*({reason})")
    assert [message["id"] for message in nullmta.queue()] == [queue_id]
    assert nullmta.status()["trouble"]
    ends = [line for line in nullmta.log().splitlines() if queue_id in line and re.search("status=(sent|bounced)", line)]
    assert not ends, ends


def test_a_wrong_password(make_nullmta, postfix):
    since = len(postfix.log())
    nullmta = make_nullmta(postfix.port, password="Tr0ub4dor").start()
    queue_id = nullmta.send(SECRET)
    assert_waits(nullmta, queue_id, "535")
    trouble = nullmta.status()["trouble"]
    assert re.search(r'it refuses the user name "\S+" \(auth\.username\) with the password in \S+ \(auth\.password-file\)', trouble)
    assert "nothing bounces for it; another secret there is noticed within seconds" in trouble
    assert "mail=" not in postfix.log()[since:] and postfix.count() == 0
    assert "Tr0ub4dor" not in nullmta.log()
    # The secret is read anew for each connection: mending the file is enough.
    nullmta.set_password(PASSWORD)
    nullmta.probe()
    assert field(postfix.wait_for(1)[0], "Subject") == "for the right relay only"


def test_no_mechanism_in_common(make_nullmta, postfix):
    nullmta = make_nullmta(postfix.port, auth='mechanisms = ["SCRAM-SHA-256"]').start()
    nullmta.send(SECRET)
    postfix.wait_for(1)
    nullmta.stop()
    postfix.empty()
    postfix.set(smtpd_sasl_mechanism_filter="login")
    postfix.stop()
    postfix.start()
    try:
        nullmta.start()
        queue_id = nullmta.send(SECRET)
        assert_waits(nullmta, queue_id, "LOGIN")
        assert postfix.count() == 0
    finally:
        postfix.set(smtpd_sasl_mechanism_filter="!external, static:rest")
        postfix.stop()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "CRAM-MD5"])
def test_each_mechanism_gets_through(make_nullmta, postfix, mechanism):
    nullmta = make_nullmta(postfix.port, auth=f'mechanisms = ["{mechanism}"]').start()
    nullmta.send(SECRET)
    postfix.wait_for(1)
    assert f"sasl_method={mechanism}" in postfix.log()


@pytest.fixture
def imposter(scratch, request, authority):
    """A Postfix of the test's own, with the certificate that `label` names."""
    made = []

    def make(label):
        other = Authority(scratch / "other-ca", "somebody else")
        names = f"DNS:{NAME}"
        certificate, key = {
            "unknown CA": lambda: other.issue("unknown", names),
            "expired": lambda: authority.issue("expired", names, expired=True),
            "wrong name": lambda: authority.issue("wrong-name", "DNS:other.nullmta.test"),
        }[label]()
        relay = Postfix(scratch / "imposter", certificate, key, processes=10)
        relay.start()
        made.append(relay)
        return relay

    yield make
    for relay in made:
        relay.stop()


@pytest.mark.parametrize("label, reason", [
    ("unknown CA", "unknown ?issuer|certificate"),
    ("expired", "expired"),
    ("wrong name", "name"),
])
def test_a_certificate_that_does_not_verify(make_nullmta, imposter, label, reason):
    relay = imposter(label)
    since = len(relay.log())
    nullmta = make_nullmta(relay.port).start()
    queue_id = nullmta.send(SECRET)
    assert_waits(nullmta, queue_id, reason)
    wait_until(lambda: "disconnect from" in relay.log()[since:], 10, "the end of the session")
    assert_got_nothing(relay, since)


def test_a_relay_without_starttls(make_nullmta, postfix):
    postfix.set(smtpd_tls_security_level="none")
    postfix.stop()
    postfix.start()
    try:
        since = len(postfix.log())
        nullmta = make_nullmta(postfix.port).start()
        queue_id = nullmta.send(SECRET)
        assert_waits(nullmta, queue_id, "STARTTLS")
        assert_got_nothing(postfix, since)
    finally:
        postfix.set(smtpd_tls_security_level="may")
        postfix.stop()
        postfix.start()
    nullmta.probe()
    postfix.wait_for(1)


def test_a_pin_instead_of_a_ca(make_sink, make_nullmta):
    """The right key is enough; another one is not, whatever its CA."""
    sink = make_sink().start()
    public_key = subprocess.run(
        f"openssl x509 -in {sink.ca_file} -pubkey -noout | openssl pkey -pubin -outform der",
        shell=True, check=True, capture_output=True,
    ).stdout
    right, wrong = hashlib.sha256(public_key).hexdigest(), hashlib.sha256(b"another").hexdigest()
    nullmta = make_nullmta(sink.port, user=sink.USER, password=sink.PASSWORD)
    text = nullmta.config.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("ca-file", "server-name"))]

    def pin(value):
        nullmta.config.write_text("\n".join(lines).replace("[tls]", f'[tls]\npin-sha256 = "{value}"'))

    pin(wrong)
    nullmta.start()
    queue_id = nullmta.send(SECRET)
    assert_waits(nullmta, queue_id, "pin|key")
    assert sink.received() == []
    pin(right)
    nullmta.signal(signal.SIGHUP)
    nullmta.probe()
    sink.wait_for(1)
