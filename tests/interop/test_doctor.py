"""`nullmta doctor` on a host that a real systemd has booted: what it says of a host on which all is well, and of each thing that is
wrong on a bad morning.
"""

import json

from installed import CONFIG, PASSWORD
from waiting import wait_until

UNKNOWN_KEY = CONFIG + "[queue]\nlifetim = \"1d\"\n"
MESSAGE = "Subject: hello\n\nhello\n"


def doctor(installed, *arguments, user=None):
    """The exit code, what was found of each check, and all that was printed."""
    done = installed.run("nullmta", "doctor", "--json", *arguments, user=user, seconds=120)
    told = done.stdout + done.stderr
    assert PASSWORD not in told
    found = {}
    for line in done.stdout.splitlines():
        finding = json.loads(line)
        found.setdefault(finding["check"], []).append(finding)
    return done.returncode, found, told


def of(found, result):
    """The checks with a finding of this result."""
    return {check for check, findings in found.items() if any(one["result"] == result for one in findings)}


def test_all_is_well(installed):
    code, found, told = doctor(installed)
    assert code == 0 and not of(found, "broken"), told
    # The container has the clock of its host, which nothing in it keeps right.
    well = {"program", "unit", "daemon", "host name", "relay lately", "ports", "sendmail", "mailq", "newaliases",
            "users", "spool", "disk", "relay names", "probe"}
    assert well <= of(found, "ok"), told
    assert of(found, "look") <= {"configuration", "clock"}, told
    assert "@" not in told
    text = installed.run("nullmta", "doctor", "--no-probe").stdout
    assert all(len(line) <= 80 for line in text.splitlines()), text
    assert "nothing is broken" in text and "probe" not in text


def test_systemd_holds_the_port_and_the_daemon_does_not_start(installed):
    installed.configure(UNKNOWN_KEY)
    assert installed.run("systemctl restart nullmta").returncode != 0
    code, found, told = doctor(installed)
    assert code == 1, told
    assert {"configuration", "unit", "daemon"} <= of(found, "broken"), told
    assert "lifetim" in found["configuration"][0]["words"]
    assert found["unit"][0]["words"].startswith("systemd holds the ports, and the daemon does not start"), told
    assert "journalctl -u nullmta" in found["unit"][0]["to-do"]
    assert "probe" not in found, "its configuration is not known"


def test_another_program_has_the_port(installed):
    installed.must("systemctl stop nullmta.socket nullmta.service")
    installed.must("cp /usr/bin/nullmta /usr/local/bin/otherd")
    installed.must("systemd-run --unit=other /usr/local/bin/otherd sink --listen 127.0.0.1:25")
    try:
        wait_until(lambda: "127.0.0.1:25 is taken by otherd (pid " in doctor(installed, "--no-probe")[2], 30, "the other program")
        code, found, told = doctor(installed, "--no-probe")
        assert code == 1 and {"unit", "daemon", "ports"} <= of(found, "broken"), told
        assert any("nobody listens at [::1]:25" in one["words"] for one in found["ports"]) or "no IPv6" in told, told
    finally:
        installed.run("systemctl stop other")


def test_a_refused_login_and_a_link_to_another_program(installed):
    installed.must("echo wr0ng > /etc/nullmta.secret && systemctl restart nullmta")
    installed.must("sendmail", "-i", "you@example.com", text=MESSAGE, user="nobody")
    wait_until(lambda: "paused since" in installed.run("nullmta", "status").stdout, 30, "the pause")
    installed.must("mv /usr/bin/mailq /usr/bin/mailq.ours && ln -s /bin/true /usr/bin/mailq")
    try:
        code, found, told = doctor(installed)
        assert code == 1 and {"relay lately", "probe"} <= of(found, "broken"), told
        assert "with 1 message waiting: " in found["relay lately"][0]["words"] and "535" in found["probe"][0]["words"], told
        assert "wr0ng" not in told and "@" not in told, told
        assert "is another program" in found["mailq"][0]["words"], told
    finally:
        installed.must(f"mv /usr/bin/mailq.ours /usr/bin/mailq && echo {PASSWORD} > /etc/nullmta.secret")


def test_an_ordinary_user_is_told_what_was_not_seen(installed):
    code, found, told = doctor(installed, user="nobody")
    assert code == 0, told
    assert {"configuration", "spool", "probe"} <= of(found, "look"), told
    assert all("root" in one["to-do"] for one in found["probe"] + found["spool"]), told
    assert "sendmail" in of(found, "ok") and "users" in of(found, "ok"), told


def test_rights_that_a_user_needs_are_missed(installed):
    installed.must("chmod 640 /etc/nullmta.toml && chgrp nullmta /etc/nullmta.toml")
    try:
        code, found, told = doctor(installed, "--no-probe")
        assert code == 0 and found["users"][0]["result"] == "look", told
        assert "chmod 644 /etc/nullmta.toml" in found["users"][0]["to-do"], told
        code, found, told = doctor(installed, "--no-probe", user="nobody")
        assert code == 0 and "configuration" in of(found, "look"), told
    finally:
        installed.must("chmod 644 /etc/nullmta.toml")


def test_a_credential_is_that_of_the_running_daemon(installed):
    """systemd hands it to the daemon alone: a probe by root found no password, and called the configuration wrong."""
    drop_in = "/etc/systemd/system/nullmta.service.d/made.conf"
    installed.configure(CONFIG.replace('password-file = "/etc/nullmta.secret"', 'credential = "relay"'))
    try:
        installed.write(drop_in, "[Service]\nLoadCredential=relay:/etc/nullmta.secret\n")
        installed.must("systemctl daemon-reload && systemctl restart nullmta")
        done = installed.run("nullmta probe")
        assert done.returncode == 0 and "logged in by" in done.stdout and done.stderr == "", done.stdout + done.stderr
        code, found, told = doctor(installed)
        assert code == 0 and "probe" in of(found, "ok"), told
        ordinary = installed.run("nullmta probe", user="nobody")
        assert ordinary.returncode == 77 and "the credential relay (auth.credential) is not readable" in ordinary.stderr, ordinary
        installed.must("systemctl stop nullmta.socket nullmta.service")
        done = installed.run("nullmta probe")
        assert done.returncode == 78 and "-p LoadCredential=relay:PATH nullmta probe" in done.stderr, done
        as_told = "systemd-run --quiet --pipe --wait -p User=nullmta -p LoadCredential=relay:/etc/nullmta.secret nullmta probe"
        done = installed.run(as_told)
        assert done.returncode == 0 and "logged in by" in done.stdout, done
    finally:
        installed.path(drop_in).unlink()
        installed.must("systemctl daemon-reload")
