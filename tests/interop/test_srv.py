"""`relayhost = "srv:…"`: the hosts that a domain names by SRV records, at dnsmasq, with real relays behind them."""

import subprocess

import pytest

from daemon import binary
from dns import NameServer
from openssl_server import OpenSSLServer
from pki import NAME
from waiting import free_port, wait_until

DOMAIN = NAME.partition(".")[2]
AT_HOME = f"--host-record={NAME},127.0.0.1"


def submissions(port, target=NAME, domain=DOMAIN):
    return f"--srv-host=_submissions._tcp.{domain},{target},{port}"


def submission(port, target=NAME, domain=DOMAIN):
    return f"--srv-host=_submission._tcp.{domain},{target},{port}"


@pytest.fixture
def dns(scratch):
    made = NameServer(scratch / "dns")
    yield made
    made.stop()


@pytest.fixture
def implicit(authority):
    server = OpenSSLServer(*authority.issue("srv-implicit", f"DNS:{NAME}")).start()
    yield server
    server.close()


def asks_for(nullmta, domain=DOMAIN, server_name=None, login=True):
    """Configures the daemon for the relays of `domain`."""
    nullmta.leave_out("server-name", *(() if login else ("username", "password-file")))
    text = nullmta.config.read_text()
    before, _, behind = text.partition("relayhost = ")
    text = f'{before}relayhost = "srv:{domain}"\n{behind.partition(chr(10))[2]}'
    if server_name:
        text = text.replace("[tls]", f'[tls]\nserver-name = "{server_name}"')
    nullmta.config.write_text(text)
    return nullmta


def check(nullmta, dns, *flags):
    command = [*dns.wrapper, str(binary()), "check", *flags, "-c", str(nullmta.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def send(nullmta, number):
    return nullmta.send(b"Subject: number %d\r\n\r\nx\r\n" % number)


def test_submissions_comes_first_and_submission_behind_it(dns, postfix, implicit, make_nullmta):
    """TLS begins as the service says: at once at the first one, by STARTTLS at Postfix."""
    dns.start(submissions(implicit.port), submission(postfix.port), AT_HOME)
    nullmta = asks_for(make_nullmta(postfix.port, relay='idle = "off"'), login=False).start(*dns.wrapper)
    nullmta.wait_for_log(f"{send(nullmta, 1)}: removed")
    assert implicit.subjects == ["number 1"] and postfix.count() == 0
    assert f"relay srv:{DOMAIN}, listening" in nullmta.log()
    assert f"relay={NAME}[127.0.0.1]:{implicit.port}" in nullmta.log()


def test_a_dead_first_host_and_another_that_only_starttls_reaches(dns, postfix, make_nullmta):
    dead = free_port()
    dns.start(submissions(dead), submission(postfix.port), AT_HOME)
    nullmta = asks_for(make_nullmta(postfix.port)).start(*dns.wrapper)
    send(nullmta, 1)
    postfix.wait_for(1)
    assert f"{NAME}:{dead} is passed over" in nullmta.command("status")


def test_a_host_outside_of_the_domain_needs_a_word_of_the_operator(dns, postfix, make_nullmta):
    """Whoever forges an answer of DNS has a certificate for his own host."""
    dns.start(submission(postfix.port, domain="other.example"), AT_HOME)
    nullmta = asks_for(make_nullmta(postfix.port), "other.example").start(*dns.wrapper)
    warned = f"an SRV record of other.example names {NAME}, which is outside of other.example"
    assert f'{warned}; SRV records are not secured' in check(nullmta, dns).stderr
    send(nullmta, 1)
    nullmta.wait_for_log(f"relay paused.*not for other.example.*{warned}")
    assert postfix.count() == 0 and len(nullmta.queue()) == 1
    asks_for(nullmta, "other.example", server_name=NAME)
    assert "SRV record" not in check(nullmta, dns).stderr
    nullmta.command("reload")
    postfix.wait_for(1)


def test_mail_waits_for_the_name_server_and_for_the_record(dns, postfix, make_nullmta):
    """The file that names the server is read anew, and what cannot be looked up is said and bounces nothing."""
    nullmta = asks_for(make_nullmta(postfix.port))
    dns.resolv_conf.write_text(f"nameserver {dns.address}\noptions timeout:1 attempts:1\n")
    nullmta.start(*dns.wrapper)
    send(nullmta, 1)
    nullmta.wait_for_log(f"relay paused.*SRV records of {DOMAIN} cannot be looked up: the name server {dns.address}: ")
    assert f"{DOMAIN} cannot be looked up now" in check(nullmta, dns).stderr
    dns.start(AT_HOME, f"--local=/{DOMAIN}/")
    wait_until(
        lambda: (nullmta.probe(), "names no host for submission" in nullmta.command("status"))[1], 30,
        lambda: f"a word about the record; the log ends\n{nullmta.log()[-2000:]}",
    )
    assert len(nullmta.queue()) == 1 and postfix.count() == 0
    dns.start(submission(postfix.port), AT_HOME)
    nullmta.command("flush")
    postfix.wait_for(1)


def test_a_record_whose_host_has_no_address_is_warned_of(dns, postfix, make_nullmta):
    """`check` said nothing of it, and mail went to the other host, or waited."""
    lost = f"nowhere.{DOMAIN}"
    nullmta = asks_for(make_nullmta(postfix.port))
    dns.start(submissions(465, target=lost), submission(postfix.port), AT_HOME, f"--local=/{DOMAIN}/")
    warned = f"an SRV record of {DOMAIN} names {lost}, to which no connection can be made now: "
    some = check(nullmta, dns).stderr
    assert warned in some and "; mail goes to its other hosts, and waits while they do not answer; " in some
    dns.start(submission(587, target=lost), f"--local=/{DOMAIN}/")
    none = check(nullmta, dns).stderr
    assert warned in none and "; mail waits until one of its hosts has one; " in none
    dns.start(submission(postfix.port), AT_HOME)
    assert "SRV record" not in check(nullmta, dns).stderr


def test_the_rules_of_the_provider_are_those_of_its_domain(dns, make_nullmta):
    dns.start(AT_HOME)
    nullmta = asks_for(make_nullmta(25), "gmail.com")
    assert "Replies of srv:gmail.com (Gmail)" in check(nullmta, dns, "--relay-rules").stdout
