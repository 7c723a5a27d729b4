"""`nullmta queue show` and `queue cat`: a message in full, and who may see it."""

import email.message
import json
import subprocess

import pytest

from local_user import ANN, BEN, DAEMON, OPERATOR, ROOT
from terminal import shown
from waiting import free_port

CONTENT = "Subject: =?utf-8?b?R3LDvMOfZQ==?= \x1b[2J\r\nFrom: a@client.nullmta.test\r\n\r\nä\x1b[31m\r\n"


def message_with_parts(octets: int) -> bytes:
    message = email.message.EmailMessage()
    message["Subject"] = "Grüße mit Anhang"
    message["From"] = "Ann Bee <ann@client.nullmta.test>"
    message["To"] = "bob@example.net"
    message.set_content("hello\n")
    message.add_attachment(bytes(range(256)) * (octets // 256), maintype="application", subtype="pdf", filename="a.pdf")
    return message.as_bytes()


@pytest.fixture
def host(_host, make_nullmta):
    """A host whose relay is down, with a small message of Ann and a large one of Ben."""
    _host.settle(make_nullmta(free_port()))
    _host.start()
    for user, content in ((ANN, message_with_parts(256)), (BEN, message_with_parts(3 << 20))):
        done = _host.run("sendmail", "bob@example.net", user=user, input=content)
        assert done.returncode == 0, done.stderr
    return _host


def ids(host):
    """The queue ids of Ann's message and of Ben's."""
    listed = [json.loads(line) for line in host.run(host.program, "queue", "list", "--json", user=ROOT).stdout.splitlines()]
    return [message["id"] for message in listed]


def queue(host, user, *words):
    done = host.run(host.program, "queue", *words, user=user)
    return done.returncode, done.stdout, done.stderr.decode()


def stored(host, id):
    """The content of a message, as it is on the spool."""
    to = host.daemon.base / "exported"
    host.daemon.stop()
    subprocess.run([host.daemon.program, "spool", "export", "-c", host.daemon.config, to], check=True, capture_output=True)
    return (to / f"{id}.eml").read_bytes()


def test_the_octets_are_those_on_the_spool(host):
    """One message is within a segment, the other one is a file of its own."""
    both = ids(host)
    printed = [queue(host, ROOT, "cat", id) for id in both]
    assert [(code, error) for code, _, error in printed] == [(0, "")] * 2
    assert len(printed[1][1]) > 3 << 20
    assert printed[0][1] == stored(host, both[0])
    assert printed[1][1] == (host.daemon.base / "exported" / f"{both[1]}.eml").read_bytes()


def test_a_message_is_shown_with_its_parts(host):
    code, out, error = queue(host, ROOT, "show", "--json", *ids(host))
    assert (code, error) == (0, ""), error
    small, large = map(json.loads, out.splitlines())
    for message, octets, user in ((small, 256, ANN), (large, 3 << 20, BEN)):
        assert (message["uid"], message["came-by"]) == (user.uid, "socket")
        content = message["content"]
        assert content["subject"] == "Grüße mit Anhang" and content["complete"], content
        assert content["from"] == [{"name": "Ann Bee", "address": "ann@client.nullmta.test"}]
        assert [part["type"] for part in content["parts"]] == ["multipart/mixed", "text/plain", "application/pdf"]
        assert (content["parts"][2]["name"], content["parts"][2]["size"]) == ("a.pdf", octets)
    assert [to["state"] for to in small["recipients"]] == ["open"] and small["recipients"][0]["reason"], small


@pytest.mark.parametrize("user", [ROOT, DAEMON, OPERATOR], ids=lambda user: user.name)
def test_who_runs_the_daemon_reads_all(host, user):
    for id in ids(host):
        assert queue(host, user, "show", id)[0] == queue(host, user, "cat", id)[0] == 0


@pytest.mark.parametrize("verb", ["show", "cat"])
def test_others_read_their_own_mail_alone(host, verb):
    anns, bens = ids(host)
    code, out, error = queue(host, ANN, verb, anns)
    assert (code, error) == (0, "") and out
    nobodys = "18A4F1C9A02B3D40"
    for id in (bens, nobodys):
        assert queue(host, ANN, verb, id) == (1, b"", f"nullmta: the queue has no message {id} that you may see\n")


def test_what_is_not_there_is_said_and_the_rest_is_shown(host):
    anns = ids(host)[0]
    code, out, error = queue(host, ROOT, "show", "18A4F1C9A02B3D40", anns, "18A4F1C9A02B3D41")
    assert code == 1 and out.startswith(anns.encode()), out
    assert error.splitlines() == [
        f"nullmta: the queue has no message 18A4F1C9A02B3D4{digit} that you may see" for digit in "01"
    ]


def test_attempts_and_replies_are_those_of_each_recipient(sink_and_nullmta):
    _, nullmta = sink_and_nullmta(
        "--fail", "rcpt:busy@example.net=450 4.2.1 busy", queue='retry-min = "1s"\nretry-max = "1s"',
    )
    with nullmta.client() as client:
        client.sendmail("app@client.nullmta.test", ["ok@example.net", "busy@example.net"], b"Subject: x\r\n\r\nx\r\n")
    nullmta.wait_for_log(r"(?s)(busy@example\.net.*status=deferred.*){3}")
    (id,) = [message["id"] for message in nullmta.queue()]
    message = json.loads(nullmta.command("queue", "show", "--json", id))
    ok, busy = message["recipients"]
    assert (ok["state"], busy["state"]) == ("sent", "open"), message
    assert busy["attempts"] >= 2 and busy["last-reply"].startswith("450 4.2.1 busy"), message


def test_a_terminal_is_not_controlled(make_nullmta):
    nullmta = make_nullmta(free_port()).start()
    with nullmta.client() as client:
        client.sendmail("app@client.nullmta.test", ["bob@example.net"], CONTENT.encode())
    (id,) = [message["id"] for message in nullmta.queue()]
    for verb in ("show", "cat"):
        code, text = shown(80, str(nullmta.program), "queue", verb, "-c", str(nullmta.config), id)
        assert code == 0 and "\x1b" not in text and "\\u{1b}[2J" in text, text
