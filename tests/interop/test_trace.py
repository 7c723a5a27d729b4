"""`nullmta trace`: the dialogues with relays and clients while they take place, without any part of a login or of a content."""

import base64
import json
import smtplib
import ssl
import subprocess

import pytest

from daemon import Sink, binary
from local_user import ANN, OPERATOR
from waiting import wait_until

PASSWORD, TOKEN, BODY = "s3cret pass/word", "ya29.t0ken-of-the-relay", "nobody sees this line"
MESSAGE = f"Subject: x\r\n\r\n{BODY}\r\n".encode()


class Trace:
    """`nullmta trace --json`, which is known to trace when this is made."""

    def __init__(self, daemon, *options):
        before = daemon.log().count("dialogues are traced")
        self._process = subprocess.Popen(
            [str(binary()), "trace", "--json", "-c", str(daemon.config), *options], stdout=subprocess.PIPE, text=True
        )
        wait_until(lambda: daemon.log().count("dialogues are traced") > before, 20, "the daemon to be traced")

    def until(self, wanted) -> list:
        """The lines up to the first one that has `wanted` in its text."""
        lines = []
        for line in self._process.stdout:
            lines.append(json.loads(line))
            if wanted in lines[-1].get("text", ""):
                break
        self._process.terminate()
        self._process.wait(timeout=20)
        assert lines and wanted in lines[-1].get("text", ""), lines
        return lines


def forms(secret, user):
    """The texts in which a secret may stand."""
    encoded = lambda text: base64.b64encode(text.encode()).decode()
    return [secret, encoded(secret), encoded(f"\0{user}\0{secret}"), encoded(f"user={user}\1auth=Bearer {secret}\1\1")]


@pytest.mark.parametrize("secret", ["right", "wrong"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"])
def test_no_part_of_a_login_at_a_relay_is_shown(make_nullmta, scratch, mechanism, secret):
    user, is_token = "app", mechanism in ("XOAUTH2", "OAUTHBEARER")
    told = (TOKEN if is_token else PASSWORD) if secret == "right" else "wr0ng.secret-of-another"
    sink = Sink(scratch / "sink", "--user", f"{user}:{PASSWORD}", "--token", f"{user}:{TOKEN}").start()
    daemon = make_nullmta(sink.port, user=user, password=told, ca_file=sink.ca_file, server_name="localhost",
                          auth=f'mechanisms = ["{mechanism}"]')
    if is_token:
        daemon.config.write_text(daemon.config.read_text().replace("password-file", "token-file"))
    daemon.start()
    trace = Trace(daemon, "--relay")
    daemon.send(MESSAGE)
    lines = trace.until("(content," if secret == "right" else "535")
    text = json.dumps(lines)
    assert "(a part of AUTH, not shown)" in text and "EHLO" in text
    assert not [form for form in forms(told, user) if json.dumps(form)[1:-1] in text], text
    # No line of base64 is left, whoever has said it.
    words = [word for line in lines for word in line["text"].split() if len(word) > 30 and "." not in word and "-" not in word]
    assert words == [], words
    assert BODY not in text
    sink.stop()


def test_no_part_of_a_login_of_a_client_is_shown(make_nullmta, postfix, scratch):
    daemon = make_nullmta(postfix.port, listen=f'users-file = "{scratch}/users"\ncertificate = "self-made"')
    done = subprocess.run([str(binary()), "user", "add", "-c", str(daemon.config), "shop"], input=PASSWORD + "\n", text=True)
    assert done.returncode == 0
    daemon.start()
    trace = Trace(daemon, "--listener")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for mechanism in ("auth_plain", "auth_login"):
        for password in (PASSWORD, "wr0ng pass/word"):
            with daemon.client() as client:
                client.starttls(context=context)
                client.ehlo()
                client.user, client.password = "shop", password
                try:
                    client.auth(mechanism[5:].upper(), getattr(client, mechanism))
                except smtplib.SMTPAuthenticationError:
                    # A client that goes on as if nothing had been: a secret as a command.
                    client.docmd(base64.b64encode(password.encode()).decode())
                    client.docmd(password)
    with daemon.client() as client:
        client.sendmail("ann@example.org", ["bob@example.net"], MESSAGE)
    lines = trace.until("(content,")
    text = json.dumps(lines)
    for password in (PASSWORD, "wr0ng pass/word"):
        assert not [form for form in forms(password, "shop") if json.dumps(form)[1:-1] in text], text
    assert "AUTH (a part of AUTH, not shown)" in text and "(no command, " in text and "235" in text and "535" in text
    assert "MAIL FROM:<ann@example.org>" in text.replace("mail FROM", "MAIL FROM") and BODY not in text


def test_only_wanted_transactions_are_shown(make_nullmta, postfix):
    daemon = make_nullmta(postfix.port).start()
    trace = Trace(daemon, "--relay", "--from", "shop@*")
    for author in ("ann", "ben", "shop"):
        daemon.send(MESSAGE, f"{author}@example.org")
        daemon.wait_until_empty()
    lines = trace.until("(content,")
    text = json.dumps(lines)
    assert "shop@example.org" in text and "ann@example.org" not in text and "ben@example.org" not in text
    assert [line["by"] for line in lines if "MAIL FROM" in line["text"]] == ["us"]


def test_it_ends_by_itself_and_is_for_operators(host):
    host.start()
    run = lambda user: host.run(host.program, "trace", "--seconds", "1", user=user)
    done = run(OPERATOR)
    assert (done.returncode, done.stdout) == (0, b"") and b"nothing was said within 1 s" in done.stderr
    done = run(ANN)
    assert (done.returncode, done.stdout) == (77, b"") and b"only root" in done.stderr
    assert "dialogues are traced for 1 s by uid 64012 (oda)" in host.daemon.log()
    assert "uid 64010" not in host.daemon.log()
