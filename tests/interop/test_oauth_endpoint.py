"""A token endpoint that fails: each thing that it may say, or not say, in place of a token. The relay is the sink."""

import base64
import json
import re
import subprocess
import time
import urllib.parse

import pytest

from daemon import Sink, UnixSMTP, binary, submit
from mounted import with_file
from namespace import Network
from oauth import MAILBOX, SECRET, write_secret
from scripted_endpoint import ScriptedEndpoint, error, reply, token
from waiting import wait_until

MESSAGE = b"Subject: one\r\n\r\nhello\r\n"
GOOD = "good-token.0123456789"

# The secret as an endpoint may write it in JSON: escaped, as it was sent, and in base64.
WRITTEN = [SECRET.replace("&", "\\u0026"), "".join(f"\\u{ord(one):04X}" for one in SECRET), urllib.parse.quote(SECRET),
           urllib.parse.quote(SECRET).lower(), base64.b64encode(SECRET.encode()).decode().replace("/", "\\/")]

# What the endpoint answers; what the log says behind "the token endpoint 127.0.0.1: "; `True`: an operator must act.
ANSWERS = {
    "redirect": (reply(302, "", "Location: http://127.0.0.1:1/"), r"it redirects \(HTTP 302\), which is not followed", False),
    "permanent redirect": (reply(308, "", "Location: /other"), r"it redirects \(HTTP 308\)", False),
    "too large": (reply(200, json.dumps({"access_token": GOOD, "padding": "x" * 70_000})),
                  "its reply has more than 64 KiB", False),
    "large head": (b"HTTP/1.1 200 X\r\n" + b"X-Padding: " + b"x" * 40_000 + b"\r\n\r\n{}", "", False),
    "half a reply": (token(GOOD)[:-10], "", False),
    "half a head": (b"HTTP/1.1 200 X\r\nContent-Ty", "", False),
    "nothing": (b"", "", False),
    "another protocol": (b"220 mail.example.com ESMTP\r\n", "what it sent is not HTTP/1.1", False),
    "no JSON": (reply(200, "<html>"), "its reply is not JSON", False),
    "no token": (reply(200, "{}"), "it gave no access token", False),
    "an octet that no token has": (token("good\r\nQUIT"), "it gave what is no access token", False),
    "an octet of SASL": (token("good\u0001auth=Bearer x"), "it gave what is no access token", False),
    "a long token": (token("x" * 9_000), "it gave a token of more than 8 KiB", False),
    "another kind of token": (reply(200, json.dumps({"access_token": GOOD, "token_type": "mac"})),
                              "it gives tokens of the type mac; only Bearer can be used", True),
    "invalid_grant": (error(400, "invalid_grant"), "invalid_grant: the client's proof is not accepted; is the clock of this host right", True),
    "wrong secret": (error(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1"),
                     "invalid_client: the client secret is wrong; .* must hold the secret's Value, not its Secret ID", True),
    "expired secret": (error(401, "invalid_client", "AADSTS7000222: The provided client secret keys are expired."),
                       "invalid_client: the client secret has expired; make a new one", True),
    "unknown app": (error(400, "unauthorized_client", "AADSTS700016: Application with identifier 'app' was not found"),
                    "unauthorized_client: the tenant knows no app with this client-id", True),
    "no tenant": (error(400, "invalid_request", "AADSTS900023: Specified tenant identifier 'TENANT' is neither a valid DNS name"),
                  "invalid_request: token-url names no tenant; .*; it said: AADSTS900023: Specified tenant identifier 'TENANT' is",
                  True),
    "common": (error(400, "unauthorized_client", "AADSTS50194: Application 'app'(x) is not configured as a multi-tenant application"),
               'unauthorized_client: the app is for one tenant, and token-url says "common"; .* Application \'app\'', True),
    "a secret that is repeated": (error(401, "invalid_client", f"the secret {SECRET} is wrong"),
                                  r"invalid_client: .*the secret \*\*\* is wrong", True),
    "a secret that is repeated in other ways": (
        reply(401, '{"error":"invalid_client","error_description":"' + " ".join(WRITTEN) + '!"}'),
        r"invalid_client: .*; it said: \*\*\* \*\*\* \*\*\* \*\*\* \*\*\*!", True),
    "no page": (reply(404, "<html>not here"), "HTTP 404, and no word of OAuth: is auth.oauth.token-url right", True),
    "too often": (reply(429, ""), "HTTP 429", False),
    "transient": (error(400, "invalid_request", "AADSTS90033: A transient error has occurred."),
                  "invalid_request: the endpoint has trouble of its own", False),
    "broken": (reply(500, "<html>oops"), "HTTP 500", False),
    "away for a while": (error(503, "temporarily_unavailable"), "temporarily_unavailable", False),
}


@pytest.fixture
def make(scratch, authority, make_nullmta):
    """Makes a daemon whose tokens come from an endpoint, and the sink that takes the good one."""
    made = []

    def sink(host="127.0.0.1"):
        made.append(Sink(scratch / "sink", "--token", f"{MAILBOX}:{GOOD}", host=host))
        return made[-1]

    def daemon(url, trust=authority.ca_file, at=None, **tables):
        """`at` is a sink that is started already."""
        at = at or sink().start()
        secret = write_secret(scratch / "client-secret", SECRET)
        oauth = {"grant": "client-credentials", "token-url": url, "client-id": "app", "client-secret-file": str(secret),
                 "ca-file": str(trust)}
        daemon = make_nullmta(
            at.port, ca_file=at.ca_file, server_name="localhost", user=MAILBOX,
            auth="[auth.oauth]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in oauth.items()), **tables,
        )
        daemon.leave_out("password-file")
        with open(daemon.config, "a") as config:
            config.write('\n[log]\nlevel = "debug"\n')
        return daemon

    def running(url, **settings):
        prepared = daemon(url, **settings)
        return prepared.start(), made[-1]

    running.sink, running.daemon = sink, daemon
    yield running
    for sink_made in made:
        sink_made.stop()


@pytest.fixture
def endpoint():
    made = []

    def make(*answers, **settings):
        made.append(ScriptedEndpoint(*answers, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def waits(daemon, said, is_configuration):
    """The message waits, for this reason; with the pause and the class of it."""
    told = daemon.wait_for_log(f"relay paused: (configuration: )?.*AUTH: the token endpoint 127.0.0.1: {said}.*")
    assert bool(told.group(1)) == is_configuration, told.group()
    probe_in = float(re.search(r"next probe in ([\d.]+)s", told.group()).group(1))
    assert (probe_in > 30) == is_configuration, told.group()
    trouble = daemon.status()["relays"][0]["trouble"]
    assert trouble.startswith("configuration: ") == is_configuration, trouble
    assert len(daemon.queue()) == 1 and "status=bounced" not in daemon.log()
    for secret in (SECRET, GOOD):
        assert secret not in daemon.log() + json.dumps(daemon.status()) + json.dumps(daemon.queue())


@pytest.mark.parametrize("name", ANSWERS)
def test_mail_waits_and_goes_out_behind_it(make, endpoint, authority, name):
    answer, said, is_configuration = ANSWERS[name]
    identity = authority.issue("endpoint", "IP:127.0.0.1")
    far = endpoint(answer, identity=identity)
    daemon, sink = make(far.url)
    daemon.send(MESSAGE)
    waits(daemon, said, is_configuration)
    far.answers = [token(GOOD)]
    daemon.probe()
    daemon.wait_until_empty()
    assert len(sink.received()) == 1


# What is wrong with the certificate of the endpoint, and what is said of it.
UNTRUSTED = {
    "no TLS": "",
    "another name": r"the token endpoint's certificate is for login.example.com, not for 127.0.0.1 \(is the host in auth.oauth.token-url",
    "unknown authority": r"the issuer of the token endpoint's certificate is not trusted \(auth.oauth.ca-file names a private CA",
    "expired": r"the token endpoint's certificate, or an issuer's, expired on \S+: it must be renewed there; the certificate is for",
}


@pytest.mark.parametrize("fault", UNTRUSTED)
def test_no_secret_goes_to_a_server_that_is_not_the_endpoint(make, endpoint, authority, scratch, fault):
    if fault == "no TLS":
        far = endpoint(token(GOOD))
        url = far.url.replace("http:", "https:")
    else:
        names = "DNS:login.example.com" if fault == "another name" else "IP:127.0.0.1"
        far = endpoint(token(GOOD), identity=authority.issue("endpoint", names, expired=fault == "expired"))
        url = far.url
    trust = authority.ca_file
    if fault == "unknown authority":
        trust = type(authority)(scratch / "other", "another CA").ca_file
    daemon, _ = make(url, trust=trust)
    daemon.send(MESSAGE)
    waits(daemon, UNTRUSTED[fault], False)
    assert not far.forms


@pytest.mark.parametrize("source", ["192.0.2.7", "2001:db8::7"])
def test_the_endpoint_is_asked_from_the_address_that_the_relay_knows(make, endpoint, authority, scratch, source):
    """The endpoint has addresses of both families; `relay.source-address` allows only its own."""
    names = "192.0.2.1 login.nullmta.test\n2001:db8::1 login.nullmta.test\n"
    network = Network(scratch, "192.0.2.1/32", "192.0.2.7/32", "2001:db8::1/128", "2001:db8::7/128", hosts=names)
    try:
        identity = authority.issue("endpoint", "DNS:login.nullmta.test")
        far = network.within(lambda: endpoint(token(GOOD), identity=identity, host="::", name="login.nullmta.test"))
        relay = make.sink("[::1]" if ":" in source else "127.0.0.1").start(*network.entered)
        daemon = make.daemon(far.url, at=relay, relay=f'source-address = "{source}"')
        if ":" in source:
            daemon.config.write_text(daemon.config.read_text().replace('relayhost = "127.0.0.1', 'relayhost = "[::1]'))
        daemon.launch(*network.entered)
        daemon.wait_for_log("started as")
        with UnixSMTP(str(daemon.socket), timeout=60) as client:
            submit(client, MESSAGE)
        daemon.wait_until_empty()
        assert len(relay.received()) == 1
        assert far.clients == [source]
    finally:
        network.close()


def test_nobody_at_the_address(make, endpoint):
    far = endpoint(token(GOOD))
    far.close()
    daemon, _ = make(far.url)
    daemon.send(MESSAGE)
    waits(daemon, ".*refused", False)


def is_given_up(make, far):
    """The first answer of the endpoint takes too long; with the second one the message is sent."""
    daemon, sink = make(far.url)
    daemon.send(MESSAGE)
    daemon.wait_for_log("relay paused: .*the token endpoint 127.0.0.1: no answer within 30 s", seconds=60)
    daemon.wait_until_empty()
    assert len(sink.received()) == 1


def test_an_endpoint_that_says_nothing_holds_nothing_up_for_longer_than_its_time(make, endpoint):
    def silent(stream):
        stream.read(1)

    is_given_up(make, endpoint(silent, token(GOOD)))


def test_an_endpoint_that_drips_is_cut_off_as_well(make, endpoint):
    def dripping(stream):
        for octet in token(GOOD, padding="x" * 1_000):
            stream.write(bytes([octet]))
            stream.flush()
            time.sleep(0.5)

    is_given_up(make, endpoint(dripping, token(GOOD)))


def test_an_endpoint_that_asks_for_patience_gets_it(make, endpoint):
    far = endpoint(reply(429, "", "Retry-After: 3600"), token(GOOD))
    daemon, _ = make(far.url)
    daemon.send(MESSAGE)
    daemon.wait_for_log("relay paused: .*the token endpoint 127.0.0.1: HTTP 429; .* in the queue")
    daemon.probe()
    daemon.wait_for_log("HTTP 429; it wants no request for another 3[56][0-9][0-9] s")
    assert len(far.forms) == 1


def test_a_token_is_renewed_ahead_of_its_end(make, endpoint):
    """A token of ten seconds is renewed at half of its life, and used by each login until then."""
    far = endpoint(token(GOOD, lifetime=10))
    daemon, sink = make(far.url)
    begun = time.monotonic()

    def renewed():
        daemon.send(MESSAGE)
        daemon.wait_until_empty()
        # A login of its own for each message: the sink's sessions end with the daemon's patience.
        daemon.wait_for_log("to .*: QUIT")
        return len(far.forms) > 1

    wait_until(renewed, 60, "another token")
    assert time.monotonic() - begun > 4, "not before half of its life"
    assert "relay paused" not in daemon.log()
    assert sink.received()


def test_a_dead_endpoint_leaves_a_token_that_is_still_valid(make, endpoint):
    """A token of 20 seconds: from half of its life on another one is asked for, in vain."""
    far = endpoint(token(GOOD, lifetime=20), error(503, "temporarily_unavailable"))
    daemon, sink = make(far.url, relay="messages-per-connection = 1")

    def passes():
        daemon.send(MESSAGE)
        daemon.wait_until_empty()
        return len(far.forms) > 1

    wait_until(passes, 60, "a request for another token")
    taken = len(sink.received())
    passes()
    assert len(sink.received()) == taken + 1, "the old token is used"
    assert len(far.forms) == 2, "the endpoint rests"
    assert "relay paused" not in daemon.log()

    def is_paused():
        daemon.send(MESSAGE)
        return "relay paused: " in daemon.log()

    wait_until(is_paused, 60, "the end of the old token")
    daemon.wait_for_log("relay paused: .*the token endpoint 127.0.0.1: temporarily_unavailable")
    far.answers = [token(GOOD)]
    daemon.probe()
    daemon.wait_until_empty()


def rsa_key(path):
    made = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True)
    return write_secret(path, made.stdout)


@pytest.mark.parametrize("said, expected", [
    (error(400, "invalid_grant", "Invalid JWT Signature."), r"invalid_grant: the assertion is not accepted; is the clock .*domain-wide"),
    (error(401, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method"),
     "unauthorized_client: the service account may not act for this user with this scope; an admin of the domain"),
], ids=["a bad assertion", "no delegation"])
def test_a_service_account_is_not_told_to_log_in(make, endpoint, authority, scratch, said, expected):
    far = endpoint(said, identity=authority.issue("endpoint", "IP:127.0.0.1"))
    daemon = make.daemon(far.url)
    key = rsa_key(scratch / "key.pem")
    text = daemon.config.read_text().replace('"client-credentials"', '"jwt-bearer"')
    daemon.config.write_text(re.sub(r'client-secret-file = ".*"', f'key-file = "{key}"', text))
    daemon.start()
    daemon.send(MESSAGE)
    waits(daemon, expected, True)
    assert "oauth login" not in daemon.log()


@pytest.mark.parametrize("content, said", [
    ("", "holds neither a PEM private key without a passphrase nor the JSON key file of a service account"),
    ('{"installed": {}}', "holds JSON without a private key"),
], ids=["empty", "of an OAuth client"])
def test_check_reads_the_key(make, scratch, content, said):
    daemon = make.daemon("https://login.example.com/token")
    key = write_secret(scratch / "key", content)
    text = daemon.config.read_text().replace('"client-credentials"', '"jwt-bearer"')
    daemon.config.write_text(re.sub(r'client-secret-file = ".*"', f'key-file = "{key}"', text))
    done = subprocess.run([str(binary()), "check", "-c", str(daemon.config)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and re.search(rf":\d+: key `auth.oauth.key-file`: {key} {said}", done.stderr), done


def test_a_renewal_that_fails_is_told_before_mail_waits(make, endpoint, authority):
    """A token of a minute: from half of its life on another one is refused."""
    far = endpoint(token(GOOD, lifetime=60), error(401, "invalid_client", "AADSTS7000222: The provided keys are expired."),
                   identity=authority.issue("endpoint", "IP:127.0.0.1"))
    daemon, sink = make(far.url, relay="messages-per-connection = 1")

    def is_told():
        daemon.send(MESSAGE)
        daemon.wait_until_empty()
        return "not renewed: " in daemon.log()

    wait_until(is_told, 50, "the line about the renewal")
    assert re.search(rf"access token of {MAILBOX} not renewed: the token endpoint 127.0.0.1: invalid_client: the client secret "
                     r"has expired; make a new one .*; the one at hand is valid for another \d+", daemon.log())
    is_told()
    assert daemon.log().count("not renewed: ") == 1 and "relay paused" not in daemon.log()


def with_refresh_token(make, url, path):
    """A daemon whose refresh token is in the file at `path`, and its sink."""
    write_secret(path, "refresh-1")
    daemon = make.daemon(url, at=(sink := make.sink().start()), relay='idle = "off"')
    text = daemon.config.read_text().replace('"client-credentials"', '"refresh-token"')
    daemon.config.write_text(re.sub(r"client-secret-file = .*", f'refresh-token-file = "{path}"', text))
    return daemon, sink


@pytest.fixture
def small_disk(scratch):
    directory = scratch / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(path):
    with open(path, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_new_refresh_token_is_written_when_the_disk_has_room_again(make, endpoint, authority, small_disk):
    """It stayed in memory until the next request, and a kill before that lost the login."""
    far = endpoint(token(GOOD, refresh_token="refresh-2"), identity=authority.issue("endpoint", "IP:127.0.0.1"))
    path = small_disk / "token"
    daemon, sink = with_refresh_token(make, far.url, path)
    fill(small_disk / "filling")
    daemon.start()
    daemon.send(MESSAGE)
    daemon.wait_until_empty()
    told = daemon.wait_for_log("ERROR refresh token not written to .*").group()
    assert "No space left on device" in told and "put a new one into the file" in told and "oauth login" not in told
    assert f"token   the new refresh token is in memory alone, since it cannot be written to {path}" in daemon.command("status")
    assert path.read_text() == "refresh-1"
    (small_disk / "filling").unlink()
    daemon.wait_for_log(f"refresh token written to {path}, at last")
    assert path.read_text() == "refresh-2\n" and len(far.forms) == 1
    assert "token   " not in daemon.command("status")
    daemon.kill()
    far.answers = [token(GOOD)]
    daemon.start()
    daemon.send(MESSAGE)
    daemon.wait_until_empty()
    assert far.forms[-1]["refresh_token"] == "refresh-2" and len(sink.received()) == 2
    assert "refresh-2" not in daemon.log() + json.dumps(daemon.status())


def test_a_refresh_token_file_that_is_mounted_by_itself_is_for_an_operator(make, endpoint, authority, scratch):
    """`Device or resource busy` was told as trouble that passes."""
    far = endpoint(token(GOOD, lifetime=0, refresh_token="refresh-2"), identity=authority.issue("endpoint", "IP:127.0.0.1"))
    place = scratch / "mounted" / "token"
    place.parent.mkdir()
    daemon, _ = with_refresh_token(make, far.url, place)
    inside = with_file(write_secret(scratch / "token-of-the-host", "refresh-1"), str(place))
    check = [*inside, str(binary()), "check", "-c", str(daemon.config)]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "mount its directory, not the file" in done.stderr, done
    daemon.start(*inside)
    daemon.send(MESSAGE)
    daemon.wait_until_empty()
    daemon.send(MESSAGE)
    told = daemon.wait_for_log("relay paused: configuration: .*").group()
    assert "mount its directory, not the file" in told, told


def test_a_refresh_token_behind_a_link_is_replaced_and_the_link_stays(make, endpoint, authority, scratch):
    """The link was replaced by a file, and the file behind it kept a dead token."""
    far = endpoint(token(GOOD, refresh_token="refresh-2"), identity=authority.issue("endpoint", "IP:127.0.0.1"))
    there, link = scratch / "there" / "token", scratch / "link"
    there.parent.mkdir()
    link.symlink_to(there)
    daemon, _ = with_refresh_token(make, far.url, link)
    daemon.start()
    daemon.send(MESSAGE)
    daemon.wait_until_empty()
    assert link.is_symlink() and there.read_text() == "refresh-2\n"
