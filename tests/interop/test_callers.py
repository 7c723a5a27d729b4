"""Real programs hand in mail as an ordinary user, and it comes to a real relay's mailbox: once, and as it was.

With the daemon up; with it down, when the message lies in the drop directory until it is back; and when that
cannot be used either: then the program hears of it, and nothing is queued.
"""

import pytest

from callers import BLIND_COPIES, COMMAND_LINES, LANGUAGES, MAIL_PROGRAMS, SMTP_CLIENTS
from postfix import field
from waiting import wait_until

BY_SENDMAIL = {**COMMAND_LINES, **MAIL_PROGRAMS, **LANGUAGES}


def each_of(callers):
    return pytest.mark.parametrize("caller", callers.values(), ids=callers.keys())


def check_arrival(host, relay, caller):
    (message,) = relay.wait_for(1)
    host.daemon.wait_until_empty()
    caller.check(message, host.daemon.log())
    assert host.dropped() == []


@each_of(BY_SENDMAIL | {f"{name} (SMTP)": caller for name, caller in SMTP_CLIENTS.items()})
def test_with_the_daemon_up(host, postfix, caller):
    host.start()
    done = caller.run(host)
    assert done.returncode == 0, done.stdout + done.stderr
    check_arrival(host, postfix, caller)


@each_of(BY_SENDMAIL)
def test_with_the_daemon_down(host, postfix, caller):
    done = caller.run(host)
    assert done.returncode == 0, done.stdout + done.stderr
    # Some do not wait for sendmail.
    wait_until(lambda: [file.suffix for file in host.dropped()] == [".bsmtp"], 20, host.dropped)
    host.start()
    check_arrival(host, postfix, caller)


@each_of(BY_SENDMAIL)
def test_with_nowhere_to_go(host, caller):
    host.drop.chmod(0o700)
    done = caller.run(host)
    assert done.returncode == caller.failure, done.stdout + done.stderr
    assert host.dropped() == []


@each_of(SMTP_CLIENTS)
def test_smtp_with_the_daemon_down(host, caller):
    done = caller.run(host)
    assert done.returncode == caller.failure, done.stdout + done.stderr
    assert host.dropped() == []


@each_of(BLIND_COPIES)
def test_a_blind_copy_arrives_and_is_shown_to_nobody(host, postfix, caller):
    host.start()
    done = caller.run(host)
    assert done.returncode == 0, done.stdout + done.stderr
    copies = postfix.wait_for(3)
    recipients = [f"{name}@example.net" for name in ("bob", "carol", "dave")]
    assert sorted(field(copy, "Delivered-To") for copy in copies) == recipients
    for copy in copies:
        assert (field(copy, "To"), field(copy, "Cc"), field(copy, "Bcc")) == (*recipients[:2], None)
        assert (b"dave" in copy) == (field(copy, "Delivered-To") == "dave@example.net")
