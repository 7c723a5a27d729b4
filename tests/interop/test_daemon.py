"""The daemon as its operator meets it: reload, stop, check, the example config, systemd, the demo."""

import json
import os
import re
import shutil
import signal
import smtplib
import subprocess
import threading
import time

import pytest

from daemon import TREE, binary
from pki import NAME
from postfix import PASSWORD, USER, field
from waiting import free_port, wait_until

SENT = b"Subject: hello\r\n\r\nHello.\r\n"


def test_a_bad_file_at_reload_keeps_the_old_configuration(nullmta, postfix):
    good = nullmta.config.read_text()
    nullmta.config.write_text(good + '\n[log]\nlevle = "debug"\n')
    nullmta.signal(signal.SIGHUP)
    nullmta.wait_for_log("levle")
    nullmta.send(SENT)
    postfix.wait_for(1)
    nullmta.config.write_text("not toml at all = = =\n")
    nullmta.signal(signal.SIGHUP)
    nullmta.send(SENT)
    postfix.wait_for(2)
    assert nullmta.process.poll() is None


def test_a_reload_moves_queued_mail_to_the_new_relay(nullmta, make_nullmta, postfix):
    """Queued mail uses the config of now."""
    postfix.stop()
    nullmta.configure(relay_port=free_port())
    nullmta.signal(signal.SIGHUP)
    nullmta.send(SENT)
    nullmta.wait_for_log("relay paused")
    nullmta.configure(relay_port=postfix.port)
    postfix.start()
    nullmta.signal(signal.SIGHUP)
    nullmta.probe()
    postfix.wait_for(1)


def test_what_takes_a_restart_stays_as_it_was_started(nullmta, postfix):
    """And is said at each reload, for as long as the file says otherwise; the stop tidies up what was made."""
    good, control, other = nullmta.config.read_text(), nullmta.base / "control.sock", nullmta.base / "other"
    other.write_text("somebody else's")
    words = "admin.control has changed: that takes a restart"

    def reload(text):
        reloads = nullmta.log().count("configuration reloaded")
        nullmta.config.write_text(text)
        nullmta.signal(signal.SIGHUP)
        wait_until(lambda: nullmta.log().count("configuration reloaded") > reloads, 20, nullmta.log)
        return nullmta.log().count(words)

    changed = good.replace(str(control), str(other))
    assert [reload(text) for text in (changed, changed, good)] == [1, 2, 2]
    reload(changed)
    assert nullmta.stop() == 0
    assert not control.exists() and other.read_text() == "somebody else's"


def test_check_says_what_run_would_say(make_nullmta, postfix):
    nullmta = make_nullmta(postfix.port)

    def run(command):
        return subprocess.run(
            [str(binary()), command, "-c", str(nullmta.config)], capture_output=True, text=True, timeout=20
        )

    assert run("check").returncode == 0
    nullmta.config.write_text('relayhost = "relay.example.org"\nspol = "/var/spool/nullmta"\n')
    for command in ("check", "run"):
        done = run(command)
        assert done.returncode == 78 and "spol" in done.stderr and str(nullmta.config) in done.stderr, done
    nullmta.config.write_text('relayhost = "relay.example.org"\n[listen]\naddresses = ["0.0.0.0:25"]\n')
    assert run("check").returncode == 78


def test_a_start_that_fails_is_not_called_one(make_nullmta, postfix):
    nullmta = make_nullmta(postfix.port)
    (nullmta.base / "control.sock").write_text("precious")
    done = subprocess.run(
        [str(binary()), "run", "-c", str(nullmta.config)], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 71 and "admin.control" in done.stderr, done
    assert "started" not in done.stderr
    assert (nullmta.base / "control.sock").read_text() == "precious"


def test_a_secret_that_others_can_read_is_refused(make_nullmta, postfix):
    nullmta = make_nullmta(postfix.port)
    (nullmta.base / "secret").chmod(0o644)
    done = subprocess.run([str(binary()), "check", "-c", str(nullmta.config)], capture_output=True, text=True)
    assert done.returncode == 78 and "secret" in done.stderr and PASSWORD not in done.stderr


def test_sigterm_when_idle_is_prompt_and_clean(nullmta):
    begun = time.monotonic()
    assert nullmta.stop() == 0
    assert time.monotonic() - begun < 5


def test_sigterm_tells_idle_sessions_and_lets_content_finish(nullmta, postfix):
    idle, busy = nullmta.client(), nullmta.client()
    idle.ehlo()
    busy.ehlo()
    assert busy.mail("ann@example.org")[0] == 250 and busy.rcpt("bob@example.net")[0] == 250
    busy.putcmd("data")
    assert busy.getreply()[0] == 354
    busy.send(b"Subject: half of it\r\n\r\n")
    # The content is in flight once the daemon has read some of it.
    time.sleep(0.3)
    nullmta.signal(signal.SIGTERM)
    assert idle.getreply()[0] == 421
    busy.send(b"and the rest\r\n.\r\n")
    code, said = busy.getreply()
    assert code in (250, 421, 451), said
    assert nullmta.stop() == 0
    with pytest.raises(OSError):
        smtplib.SMTP("127.0.0.1", nullmta.port, timeout=5)
    nullmta.start()
    nullmta.wait_until_empty()
    # Postfix has a message in its own queue for a moment before it is in the mailbox.
    postfix.wait_for(1 if code == 250 else 0)


def test_a_second_daemon_on_the_same_spool_is_refused(nullmta, make_nullmta, postfix):
    second = make_nullmta(postfix.port)
    second.config.write_text(second.config.read_text().replace(
        f'spool = "{second.base}/spool"', f'spool = "{nullmta.base}/spool"'
    ))
    done = subprocess.run(
        [str(binary()), "run", "-c", str(second.config)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode not in (0, 78) and "spool" in done.stderr, done
    nullmta.send(SENT)
    postfix.wait_for(1)


def test_the_json_log_has_the_same_story(make_nullmta, postfix):
    nullmta = make_nullmta(postfix.port)
    nullmta.config.write_text(nullmta.config.read_text() + '\n[log]\nformat = "json"\n')
    nullmta.start()
    queue_id = nullmta.send(SENT)
    postfix.wait_for(1)
    nullmta.wait_until_empty()
    nullmta.stop()
    lines = [json.loads(line) for line in nullmta.log().splitlines()]
    assert any(queue_id in json.dumps(line) and "sent" in json.dumps(line) for line in lines)


def with_values(text, values):
    """Sets keys of the example configuration where they first stand in `text`."""
    for key, value in values.items():
        text, changed = re.subn(rf"(?m)^#?{key} = .*$", f'{key} = "{value}"', text, count=1)
        assert changed, f"the example has no {key}"
    return text


def test_the_example_configuration(scratch, postfix, authority):
    """The main job on real input: swaks into a daemon started from config/nullmta.toml, read in the mailbox."""
    of_relay = {
        "relayhost": f"127.0.0.1:{postfix.port}", "spool": f"{scratch}/spool", "username": USER,
        "password-file": f"{scratch}/secret",
    }
    of_tls_and_below = {
        "ca-file": str(authority.ca_file), "server-name": NAME, "socket": f"{scratch}/submit.sock",
        "control": f"{scratch}/control.sock", "hostname": "web1.example.com",
    }
    port = free_port()
    text = (TREE / "config" / "nullmta.toml").read_text()
    before, tls, behind = text.partition("\n[tls]\n")
    text = with_values(before, of_relay) + tls + with_values(behind, of_tls_and_below)
    text, changed = re.subn(r"(?m)^#?addresses = .*$", f'addresses = ["127.0.0.1:{port}"]', text, count=1)
    assert changed
    config = scratch / "nullmta.toml"
    config.write_text(text)
    (scratch / "secret").write_text(PASSWORD + "\n")
    (scratch / "secret").chmod(0o600)
    with open(scratch / "log", "wb") as log:
        daemon = subprocess.Popen([str(binary()), "run", "-c", str(config)], stdout=log, stderr=log)
    try:
        def swaks():
            return subprocess.run(
                ["swaks", "--server", f"127.0.0.1:{port}", "--from", "ann@example.org", "--to", "bob@example.net",
                 "--header", "Subject: the main job", "--body", "It arrived."],
                capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
            ).returncode == 0

        wait_until(swaks, 20, lambda: (scratch / "log").read_text())
        (message,) = postfix.wait_for(1)
        assert field(message, "Subject") == "the main job" and b"It arrived." in message
    finally:
        daemon.terminate()
        assert daemon.wait(timeout=30) == 0


def test_the_example_as_it_is_passes_check(scratch):
    """As shipped, but for the secret file that a fresh host does not have yet."""
    (scratch / "secret").write_text("x")
    (scratch / "secret").chmod(0o600)
    text = (TREE / "config" / "nullmta.toml").read_text().replace("/etc/nullmta.secret", f"{scratch}/secret")
    (scratch / "nullmta.toml").write_text(text)
    done = subprocess.run(
        [str(binary()), "check", "-c", str(scratch / "nullmta.toml")], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def units(scratch):
    """The shipped units, with the binary where it is now: `verify` looks whether it exists."""
    for unit in (TREE / "systemd").glob("nullmta.s*"):
        text = unit.read_text().replace("/usr/bin/nullmta", str(binary()))
        (scratch / unit.name).write_text(text)
    return scratch


def test_systemd_accepts_the_units(units):
    analyze = shutil.which("systemd-analyze")
    assert analyze, "systemd-analyze is not installed"
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(units / "nullmta.service"), str(units / "nullmta.socket")],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0 and "nullmta" not in done.stderr, done.stderr


def test_systemd_finds_the_service_well_confined(units):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(units / "nullmta.service")],
        capture_output=True, text=True, timeout=60,
    )
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout).group(1))
    assert exposure <= 2.0, done.stdout


def test_demo(scratch):
    begun = time.monotonic()
    done = subprocess.run(
        [str(binary()), "demo"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
        cwd=scratch, env={**os.environ, "TMPDIR": str(scratch)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begun < 20
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert len(lines) <= 50, "more than a screen"
    assert "once" in done.stdout and "MORE THAN ONCE" not in done.stdout
    print("\n".join(lines[-5:]))
    assert list(scratch.iterdir()) == [], "something was left behind"


def test_more_clients_than_sessions_get_an_answer(sink_and_nullmta):
    """Overload is 421 or the backlog, never a crash or a lost message."""
    sink, nullmta = sink_and_nullmta()
    acknowledged, lock = [], threading.Lock()

    def client(number):
        try:
            with nullmta.client(timeout=60) as connection:
                connection.sendmail(f"c{number}@example.org", ["bob@example.net"], SENT)
            with lock:
                acknowledged.append(number)
        except (OSError, smtplib.SMTPException):
            pass

    threads = [threading.Thread(target=client, args=(number,)) for number in range(250)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    nullmta.wait_until_empty(60)
    assert len(acknowledged) >= 200
    assert len(sink.received()) >= len(acknowledged)
    assert nullmta.process.poll() is None
