"""nullmta on a host that a real systemd has booted, installed by the README's commands: what a new user sees."""

from waiting import wait_until

MESSAGE = "From: root\nTo: you@example.com\nSubject: %s\n\nhello\n"

# Sends so many messages on one connection.
SENDER = """\
import smtplib, sys
with smtplib.SMTP("127.0.0.1", 25) as client:
    for number in range(int(sys.argv[1])):
        client.sendmail("ann@example.com", ["bob@example.net"], b"Subject: x\\r\\n\\r\\nx\\r\\n")
"""

# Sends message after message, each on a connection of its own, until its input ends: how many. What is told 421
# is sent again; a connection that is refused ends it.
SENDER_UNDER_RESTARTS = """\
import smtplib, sys, threading
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
sent = 0
while not ended.is_set() or sent < 300:
    try:
        with smtplib.SMTP("127.0.0.1", 25, timeout=60) as client:
            client.sendmail("ann@example.com", ["bob@example.net"], f"Subject: number {sent}\\r\\n\\r\\nx\\r\\n".encode())
            # Told 250; what QUIT is told is another matter.
            sent += 1
    except ConnectionRefusedError:
        raise
    except (smtplib.SMTPException, ConnectionError):
        pass
print(sent)
"""

PROGRAM_UNDER_RESTARTS = """\
count=0
while [ ! -e /srv/enough ]; do echo hello | sendmail -i you@example.com || exit; count=$((count + 1)); done
echo $count
"""


def test_the_first_day(installed):
    """Mail of sendmail, of cron, and of a restart in between; with the README's configuration nothing of it is a WARN."""
    assert installed.must("systemctl is-active nullmta.service nullmta.socket").split() == ["active", "active"]
    installed.must("sendmail", "-i", "you@example.com", text=MESSAGE % "by hand")
    installed.must("systemctl restart nullmta")
    installed.must("sendmail", "-i", "you@example.com", text=MESSAGE % "behind a restart", user="nobody")
    installed.write("/etc/cron.d/job", "* * * * * nobody echo of cron\n* * * * * root echo to root\n")
    received = installed.wait_for(4, 150)
    installed.path("/etc/cron.d/job").unlink()
    assert any(b"of cron" in message for message in received)
    (to_root,) = [message for message in received if b"to root" in message]
    assert b"noreply@example.com" in to_root
    assert "degraded" not in installed.run("systemctl", "is-system-running").stdout
    # systemd takes the level from the line, and the journal keeps it.
    warnings = installed.run("journalctl -u nullmta -p warning -o cat --no-pager").stdout
    assert "nullmta" not in warnings and "status=" not in warnings, warnings


def test_no_restart_refuses_a_client_or_loses_a_message(installed):
    """The sockets are systemd's: who comes while the daemon restarts waits in the backlog."""
    client = installed.client(SENDER_UNDER_RESTARTS)
    program = installed.launch("sh", "-c", PROGRAM_UNDER_RESTARTS, user="nobody")
    for _ in range(4):
        installed.must("systemctl restart nullmta")
    installed.write("/srv/enough", "")
    sent, trouble = client.communicate(timeout=120)
    assert client.returncode == 0, trouble
    called, trouble = program.communicate(timeout=60)
    assert program.returncode == 0, trouble
    installed.path("/srv/enough").unlink()
    received = installed.wait_for(int(sent) + int(called), 120)
    subjects = sorted(line for message in received for line in message.split(b"\r\n") if line.startswith(b"Subject: "))
    assert subjects == sorted(b"Subject: number %d" % number for number in range(int(sent)))
    assert len(received) == int(sent) + int(called)
    assert installed.journal().count("\nstopped\n") == 4


def test_the_journal_keeps_every_line_of_a_drain(installed):
    """journald once dropped 29,000 of 50,000 lines of a drain: what had become of that mail was nowhere to be read."""
    count = 3000
    # What it takes of a service by default grows with the free space of the disk; here it is little.
    installed.write("/etc/systemd/journald.conf.d/strict.conf", "[Journal]\nRateLimitIntervalSec=30s\nRateLimitBurst=10\n")
    installed.must("systemctl restart systemd-journald")
    try:
        installed.must("systemctl stop sink.service")
        sender = installed.client(SENDER, count)
        _, trouble = sender.communicate(timeout=120)
        assert sender.returncode == 0, trouble
        installed.start_sink()
        installed.must("nullmta reload && nullmta flush")
        installed.wait_for(count, 300)
        wait_until(
            lambda: installed.journal().count("status=sent") == count, 60,
            lambda: f"{count} lines that say sent, {installed.journal().count('status=sent')} are there",
        )
        assert "Suppressed" not in installed.run("journalctl", "--no-pager").stdout
    finally:
        installed.path("/etc/systemd/journald.conf.d/strict.conf").unlink()
        installed.must("systemctl restart systemd-journald")
