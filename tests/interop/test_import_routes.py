"""Relays by sender and by recipient: where a real Postfix sends a message, and where nullmta does with what
`import-postfix` makes of its files; and the account that a real msmtp chooses."""

import re
import smtplib
import subprocess

import pytest

from daemon import binary
from postfix_client import PostfixClient
from scripted_relay import ScriptedRelay
from waiting import wait_until

MAIN_CF = """\
myhostname = client.nullmta.test
myorigin = client.nullmta.test
mydestination =
local_transport = error:no mail is delivered here
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_tls_security_level = none
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{usual}
transport_maps = hash:{etc}/transport, regexp:{etc}/transport_patterns
sender_dependent_default_transport_maps = inline:{{ {{ news@brand.example = smtp:[127.0.0.1]:{bulk} }}, {{ eve@plain.example = smtp: }} }}
sender_dependent_relayhost_maps = texthash:{etc}/sender_relay, regexp:{etc}/sender_patterns
"""
TRANSPORT = """\
partner.example       smtp:[127.0.0.1]:{partner}
.partner.example      relay:[127.0.0.1]:{partner}
.eu.partner.example   :[127.0.0.1]:{eu}
ann@partner.example   :
@never.example        smtp:[127.0.0.1]:{eu}
Mixed.Example         smtp:[127.0.0.1]:{eu}
"""
TRANSPORT_PATTERNS = r"""
/@(.*\.)?lab\.example$/     smtp:[127.0.0.1]:{eu}
/^x@two\.partner\.example$/ smtp:[127.0.0.1]:{eu}
"""
SENDER_RELAY = """\
@brand.example       [127.0.0.1]:{brand}
ann@brand.example    DUNNO
shop@brand.example   [127.0.0.1]:{shop}
root                 [127.0.0.1]:{shop}
eve@plain.example    [127.0.0.1]:{shop}
brand.example        [127.0.0.1]:{bulk}
<>                   [127.0.0.1]:{bulk}
"""
SENDER_PATTERNS = r"""
/@.*\.branches\.example$/  [127.0.0.1]:{brand}
"""
RELAYS = ["usual", "partner", "eu", "brand", "shop", "bulk"]
SENDERS = [
    "x@net.example", "x@brand.example", "ann@brand.example", "Shop@Brand.Example", "news@brand.example", "x@brand.example.org",
    "root@client.nullmta.test", "eve@plain.example", "x@a.branches.example", "x@branches.example", "",
]
# Those of them that no table gives a relay of their own.
WITHOUT_RELAY = ["x@net.example", "ann@brand.example", "x@brand.example.org", "x@branches.example"]
RECIPIENTS = [
    "y@net.example", "y@partner.example", "y@a.partner.example", "y@a.eu.partner.example", "y@eu.partner.example",
    "ann@partner.example", "y@never.example", "y@mixed.example", "y@lab.example", "y@a.lab.example", "y@xlab.example",
    "x@two.partner.example",
]


def send_to(port):
    def send(content, sender, recipient):
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            assert client.sendmail(sender, [recipient], content) == {}

    return send


@pytest.fixture
def relays():
    relays = {name: ScriptedRelay() for name in RELAYS}
    yield relays
    for relay in relays.values():
        relay.close()


def test_each_message_goes_where_postfix_sends_it(scratch, make_nullmta, relays):
    ports = {name: relay.port for name, relay in relays.items()}
    postfix = PostfixClient(scratch / "postfix", MAIN_CF.format(etc=scratch / "postfix" / "etc", **ports))
    etc = postfix.config
    main_cf = (etc / "main.cf").read_text().replace(str(scratch / "postfix" / "etc"), str(etc))
    (etc / "main.cf").write_text(main_cf)
    tables = {
        "transport": TRANSPORT, "transport_patterns": TRANSPORT_PATTERNS, "sender_relay": SENDER_RELAY,
        "sender_patterns": SENDER_PATTERNS,
    }
    for name, text in tables.items():
        text = re.sub(r"\{(\w+)\}", lambda found: str(ports[found.group(1)]), text)
        (etc / name).write_text(text)
    postfix.map(f"hash:{etc}/transport")
    done = subprocess.run([binary(), "import-postfix", str(etc)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

    messages = [(sender, recipient) for sender in SENDERS for recipient in RECIPIENTS]
    # What is to a recipient with ":" goes the way of its sender, which a route cannot say: the import says so.
    lost = {
        number for number, (sender, recipient) in enumerate(messages)
        if recipient == "ann@partner.example" and sender not in WITHOUT_RELAY
    }
    assert "mail to a recipient without a relay of its own" in done.stdout.replace("\n#        ", " ")

    def got(send, wait):
        for number, (sender, recipient) in enumerate(messages):
            send(f"Subject: {number}\r\n\r\nx\r\n".encode(), sender, recipient)
        wait()
        found = {int(message.subject): name for name, relay in relays.items() for message in relay.messages}
        for relay in relays.values():
            relay.messages.clear()
        return found

    postfix.start()
    try:
        theirs = got(send_to(postfix.port), postfix.wait_until_empty)
    finally:
        postfix.stop()
    nullmta = make_nullmta(ports["usual"])
    nullmta.relay_in_the_clear()
    base = nullmta.config.read_text()
    routes = done.stdout[done.stdout.index("[[route]]"):]
    nullmta.config.write_text(base + "\n" + routes)
    nullmta.command("check")
    nullmta.start()

    ours = got(send_to(nullmta.port), nullmta.wait_until_empty)
    assert len(theirs) == len(ours) == len(messages)
    differing = {number for number in theirs if theirs[number] != ours[number]}
    assert differing == lost, [(messages[number], theirs[number], ours[number]) for number in differing ^ lost]


MSMTPRC = """\
defaults
tls off
auth off

account usual
host 127.0.0.1
port {usual}

account news : usual
from news@news.example
port {bulk}

account shop : usual
from *@shop.example
port {shop}

account again : usual
from news@news.example
port {brand}

account default : usual
from ann@example.com
"""


def test_each_sender_has_the_account_that_msmtp_chooses(scratch, make_nullmta, relays):
    ports = {name: relay.port for name, relay in relays.items()}
    msmtprc = scratch / "msmtprc"
    msmtprc.write_text(MSMTPRC.format(**ports))
    msmtprc.chmod(0o600)
    done = subprocess.run(
        [binary(), "import-postfix", "--from", "msmtp", str(msmtprc)], capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    nullmta = make_nullmta(ports["usual"])
    nullmta.relay_in_the_clear()
    base = nullmta.config.read_text()
    found = re.search(r"\n\[rewrite\]\n.*?(?=\n# Mail that goes another way|\n# Not carried|\n# So with|\Z)", done.stdout, re.DOTALL)
    nullmta.config.write_text(base + found.group(0) + "\n")
    nullmta.command("check")
    nullmta.start()
    senders = ["news@news.example", "x@shop.example", "ann@example.com", "bob@other.example"]
    for number, sender in enumerate(senders):
        pretended = subprocess.run(
            ["msmtp", "-C", str(msmtprc), "--pretend", "-f", sender, "y@net.example"],
            input="Subject: x\n\nx\n", capture_output=True, text=True, timeout=60,
        )
        assert pretended.returncode == 0, pretended.stderr
        port = int(re.search(r"^port\s*=\s*(\d+)", pretended.stdout, re.MULTILINE).group(1))
        nullmta.send(f"Subject: {number}\r\n\r\nx\r\n".encode(), reverse_path=sender, recipients=["y@net.example"])
        relay = next(relay for relay in relays.values() if relay.port == port)
        wait_until(lambda: str(number) in relay.subjects(), 30, f"{sender} at {port}; {nullmta.log()[-2000:]}")
