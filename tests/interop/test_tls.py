"""TLS to real servers: sessions that are resumed, an end without close_notify, a ClientHello that is too large for a firewall,
and few groups at the relay."""

import contextlib
import re
import socketserver
import ssl

import pytest

from firewall import SEGMENT, Firewall
from listener import Listener
from openssl_server import OpenSSLServer
from pki import NAME

EACH_ALONE = 'idle = "off"'
IMPLICIT = 'mode = "implicit"'


@pytest.fixture(scope="module")
def shown(authority):
    return authority.issue("s-server", f"DNS:{NAME}")


@pytest.fixture
def make_openssl(shown):
    made = []

    def make(*flags, **settings):
        made.append(OpenSSLServer(*shown, *flags, **settings).start())
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def make_firewall():
    made = []

    def make(*arguments, **settings):
        made.append(Firewall(*arguments, **settings))
        return made[-1]

    yield make
    for firewall in made:
        firewall.close()


@pytest.fixture
def logged_postfix(postfix):
    """Postfix that speaks one version of TLS and logs what it does with sessions."""

    def restarted(**parameters):
        postfix.set(**parameters)
        postfix.stop()
        postfix.start()
        return postfix

    def speaking(version):
        return restarted(smtpd_tls_loglevel="2", smtpd_tls_protocols=f"TLSv{version}")

    yield speaking
    restarted(smtpd_tls_loglevel="0", smtpd_tls_protocols=">=TLSv1")


def without_login(nullmta):
    nullmta.leave_out("username", "password-file")
    return nullmta.start()


def send(nullmta, number):
    queue_id = nullmta.send(b"Subject: number %d\r\n\r\nx\r\n" % number)
    nullmta.wait_for_log(f"{queue_id}: removed")
    return queue_id


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_openssl_resumes_a_session_for_each_further_connection(make_openssl, make_nullmta, version):
    server = make_openssl(f"-tls{version.replace('.', '_')}")
    nullmta = without_login(make_nullmta(server.port, tls=IMPLICIT, relay=EACH_ALONE))
    for number in range(4):
        send(nullmta, number)
    assert server.subjects == [f"number {number}" for number in range(4)]
    assert server.resumed == [False, True, True, True]
    assert nullmta.log().count(f"tls=TLSv{version}, ") == 4


def test_after_a_reload_nothing_is_resumed(make_openssl, make_nullmta):
    server = make_openssl()
    nullmta = without_login(make_nullmta(server.port, tls=IMPLICIT, relay=EACH_ALONE))
    send(nullmta, 0), send(nullmta, 1)
    nullmta.config.write_text(nullmta.config.read_text().replace(EACH_ALONE, f"{EACH_ALONE}\nmax-connections = 3"))
    nullmta.command("reload")
    send(nullmta, 2), send(nullmta, 3)
    assert server.resumed == [False, True, False, True]


# Of four connections. With TLS 1.3 Postfix hands out one ticket in a whole handshake and none in a resumed one, and a ticket
# serves once (RFC 8446 C.4).
@pytest.mark.parametrize(("version", "resumed"), [("1.2", 3), ("1.3", 2)])
def test_postfix_resumes_sessions(logged_postfix, make_nullmta, version, resumed):
    postfix = logged_postfix(version)
    since = len(postfix.log())
    nullmta = make_nullmta(postfix.port, relay=EACH_ALONE).start()
    for number in range(4):
        send(nullmta, number)
    postfix.wait_for(4)
    assert nullmta.log().count(f"tls=TLSv{version}, ") == 4
    assert len(re.findall("(?i)reusing old session", postfix.log()[since:])) == resumed


def test_an_end_without_close_notify_behind_a_reply_is_an_end(make_openssl, make_nullmta):
    server = make_openssl(dies_at="QUIT")
    nullmta = without_login(make_nullmta(server.port, tls=IMPLICIT, relay=EACH_ALONE))
    send(nullmta, 0)
    server.wait_for_its_end()
    assert server.subjects == ["number 0"]
    nullmta.stop()
    log = nullmta.log().partition("started as")[2]
    for word in ("relay paused", "relay trouble", "possible duplicate", "WARN"):
        assert word not in log, log


# Anybody on the way can cut a connection off: without the code of a reply nothing is known.
@pytest.mark.parametrize("said", ["", "25"], ids=["nothing", "half a code"])
def test_an_end_without_close_notify_in_place_of_a_reply_is_no_success(make_openssl, make_nullmta, said):
    first = make_openssl(at_dot=said, dies_at="DOT")
    nullmta = without_login(make_nullmta(first.port, tls=IMPLICIT))
    queue_id = nullmta.send(b"Subject: number 0\r\n\r\nx\r\n")
    nullmta.wait_for_log(f"{queue_id}: possible duplicate: the connection was lost between the final dot and its reply")
    first.wait_for_its_end()
    second = make_openssl(port=first.port)
    nullmta.probe()
    nullmta.wait_for_log(f"{queue_id}: removed")
    assert (first.subjects, second.subjects) == (["number 0"], ["number 0"])
    assert nullmta.log().count("status=sent") == 1 and "status=bounced" not in nullmta.log()


def test_an_end_without_close_notify_within_the_text_of_a_reply_leaves_its_code(make_openssl, make_nullmta):
    server = make_openssl(at_dot="250 2.0.0 tak", dies_at="DOT")
    nullmta = without_login(make_nullmta(server.port, tls=IMPLICIT))
    send(nullmta, 0)
    nullmta.wait_for_log(r"status=sent \(250 2.0.0 tak\)")
    assert server.subjects == ["number 0"] and "possible duplicate" not in nullmta.log()


@pytest.mark.parametrize("groups", ["X25519", "P-256", "P-384"])
def test_a_relay_with_one_classical_group(make_openssl, make_nullmta, groups):
    """One that is not in our first flight makes the relay ask for another one (HelloRetryRequest)."""
    server = make_openssl("-groups", groups)
    nullmta = without_login(make_nullmta(server.port, tls=IMPLICIT))
    send(nullmta, 0)
    assert server.subjects == ["number 0"]
    assert "smaller ClientHello" not in nullmta.log()


@pytest.mark.parametrize("cuts", [False, True], ids=["hangs", "cuts"])
@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_a_firewall_that_drops_a_large_client_hello_costs_one_retry(
    make_openssl, make_firewall, make_nullmta, postfix, mode, cuts
):
    relay = postfix if mode == "starttls" else make_openssl()
    firewall = make_firewall(relay.port, cuts=cuts)
    nullmta = make_nullmta(firewall.port, tls=f'mode = "{mode}"', relay=EACH_ALONE)
    nullmta = nullmta.start() if mode == "starttls" else without_login(nullmta)
    send(nullmta, 0)
    log = nullmta.log()
    assert log.count("relay gets a smaller ClientHello for a day, without post-quantum key exchange") == 1, log[-3000:]
    assert "relay paused" not in log
    first, second = firewall.hellos
    assert first > SEGMENT > second
    # From now on it gets the smaller one at once.
    send(nullmta, 1)
    assert len(firewall.hellos) == 3 and firewall.hellos[2] < SEGMENT
    assert nullmta.log().count("smaller ClientHello") == 1


def test_a_chosen_key_exchange_is_the_only_one(make_openssl, make_firewall, make_nullmta):
    firewall = make_firewall(make_openssl().port)
    nullmta = without_login(make_nullmta(firewall.port, tls=IMPLICIT + '\nkey-exchange = "classical"'))
    send(nullmta, 0)
    (only,) = firewall.hellos
    assert only < SEGMENT and "smaller ClientHello" not in nullmta.log()


def test_a_relay_without_post_quantum_key_exchange_gets_nothing_where_that_is_demanded(make_openssl, make_nullmta):
    server = make_openssl("-groups", "X25519:P-256")
    nullmta = without_login(make_nullmta(server.port, tls=IMPLICIT + '\nkey-exchange = "post-quantum"\nminimum = "1.3"'))
    queue_id = nullmta.send(b"Subject: number 0\r\n\r\nx\r\n")
    nullmta.wait_for_log("relay paused: .*tls.key-exchange")
    assert [message["id"] for message in nullmta.queue()] == [queue_id]
    assert server.subjects == []


def test_a_port_that_speaks_tls_at_once_is_told_of_within_seconds(shown, make_nullmta):
    """It was trouble without a reason, five minutes later."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*shown)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                context.wrap_socket(self.request, server_side=True).recv(1)

    server = Listener(Handler)
    nullmta = make_nullmta(server.port).start()
    queue_id = nullmta.send(b"Subject: number 0\r\n\r\nx\r\n")
    nullmta.wait_for_log('relay paused: configuration: .*speaks TLS from the first octet.*set tls.mode = "implicit"', 60)
    assert [message["id"] for message in nullmta.queue()] == [queue_id]
    nullmta.stop()
    server.close()


def test_one_that_takes_one_client_at_a_time_is_guessed_at(make_openssl, make_nullmta):
    nullmta = without_login(make_nullmta(make_openssl().port))
    nullmta.send(b"Subject: number 0\r\n\r\nx\r\n")
    nullmta.wait_for_log('no greeting yet from the relay .*set tls.mode = "implicit"', 60)
