"""`nullmta log`: the story of a message, from the journal of a booted host and from files of the log in each form."""

import json
import re
import subprocess

import pytest

from daemon import Sink, binary
from waiting import wait_until

MESSAGE = b"From: ann@example.org\r\nMessage-ID: <story@example.org>\r\nSubject: x\r\n\r\nx\r\n"


def log(*arguments):
    done = subprocess.run([str(binary()), "log", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(params=["text", "json"])
def bounced(request, make_nullmta, scratch):
    """The file of a log of this form, and the queue ids of a message that was refused and of the report about it."""
    sink = Sink(scratch / "sink", "--fail", "rcpt:nobody@example.net=550 5.1.1 no such user").start()
    daemon = make_nullmta(sink.port, user=sink.USER, password=sink.PASSWORD, ca_file=sink.ca_file, server_name="localhost")
    daemon.config.write_text(daemon.config.read_text() + f'\n[log]\nformat = "{request.param}"\n')
    daemon.start()
    daemon.send(MESSAGE.replace(b"story", b"other"), recipients=("bob@example.net",))
    daemon.send(MESSAGE, recipients=("nobody@example.net",))
    daemon.wait_until_empty()
    report = daemon.wait_for_log(r"([0-9A-F]{16}): sender non-delivery notification: ([0-9A-F]{16})")
    daemon.wait_for_log(f"{report.group(2)}: removed")
    daemon.stop()
    sink.stop()
    return daemon.base / "daemon.log", report.group(1), report.group(2)


def test_a_message_and_the_report_about_it(bounced):
    path, message, report = bounced
    code, text, error = log(message, "--file", path)
    assert (code, error) == (0, ""), error
    own, behind = text.split(f"\n\nThe report about {message}:\n")
    lines = own.splitlines()
    assert all(f" {message}: " in line for line in lines), own
    assert "(queued)" in lines[0] and "status=bounced (550 5.1.1 no such user)" in own and lines[-1].endswith(": removed")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+Z INFO  .*", lines[0])
    assert all(f" {report}: " in line for line in behind.splitlines()) and "status=sent" in behind
    for wanted in ("<story@example.org>", "story@example.org", "Nobody@EXAMPLE.net", message.lower()):
        assert log(wanted, "--file", path) == (0, text, ""), wanted


def test_each_line_is_an_object(bounced):
    path, message, report = bounced
    code, text, _ = log(message, "--json", "--file", path)
    lines = [json.loads(line) for line in text.splitlines()]
    assert code == 0 and {line["id"] for line in lines} == {message, report}
    assert all(set(line) <= {"time", "level", "id", "report-about", "text"} for line in lines)
    assert {line.get("report-about") for line in lines if line["id"] == report} == {message}
    # From the report alone it is known, too, what it is about.
    code, text, _ = log(report, "--json", "--file", path)
    assert code == 0 and {json.loads(line)["report-about"] for line in text.splitlines()} == {message}


def test_what_is_not_there_is_said(bounced):
    path, message, _ = bounced
    for wanted in ("0000000000000001", "carol@example.net", "other@example.ne"):
        code, out, error = log(wanted, "--file", path)
        assert (code, out) == (1, "") and f"{path} has no line about {wanted}; it was read from 20" in error, error
    code, _, error = log(message, "--since", "1s", "--file", path)
    # A second may not have gone by since its last line.
    assert code in (0, 1)
    for since, words in (("tomorrow", "a time is an age"), ("2099-01-01", "still to come")):
        code, _, error = log(message, "--since", since, "--file", path)
        assert code == 64 and words in error.replace("\n", " "), error
    assert log(message, "--since", "2h", "--file", path)[0] == 0


def test_a_file_that_is_no_log_is_no_empty_log(scratch):
    other = scratch / "other"
    other.write_bytes(b"\x1f\x8b\x08\n" * 99)
    code, _, error = log("0000000000000001", "--file", other)
    assert code == 65 and "no line of nullmta" in error
    code, _, error = log("0000000000000001", "--file", scratch / "none")
    assert code == 74 and "No such file" in error
    code, _, error = log("0000000000000001", "--file", scratch)
    assert code == 65 and "is no file" in error
    syslog = scratch / "syslog"
    syslog.write_text("Nov 29 10:00:00 web1 nullmta[812]: 18A4F1C9A02B3D40: removed\n")
    assert log("18A4F1C9A02B3D40", "--file", syslog) == (0, "Nov 29 10:00:00 18A4F1C9A02B3D40: removed\n", "")
    code, _, error = log("18A4F1C9A02B3D40", "--since", "1h", "--file", syslog)
    assert code == 65 and "leave --since out" in error


def test_the_journal_of_a_booted_host(installed):
    """The report is made while nothing is sent, so that its story is known to begin behind that of the message. Other tests have
    sent mail from this host."""
    installed.must("nullmta", "pause", "delivery")
    installed.must("sendmail", "-i", "-f", "ann@example.com", "told-of-here-alone@example.net", text="Message-ID: <told-of-here-alone@x>\nSubject: x\n\nx\n")
    message = json.loads(installed.must("nullmta", "queue", "list", "--json"))["id"]
    installed.must("nullmta", "queue", "expire", message)
    installed.must("nullmta", "resume")
    installed.wait_for(1)
    # Who writes lines that look like those of the daemon is not taken for it.
    installed.must("sh", "-c", f"echo '{message}: forged' | systemd-cat -t nullmta", user="nobody")
    done = wait_until(
        lambda: (done := installed.run("nullmta", "log", message)).stdout.count(": removed") == 2 and done, 30,
        lambda: f"the story, which is {installed.run('nullmta', 'log', message)}",
    )
    assert (done.returncode, done.stderr) == (0, "")
    own, behind = done.stdout.split(f"\n\nThe report about {message}:\n")
    assert "(queued)" in own.splitlines()[0] and f"{message}: returned by uid 0 (root)" in own
    assert "status=sent" in behind and "forged" not in done.stdout
    for wanted in (("told-of-here-alone@example.net",), ("<told-of-here-alone@x>", "--since", "1h")):
        assert installed.must("nullmta", "log", *wanted) == done.stdout, wanted
    none = installed.run("nullmta", "log", "0000000000000001")
    assert none.returncode == 1 and "the journal has no line about 0000000000000001; it was read from 20" in none.stderr
    denied = installed.run("nullmta", "log", message, user="nobody")
    assert (denied.returncode, denied.stdout) == (77, "") and "group systemd-journal" in denied.stderr
    installed.must("usermod -aG systemd-journal nobody")
    try:
        assert installed.must("nullmta", "log", message, user="nobody") == done.stdout
    finally:
        installed.must("gpasswd -d nobody systemd-journal")
