"""The file of a password or a token that cannot be used while the daemon runs: an operator must act, is told once what to do,
and needs no other command than the one that mends the file. And `check`, about passwords that a provider takes no longer, and
about a client secret that ends."""

import datetime
import json
import re
import shutil
import subprocess

import pytest

from daemon import Sink, binary
from oauth import write_secret

MESSAGE = b"Subject: one\r\n\r\nhello\r\n"
TOKEN = "good-token.0123456789"


def leave_out(path):
    path.unlink()


def make_directory(path):
    path.unlink()
    path.mkdir()


def open_to_others(path):
    path.chmod(0o644)


def written(text):
    return lambda path: path.write_text(text)


# What is done to the file of the password; what is said of it behind its path, or before it.
FAULTS = {
    "missing": (leave_out, r"cannot read \S+: No such file or directory .*; put the secret there, on one line, in a file of mode 600"),
    "a directory": (make_directory, r"\S+ is not a regular file; name a file"),
    "open to others": (open_to_others, r"\S+ is open to others than its owner \(mode 0644\): chmod 600 \S+"),
    "empty": (written(""), r"\S+ holds no secret: expected one line"),
    "two lines": (written("user\nsinkpass\n"), r"\S+ holds more than one line or a control character: expected one line"),
}


def waits_for_an_operator(daemon, said):
    """The message waits, the log says so once, and the relay is tried after a minute."""
    told = daemon.wait_for_log(f"relay paused: configuration: .*: AUTH: {said}.*")
    assert re.search(r"next probe in ([4-7]\d(\.\d+)?)s", told.group()), told.group()
    relay = daemon.status()["relays"][0]
    assert re.search(f"^configuration: .*{said}", relay["trouble"]), relay
    assert re.search(said, daemon.command("status"))
    assert len(daemon.queue()) == 1
    assert daemon.log().count("relay paused: ") == 1, "said once"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_password_file_that_cannot_be_used(sink_and_nullmta, fault):
    sink, daemon = sink_and_nullmta(relay="messages-per-connection = 1")
    secret = daemon.base / "secret"
    spoil, said = FAULTS[fault]
    spoil(secret)
    daemon.send(MESSAGE)
    waits_for_an_operator(daemon, said)
    if secret.is_dir():
        secret.rmdir()
    write_secret(secret, Sink.PASSWORD)
    # Nobody tells the daemon: it watches the file.
    daemon.wait_until_empty(seconds=30)
    assert len(sink.received()) == 1
    assert Sink.PASSWORD not in daemon.log()


def add_route(daemon, other, token):
    """The mail of @shop.example goes to the relay `other`, with the token in this file."""
    daemon.config.write_text(daemon.config.read_text() + f"""
[[route]]
name = "shop"
senders = "@shop.example"
relayhost = "localhost:{other.port}"
[route.tls]
ca-file = "{other.ca_file}"
[route.auth]
username = "app@example.com"
token-file = "{token}"
""")


def test_a_start_without_the_secret_of_a_route(make_sink, make_nullmta, scratch):
    """A token that another program writes after the boot kept the whole daemon from starting, and port 25 was closed."""
    sink, other = make_sink().start(), make_sink("--token", f"app@example.com:{TOKEN}").start()
    daemon = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD,
    )
    token = scratch / "token"
    add_route(daemon, other, token)
    checked = daemon.try_command("check")
    assert checked.returncode == 78 and f"token-file`: cannot read {token}" in checked.stderr, checked
    daemon.start()
    told = daemon.wait_for_log(r".*ERROR .*token-file`: cannot read .*; nullmta starts nevertheless: mail for this relay is taken.*")
    assert str(token) in told.group()
    daemon.send(MESSAGE, reverse_path="ann@shop.example")
    daemon.wait_for_log("route shop: relay paused: configuration: .*AUTH: cannot read .*")
    daemon.send(MESSAGE)
    sink.wait_for(1)
    assert len(daemon.queue()) == 1
    # Nobody tells the daemon: it watches the file.
    write_secret(token, TOKEN)
    daemon.wait_until_empty(seconds=30)
    assert len(other.received()) == 1
    assert TOKEN not in daemon.log()


def test_a_reload_without_the_secret_of_a_route(make_sink, make_nullmta, scratch):
    """No reload took effect while the token of one route was missing, though a start would have."""
    sink, other = make_sink().start(), make_sink("--token", f"app@example.com:{TOKEN}").start()
    daemon = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD,
    ).start()
    token = scratch / "token"
    add_route(daemon, other, token)
    done = daemon.try_command("reload")
    assert done.returncode == 0 and "changed: route" in done.stdout, done
    assert re.search(r"nullmta: .*token-file`: cannot read .*; mail for this relay is taken, and waits ", done.stderr), done
    daemon.wait_for_log(r".*ERROR .*token-file`: cannot read .*; the configuration is in force nevertheless: mail for this relay .*")
    daemon.send(MESSAGE, reverse_path="ann@shop.example")
    daemon.wait_for_log("route shop: relay paused: configuration: .*AUTH: cannot read .*")
    daemon.send(MESSAGE)
    sink.wait_for(1)
    assert len(daemon.queue()) == 1 and not other.received()
    write_secret(token, TOKEN)
    daemon.wait_until_empty(seconds=30)
    assert len(other.received()) == 1
    # Where no relay is left, the old configuration stays in force.
    token.unlink()
    (daemon.base / "secret").unlink()
    done = daemon.try_command("reload")
    assert done.returncode == 78 and "stays in force" in done.stderr and "password-file`: cannot read" in done.stderr, done


def test_a_start_and_a_reload_without_a_certificate_of_a_route(make_sink, make_nullmta, scratch):
    """A file for the TLS of one route that could not be read kept the whole daemon from starting."""
    sink, other = make_sink().start(), make_sink("--token", f"app@example.com:{TOKEN}").start()
    daemon = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD,
    )
    token, trusted = write_secret(scratch / "token", TOKEN), scratch / "trusted.pem"
    add_route(daemon, other, token)
    daemon.config.write_text(daemon.config.read_text().replace(str(other.ca_file), str(trusted)))
    checked = daemon.try_command("check")
    assert checked.returncode == 78 and f"ca-file`: cannot read {trusted}" in checked.stderr, checked
    daemon.start()
    daemon.wait_for_log(r".*ERROR .*ca-file`: cannot read .*; nullmta starts nevertheless: mail for this relay is taken.*")
    daemon.send(MESSAGE, reverse_path="ann@shop.example")
    daemon.wait_for_log("route shop: relay paused: configuration: .*ca-file: cannot read .*")
    daemon.send(MESSAGE)
    sink.wait_for(1)
    done = daemon.try_command("reload")
    assert done.returncode == 0 and re.search(r"ca-file`: cannot read .*; mail for this relay is taken, and waits", done.stderr), done
    assert len(daemon.queue()) == 1 and not other.received()
    # Nobody tells the daemon: it watches the file.
    shutil.copy(other.ca_file, trusted)
    daemon.wait_until_empty(seconds=30)
    assert len(other.received()) == 1
    # What is wrong within the file is an error, and so is one that no relay can do without.
    trusted.write_text("no certificate")
    done = daemon.try_command("reload")
    assert done.returncode == 78 and "expected PEM certificates" in done.stderr, done
    trusted.unlink()
    sink.ca_file.rename(scratch / "elsewhere")
    done = daemon.try_command("reload")
    assert done.returncode == 78 and "ca-file`: cannot read" in done.stderr, done
    daemon.stop()
    done = daemon.try_command("run")
    assert done.returncode == 78 and "ca-file`: cannot read" in done.stderr, done


def test_a_start_without_the_only_secret(make_sink, make_nullmta):
    """Where no relay can be used, the operator hears of it at once."""
    sink = make_sink().start()
    daemon = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD,
    )
    (daemon.base / "secret").unlink()
    done = daemon.try_command("run")
    assert done.returncode == 78 and "password-file`: cannot read" in done.stderr, done


def test_a_token_file_with_something_else(make_sink, make_nullmta, scratch):
    sink = make_sink("--token", f"app@example.com:{TOKEN}").start()
    token = write_secret(scratch / "token", f"Bearer {TOKEN}")
    daemon = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user="app@example.com", auth=f'token-file = "{token}"',
    )
    daemon.leave_out("password-file")
    daemon.start()
    daemon.send(MESSAGE)
    waits_for_an_operator(daemon, "auth.token-file holds what is no access token: .*; put the token alone there")
    write_secret(token, TOKEN)
    daemon.wait_until_empty(seconds=30)
    assert len(sink.received()) == 1
    assert TOKEN not in daemon.log() + json.dumps(daemon.status())


@pytest.mark.parametrize(
    "program, is_configuration",
    [("/nonexistent/pass", True), ("exit 1", False), ("true", False)], ids=["missing", "it fails", "it prints nothing"],
)
def test_a_program_that_gives_no_password(sink_and_nullmta, scratch, program, is_configuration):
    """It may give one a moment later, unless it is not there."""
    sink, daemon = sink_and_nullmta()
    works = ["/bin/echo", Sink.PASSWORD]
    fails = [program] if program.startswith("/") else ["/bin/sh", "-c", program]
    daemon.leave_out("password-file")
    text = daemon.config.read_text()

    def printed_by(words):
        line = f"password-command = {json.dumps(words)}"
        daemon.config.write_text(text.replace("[auth]", f"[auth]\n{line}"))

    # The daemon does not start with a program that is not there.
    script = scratch / "pass"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    printed_by([str(script)] if is_configuration else fails)
    daemon.command("reload")
    if is_configuration:
        script.unlink()
    daemon.send(MESSAGE)
    told = daemon.wait_for_log(r"relay paused: (configuration: )?.*: AUTH: .*next probe in ([\d.]+)s")
    assert bool(told.group(1)) == is_configuration, told.group()
    assert (float(told.group(2)) > 30) == is_configuration, told.group()
    printed_by(works)
    daemon.command("reload")
    daemon.wait_until_empty()
    assert len(sink.received()) == 1


def warnings_of_check(config):
    """In a network without a name server."""
    done = subprocess.run(
        ["unshare", "--net", str(binary()), "check", "-c", str(config)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )
    assert done.returncode == 0, done
    return done.stderr


@pytest.mark.parametrize("host, said", [
    ("smtp.office365.com", "gets the password of app@example.com: Microsoft turns this off at the end of December 2026"),
    ("smtp.gmail.com", "gets the password of app@example.com: Google takes no password of an account, but only an app password"),
    ("smtp.example.com", None),
])
def test_check_warns_of_a_password_that_the_provider_takes_no_longer(scratch, host, said):
    secret = write_secret(scratch / "secret", "hunter2")
    auth = f'[auth]\nusername = "app@example.com"\npassword-file = "{secret}"\n'
    token = auth.replace("password-file", "token-file")
    for login, expected in [(auth, said), (token, None)]:
        config = scratch / "nullmta.toml"
        config.write_text(f'relayhost = "{host}:587"\nspool = "{scratch}/spool"\n{login}')
        told = warnings_of_check(config)
        assert ("gets the password of" in told) == bool(expected), told
        assert expected is None or f"warning: {host} {expected}" in told


@pytest.mark.parametrize("days, said", [
    (30, None), (3, r"expires in [23] days, on \S+: make a new one at the provider"), (-1, r"expired on \S+: make a new one"),
])
def test_check_says_ahead_when_a_client_secret_ends(scratch, days, said):
    secret = write_secret(scratch / "secret", "hunter2")
    end = datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=days)
    config = scratch / "nullmta.toml"
    config.write_text(
        f'relayhost = "smtp.office365.com"\nspool = "{scratch}/spool"\nauth.username = "app@example.com"\n[auth.oauth]\n'
        f'grant = "client-credentials"\nclient-id = "app"\ntoken-url = "https://login.example.com/token"\n'
        f'client-secret-file = "{secret}"\nsecret-expires = {end}\n'
    )
    told = warnings_of_check(config)
    begin = "warning: the client secret in auth.oauth.client-secret-file "
    assert (begin in told) == bool(said), told
    assert said is None or re.search(begin + said, told), told
