"""The first day of a new user, on a host that a real systemd has booted."""

import pytest

from booted import BootedHost
from waiting import wait_until

MESSAGE = "From: root\nTo: you@example.com\nSubject: %s\n\nhello\n"


@pytest.fixture
def booted(scratch):
    host = BootedHost(scratch)
    yield host
    host.close()


def test_the_first_day(booted):
    """The README's commands; mail of sendmail, of cron, and of a restart in between; and nothing of it is a WARN."""
    booted.begin()
    assert booted.must("systemctl", "is-active", "nullmta.service", "nullmta.socket").split() == ["active", "active"]
    booted.must("sendmail", "-i", "you@example.com", text=MESSAGE % "by hand")
    booted.must("systemctl", "restart", "nullmta")
    booted.must("sendmail", "-i", "you@example.com", text=MESSAGE % "behind a restart", user="nobody")
    (booted.root / "etc/cron.d/job").write_text("MAILTO=you@example.com\n* * * * * nobody echo of cron\n")
    received = booted.wait_for(3, 150)
    assert any(b"of cron" in message for message in received)
    assert "degraded" not in booted.run("systemctl", "is-system-running").stdout


def test_the_journal_keeps_every_line(booted):
    """journald once dropped 29,000 of 50,000 lines of a drain: what had become of that mail was nowhere to be read."""
    count = 1000
    strict = booted.root / "etc/systemd/journald.conf.d/strict.conf"
    strict.parent.mkdir(parents=True)
    # What it takes of a service by default grows with the free space of the disk; here it is little.
    strict.write_text("[Journal]\nRateLimitIntervalSec=30s\nRateLimitBurst=10\n")
    booted.must("systemctl", "restart", "systemd-journald")
    booted.begin()
    booted.send_many(count)
    booted.wait_for(count, 180)
    wait_until(
        lambda: booted.journal().count("status=sent") == count, 30,
        lambda: f"{count} lines that say sent, {booted.journal().count('status=sent')} are there",
    )
    assert "Suppressed" not in booted.run("journalctl", "--no-pager").stdout
