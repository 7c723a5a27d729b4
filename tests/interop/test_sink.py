"""The sink under the clients people rehearse with: swaks, curl, smtplib; and its Maildir under strace."""

import smtplib
import ssl
import subprocess

import pytest

from strace import Trace, available

MESSAGE = b"Subject: rehearsal\r\n\r\n.a dot\r\n..two\r\n" + b"\xe4" * 3000 + b"\r\n"


def connect(sink) -> smtplib.SMTP:
    client = smtplib.SMTP("localhost", sink.port, timeout=30)
    client.starttls(context=ssl.create_default_context(cafile=str(sink.ca_file)))
    client.login(sink.USER, sink.PASSWORD)
    return client


def test_smtplib_and_every_octet(make_sink):
    sink = make_sink().start()
    with connect(sink) as client:
        client.sendmail("ann@example.org", ["bob@example.net"], MESSAGE)
    assert sink.received() == [MESSAGE]
    assert sink.stop() == 0


def test_the_envelope_in_front(make_sink):
    sink = make_sink("--envelope", "--fail", "rcpt:bad@example.net=550").start()
    with connect(sink) as client:
        refused = client.sendmail("ann@example.org", ["bob@example.net", "bad@example.net"], MESSAGE)
    assert refused["bad@example.net"][0] == 550
    envelope = b"Return-Path: <ann@example.org>\r\nX-Envelope-To: <bob@example.net>\r\n"
    assert sink.received() == [envelope + MESSAGE]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(make_sink, mechanism):
    sink = make_sink().start()
    done = subprocess.run(
        ["swaks", "--server", f"localhost:{sink.port}", "--from", "a@example.org", "--to", "b@example.net", "-tls",
         "--tls-verify", "--tls-ca-path", str(sink.ca_file), "--auth", mechanism, "--auth-user", sink.USER,
         "--auth-password", sink.PASSWORD],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert len(sink.received()) == 1


def test_curl(make_sink, scratch):
    sink = make_sink().start()
    (scratch / "message").write_bytes(MESSAGE)
    subprocess.run(
        ["curl", "-sS", "--ssl-reqd", "--cacert", str(sink.ca_file), "-u", f"{sink.USER}:{sink.PASSWORD}",
         "--mail-from", "a@example.org", "--mail-rcpt", "b@example.net", "-T", str(scratch / "message"),
         f"smtp://localhost:{sink.port}"],
        check=True, capture_output=True, timeout=60,
    )
    assert sink.received() == [MESSAGE]


def test_lost_replies_are_stored_all_the_same(make_sink):
    sink = make_sink("--fail", "dot=lose-reply*1").start()
    client = connect(sink)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
    with connect(sink) as client:
        client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
    assert sink.received() == [MESSAGE, MESSAGE]


@pytest.mark.skipif(not available(), reason="strace cannot trace here")
def test_a_message_is_durable_before_it_is_acknowledged(make_sink, scratch):
    trace_file = scratch / "trace"
    sink = make_sink("--tls", "none").start("strace", *Trace.FLAGS, "-o", str(trace_file))
    with smtplib.SMTP("localhost", sink.port, timeout=30) as client:
        client.login(sink.USER, sink.PASSWORD)
        client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
    pid = sink.process.pid
    sink.stop()
    trace = Trace(trace_file, pid)
    draft, new = str(sink.maildir / "tmp"), str(sink.maildir / "new")
    synced = trace.first(lambda call: call.is_sync() and draft in call.arguments)
    renamed = trace.first(lambda call: call.name.startswith("rename") and draft in call.arguments)
    entry_synced = trace.first(
        lambda call: call.is_sync() and call.path() == new and call.begun > renamed.ended
    )
    reply = trace.first(lambda call: call.is_to_socket() and "queued as" in call.arguments)
    order = [synced, renamed, entry_synced, reply]
    assert all(before.ended < after.begun for before, after in zip(order, order[1:])), order
