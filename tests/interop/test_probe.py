"""`nullmta probe` at real relays: what it finds, what it says of each thing that may be wrong, and that it sends nothing.

No daemon runs, but where a test says so.
"""

import json
import re
import signal
import subprocess
import threading

import pytest

from daemon import Sink, binary
from local_user import ANN, DAEMON, ROOT
from openssl_server import OpenSSLServer
from pki import NAME, Authority
from postfix import PASSWORD
from recorder import Recorder
from scripted_endpoint import ScriptedEndpoint, token
from servers import PASSWORD as SERVERS_PASSWORD, SERVERS, USER as SERVERS_USER
from waiting import free_port, wait_until

# What Postfix says at the end of a session in which there was a login and nothing else.
LOGGED_IN = "ehlo=2 starttls=1 auth=1 quit=1 commands=5"
# The same without a login.
LOOKED_AT = "ehlo=2 starttls=1 quit=1 commands=4"
# The same with a login that was refused.
REFUSED = "ehlo=2 starttls=1 auth=0/1 quit=1 commands=4/5"


def probe(nullmta, *arguments):
    """The exit code, the objects that it prints, and its words on standard error."""
    done = nullmta.try_command("probe", "--json", *arguments)
    assert PASSWORD not in done.stdout + done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def text(nullmta):
    """What it prints for a person."""
    shown = nullmta.try_command("probe").stdout
    assert all(len(line) <= 80 for line in shown.splitlines()), shown
    return " ".join(shown.split())


def steps(found):
    return [step["step"] for step in found["steps"]]


def failed(found):
    """The only step that failed."""
    faulty = [step for step in found["steps"] if step["result"] != "ok"]
    assert len(faulty) == 1, found
    return faulty[0]


def fails(nullmta, code, step, why, result):
    """The relay has one address, at which this step fails so; the step."""
    exit_code, found, trouble = probe(nullmta)
    assert (exit_code, len(found)) == (code, 1), (exit_code, found, trouble)
    assert trouble == "nullmta: the relay cannot be used now; no mail was sent\n"
    faulty = failed(found[0])
    assert (faulty["step"], faulty["result"], found[0]["result"]) == (step, result, result), found
    assert re.search(why, faulty["why"]), faulty["why"]
    return faulty


def sessions(postfix):
    """What Postfix says of each session that has ended, but for those that only waited for its greeting."""
    return [said for said in re.findall(r"disconnect from \S+ (.*)", postfix.log()) if said != "commands=0/0"]


def ended(postfix, before, expected):
    """Since `before` sessions there are these, and no other."""
    wait_until(
        lambda: len(sessions(postfix)) >= before + len(expected), 20,
        lambda: f"the end of {len(expected)} sessions; there are {sessions(postfix)[before:]}",
    )
    assert sorted(sessions(postfix)[before:]) == expected


@pytest.mark.parametrize("family", SERVERS, ids=lambda family: family.__name__)
def test_each_relay_is_found_usable_and_gets_no_mail(family, scratch, authority, make_nullmta):
    certificate, key = authority.issue("probed", f"DNS:{NAME},DNS:localhost,IP:127.0.0.1")
    recorder = Recorder(refused=family.refused)
    server = family(scratch / "server", certificate, key, recorder.port)
    nullmta = make_nullmta(server.port, user=SERVERS_USER, password=SERVERS_PASSWORD)
    if not family.has_auth:
        nullmta.leave_out("username", "password-file")
    server.start()
    try:
        code, found, trouble = probe(nullmta)
        assert (code, trouble, len(found)) == (0, "", 1), (code, trouble, found)
        expected = ["name-lookup", "connect", "greeting", "ehlo", "starttls", "tls-handshake", "ehlo", "auth", "quit"]
        assert steps(found[0]) == expected
        tls, login = found[0]["steps"][5], found[0]["steps"][7]
        assert tls["tls-version"] in ("TLSv1.2", "TLSv1.3") and tls["cipher"] and tls["key-exchange"]
        assert set(tls["chain"][0]["names"]) == {NAME, "localhost"}
        assert tls["chain"][0]["issuer"] == "nullmta interop CA"
        assert ("mechanism" in login) == family.has_auth
        shown = text(nullmta)
        assert f'pin-sha256 = "{tls["chain"][0]["pin-sha256"]}"' in shown
        assert "FAILS" not in shown and "no mail was sent" in shown
        assert recorder.take() == []
        # The pin that is printed is the one that the configuration takes.
        nullmta.leave_out("ca-file", "server-name")
        nullmta.config.write_text(nullmta.config.read_text().replace(
            "[tls]", f'[tls]\npin-sha256 = "{tls["chain"][0]["pin-sha256"]}"',
        ))
        assert probe(nullmta)[0] == 0
    finally:
        server.kill()
        recorder.close()


def test_no_command_but_those_of_a_login_is_given(postfix, make_nullmta):
    before = len(sessions(postfix))
    nullmta = make_nullmta(postfix.port)
    assert probe(nullmta)[0] == 0
    ended(postfix, before, [LOGGED_IN])
    # Beside the daemon it is the same.
    nullmta.start()
    assert probe(nullmta)[0] == 0
    ended(postfix, before, [LOGGED_IN] * 2)
    assert postfix.delivered() == []


def test_starttls_is_expected_where_tls_is_spoken_at_once(authority, make_nullmta):
    server = OpenSSLServer(*authority.issue("at-once", f"DNS:{NAME}")).start()
    try:
        nullmta = make_nullmta(server.port)
        # s_server takes one client at a time: it cannot answer a look beside the connection that waits.
        fails(nullmta, 69, "greeting", r'does tls.mode fit the port \("starttls" on 587, "implicit" on 465\)', "unusable")
    finally:
        server.close()


def test_a_port_that_speaks_tls_at_once_is_found_out(scratch, make_nullmta):
    sink = Sink(scratch / "sink", "--tls", "implicit").start()
    try:
        nullmta = make_nullmta(
            sink.port, ca_file=sink.ca_file, server_name="localhost", user=Sink.USER, password=Sink.PASSWORD,
        )
        fails(nullmta, 78, "greeting", 'speaks TLS from the first octet on this port: set tls.mode = "implicit"', "configuration")
        nullmta.configure(tls='mode = "implicit"')
        code, found, _ = probe(nullmta)
        assert code == 0
        assert steps(found[0]) == ["name-lookup", "connect", "tls-handshake", "greeting", "ehlo", "auth", "quit"]
    finally:
        sink.stop()


def test_tls_at_once_is_expected_where_starttls_is_spoken(postfix, make_nullmta):
    nullmta = make_nullmta(postfix.port, tls='mode = "implicit"')
    fails(nullmta, 69, "tls-handshake", r'tls.mode.*starttls|starttls.*tls.mode', "unusable")


@pytest.mark.parametrize("fault", ["expired", "unknown"])
def test_a_certificate_that_is_refused_is_shown(fault, scratch, authority, make_nullmta):
    issuer = Authority(scratch / "other", "another CA") if fault == "unknown" else authority
    certificate, key = issuer.issue(f"refused-{fault}", f"DNS:{NAME}", expired=fault == "expired")
    server = OpenSSLServer(certificate, key).start()
    try:
        nullmta = make_nullmta(server.port, tls='mode = "implicit"')
        why = {"expired": "expired", "unknown": "tls.ca-file"}[fault]
        faulty = fails(nullmta, 69, "tls-handshake", why, "unusable")
        assert faulty["chain"][0]["names"] == [NAME] and "tls-version" not in faulty
        assert server.subjects == []
        assert faulty["chain"][0]["pin-sha256"] in text(nullmta)
    finally:
        server.close()


def test_a_wrong_password_is_tried_once(postfix, make_nullmta):
    nullmta = make_nullmta(postfix.port, password="wr0ng pass/word")
    both = f'relayhost = ["127.0.0.1:{postfix.port}", "localhost:{postfix.port}"]'
    nullmta.config.write_text(re.sub(r"relayhost = .*", both, nullmta.config.read_text()))
    before, failures = len(sessions(postfix)), postfix.log().count("authentication failed")
    code, found, trouble = probe(nullmta)
    assert code == 78, found
    at_all = [address for address in found if address["steps"][-1]["step"] == "quit"]
    assert len(at_all) == 2, found
    assert all(failed(address)["result"] == "login-refused" for address in at_all)
    tried, untried = sorted((failed(address)["why"] for address in at_all), key=lambda why: why.startswith("not tried"))
    assert "535 5.7.8 " in tried and "auth.username" in tried, tried
    assert re.match(r"not tried: the login failed at \S+\[127\.0\.0\.1\]:\d+, and", untried), untried
    assert "wr0ng" not in str(found) + trouble
    ended(postfix, before, sorted([REFUSED, LOOKED_AT]))
    assert postfix.log().count("authentication failed") == failures + 1


def test_a_relay_without_auth(postfix, make_nullmta):
    postfix.set(smtpd_sasl_auth_enable="no")
    postfix.stop()
    postfix.start()
    try:
        faulty = fails(make_nullmta(postfix.port), 78, "auth", "offers no", "configuration")
        assert faulty["mechanisms"] == []
    finally:
        postfix.set(smtpd_sasl_auth_enable="yes")
        postfix.stop()
        postfix.start()


def test_nothing_in_common(postfix, make_nullmta):
    nullmta = make_nullmta(postfix.port, auth='mechanisms = ["SCRAM-SHA-512-PLUS"]')
    faulty = fails(nullmta, 78, "auth", "SCRAM-SHA-512-PLUS", "configuration")
    reasons = {mechanism["name"]: mechanism.get("why-not") for mechanism in faulty["mechanisms"]}
    assert reasons["PLAIN"] == "auth.mechanisms leaves it out"
    assert "not used: PLAIN, auth.mechanisms leaves it out" in text(nullmta)


def test_a_host_that_is_down_and_a_name_that_is_unknown(make_nullmta):
    nullmta = make_nullmta(free_port())
    fails(nullmta, 69, "connect", "refused", "unusable")
    assert "Does a firewall let this host connect there?" in text(nullmta)
    nullmta.config.write_text(re.sub(r"relayhost = .*", 'relayhost = "nowhere.invalid"', nullmta.config.read_text()))
    fails(nullmta, 69, "name-lookup", "nowhere.invalid", "unusable")
    assert "Is the name right?" in text(nullmta)


def test_a_route_alone(postfix, make_nullmta):
    nullmta = make_nullmta(postfix.port)
    with open(nullmta.config, "a") as config:
        config.write(f'\n[[route]]\nname = "news"\nsenders = "@news.example"\nrelayhost = "127.0.0.1:{free_port()}"\n')
    code, found, trouble = probe(nullmta)
    assert (code, [address.get("route") for address in found]) == (69, [None, "news"]), trouble
    assert trouble == "nullmta: 1 of 2 addresses cannot be used now; no mail was sent\n"
    assert [address["route"] for address in probe(nullmta, "--route", "news")[1]] == ["news"]
    code, found, trouble = probe(nullmta, "--route", "olds")
    assert (code, found) == (64, [])
    assert "no route has the name \"olds\"; the configuration's routes: news" in trouble


def test_a_secret_that_is_missing_leaves_the_rest_to_be_seen(postfix, make_nullmta):
    nullmta = make_nullmta(postfix.port)
    (nullmta.base / "secret").unlink()
    fails(nullmta, 78, "auth", "secret", "configuration")


def test_an_error_in_the_configuration(make_nullmta):
    nullmta = make_nullmta(free_port(), relay="max-conections = 3")
    code, found, trouble = probe(nullmta)
    assert (code, found) == (78, [])
    assert "max-conections" in trouble


@pytest.mark.parametrize("user", [ROOT, DAEMON, ANN], ids=lambda user: user.name)
def test_who_may_probe(host, user):
    """The secret belongs to the user of the service; root probes with that user's rights."""
    done = host.run(str(host.program), "probe", "-c", str(host.daemon.config), user=user)
    told = done.stderr.decode()
    if user is ANN:
        assert done.returncode == 77 and done.stdout == b"", done
        assert "is not readable for uid 64010" in told and "as root, or as nullmta" in told, told
    else:
        assert done.returncode == 0 and b"logged in by" in done.stdout, done


def test_root_probes_with_the_rights_of_the_service(host):
    """Root could read a secret that the daemon cannot, and found nothing wrong."""
    secret = host.daemon.base / "secret"
    subprocess.run(["chown", "root:root", str(secret)], check=True)
    done = host.run(str(host.program), "probe", "-c", str(host.daemon.config), user=ROOT)
    assert done.returncode == 78, done
    assert f"cannot read {secret} as uid {DAEMON.uid}" in " ".join(done.stdout.decode().split()), done


def with_refresh_token(nullmta, url):
    """The file of the refresh token of a daemon whose login is by one."""
    file = nullmta.base / "refresh" / "token"
    file.parent.mkdir()
    file.write_text("first\n")
    file.chmod(0o600)
    nullmta.configure(auth=f'''\
[auth.oauth]
grant = "refresh-token"
token-url = "{url}"
client-id = "app"
refresh-token-file = "{file}"
''')
    nullmta.leave_out("password-file")
    return file


def test_a_stop_waits_for_a_refresh_token_that_is_being_replaced(scratch, make_nullmta):
    """The endpoint had replaced the token, the command was ended, and with it the login."""
    may_answer = threading.Event()

    def answer(stream):
        assert may_answer.wait(60)
        stream.write(token("a-token", refresh_token="second"))

    endpoint = ScriptedEndpoint(answer)
    sink = Sink(scratch / "sink", "--token", "ann@example.org:a-token").start()
    try:
        nullmta = make_nullmta(sink.port, user="ann@example.org", ca_file=sink.ca_file, server_name="localhost")
        file = with_refresh_token(nullmta, endpoint.url)
        with subprocess.Popen(
            [str(binary()), "probe", "-c", str(nullmta.config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as running:
            wait_until(lambda: endpoint.forms, 30, "the request for a token")
            running.send_signal(signal.SIGINT)
            may_answer.set()
            said = running.communicate(timeout=60)[1]
        assert (running.returncode, said) == (75, "nullmta: stopped before all was found out\n")
        assert file.read_text() == "second\n"
        assert endpoint.forms[0]["refresh_token"] == "first"
        # Nothing is lost: the next one goes on with the new token.
        code, found, trouble = probe(nullmta)
        assert code == 0, (found, trouble)
        assert found[0]["steps"][-2]["token-seconds"] > 3500, found
        assert "access token fetched, valid for" in text(nullmta)
    finally:
        sink.stop()
        endpoint.close()
