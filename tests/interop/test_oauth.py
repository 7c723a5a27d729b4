"""Access tokens: oidc-provider hands them out, Dovecot asks it about each, and nullmta is between them. What can go wrong with
an endpoint is in `test_oauth_endpoint.py`.
"""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from daemon import TREE, Nullmta
from oauth import (
    ACCOUNT, GRANTS, MAILBOX, SECRET, Browser, OAuthDovecot, OAuthServer, configuration, spoken, write_secret,
)
from recorder import Recorder
from waiting import wait_until

MESSAGE = b"Subject: %s\r\n\r\nhello\r\n"
# A connection to the relay is closed behind each message, so that each message needs a login.
ONE_EACH = "messages-per-connection = 1"


class World:
    """The endpoint, the relay that asks it, and what the relay has passed on."""

    def __init__(self, base: Path, authority, make_nullmta):
        self.base, self.authority, self._make = base, authority, make_nullmta
        self.endpoint = OAuthServer(base / "oauth", authority).start()
        self.recorder = Recorder()
        certificate, key = authority.issue("oauth-relay", "DNS:relay.nullmta.test,IP:127.0.0.1")
        self.relay = OAuthDovecot(base / "dovecot", certificate, key, self.recorder.port, endpoint=self.endpoint)
        self.relay.start()
        self.secret = write_secret(base / "client-secret", SECRET)
        self.refresh = base / "refresh" / "token"
        self.refresh.parent.mkdir()

    def daemon(self, grant, mechanism="XOAUTH2", **keys) -> Nullmta:
        oauth = configuration(self.endpoint.url, grant, ca_file=self.authority.ca_file, **keys)
        daemon = self._make(
            self.relay.port, user=MAILBOX, auth=f'mechanisms = ["{mechanism}"]' + oauth, relay=ONE_EACH,
        )
        daemon.leave_out("password-file")
        with open(daemon.config, "a") as config:
            config.write('\n[log]\nlevel = "debug"\n')
        return daemon

    def on_a_terminal(self, client="on-a-terminal", **keys) -> Nullmta:
        return self.daemon(
            "device-code", client_id=client, scope="openid offline_access", refresh_token_file=self.refresh,
            device_url=f"{self.endpoint.url}/device/auth", **keys,
        )

    def by_secret(self, mechanism="XOAUTH2") -> Nullmta:
        return self.daemon(
            "client-credentials", mechanism, client_id="by-secret", client_secret_file=self.secret, scope="smtp.send",
        )

    def passes(self, daemon, subject: bytes):
        """A message goes through, from submission to the relay's own relay."""
        daemon.send(MESSAGE % subject)
        daemon.wait_until_empty()
        contents = [transaction.content for transaction in self.recorder.take()]
        assert len(contents) == 1 and b"Subject: " + subject in contents[0], contents

    def keeps_quiet(self, *daemons, also=""):
        """No secret and no token is in anything that was told."""
        told = also + "".join(spoken(daemon) for daemon in daemons)
        found = [secret for secret in self.endpoint.secrets() if secret in told]
        assert not found, found

    def log_in(self, daemon, *arguments):
        """`nullmta oauth login` on a terminal, and somebody who follows it; what was on the screen."""
        near, far = pty.openpty()
        login = subprocess.Popen(
            [str(daemon.program), "oauth", "login", *arguments, "-c", str(daemon.config)],
            stdin=far, stdout=far, stderr=far, start_new_session=True,
        )
        os.close(far)
        screen, has_followed = "", False
        while True:
            try:
                screen += os.read(near, 4096).decode()
            except OSError:
                break  # the terminal has nobody at its other end any more
            told = re.search(r"Open (\S+) in a browser, type the code (\S+), and log in as (\S+)\. ", screen)
            if told and not has_followed:
                has_followed = True
                Browser(self.authority).log_in(*told.groups())
        os.close(near)
        assert login.wait(timeout=60) == 0, screen
        return screen

    def close(self):
        self.relay.kill()
        self.endpoint.kill()
        self.recorder.close()


@pytest.fixture
def world(scratch, authority, make_nullmta):
    made = World(scratch / "world", authority, make_nullmta)
    yield made
    made.close()


def test_each_grant_is_tried_or_has_a_reason():
    """The grants that the configuration file names."""
    text = (TREE / "config" / "nullmta.toml").read_text()
    comment = re.search(r"# What a token is given for: (.*?)\(no default\)", text, re.DOTALL).group(1)
    assert set(re.findall(r'"([a-z-]+)"', comment)) == set(GRANTS)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("grant", ["secret", "certificate", "service account"])
def test_a_program_logs_in(world, grant, mechanism):
    endpoint = world.endpoint
    if grant == "secret":
        keys = dict(grant="client-credentials", client_id="by-secret", client_secret_file=world.secret)
    elif grant == "certificate":
        certificate, key = endpoint.app
        keys = dict(grant="client-credentials", client_id="by-certificate", client_certificate=certificate, key_file=key)
    else:
        keys = dict(grant="jwt-bearer", client_id=ACCOUNT, key_file=endpoint.account[1])
    daemon = world.daemon(mechanism=mechanism, scope="smtp.send", **keys)
    assert "warning" not in daemon.command("check").lower()
    daemon.start()
    for subject in (b"one", b"two", b"three"):
        world.passes(daemon, subject)
    assert len(endpoint.answers()) == 1, "one token for all logins"
    assert endpoint.answers()[0]["status"] == 200
    world.keeps_quiet(daemon)


@pytest.mark.parametrize("client", ["on-a-terminal", "on-a-terminal-by-secret"])
def test_somebody_logs_in_on_a_terminal(world, client):
    secret = dict(client_secret_file=world.secret) if client.endswith("secret") else {}
    daemon = world.on_a_terminal(client, **secret)
    daemon.start()
    daemon.send(MESSAGE % b"before the login")
    daemon.wait_for_log("relay paused: configuration: .*nobody has logged in; run nullmta oauth login")
    assert daemon.status()["relays"][0]["trouble"].startswith("configuration: ")

    screen = world.log_in(daemon)
    assert f"the refresh token is in {world.refresh}" in screen
    assert world.refresh.stat().st_mode & 0o777 == 0o600
    # Nobody tells the daemon: it watches the file.
    daemon.wait_until_empty()
    assert len(world.recorder.take()) == 1
    world.passes(daemon, b"behind the login")
    world.keeps_quiet(daemon, also=screen)
    assert daemon.log().count("relay paused: configuration: ") == 1, "said once"


def test_a_login_that_is_refused_is_told_on_the_terminal(world):
    daemon = world.on_a_terminal("nobody")
    done = subprocess.run(
        [str(daemon.program), "oauth", "login", "-c", str(daemon.config)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )
    assert done.returncode == 1 and "invalid_client: client-id" in done.stderr, done
    assert not world.refresh.exists()


def test_a_refresh_token_that_is_replaced_each_time(world):
    """oidc-provider takes a refresh token once; the second time it revokes all that came of it."""
    daemon = world.on_a_terminal()
    screen = world.log_in(daemon)
    daemon.start()
    for number in range(4):
        world.passes(daemon, b"message %d" % number)
        # The relay has seen the access token: the refresh token that came with it was on disk before.
        newest = world.endpoint.granted()[-1]["refresh_token"]
        daemon.kill()
        assert world.refresh.read_text() == newest + "\n"
        daemon.start()
    tokens = {reply["refresh_token"] for reply in world.endpoint.granted()}
    assert len(tokens) == 5, "the login, and each start"
    assert all(answer["status"] in (200, 400) for answer in world.endpoint.answers())
    world.keeps_quiet(daemon, also=screen)


def test_processes_that_need_one_refresh_token_at_the_same_time_take_turns(world):
    """A probe beside the daemon asked with the token that the daemon was asking with: both logins were revoked."""
    daemon = world.on_a_terminal()
    screen = world.log_in(daemon)
    daemon.start()
    probes = [
        subprocess.Popen(
            [str(daemon.program), "probe", "--json", "-c", str(daemon.config)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(4)
    ]
    world.passes(daemon, b"beside the probes")
    told = [probe.communicate(timeout=60)[0] for probe in probes]
    assert [probe.returncode for probe in probes] == [0] * 4, told
    tokens = [reply["refresh_token"] for reply in world.endpoint.granted()]
    assert len(tokens) == len(set(tokens)) == 6, "the login, the daemon, and each probe"
    assert world.refresh.read_text() == tokens[-1] + "\n"
    daemon.kill()
    daemon.start()
    world.passes(daemon, b"behind them")
    world.keeps_quiet(daemon, also=screen + "".join(told))


def test_a_refresh_token_that_nullmta_replaced_is_no_change_at_a_reload_and_another_one_is(world):
    """A reload said that refresh-token-file had changed, which the daemon itself had written."""
    daemon = world.on_a_terminal()
    world.log_in(daemon)
    before = world.refresh.read_text()
    daemon.start()
    world.passes(daemon, b"one")
    replaced = world.refresh.read_text()
    assert replaced != before
    for _ in range(2):
        assert daemon.command("reload").strip().endswith("; changed: nothing")
    world.refresh.write_text("of somebody else\n")
    assert "changed: auth.oauth.refresh-token-file (its content)" in daemon.command("reload")
    world.refresh.write_text(replaced)
    daemon.command("reload")
    world.passes(daemon, b"two")
    assert "changed: nothing" in daemon.command("reload")


def test_a_refresh_token_is_on_disk_before_the_relay_sees_its_access_token(world):
    """kill -9 at the first use: a daemon that wrote the token behind the login would have lost it, and the old one is dead."""
    daemon = world.on_a_terminal()
    world.log_in(daemon)
    before = world.refresh.read_text()
    daemon.start()
    world.endpoint.hold_introspection()
    daemon.send(MESSAGE % b"on its way")
    wait_until(world.endpoint.was_introspected, 30, "the question of the relay about the token")
    daemon.kill()
    newest = world.endpoint.granted()[-1]["refresh_token"]
    assert world.refresh.read_text() == newest + "\n" != before
    world.endpoint.go_on()
    daemon.start()
    daemon.wait_until_empty()
    assert len(world.recorder.take()) == 1
    assert "invalid_grant" not in daemon.log()


def test_a_refresh_token_from_elsewhere(world):
    """`grant = "refresh-token"`: another program has logged in."""
    logged_in = world.on_a_terminal()
    world.log_in(logged_in)
    daemon = world.daemon(
        "refresh-token", client_id="on-a-terminal", scope="openid offline_access", refresh_token_file=world.refresh,
    )
    daemon.start()
    world.passes(daemon, b"one")
    assert world.refresh.read_text() == world.endpoint.granted()[-1]["refresh_token"] + "\n"
    world.keeps_quiet(daemon)


def test_a_login_for_a_route(world):
    """Two logins of different routes; each has a file of its own."""
    daemon = world.on_a_terminal()
    text = daemon.config.read_text()
    auth, tls = re.search(r"(\[auth\].*?)(\[tls\].*?)\[listen\]", text, re.DOTALL).groups()
    shop = world.base / "refresh" / "shop"
    route = f'[[route]]\nname = "shop"\nsenders = "@shop.example"\nrelayhost = "127.0.0.1:{world.relay.port}"\n'
    for table in (auth.replace(str(world.refresh), str(shop)), tls):
        route += re.sub(r"^\[", "[route.", table, flags=re.MULTILINE)
    daemon.config.write_text(f"{text}\n{route}\n[route.relay]\n{ONE_EACH}\n")
    daemon.start()
    daemon.send(MESSAGE % b"of the shop", reverse_path="ann@shop.example")
    daemon.wait_for_log("relay paused: configuration: .*shop is missing: nobody has logged in")
    screen = world.log_in(daemon, "--route", "shop")
    assert f"the refresh token is in {shop}" in screen
    assert not world.refresh.exists(), "the other relay has no login yet"
    daemon.wait_until_empty()
    assert [transaction.mail for transaction in world.recorder.take()][0].startswith("<ann@shop.example>")
    refused = subprocess.run(
        [str(daemon.program), "oauth", "login", "--route", "nowhere", "-c", str(daemon.config)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )
    assert refused.returncode == 78 and 'expected a [[route]] with the name "nowhere"' in refused.stderr, refused
    world.keeps_quiet(daemon, also=screen)


def ask_and_wait(world, daemon):
    """The endpoint has replaced the refresh token, and its answer is on its way."""
    asked = len(world.endpoint.granted())
    world.endpoint.hold()
    daemon.send(MESSAGE % b"on its way")
    wait_until(lambda: len(world.endpoint.granted()) > asked, 30, "a request with the refresh token")


def test_a_stop_takes_the_new_refresh_token_along(world):
    """A daemon that was stopped at this moment lost the login."""
    daemon = world.on_a_terminal()
    world.log_in(daemon)
    daemon.start()
    ask_and_wait(world, daemon)
    daemon.process.terminate()
    daemon.wait_for_log("stopping")
    world.endpoint.go_on()
    assert daemon.stop(seconds=60) == 0
    assert world.refresh.read_text() == world.endpoint.granted()[-1]["refresh_token"] + "\n"
    daemon.start()
    daemon.wait_until_empty()
    assert len(world.recorder.take()) == 1


def test_a_crash_before_the_answer_costs_a_login_and_no_mail(world):
    daemon = world.on_a_terminal()
    world.log_in(daemon)
    before = world.refresh.read_text()
    daemon.start()
    ask_and_wait(world, daemon)
    daemon.kill()
    world.endpoint.go_on()
    assert world.refresh.read_text() == before
    daemon.start()
    daemon.wait_for_log("relay paused: configuration: .*invalid_grant: .*log in again")
    assert len(daemon.queue()) == 1, "the mail waits"
    world.log_in(daemon)
    daemon.wait_until_empty()
    assert len(world.recorder.take()) == 1


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_that_was_taken_back_is_fetched_anew(world, mechanism):
    """Dovecot refuses it by a challenge, 334, and then by 535."""
    daemon = world.by_secret(mechanism)
    daemon.start()
    world.passes(daemon, b"one")
    world.endpoint.revoke(world.endpoint.granted()[0]["access_token"])
    world.passes(daemon, b"two")
    assert len(world.endpoint.granted()) == 2
    assert "relay paused" not in daemon.log()
    world.keeps_quiet(daemon)


def test_a_relay_that_refuses_a_fresh_token_is_asked_twice_and_paused(world):
    """The token is good, and for another mailbox than auth.username."""
    daemon = world.by_secret()
    daemon.config.write_text(daemon.config.read_text().replace(MAILBOX, "somebody.else@example.com"))
    daemon.start()
    daemon.send(MESSAGE % b"one")
    daemon.wait_for_log(r"relay paused: .*AUTH: XOAUTH2: the relay said: 535 .*next probe in (4|5|6|7)\d")
    assert len(world.endpoint.granted()) == 1, "a fresh one is not replaced"
    assert len(daemon.queue()) == 1
    world.keeps_quiet(daemon)


def test_connections_that_need_a_token_at_once_share_one_request(world):
    daemon = world.by_secret()
    daemon.start()
    world.endpoint.hold()
    for number in range(20):
        daemon.send(MESSAGE % b"message %d" % number)
    wait_until(world.endpoint.granted, 30, "the first request")
    world.endpoint.go_on()
    daemon.wait_until_empty()
    assert len(world.recorder.take()) == 20
    assert len(world.endpoint.answers()) == 1


@pytest.mark.parametrize("lack", ["wrong secret", "unknown client", "wrong key", "scope"])
def test_what_an_operator_must_mend_is_said_once_and_mended_without_a_reload(world, lack):
    endpoint = world.endpoint
    right = dict(client_id="by-secret", client_secret_file=world.secret, scope="smtp.send")
    if lack == "wrong secret":
        write_secret(world.secret, "not it")
        daemon, said = world.daemon("client-credentials", **right), "invalid_client: "
    elif lack == "unknown client":
        daemon, said = world.daemon("client-credentials", **{**right, "client_id": "nobody"}), "invalid_client: "
    elif lack == "wrong key":
        key = dict(client_id=ACCOUNT, key_file=endpoint.app[1], scope="smtp.send")
        daemon, said = world.daemon("jwt-bearer", **key), "invalid_grant: "
    else:
        key = dict(client_id=ACCOUNT, key_file=endpoint.account[1], scope="openid")
        daemon, said = world.daemon("jwt-bearer", **key), "invalid_scope: "
    daemon.start()
    daemon.send(MESSAGE % b"one")
    told = daemon.wait_for_log(f"relay paused: configuration: .*the token endpoint localhost: {said}.*")
    # 60 s, and no sooner: the pauses of a refused login.
    assert re.search(r"next probe in (60|59)", told.group()), told.group()
    assert daemon.status()["relays"][0]["trouble"].startswith("configuration: ")
    if lack == "wrong secret":
        write_secret(world.secret, SECRET)
        daemon.wait_until_empty()
        assert len(world.recorder.take()) == 1
    world.keeps_quiet(daemon)
    assert daemon.log().count("relay paused: ") == 1
