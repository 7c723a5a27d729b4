"""Exit code 0 of `sendmail` means that the mail has an end that its sender learns of, whatever the daemon makes of it."""

from callers import BODY
from postfix import field

REJECT = """
[[rewrite.header]]
match = "^X-Internal:"
reject = "this stays in the house"
"""


def configure(host, change):
    host.daemon.config.write_text(change(host.daemon.config.read_text()))


def test_more_recipients_than_a_session_takes(host, postfix):
    """The daemon's 452 once ended in a file that it never took."""
    configure(host, lambda text: text.replace("max-recipients = 2000", "max-recipients = 3"))
    host.start()
    everybody = ", ".join(f"r{number}@example.net" for number in range(5))
    done = host.run("sendmail", "-t", input=b"To: " + everybody.encode() + b"\n\n" + BODY)
    assert (done.returncode, done.stderr) == (0, b"")
    delivered = [field(message, "Delivered-To") for message in postfix.wait_for(5)]
    assert sorted(delivered) == [f"r{number}@example.net" for number in range(5)]
    host.daemon.wait_until_empty()


def test_what_is_refused_when_the_daemon_is_back_is_bounced(host, postfix):
    """It went to `corrupt/`, and nobody heard of it."""
    configure(host, lambda text: text + REJECT)
    message = b"To: bob@example.net\nSubject: plans\nX-Internal: yes\n\n" + BODY
    done = host.run("sendmail", "-t", "-f", "ann@example.org", input=message)
    assert (done.returncode, done.stderr) == (0, b"")
    host.start()
    (bounce,) = postfix.wait_for(1)
    assert field(bounce, "Delivered-To") == "ann@example.org"
    for said in (b"this stays in the house", b"Final-Recipient: rfc822; bob@example.net", b"Subject: plans"):
        assert said in bounce, said
    host.daemon.wait_for_log(r"not picked up from .*: 550 5\.7\.1 .*sender non-delivery notification")
    assert host.dropped() == []


def test_the_daemon_s_limits_hold_for_sendmail(host, postfix):
    """What the socket refused for now went in by TCP, as nobody's mail; then it was cron's and was gone. It waits."""
    configure(host, lambda text: text.replace("[listen]", "[listen]\nmax-messages-per-minute-per-uid = 2"))
    host.start()
    done = [host.run("sendmail", "bob@example.net", input=BODY) for _ in range(4)]
    assert [one.returncode for one in done] == [0, 0, 0, 0], [one.stderr for one in done]
    postfix.wait_for(2)
    assert len(host.dropped()) == 2


def test_a_limit_that_is_used_up_is_said_and_fills_no_drop_directory(host, postfix):
    """A program that runs away would fill the drop directory in place of the spool."""
    configure(host, lambda text: text + '\n[[limit]]\nname = "cron"\nmessages = "2/day"\n')
    host.start()
    done = [host.run("sendmail", "bob@example.net", input=BODY) for _ in range(4)]
    assert [one.returncode for one in done] == [0, 0, 75, 75], [one.stderr for one in done]
    said = b'sendmail: nothing was queued, try again later: 450 4.7.1 messages of 2/d'
    assert done[2].stderr.startswith(said), done[2].stderr
    postfix.wait_for(2)
    assert host.dropped() == []
