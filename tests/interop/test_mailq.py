"""`mailq` looks as Postfix's does, column by column, so that eyes and monitoring read it as before."""

import re
import smtplib
import ssl
import subprocess

import pytest

from daemon import submit
from local_user import ROOT
from pki import NAME
from postfix import PASSWORD, USER, Postfix
from waiting import free_port, wait_until

RECIPIENTS = ["bob@example.net", "carol@example.net"]
MESSAGE = b"Subject: hello\r\n\r\n" + b"x" * 70 + b"\r\n"

# The lines of a listing. A group whose name ends with _ has to begin in the same column for both programs, one
# whose name begins with _ has to end in the same.
LINES = {
    "heading": r"(?P<_id_>-+Queue ID-+) (?P<_size_>-+Size-+) (?P<_time_>-+Arrival Time-+) (?P<_from_>-+Sender\S+)",
    "message": r"(?P<id_>\w+)[*!]? +(?P<_size>\d+) (?P<_time_>\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d) (?P<from_>\S+)",
    "reason": r" *(?P<_reason>\(.*\))",
    "recipient": r" +(?P<to_>[^ (]\S*)",
    "blank": r"",
    "summary": r"(?P<dashes_>--) \d+ Kbytes in 2 Requests\.",
}


def shape(line):
    """What kind of line it is, and the columns in which its parts begin and end."""
    kind, match = next(
        ((kind, match) for kind, pattern in LINES.items() if (match := re.fullmatch(pattern, line))), (line, None)
    )
    assert match, f"no line of a listing: {line!r}"
    names = match.re.groupindex
    begins = {name: match.start(name) for name in names if name.endswith("_")}
    ends = {name: match.end(name) for name in names if name.startswith("_")}
    return kind, begins, ends


def send_two(client):
    """A message and a bounce."""
    submit(client, MESSAGE, "ann@example.org", RECIPIENTS)
    submit(client, MESSAGE, "", RECIPIENTS)


@pytest.fixture
def deferring(scratch, authority):
    """A Postfix that keeps what it is given in its queue."""
    certificate, key = authority.issue("deferring", f"DNS:{NAME},DNS:localhost")
    relay = Postfix(scratch / "deferring", certificate, key, processes=5)
    relay.set(enable_long_queue_ids="yes", defer_transports="virtual")
    relay.start()
    yield relay
    relay.stop()


def postqueue(relay):
    """What `mailq` of that Postfix prints."""
    done = subprocess.run(["postqueue", "-c", str(relay.base / "etc"), "-p"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def host(_host, make_nullmta):
    """A host whose relay is down, its daemon running."""
    _host.settle(make_nullmta(free_port()))
    _host.start()
    return _host


def mailq(host, *command):
    done = host.run(*command, user=ROOT)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def test_a_queue_empty_and_with_mail_in_it(host, deferring, authority):
    assert mailq(host, "mailq") == mailq(host, "sendmail", "-bp") == postqueue(deferring)
    with smtplib.SMTP("localhost", deferring.port, timeout=30) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(authority.ca_file)))
        client.login(USER, PASSWORD)
        send_two(client)
    with host.daemon.client() as client:
        send_two(client)
    host.daemon.wait_for_log("relay paused")
    wait_until(lambda: postqueue(deferring).count("(deferred transport)") == 2, 20, lambda: postqueue(deferring))
    ours, theirs = mailq(host, "mailq"), postqueue(deferring)
    assert list(map(shape, ours.splitlines())) == list(map(shape, theirs.splitlines())), ours + theirs
    assert "MAILER-DAEMON" in ours and "MAILER-DAEMON" in theirs
