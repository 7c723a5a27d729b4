"""Real clients hand mail in: swaks, smtplib, curl, Postfix's smtp-source, the unix socket."""

import os
import smtplib
import subprocess

from content import assert_delivered_unchanged
from daemon import UnixSMTP, submit
from postfix import field
from waiting import wait_until

SENT = b"Subject: hello\r\nFrom: ann@example.org\r\n\r\n.Hello.\r\n"


def test_swaks(nullmta, postfix):
    done = subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{nullmta.port}", "--from", "ann@example.org", "--to", "bob@example.net",
         "--header", "Subject: by swaks"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    (message,) = postfix.wait_for(1)
    assert field(message, "Subject") == "by swaks"


def test_swaks_pipelines_and_gets_what_ehlo_promises(nullmta, postfix):
    done = subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{nullmta.port}", "--from", "ann@example.org", "--to",
         "bob@example.net,carol@example.net", "--pipeline"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    for extension in ("PIPELINING", "SIZE", "VRFY", "ETRN", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "DSN",
                      "CHUNKING"):
        assert extension in done.stdout, extension
    postfix.wait_for(2)


def test_smtplib(nullmta, postfix):
    with smtplib.SMTP("127.0.0.1", nullmta.port, timeout=60) as client:
        assert client.sendmail("ann@example.org", ["bob@example.net"], SENT) == {}
        assert client.sendmail("ann@example.org", ["bob@example.net"], SENT) == {}
    for message in postfix.wait_for(2):
        assert_delivered_unchanged(message, SENT)


def test_curl(nullmta, postfix, scratch):
    (scratch / "message").write_bytes(SENT)
    subprocess.run(
        ["curl", "-sS", f"smtp://127.0.0.1:{nullmta.port}", "--mail-from", "ann@example.org", "--mail-rcpt",
         "bob@example.net", "-T", str(scratch / "message")],
        check=True, capture_output=True, timeout=60,
    )
    (message,) = postfix.wait_for(1)
    assert_delivered_unchanged(message, SENT)


def test_smtp_source_with_fifty_sessions(sink_and_nullmta):
    count = 1000
    sink, nullmta = sink_and_nullmta()
    subprocess.run(
        ["/usr/sbin/smtp-source", "-s", "50", "-m", str(count), "-l", "4096", "-f", "ann@example.org", "-t",
         "bob@example.net", f"inet:127.0.0.1:{nullmta.port}"],
        check=True, capture_output=True, timeout=120,
    )
    sink.wait_for(count, 120)
    nullmta.wait_until_empty()
    assert len(sink.received()) == count
    assert nullmta.log().count("(queued)") == count


def test_the_unix_socket_knows_its_user(nullmta, postfix):
    assert os.stat(nullmta.socket).st_mode & 0o777 == 0o666
    with UnixSMTP(str(nullmta.socket), timeout=60) as client:
        queue_id = submit(client, SENT)
    (message,) = postfix.wait_for(1)
    assert_delivered_unchanged(message, SENT)
    nullmta.wait_for_log(f"{queue_id}: client=uid {os.getuid()}")


def test_an_unqualified_recipient_is_completed(nullmta, postfix):
    nullmta.send(SENT, reverse_path="root", recipients=["root"])
    (message,) = postfix.wait_for(1)
    assert field(message, "X-Original-To") == "root@client.nullmta.test"
    assert field(message, "Return-Path") == "<root@client.nullmta.test>"


def test_oversize_is_refused_and_the_session_goes_on(nullmta, postfix):
    too_large = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 700_000
    with nullmta.client() as client:
        client.ehlo()
        assert client.mail("ann@example.org")[0] == 250
        assert client.rcpt("bob@example.net")[0] == 250
        code, said = client.data(too_large)
        assert (code, said[:5]) == (552, b"5.3.4")
        assert client.mail("ann@example.org", [f"SIZE={len(too_large)}"])[0] == 552
        submit(client, SENT)
    postfix.wait_for(1)


def test_smuggled_ends_of_data_stay_content(nullmta, postfix):
    """CVE-2023-51764 and its kin: only CRLF.CRLF ends data, for us and so for the relay behind us."""
    attempts = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n", b"\r\n\0.\r\n"]
    with nullmta.client() as client:
        client.ehlo()
        for number, end in enumerate(attempts):
            assert client.mail("ann@example.org")[0] == 250
            assert client.rcpt("bob@example.net")[0] == 250
            client.putcmd("data")
            assert client.getreply()[0] == 354
            smuggled = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nevil\r\n"
            client.send(b"Subject: %d\r\n\r\nharmless" % number + end + smuggled + b"\r\n.\r\n")
            client.getreply()
    nullmta.wait_until_empty()
    wait_until(lambda: "removed" in postfix.log(), 10, "deliveries")
    recipients = {field(message, "X-Original-To") for message in postfix.delivered()}
    assert recipients <= {"bob@example.net"}
