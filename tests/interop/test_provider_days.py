"""A little day of mail through the relay of each provider, as `nullmta sink --like` plays it, with a real daemon.

The relayhost has the provider's name, which leads to the sink, so that its rules for replies are in force. On the first day the
limits are those of the provider's file in config/providers/, and the relay refuses nothing. On the second one nothing is
configured but the login, and the replies teach the daemon. On both, each recipient gets each message once, nothing bounces, and
what has to wait longer than a test says why. (`src/sink/tests/day.rs` has whole days, with a clock that is not waited for.)
"""

import re
import shlex
import subprocess
import time
import tomllib
from collections import Counter

import pytest

from daemon import TREE, binary, submit
from mounted import with_file
from waiting import free_port, wait_until

# The relays of the providers that have no file in config/providers/.
OTHER_HOSTS = {
    "emailit": "smtp.emailit.com",
    "hoster": "mail.hoster.example",
    "mailersend": "smtp.mailersend.net",
    "microsoft-365-high-volume": "smtp-hve.office365.com",
    "msndr": "smtp.msndr.net",
    "oracle": "smtp.email.eu-frankfurt-1.oci.oraclecloud.com",
    "outlook": "smtp-mail.outlook.com",
    "purelymail": "smtp.purelymail.com",
    "zeptomail": "smtp.zeptomail.com",
}
FILES = sorted(file.stem for file in (TREE / "config/providers").glob("*.toml"))
# Those whose words for a sender of whom the account knows nothing are known.
WITH_SENDERS = [
    "amazon-ses", "mailersend", "microsoft-365", "microsoft-365-high-volume", "outlook", "sendgrid", "sparkpost", "zoho",
]
SENDERS = ["app@example.com", "shop@example.org"]
SINGLE, LISTS, LIST = 40, 2, 60


def providers():
    """The names in the help of the sink, each provider's first one."""
    told = subprocess.run([str(binary()), "sink", "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  ([a-z0-9-]+)(?:, \S+)* +\S.*$", told.partition("Providers: ")[2], re.MULTILINE)


def recipe(name):
    """The provider's file of config/providers/; of one without a file, what has to be in it."""
    if name in OTHER_HOSTS:
        return {"relayhost": f"{OTHER_HOSTS[name]}:587"}
    return tomllib.loads((TREE / f"config/providers/{name}.toml").read_text())


def relay_table(settings):
    """The limits of a recipe as lines of [relay]."""
    return "\n".join(f"{key} = {value!r}" for key, value in settings.get("relay", {}).items())


@pytest.fixture
def day(make_sink, make_nullmta, scratch):
    """Starts the sink that plays a provider, and a daemon with these limits."""

    def make(name, limits, *flags):
        mode = recipe(name).get("tls", {}).get("mode", "starttls")
        sink = make_sink("--like", name, *flags).start()
        nullmta = make_nullmta(
            sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD,
            tls=f'mode = "{mode}"', relay=limits,
        )
        host = at_provider(nullmta, name)
        hosts = scratch / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n127.0.0.1 {host}\n")
        return sink, nullmta.start(*with_file(hosts, "/etc/hosts"))

    return make


def at_provider(nullmta, name):
    """Gives the relayhost of its configuration the provider's name, and returns that."""
    host = recipe(name)["relayhost"].partition(":")[0]
    nullmta.config.write_text(nullmta.config.read_text().replace('relayhost = "127.0.0.1:', f'relayhost = "{host}:'))
    return host


def send_the_mail(nullmta, single=SINGLE):
    """Submits messages from both senders in turns, and two to long lists if it is a day's; returns the recipients."""
    count = single + LISTS * LIST * (single == SINGLE)
    addresses = [f"m{number}@example.net" for number in range(count)]
    envelopes = [[to] for to in addresses[:single]] + [addresses[at:at + LIST] for at in range(single, count, LIST)]
    with nullmta.client() as client:
        for number, to in enumerate(envelopes):
            submit(client, b"Subject: a day\r\n\r\nx\r\n", SENDERS[number % 2], to)
    return addresses


def pass_the_day(nullmta):
    """Waits until all is sent, or the relay is paused for a quota, or for as long as a test may; what is left then, but for what is
    under way. In the moment in which a message may go, nothing keeps it, and it has no reason."""
    deadline = time.monotonic() + 12

    def is_over():
        return not nullmta.queue() or "relay paused: quota" in nullmta.log() or time.monotonic() > deadline

    def left():
        return [message for message in nullmta.queue() if message["state"] != "active"]

    wait_until(is_over, 60, "the end of the day")
    (waiting,) = wait_until(
        lambda: [messages for messages in [left()] if None not in reasons(messages)], 30, "a reason for each that waits",
    )
    return waiting


def addresses_of(message):
    return [recipient["address"] for recipient in message["recipients"]]


def reasons(left):
    return {recipient["reason"] for message in left for recipient in message["recipients"]}


def assert_nobody_has_two_and_nothing_failed(sink, nullmta, recipients):
    got = Counter(to for transaction in sink.transactions() for to in transaction)
    assert set(got) <= set(recipients) and set(got.values()) <= {1}, got.most_common(3)
    assert not re.findall("status=(?:bounced|expired|held)|sender non-delivery", nullmta.log()), nullmta.log()[-3000:]
    return got


def test_each_provider_of_the_help_is_one_whose_relay_is_known():
    assert sorted(providers()) == sorted([*FILES, *OTHER_HOSTS])


@pytest.mark.parametrize("name", FILES)
def test_with_the_limits_of_its_file_a_provider_refuses_nothing(day, name):
    sink, nullmta = day(name, relay_table(recipe(name)))
    recipients = send_the_mail(nullmta)
    left = pass_the_day(nullmta)
    got = assert_nobody_has_two_and_nothing_failed(sink, nullmta, recipients)
    assert not sink.refusals() and "deferred" not in nullmta.log() and "relay paused" not in nullmta.log()
    if "rate" not in recipe(name).get("relay", {}):
        assert not left and set(got) == set(recipients)
    # The rest of a rate goes out evenly; it waits for nothing else.
    assert all(reason.startswith("the rates of the relay let the next message go at ") for reason in reasons(left)), reasons(left)


@pytest.mark.parametrize("name", providers())
def test_without_a_limit_the_replies_of_a_provider_teach_it(day, name):
    sink, nullmta = day(name, "")
    recipients = send_the_mail(nullmta)
    left = pass_the_day(nullmta)
    got = assert_nobody_has_two_and_nothing_failed(sink, nullmta, recipients)
    if not left:
        assert set(got) >= set(recipients) - {to for message in nullmta.queue() for to in addresses_of(message)}
        return
    # What waits says why, in the words of the relay, or that the relay has asked for less.
    said = {effect.partition(" ")[2].removeprefix("raw ") for _, effect in sink.refusals()}
    asked = ["the rates of the relay", *said]
    assert all(any(words in reason for words in asked) for reason in reasons(left)), (said, reasons(left))
    assert not re.search("relay paused: (?!quota|throttle)", nullmta.log()), nullmta.log()


@pytest.mark.parametrize("name", WITH_SENDERS)
def test_a_sender_that_a_provider_does_not_know_waits_and_others_do_not(day, make_sink, name):
    """Its mail bounced, or the relay was paused for all."""
    sink, nullmta = day(name, "", "--verified", SENDERS[0])
    recipients = send_the_mail(nullmta, 12)
    wait_until(
        lambda: len(nullmta.queue()) == 6 and {message["state"] for message in nullmta.queue()} == {"held"}, 30,
        lambda: f"six held messages; {nullmta.queue()}; the log ends\n{nullmta.log()[-3000:]}",
    )
    assert len(sink.transactions()) == 6 and {message["from"] for message in nullmta.queue()} == {SENDERS[1]}
    assert not re.findall("status=(?:bounced|expired)|sender non-delivery", nullmta.log()), nullmta.log()
    # Somebody has it verified.
    sink.stop()
    knows = make_sink("--like", name)
    knows.port = sink.port
    knows.start()
    nullmta.configure(ca_file=knows.ca_file)
    at_provider(nullmta, name)
    nullmta.command("reload")
    nullmta.wait_until_empty()
    assert Counter(to for at in (sink, knows) for [to] in at.transactions()) == Counter(recipients)


def test_the_rehearsal_of_the_documents_works_as_it_stands(make_nullmta, scratch):
    """Its sink had no TLS, and the daemon refused such a relay under the provider's name."""
    text = (TREE / "config/commands.md").read_text().partition("## A rehearsal with a provider")[2]
    text = text.replace("2525", str(free_port())).replace("/tmp/sink.pem", str(scratch / "sink.pem"))
    console, hosts, settings = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S)[:3]
    prompt, listening = console.splitlines()
    port = listening.rpartition(":")[2]
    words = shlex.split(prompt.removeprefix("$ nullmta ").replace("100/day", "2/day"))
    sink = subprocess.Popen([str(binary()), *words, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout.readline() == listening + "\n"
        nullmta = make_nullmta(
            port, ca_file=scratch / "sink.pem", server_name="localhost", rewrite='[rewrite]\nsender = "noreply@example.org"',
        )
        at_provider(nullmta, "amazon-ses")
        nullmta.leave_out("username", "password-file")
        given, said = tomllib.loads(nullmta.config.read_text()), tomllib.loads(settings)
        assert {key: given[key] for key in said} == said
        (scratch / "hosts").write_text("127.0.0.1 localhost\n" + hosts)
        nullmta.start(*with_file(scratch / "hosts", "/etc/hosts"))
        for _ in range(3):
            nullmta.send(b"Subject: x\r\n\r\nx\r\n")
        nullmta.wait_for_log("relay paused: quota: .*: the relay said: 454 Throttling failure: Daily message quota exceeded")
        assert nullmta.log().count("status=sent") == 2 and "ask SES for a higher daily" in nullmta.log()
    finally:
        sink.terminate()
        sink.wait(timeout=20)
