"""Who does not look is told: by a program, by a page over verified TLS, by the journal and status; and a heartbeat falls silent."""

import contextlib
import json
import time

import pytest
from hook import Hook
from pki import Authority
from waiting import free_port, wait_until

MESSAGE = b"Subject: x\r\n\r\nx\r\n"


@pytest.fixture
def hook(tmp_path):
    """A page on this host with a certificate of a private authority."""
    authority = Authority(tmp_path / "hook-ca")
    with contextlib.closing(Hook(authority.issue("hook", "DNS:localhost"), "localhost")) as hook:
        hook.ca_file = str(authority.ca_file)
        yield hook


def tables(*alarms, heartbeat=None):
    """The tables of the configuration for these, to stand behind all others."""
    headed = [("[[alarm]]", alarm) for alarm in alarms] + ([("[heartbeat]", heartbeat)] if heartbeat else [])
    # A string and a list of strings are the same in JSON and in TOML.
    return "\n".join(
        "\n".join([heading, *(f"{key} = {json.dumps(value)}" for key, value in table.items())]) for heading, table in headed
    )


def program(directory, text):
    """A program for the shell."""
    path = directory / "page.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return [str(path)]


def told(path):
    return path.read_text().splitlines() if path.exists() else []


def test_a_stuck_queue_is_told_once_by_each_way_and_once_when_it_is_over(make_nullmta, postfix, hook, tmp_path):
    out, secret = tmp_path / "told", tmp_path / "header"
    secret.write_text("Authorization: Bearer hush-hush\n")
    secret.chmod(0o600)
    page = program(tmp_path, f'echo "$(cat) $NULLMTA_ALARM|$NULLMTA_STATE|$NULLMTA_QUEUED" >> {out}')
    alarms = [
        {"when": "oldest > 1s", "command": page},
        {"when": "queued > 0", "post": f"{hook.url}/mail?room=ops", "header-file": str(secret), "ca-file": hook.ca_file},
    ]
    daemon = make_nullmta(free_port(), admin=tables(*alarms))
    daemon.start()
    daemon.send(MESSAGE)
    wait_until(lambda: told(out) and hook.posts, 40, "both are told")
    body, variables = told(out)[0].split("} ")
    assert variables == "oldest > 1s|began|1"
    facts = json.loads(body + "}")
    assert facts["state"] == "began" and facts["facts"]["queued"] == 1 and facts["why"].startswith("the oldest message waits")
    path, head, posted = hook.posts[0]
    assert (path, head["Authorization"], head["Content-Type"]) == ("/mail?room=ops", "Bearer hush-hush", "application/json")
    assert posted["alarm"] == "queued > 0" and posted["why"] == "1 message to be sent", posted
    assert posted["text"].startswith("nullmta on ") and 'alarm "queued > 0" began' in posted["text"]
    status = daemon.status()
    assert {alarm["when"] for alarm in status["alarms"]} == {"oldest > 1s", "queued > 0"}
    assert "ALARM   queued > 0 since " in daemon.command("status")
    daemon.configure(relay_port=postfix.port)
    daemon.command("reload")
    daemon.command("flush")
    daemon.wait_until_empty()
    wait_until(lambda: len(told(out)) == 2 and len(hook.posts) == 2, 100, "the end is told, a minute after it")
    assert "|ended|" in told(out)[1] and hook.bodies()[1]["state"] == "ended"
    assert daemon.status()["alarms"] == []
    log = daemon.log()
    assert log.count('alarm "queued > 0" began: ') == 1 and log.count('alarm "queued > 0" ended: ') == 1
    assert "hush-hush" not in log


def test_a_page_whose_certificate_is_not_trusted_is_told_nothing_and_one_that_fails_is_tried_again(make_nullmta, hook):
    alarms = [{"when": "queued > 0", "post": f"{hook.url}/"}]
    daemon = make_nullmta(free_port(), admin=tables(*alarms))
    daemon.start()
    daemon.send(MESSAGE)
    said = daemon.wait_for_log('alarm "queued > 0": nobody could be told of it: (.*)')
    assert "the server" in said[1] and "ca-file" in said[1], said[1]
    assert hook.posts == []
    hook.status = 500
    daemon.configure(admin=tables({**alarms[0], "ca-file": hook.ca_file}))
    daemon.command("reload")
    daemon.wait_for_log("the server answered with HTTP status 500")
    hook.status = 200
    wait_until(lambda: len(hook.posts) >= 2, 90, "it is tried again after a minute")
    assert hook.bodies()[-1]["state"] == "began"


def test_a_program_that_hangs_is_ended_with_all_that_it_started(make_nullmta, tmp_path):
    started = tmp_path / "started"
    page = program(tmp_path, f"sleep 600 & echo $! >> {started}; wait")
    daemon = make_nullmta(free_port(), admin=tables({"when": "queued > 0", "command": page}))
    daemon.start()
    daemon.send(MESSAGE)
    daemon.wait_for_log("took longer than 30 s and was killed", 60)
    child = int(told(started)[0])
    wait_until(lambda: not is_running(child), 10, "what it had started is gone")
    daemon.send(MESSAGE)
    assert daemon.status()["messages"] == 2, "mail does not wait for it"


def is_running(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(") ", 1)[1][0] != "Z"
    return False


def test_without_any_configuration_the_usual_alarms_are_watched(make_nullmta):
    daemon = make_nullmta(free_port())
    daemon.start()
    assert daemon.status()["alarms"] == []
    bad = daemon.try_command("check")
    assert "alarm" not in bad.stdout + bad.stderr


def test_a_page_without_its_files_is_told_of_by_check(make_nullmta, tmp_path):
    alarm = {"when": "quota", "post": "https://localhost:1/", "header-file": str(tmp_path / "none")}
    daemon = make_nullmta(free_port(), admin=tables(alarm))
    checked = daemon.try_command("check")
    assert "alarm[1].header-file: " in checked.stdout + checked.stderr, checked
    daemon.start()
    daemon.wait_for_log(r"alarm\[1\].header-file: .*until that is mended, nobody is told")


def test_the_heartbeat_falls_silent_while_mail_does_not_get_through(make_nullmta, postfix, hook):
    beat = {"post": f"{hook.url}/beat", "every": "10s", "ca-file": hook.ca_file}
    daemon = make_nullmta(postfix.port, admin=tables({"when": "queued > 0"}, heartbeat=beat))
    daemon.start()
    wait_until(lambda: hook.posts, 100, "the heart beats, a minute after the start")
    assert hook.bodies()[0].keys() == {"host", "version", "at", "queued"}
    postfix.stop()
    daemon.send(MESSAGE)
    daemon.wait_for_log("no heartbeat is sent from now on", 60)
    silent = len(hook.posts)
    time.sleep(12)  # longer than one period: what is not to come cannot be waited for
    assert len(hook.posts) == silent
    postfix.start()
    daemon.command("flush")
    daemon.wait_for_log("the heartbeat is sent again", 120)
    wait_until(lambda: len(hook.posts) > silent, 10, "it beats again")
