"""`log.redact = "addresses"`: whatever happens to mail, no address is in a line of the log; and `nullmta log` finds it by its key."""

import re
import subprocess

import pytest

from daemon import Sink, binary
from waiting import wait_until

# Each is in some line of a log that hides nothing.
PEOPLE = ("secret.author", "secret.friend", "secret.nobody", "secret.busy", "secret.held", "secret-boss", "o'secret", "secret.quoted",
          "secret.mid")
MESSAGE = "From: <{author}>\r\nMessage-ID: <secret.mid@client.example>\r\nSubject: x\r\n\r\nx\r\n"


def configure(daemon, form, redact):
    text = daemon.config.read_text()
    daemon.config.write_text(text + f'\n[log]\nlevel = "debug"\nformat = "{form}"\nredact = "{redact}"\n')


def rich_day(daemon, sink, scratch):
    """Mail that is accepted, refused, deferred, bounced, held, steered; a login that fails; a hold rule; a restart; a probe."""
    author = "secret.author@example.org"
    content = MESSAGE.format(author=author).encode()
    people = [f"{name}@example.net" for name in ("secret.friend", "secret.nobody", "secret.busy", "o'secret")]
    first = daemon.send(content, author, people + ['"secret.quoted > x"@example.net'])
    daemon.wait_for_log(r"notification: [0-9A-F]{16}")
    with daemon.client() as client:
        client.command_encoding = "utf-8"
        client.ehlo()
        client.mail(author)
        assert client.rcpt("secret.friend@@example.net")[0] >= 500
        assert client.rcpt("secretälte@@example.net")[0] >= 500
    daemon.command("queue", "hold", "--new", "--from", "secret-boss@example.org", "--reason", "asked by secret-boss@example.org")
    held = daemon.send(content, "secret-boss@example.org", ["secret.held@example.net"])
    daemon.command("pause", "delivery", "--reason", "secret-boss@example.org wants it")
    for verb in ("release", "hold", "delete"):
        daemon.command("queue", verb, held)
    daemon.command("queue", "release", "--new", "--all")
    daemon.send(content, author, ["secret.held@example.net"])
    daemon.command("resume")
    daemon.try_command("probe")
    daemon.try_command("flush")
    daemon.command("queue", "expire", "--to", "secret.busy@example.net")
    daemon.wait_until_empty()
    daemon.command("reload")
    daemon.stop()
    daemon.start()
    daemon.stop()
    return first


@pytest.fixture
def made(make_nullmta, scratch):
    faults = ("rcpt:secret.nobody@example.net=550 5.1.1 <secret.nobody@example.net>: secret.nobody@EXAMPLE.net is unknown",
              "rcpt:secret.busy@example.net=450 4.2.1 mailto:secret.busy@example.net is busy; see secret-boss@example.org.")
    sink = Sink(scratch / "sink", *(word for fault in faults for word in ("--fail", fault))).start()

    def make(form, redact):
        daemon = make_nullmta(sink.port, user=sink.USER, password=sink.PASSWORD, ca_file=sink.ca_file, server_name="localhost",
                              rewrite='[rewrite]\naliases = { root = "secret-boss@example.org" }')
        configure(daemon, form, redact)
        daemon.start()
        return daemon, rich_day(daemon, sink, scratch)

    yield make
    sink.stop()


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_address_is_in_the_log_of_a_rich_day(made, form):
    daemon, first = made(form, "addresses")
    lines = [line for line in daemon.log().splitlines() if "secret" in line.replace(f"{daemon.base}/secret", "")]
    assert lines == []
    assert len(re.findall(r"address-[0-9a-f]{16}", daemon.log())) > 20
    key = daemon.base / "spool/log-key"
    assert len(key.read_bytes()) == 32 and key.stat().st_mode & 0o777 == 0o600
    for wanted in ("secret.nobody@example.net", "SECRET.author@example.org", "<secret.mid@client.example>", "o'secret@example.net"):
        done = subprocess.run(
            [str(binary()), "log", wanted, "-c", str(daemon.config), "--file", str(daemon.base / "daemon.log")],
            capture_output=True, text=True,
        )
        assert done.returncode == 0 and f" {first}: " in done.stdout, (wanted, done)


def test_the_same_day_without_it_shows_them(made):
    """So the test above looks at lines in which there would be addresses."""
    daemon, _ = made("text", "nothing")
    for name in PEOPLE:
        assert name in daemon.log(), name
    assert not (daemon.base / "spool/log-key").exists()


def test_without_a_key_addresses_are_hidden_all_the_same(make_nullmta, postfix):
    daemon = make_nullmta(postfix.port)
    configure(daemon, "text", "addresses")
    (daemon.base / "spool").mkdir(mode=0o711)
    (daemon.base / "spool/log-key").write_text("short")
    daemon.start()
    daemon.wait_for_log("hashes of this run alone, since the key on the spool cannot be used: .*log-key: it is damaged")
    daemon.send(b"Subject: x\r\n\r\nx\r\n", "secret.author@example.org")
    daemon.wait_until_empty()
    assert "secret.author" not in daemon.log() and "from=<address-" in daemon.log()
