"""The way to the relay: the name that it is told, the address that it sees, and the choice among hosts and addresses that are
dead, silent, or well again; and what the log and `status` say of it."""

import re
import socket
import socketserver
import subprocess

import pytest

from daemon import Sink, UnixSMTP, binary, submit
from listener import Listener
from mounted import with_file
from namespace import Network
from scripted_relay import CLOSE, ScriptedRelay
from waiting import free_port, wait_until

# Each message has a connection of its own, and with it a choice.
EACH_ALONE = 'idle = "off"\nmax-connections = 1'
OURS_IPV4, OURS_IPV6 = "127.0.0.9", "2001:db8::7"


@pytest.fixture
def make_relay():
    made = []

    def make(*arguments, **settings):
        made.append(ScriptedRelay(*arguments, **settings))
        return made[-1]

    yield make
    for relay in made:
        relay.close()


@pytest.fixture
def silent():
    """A host that takes every connection, counts them, and never says a word."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            made.sessions += 1
            while self.request.recv(65_536):
                pass

    made = Listener(Handler)
    made.sessions = 0
    yield made
    made.close()


@pytest.fixture
def swallows():
    """Makes an address at which nothing answers: the kernel drops what comes to a listener whose queue is full."""
    made = []

    def make(host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made.append(socket.socket(family))
        made[-1].bind((host, port))
        made[-1].listen(0)
        for _ in range(3):
            made.append(socket.socket(family))
            made[-1].setblocking(False)
            made[-1].connect_ex((host, port))

    yield make
    for each in made:
        each.close()


@pytest.fixture
def two_sinks(scratch, make_sink, make_nullmta):
    """A sink with these flags, a good one behind it in the list of relayhosts, and a daemon that trusts both, or the second
    one alone; all running."""

    def make(*flags, trusts_first=True, first_password=Sink.PASSWORD):
        first, second = make_sink(*flags), make_sink().start()
        first.PASSWORD = first_password
        first.start()
        trusted = scratch / "trusted.pem"
        trusted.write_text(second.ca_file.read_text() + (first.ca_file.read_text() if trusts_first else ""))
        nullmta = make_nullmta(
            1, ca_file=trusted, server_name="localhost", user=second.USER, password=second.PASSWORD, relay=EACH_ALONE,
        )
        return first, second, listing(nullmta, f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}").start()

    return make


def listing(nullmta, *hosts):
    """Puts these relayhosts into its configuration."""
    listed = ", ".join(f'"{host}"' for host in hosts)
    nullmta.config.write_text(nullmta.config.read_text().replace('relayhost = "127.0.0.1:1"', f"relayhost = [{listed}]"))
    return nullmta


def in_clear(make_nullmta, *hosts, hostname="client.nullmta.test", **tables):
    """A daemon, not started, whose relayhosts want neither TLS nor a login."""
    nullmta = make_nullmta(1, **tables)
    nullmta.relay_in_the_clear()
    listing(nullmta, *hosts)
    named = nullmta.config.read_text().replace('hostname = "client.nullmta.test"', f'hostname = "{hostname}"')
    nullmta.config.write_text(named)
    return nullmta


def send(nullmta, number=1):
    return nullmta.send(b"Subject: number %d\r\n\r\nx\r\n" % number)


def deliver(nullmta, number=1):
    """Sends a message, and waits until it is gone."""
    nullmta.wait_for_log(f"{send(nullmta, number)}: removed")


def checked(nullmta, *wrapper):
    return subprocess.run(
        [*wrapper, str(binary()), "check", "-c", str(nullmta.config)], capture_output=True, text=True, timeout=60,
    )


def passed_over(nullmta):
    return nullmta.status()["relays"][0]["passed-over"]


# The host's name, further settings, the name in EHLO, and the words of `check`.
@pytest.mark.parametrize(("hostname", "tables", "told", "warned"), [
    ("web1.example.org", {}, "web1.example.org", None),
    ("web1", {}, "[127.0.0.1]", "EHLO says this host's address instead"),
    ("web1", {"rewrite": '[rewrite]\norigin = "example.com"'}, "example.com", "EHLO says example.com instead"),
    ("localhost", {"rewrite": '[rewrite]\norigin = "example.com"'}, "example.com", "EHLO says example.com instead"),
    ("web1", {"relay": 'helo-name = "mail.example.net"'}, "mail.example.net", "EHLO says mail.example.net instead"),
    ("web1.example.org", {"relay": 'helo-name = "mail.example.net"'}, "mail.example.net", None),
    ("web1.example.org", {"relay": 'helo-name = "[192.0.2.1]"'}, "[192.0.2.1]", None),
])
def test_the_relay_is_told_a_name_that_means_something_to_it(make_relay, make_nullmta, hostname, tables, told, warned):
    relay = make_relay()
    nullmta = in_clear(make_nullmta, f"127.0.0.1:{relay.port}", hostname=hostname, **tables)
    done = checked(nullmta)
    assert done.returncode == 0, done.stderr
    nameless = f"this host's name, {hostname}, has no domain that others know"
    assert (nameless in done.stderr) == (warned is not None) and (warned or "") in done.stderr
    nullmta.start()
    deliver(nullmta)
    assert relay.hellos == [told]


@pytest.mark.parametrize("name", ["web1", "localhost"])
def test_a_bare_name_for_ehlo_is_refused(make_nullmta, name):
    done = checked(in_clear(make_nullmta, "127.0.0.1:25", relay=f'helo-name = "{name}"'))
    assert done.returncode == 78 and "key `relay.helo-name`: expected" in done.stderr, done


def test_another_name_is_told_after_a_reload(make_relay, make_nullmta):
    relay = make_relay()
    nullmta = in_clear(make_nullmta, f"127.0.0.1:{relay.port}", relay='helo-name = "one.example.net"').start()
    deliver(nullmta, 1)
    nullmta.config.write_text(nullmta.config.read_text().replace("one.example.net", "two.example.net"))
    nullmta.command("reload")
    deliver(nullmta, 2)
    assert relay.hellos == ["one.example.net", "two.example.net"]


# The settings, and the address of ours that a relay at `localhost` with both kinds of addresses sees.
@pytest.mark.parametrize(("settings", "seen"), [
    ('', "::1"),
    ('address-family = "ipv4"', "127.0.0.1"),
    ('address-family = "ipv6"', "::1"),
    (f'source-address = "{OURS_IPV4}"', OURS_IPV4),
    (f'source-address = "{OURS_IPV6}"', OURS_IPV6),
    (f'source-address = ["{OURS_IPV4}", "{OURS_IPV6}"]', OURS_IPV6),
    (f'source-address = "{OURS_IPV4}"\naddress-family = "any"', "::1"),
])
def test_connections_come_from_the_chosen_address_of_the_chosen_kind(make_relay, make_nullmta, scratch, settings, seen):
    network = Network(scratch, f"{OURS_IPV6}/128")
    try:
        relay = network.within(lambda: make_relay(host="::"))
        nullmta = in_clear(make_nullmta, f"localhost:{relay.port}", relay=settings).launch(*network.entered)
        nullmta.wait_for_log("started as")
        with UnixSMTP(str(nullmta.socket), timeout=60) as client:
            submit(client, b"Subject: one\r\n\r\nx\r\n")
        nullmta.wait_until_empty()
        assert relay.clients == [seen]
    finally:
        network.close()


def test_a_source_address_of_another_host_is_said_and_mail_waits(make_relay, make_nullmta):
    relay = make_relay()
    nullmta = in_clear(make_nullmta, f"127.0.0.1:{relay.port}", relay='source-address = "192.0.2.7"').start()
    send(nullmta)
    words = "relay.source-address 192.0.2.7 is no address of this host now"
    nullmta.wait_for_log(f"relay paused: .*{words}")
    assert words in nullmta.command("status")
    assert len(nullmta.queue()) == 1 and relay.sessions == 0
    nullmta.config.write_text(nullmta.config.read_text().replace("192.0.2.7", OURS_IPV4))
    nullmta.command("reload")
    nullmta.wait_until_empty()
    assert relay.clients == [OURS_IPV4]


@pytest.fixture
def both_families(scratch):
    """The words in front of a command that finds `localhost` at ::1 and 127.0.0.1, whatever the host's own file says."""
    hosts = scratch / "hosts"
    hosts.write_text("::1 localhost\n127.0.0.1 localhost\n")
    return with_file(hosts, "/etc/hosts")


def test_localhost_with_nobody_at_ipv6(make_relay, make_nullmta, both_families):
    relay = make_relay()
    nullmta = in_clear(make_nullmta, f"localhost:{relay.port}", relay=EACH_ALONE).start(*both_families)
    for number in range(2):
        deliver(nullmta, number)
    assert relay.clients == ["127.0.0.1"] * 2
    assert f"relay=localhost[127.0.0.1]:{relay.port}" in nullmta.log() and "relay paused" not in nullmta.log()


def test_an_ipv6_address_that_swallows_every_packet(make_relay, make_nullmta, both_families, swallows):
    """It would cost each connection its whole time limit, half a minute here and five minutes behind a silent greeting."""
    relay = make_relay()
    swallows("::1", relay.port)
    nullmta = in_clear(make_nullmta, f"localhost:{relay.port}", relay=EACH_ALONE).start(*both_families)
    for number in range(3):
        deliver(nullmta, number)
    assert relay.clients == ["127.0.0.1"] * 3 and "relay paused" not in nullmta.log()


def test_a_family_at_which_nobody_listens_is_not_left(make_relay, make_nullmta, both_families):
    relay = make_relay()
    nullmta = in_clear(make_nullmta, f"localhost:{relay.port}", relay='address-family = "ipv6"').start(*both_families)
    send(nullmta)
    nullmta.wait_for_log(rf"relay paused: localhost\[::1\]:{relay.port}: connect")
    assert relay.sessions == 0 and len(nullmta.queue()) == 1


def test_a_name_without_an_address_of_the_family(make_nullmta, scratch):
    hosts = scratch / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    nullmta = in_clear(make_nullmta, "localhost:25", relay='address-family = "ipv6"').start(*with_file(hosts, "/etc/hosts"))
    send(nullmta)
    nullmta.wait_for_log("relay paused: .*localhost (has no IPv6 address|cannot be looked up)")
    assert len(nullmta.queue()) == 1


# What the first host of two says, at which place; `None` where nobody listens there; and the words about it.
@pytest.mark.parametrize(("place", "said", "words"), [
    (None, None, "connect: Connection refused"),
    ("CONNECT", f"421 4.3.2 not now {CLOSE}", "421 4.3.2 not now"),
    ("CONNECT", f"554 5.7.1 not you {CLOSE}", "554 5.7.1 not you"),
    ("CONNECT", CLOSE, "greeting"),
    ("EHLO", f"421 4.3.2 not now {CLOSE}", "421 4.3.2 not now"),
    ("EHLO", "550 5.7.1 what a name", "550 5.7.1 what a name"),
])
def test_a_first_host_that_does_not_work_is_passed_over_at_once(make_relay, make_nullmta, place, said, words):
    second = make_relay()
    first = make_relay(lambda session, at: said if at in (place, "OTHER") else None) if place else None
    host = f"127.0.0.1:{first.port if first else free_port()}"
    nullmta = in_clear(make_nullmta, host, f"127.0.0.1:{second.port}", relay=EACH_ALONE).start()
    for number in range(3):
        deliver(nullmta, number)
    assert second.subjects() == ["number 0", "number 1", "number 2"]
    assert first is None or first.sessions == 1, "what is passed over is not asked by every connection"
    [line] = passed_over(nullmta)
    assert line.startswith(f"{host} is passed over, and tried again in ") and words in line, line
    assert nullmta.log().count(f"relayhost {host} is passed over for 60s, and the next one gets the mail: ") == 1
    assert "relay paused" not in nullmta.log() and "status=deferred" not in nullmta.log()


# What is wrong with the first host's TLS, and the words about it.
@pytest.mark.parametrize(("flags", "words"), [
    (["--fail", "starttls=454 4.7.0 no TLS now"], "454 4.7.0 no TLS now"),
    (["--fail", "starttls=drop"], "STARTTLS"),
    (["--tls", "none"], "STARTTLS"),
    (["--fail", "auth=454 4.7.0 no login now"], "454 4.7.0 no login now"),
    (["--fail", "auth=drop"], "AUTH"),
])
def test_a_first_host_that_fails_before_the_mail_is_passed_over_too(two_sinks, flags, words):
    first, second, nullmta = two_sinks(*flags)
    for number in range(2):
        deliver(nullmta, number)
    assert (len(first.received()), len(second.received())) == (0, 2)
    [line] = passed_over(nullmta)
    assert line.startswith(f"127.0.0.1:{first.port} is passed over, and tried again in ") and words in line, line
    assert "relay paused" not in nullmta.log()


def test_a_first_host_behind_a_firewall_that_drops_the_large_client_hello_is_gone_back_to(two_sinks):
    """The second host was quicker each time than the smaller ClientHello, so the first one never got mail."""
    first, second, nullmta = two_sinks("--max-client-hello", "1400=stall")
    deliver(nullmta, 0)
    assert (len(first.received()), len(second.received())) == (0, 1)
    nullmta.command("flush")
    deliver(nullmta, 1)
    assert (len(first.received()), len(second.received())) == (1, 1)
    assert "gets a smaller ClientHello" in nullmta.log()


def test_a_first_host_with_a_bad_certificate_gets_no_octet_of_the_mail(two_sinks):
    first, second, nullmta = two_sinks(trusts_first=False)
    for number in range(2):
        deliver(nullmta, number)
    assert (len(first.received()), len(second.received())) == (0, 2)
    [line] = passed_over(nullmta)
    assert line.startswith(f"127.0.0.1:{first.port} is passed over") and "certificate" in line, line
    assert "relay paused" not in nullmta.log()


def test_a_silent_first_host_gets_company(make_relay, make_nullmta, silent):
    relay = make_relay()
    first, second = f"127.0.0.1:{silent.port}", f"127.0.0.1:{relay.port}"
    nullmta = in_clear(make_nullmta, first, second, relay=EACH_ALONE).start()
    for number in range(3):
        deliver(nullmta, number)
    # Only the first message has waited for it.
    assert silent.sessions == 1 and len(relay.messages) == 3
    [line] = passed_over(nullmta)
    assert re.match(f"{re.escape(first)} is passed over.*no session could be opened within 8 s", line)
    assert "relay paused" not in nullmta.log()


def test_a_first_host_that_drops_what_it_has_let_in(make_relay, make_nullmta):
    """The message waits for the next connection, which goes to the other host; nothing was said twice to either."""
    first = make_relay(lambda session, place: CLOSE if place == "MAIL" else None)
    second = make_relay()
    hosts = [f"127.0.0.1:{relay.port}" for relay in (first, second)]
    nullmta = in_clear(make_nullmta, *hosts, relay=EACH_ALONE).start()
    for number in range(2):
        deliver(nullmta, number)
    assert second.subjects() == ["number 0", "number 1"] and not first.messages
    assert "possible duplicate" not in nullmta.log() and "bounced" not in nullmta.log()


def test_all_of_three_hosts_are_tried_in_their_order(make_relay, make_nullmta):
    orders = []

    def down(name):
        def script(session, place):
            if place == "CONNECT":
                orders.append(name)
                return f"421 4.3.2 not now {CLOSE}"

        return script

    relays = [make_relay(down(name)) for name in ("first", "second")] + [make_relay()]
    nullmta = in_clear(make_nullmta, *(f"127.0.0.1:{relay.port}" for relay in relays), relay=EACH_ALONE).start()
    deliver(nullmta)
    assert orders == ["first", "second"] and relays[2].subjects() == ["number 1"]
    assert len(passed_over(nullmta)) == 2


def first_host_is_well_again(make_relay, make_nullmta):
    """Two relays, of which the first was in trouble at the first message and is well since, and a daemon that has sent two
    messages to the second, since the minute for which the first is passed over lasts."""
    is_well = []
    first = make_relay(lambda session, place: None if is_well else f"421 4.3.2 not now {CLOSE}")
    second = make_relay()
    hosts = [f"127.0.0.1:{relay.port}" for relay in (first, second)]
    nullmta = in_clear(make_nullmta, *hosts, relay=EACH_ALONE).start()
    deliver(nullmta, 1)
    is_well.append(True)
    deliver(nullmta, 2)
    assert (len(first.messages), len(second.messages)) == (0, 2), "its minute lasts"
    return first, second, nullmta, hosts


def test_the_first_host_gets_the_mail_again_when_it_is_well(make_relay, make_nullmta):
    """By itself, at the end of its minute: nobody has to do anything for it."""
    first, second, nullmta, hosts = first_host_is_well_again(make_relay, make_nullmta)

    def goes_to_the_first():
        deliver(nullmta, 3)
        return first.messages

    wait_until(goes_to_the_first, 120, lambda: f"mail at the first host; the log ends\n{nullmta.log()[-2000:]}")
    assert f"relayhost {hosts[0]} works again, and gets mail in its turn" in nullmta.log()
    assert passed_over(nullmta) == []
    before = len(second.messages)
    deliver(nullmta, 4)
    assert len(second.messages) == before and first.sessions == 3


def test_a_flush_gives_a_host_that_is_passed_over_its_turn(make_relay, make_nullmta):
    """An operator who had mended the first host waited for the end of its pause."""
    first, second, nullmta, hosts = first_host_is_well_again(make_relay, make_nullmta)
    nullmta.command("flush")
    deliver(nullmta, 3)
    assert (len(first.messages), len(second.messages)) == (1, 2)
    assert f"relayhost {hosts[0]} works again" in nullmta.log() and passed_over(nullmta) == []


def test_a_reload_forgets_what_is_passed_over(make_relay, make_nullmta):
    is_well = []
    first = make_relay(lambda session, place: None if is_well else f"421 4.3.2 not now {CLOSE}")
    second = make_relay()
    nullmta = in_clear(make_nullmta, *(f"127.0.0.1:{relay.port}" for relay in (first, second)), relay=EACH_ALONE).start()
    deliver(nullmta, 1)
    assert len(passed_over(nullmta)) == 1
    is_well.append(True)
    nullmta.command("reload")
    assert passed_over(nullmta) == []
    deliver(nullmta, 2)
    assert (first.subjects(), second.subjects()) == (["number 2"], ["number 1"])


def test_mail_waits_while_no_host_works(make_relay, make_nullmta):
    """Only then the relay is paused, and one of them that is well again is enough."""
    relay = make_relay(lambda session, place: f"421 4.3.2 not now {CLOSE}")
    nullmta = in_clear(make_nullmta, f"127.0.0.1:{free_port()}", f"127.0.0.1:{relay.port}").start()
    send(nullmta)
    nullmta.wait_for_log("relay paused: .*421 4.3.2 not now")
    assert passed_over(nullmta) == [] and len(nullmta.queue()) == 1
    relay.script = lambda session, place: None
    nullmta.command("flush")
    nullmta.wait_until_empty()
    assert relay.subjects() == ["number 1"]


def test_a_login_that_one_host_refuses_is_tried_at_no_other_in_the_same_attempt(two_sinks):
    """All hosts of a list have the same account, and each further login may lock it."""
    first, second, nullmta = two_sinks("--fail", "auth=535 5.7.8 wrong password")
    send(nullmta)
    nullmta.wait_for_log(rf"relay paused: 127\.0\.0\.1\S*:{first.port}: AUTH.*535 5.7.8 wrong password")
    assert len(nullmta.queue()) == 1 and not second.received()
    # The next attempt begins with the host that has not refused it.
    nullmta.command("flush")
    second.wait_for(1)
    assert nullmta.log().count("535 5.7.8") == 1
    [line] = passed_over(nullmta)
    assert line.startswith(f"127.0.0.1:{first.port} refused the login, and is tried behind the others for ")


def test_a_host_that_refused_the_login_gets_the_mail_when_the_secret_is_mended(two_sinks):
    first, second, nullmta = two_sinks(first_password="new")
    send(nullmta, 1)
    nullmta.wait_for_log(rf"relay paused: 127\.0\.0\.1\S*:{first.port}: AUTH")
    nullmta.command("flush")
    second.wait_for(1)
    assert len(passed_over(nullmta)) == 1
    nullmta.set_password("new")
    send(nullmta, 2)
    first.wait_for(1)
    assert passed_over(nullmta) == [] and len(second.received()) == 1
