"""What a monitoring program is told, by a user without rights too, while the relay goes and comes back."""

import json
import re
import signal

from local_user import ANN, OPERATOR
from terminal import shown
from waiting import free_port, wait_until

LINE = re.compile(r"NULLMTA (OK|WARNING|CRITICAL|UNKNOWN): ([^|\n]+) \| ([^|\n]+)\n")


def check(daemon, *bounds):
    """The exit code, the state, the words and the performance data by label."""
    done = daemon.try_command("status", "--check", *bounds)
    assert done.stderr == "", done.stderr
    state, words, data = LINE.fullmatch(done.stdout).groups()
    return done.returncode, state, words, dict(item.split("=") for item in data.split())


def test_a_relay_that_goes_and_comes_back_is_told_by_the_exit_code(make_nullmta, postfix):
    daemon = make_nullmta(free_port())
    daemon.start()
    code, state, words, data = check(daemon)
    assert (code, state, data["waiting"]) == (0, "OK", "0;;;0"), words
    daemon.send(b"Subject: x\r\n\r\nx\r\n")
    wait_until(lambda: check(daemon)[0] == 1, 20, "the pause is new")
    code, state, words, data = check(daemon, "--max-depth", "0")
    assert (code, state, data["waiting"]) == (2, "CRITICAL", "1;;0;0") and "1 message to be sent" in words, words
    wait_until(lambda: check(daemon, "--max-paused", "1s")[0] == 2, 20, "the pause is long")
    wait_until(lambda: "the oldest message waits for" in check(daemon, "--max-age", "1s")[2], 20, "it is old")
    daemon.command("queue", "hold", "--all", "--yes")
    assert check(daemon)[3]["oldest"] == "0s;;1800;0", "what is on hold is not to be sent"
    daemon.command("queue", "release", "--state", "on-hold")
    assert daemon.stop() == 0
    down = daemon.try_command("status", "--check")
    assert down.returncode == 2 and down.stdout.startswith("NULLMTA CRITICAL: no daemon answers at "), down
    daemon.configure(relay_port=postfix.port)
    daemon.start()
    daemon.wait_until_empty()
    code, state, _, data = check(daemon)
    assert (code, state, data["sent"]) == (0, "OK", "1c;;;0")
    relay = daemon.status()["relays"][0]
    assert relay["outcomes"]["sent"] == 1 and relay["last-success"], relay


def test_a_user_without_rights_is_told_the_numbers_and_no_names(_host, make_nullmta):
    _host.settle(make_nullmta(free_port()))
    _host.start()
    sent = _host.run("sendmail", "bob@secret.example", user=ANN, input=b"Subject: x\n\nx\n")
    assert sent.returncode == 0, sent.stderr
    _host.daemon.wait_for_log("paused")

    def status(user, *words):
        return _host.run(_host.program, "status", *words, user=user)

    own, all_of_it = (status(user, "--json") for user in (ANN, OPERATOR))
    assert b'"messages":1,' in own.stdout and b'"in-part":true' in own.stdout
    assert b"127.0.0.1" in all_of_it.stdout and b'"in-part":false' in all_of_it.stdout
    for name in (b"secret.example", b"127.0.0.1"):
        assert name not in own.stdout, own.stdout
    checked = status(ANN, "--check")
    assert checked.returncode == 1 and checked.stdout.startswith(b"NULLMTA WARNING: the relay is paused"), checked
    assert b"127.0.0.1" not in checked.stdout


def test_status_fits_a_terminal_of_80_columns(make_nullmta):
    daemon = make_nullmta(free_port())
    daemon.start()
    daemon.send(b"Subject: x\r\n\r\nx\r\n")
    wait_until(lambda: daemon.status()["relays"][0]["state"] == "paused", 20, "the pause")
    daemon.command("pause", "intake", "--reason", "the disk of this host is moved to another cabinet, which takes an hour or two")
    code, text = shown(80, daemon.program, "status", "-c", daemon.config)
    assert code == 0 and "to do   check the host and the port in relayhost" in text, text
    assert [line for line in text.splitlines() if len(line) > 80] == [], text


def test_a_plug_in_that_is_called_wrongly_is_told_so(nullmta):
    assert nullmta.try_command("status", "--max-age", "1h").returncode == 64
    for words in (["--max-age", "soon"], ["--max-aeg", "1h"], ["--json"]):
        done = nullmta.try_command("status", "--check", *words)
        assert done.returncode == 3 and done.stderr == "", done
        assert done.stdout.startswith("NULLMTA UNKNOWN: ") and done.stdout.count("\n") == 1, done


def test_a_daemon_that_hangs_is_told_before_the_monitoring_program_gives_up(nullmta):
    nullmta.signal(signal.SIGSTOP)
    try:
        done = nullmta.try_command("status", "--check")
    finally:
        nullmta.signal(signal.SIGCONT)
    assert done.returncode == 2, done
    assert "has said nothing for 4 s: it is stopped, or hangs" in done.stdout, done


def test_what_waits_while_nothing_runs_is_counted_on_the_spool(make_nullmta):
    daemon = make_nullmta(free_port())
    daemon.start()
    daemon.send(b"Subject: x\r\n\r\nx\r\n")
    assert daemon.stop() == 0
    code, state, words, data = check(daemon)
    assert (code, state, data["waiting"]) == (2, "CRITICAL", "1;;;0"), words
    assert words.startswith("no daemon answers at ") and words.endswith("; 1 message to be sent on the spool"), words
    done = daemon.try_command("status", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["running"], told["messages"], told["ready"]) == (69, False, 1, 1), done
    assert " This is read from the spool " in done.stderr, done
