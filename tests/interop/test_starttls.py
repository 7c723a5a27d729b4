"""STARTTLS at the listener: offered where a certificate is configured, and to clients that verify it."""

import shutil
import signal
import socket
import ssl
import subprocess
from dataclasses import replace

import pytest

from callers import SMTP_CLIENTS
from content import assert_delivered_unchanged, split
from daemon import binary, submit
from local_user import DAEMON
from pki import Authority

SENT = b"Subject: hello\r\nFrom: ann@example.org\r\n\r\n.Hello.\r\n"
NAMES = "DNS:localhost,DNS:client.nullmta.test,IP:127.0.0.1"
SELF_MADE = 'certificate = "self-made"'


def listen(certificate, key):
    return f'certificate = "{certificate}"\nkey = "{key}"'


@pytest.fixture(scope="session")
def pair(authority):
    """A certificate for the names of loopback, and its key."""
    return authority.issue("listener", NAMES)


@pytest.fixture(scope="session")
def stranger(base):
    """An authority that has signed nothing of ours."""
    return Authority(base / "stranger")


@pytest.fixture
def secured(make_nullmta, postfix, pair):
    """The daemon, running, that shows the certificate."""
    return make_nullmta(postfix.port, listen=listen(*pair)).start()


def trusting(ca_file):
    return ssl.create_default_context(cafile=ca_file)


def received(message):
    """Our own Received field, on one line."""
    own = [text for name, text in split(message)[0] if name == b"received" and b"(nullmta)" in text]
    (field,) = own
    return b" ".join(field.split()).decode()


def test_by_default_it_is_not_offered(nullmta):
    with nullmta.client() as client:
        client.ehlo()
        assert not client.has_extn("starttls")
        assert client.docmd("STARTTLS")[0] == 502


def test_smtplib_upgrades_and_is_offered_the_rest_again(secured, postfix, authority):
    with secured.client() as client:
        client.ehlo()
        before = dict(client.esmtp_features)
        assert client.mail("before@example.org")[0] == 250
        client.starttls(context=trusting(authority.ca_file))
        assert client.rcpt("bob@example.net")[0] == 503
        client.ehlo()
        assert before.pop("starttls") == "" and client.esmtp_features == before
        assert client.docmd("STARTTLS")[0] == 503
        queue_id = submit(client, SENT)
    (message,) = postfix.wait_for(1)
    assert_delivered_unchanged(message, SENT)
    assert "(using TLSv1.3) by client.nullmta.test (nullmta) with ESMTPS id" in received(message)
    secured.wait_for_log(f"{queue_id}: client=localhost.*, from=<ann@example.org>,.* proto=ESMTPS,")


def swaks(daemon, ca_file):
    return subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{daemon.port}", "--from", "ann@example.org", "--to", "bob@example.net",
         "--tls", "--tls-verify", "--tls-ca-path", str(ca_file)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )


def test_swaks_verifies(secured, postfix, authority, stranger):
    done = swaks(secured, authority.ca_file)
    assert done.returncode == 0, done.stdout[-2000:]
    (message,) = postfix.wait_for(1)
    assert "with ESMTPS id" in received(message)
    done = swaks(secured, stranger.ca_file)
    assert done.returncode != 0, done.stdout[-2000:]
    secured.wait_for_log(r"NOQUEUE: TLS handshake failed from localhost\[127.0.0.1\] uid \d+: .*the client ended the TLS session: it does not trust the certificate of this host")
    assert secured.log().count("(queued)") == 1


def s_client(daemon, ca_file, *flags):
    envelope = b"ehlo app\r\nmail from:<ann@example.org>\r\nrcpt to:<bob@example.net>\r\ndata\r\n"
    dialogue = envelope + SENT.replace(b"\r\n.", b"\r\n..") + b".\r\nquit\r\n"
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{daemon.port}", "-starttls", "smtp", "-quiet",
         "-CAfile", str(ca_file), "-verify_return_error", "-verify_hostname", "client.nullmta.test", *flags],
        input=dialogue, capture_output=True, timeout=60,
    )


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_openssl_with_each_version(secured, postfix, authority, version):
    done = s_client(secured, authority.ca_file, f"-tls{version.replace('.', '_')}")
    assert done.returncode == 0 and b"250 2.0.0" in done.stdout and b"221 " in done.stdout, done
    (message,) = postfix.wait_for(1)
    assert_delivered_unchanged(message, SENT)
    assert f"(using TLSv{version})" in received(message)


def test_nothing_older_than_tls_1_2(secured, authority):
    done = s_client(secured, authority.ca_file, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode != 0 and b"221 " not in done.stdout, done
    secured.wait_for_log("NOQUEUE: TLS handshake failed")


def test_plaintext_behind_starttls_is_refused(secured):
    """CVE-2011-0411 and its kin: what stood behind STARTTLS was taken for said under TLS."""
    injected = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nevil\r\n.\r\n"
    with socket.create_connection(("127.0.0.1", secured.port), timeout=30) as connection:
        replies = connection.makefile("rb")
        assert replies.readline().startswith(b"220 ")
        connection.sendall(b"HELO app\r\nSTARTTLS\r\n" + injected)
        assert replies.readline().startswith(b"250 ")
        assert replies.readline().startswith(b"554 5.5.1 ")
        assert replies.read() == b""
    assert "evil" not in secured.log() and secured.queue() == []


def shown(daemon):
    """The certificate that the daemon shows, in PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with daemon.client() as client:
        client.starttls(context=context)
        return ssl.DER_cert_to_PEM_cert(client.sock.getpeercert(binary_form=True))


def test_a_self_made_one_lasts_for_a_run_and_its_key_is_nowhere(make_nullmta, postfix, scratch):
    daemon = make_nullmta(postfix.port, listen=SELF_MADE).start()
    trusted = scratch / "shown.pem"
    trusted.write_text(shown(daemon))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("configuration reloaded")
    with daemon.client() as client:
        client.starttls(context=trusting(trusted))
        submit(client, SENT)
    postfix.wait_for(1)
    files = [path for path in daemon.base.rglob("*") if path.is_file()]
    assert files and not any(b"PRIVATE KEY" in path.read_bytes() for path in files)
    daemon.stop()
    assert shown(daemon.start()) != trusted.read_text()


def test_a_reload_takes_another_certificate_for_new_sessions(secured, postfix, authority, pair):
    first = shown(secured)
    certificate, key = authority.issue("listener-renewed", NAMES)
    with secured.client() as under_way:
        under_way.starttls(context=trusting(authority.ca_file))
        secured.configure(listen=listen(certificate, key))
        secured.signal(signal.SIGHUP)
        secured.wait_for_log("configuration reloaded")
        submit(under_way, SENT)
    renewed = shown(secured)
    assert first in pair[0].read_text() and renewed in certificate.read_text() and first != renewed
    # The key of another certificate, as it is between two steps of a renewal.
    secured.configure(listen=listen(certificate, pair[1]))
    secured.signal(signal.SIGHUP)
    secured.wait_for_log(f"configuration not reloaded.*`listen.key`: expected the private key of {certificate}")
    assert shown(secured) == renewed
    postfix.wait_for(1)


def test_what_cannot_be_shown_is_refused_by_check_and_run(make_nullmta, postfix, pair, scratch):
    def refused(certificate, key):
        daemon = make_nullmta(postfix.port, listen=listen(certificate, key))
        for command in ("check", "run"):
            done = subprocess.run(
                [str(binary()), command, "-c", str(daemon.config)], capture_output=True, text=True, timeout=20
            )
            assert done.returncode == 78 and f"{daemon.config}:" in done.stderr, done
        return done.stderr

    certificate, key = pair
    readable = scratch / "readable.key"
    shutil.copyfile(key, readable)
    readable.chmod(0o644)
    assert f"`listen.key`: {readable} is open to others" in refused(certificate, readable)
    assert f"`listen.certificate`: expected PEM certificates in {key}" in refused(key, key)
    assert f"`listen.certificate`: cannot read {scratch}/no.pem" in refused(scratch / "no.pem", key)


# They upgrade by themselves wherever STARTTLS is offered.
UPGRADING = {name: SMTP_CLIENTS[name] for name in ("nodemailer", "Symfony")}
each_upgrading = pytest.mark.parametrize("caller", UPGRADING.values(), ids=UPGRADING.keys())


@each_upgrading
def test_programs_that_upgrade_by_themselves_and_trust_the_certificate(host, postfix, authority, pair, scratch, caller):
    key = scratch / "listener.key"
    shutil.copyfile(pair[1], key)
    key.chmod(0o600)
    shutil.chown(key, DAEMON.uid)
    host.daemon.configure(listen=listen(pair[0], key))
    host.start()
    trust = dict(NODE_EXTRA_CA_CERTS=authority.ca_file, SSL_CERT_FILE=authority.ca_file)
    done = replace(caller, environment=caller.environment | trust).run(host)
    assert done.returncode == 0, done.stdout + done.stderr
    (message,) = postfix.wait_for(1)
    caller.check(message, host.daemon.log())
    assert "with ESMTPS id" in received(message)


@each_upgrading
def test_they_fail_where_they_do_not_trust_it(host, caller):
    """Why it is not offered until somebody asks for it."""
    host.daemon.configure(listen=SELF_MADE)
    host.start()
    assert caller.run(host).returncode == caller.failure
    host.daemon.wait_for_log("NOQUEUE: TLS handshake failed from localhost")
    assert "(queued)" not in host.daemon.log()


def test_sendmail_does_not_mind_the_offer(host, postfix):
    host.daemon.configure(listen=SELF_MADE)
    host.start()
    done = host.run("sendmail", "-i", "bob@example.net", input=SENT)
    assert done.returncode == 0, done.stderr
    (message,) = postfix.wait_for(1)
    assert "with ESMTP id" in received(message)
