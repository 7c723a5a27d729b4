"""What real relays say in words of one message and mean of the session, of the account, or of themselves.

Each row was a table of the library, tried there with doubles alone; here the daemon hears it from a socket. What is
awaited is what becomes of the mail: each message once, nothing bounced, nothing put off for it.
"""

import datetime
import re
import threading

import pytest

from scripted_relay import CLOSE, ScriptedRelay
from waiting import wait_until

COUNT = 40


@pytest.fixture
def relay_and_nullmta(make_nullmta):
    """Starts a daemon without a login whose relay follows a script."""
    relays = []

    def make(script, **tables):
        relays.append(ScriptedRelay(script))
        nullmta = make_nullmta(relays[-1].port, **tables)
        nullmta.relay_in_the_clear()
        return relays[-1], nullmta.start()

    yield make
    for relay in relays:
        relay.close()


def send(nullmta, count=COUNT, to="bob@example.net", name="words"):
    """Submits so many messages; their subjects, sorted."""
    subjects = sorted(f"{name} {number}" for number in range(count))
    for subject in subjects:
        nullmta.send(f"Subject: {subject}\r\n\r\nx\r\n".encode(), recipients=[to])
    return subjects


def ends(nullmta, end):
    return re.findall(rf"status={end} \((.*)\)", nullmta.log())


def assert_each_came_once_and_none_was_put_off(relay, nullmta, subjects):
    nullmta.wait_until_empty()
    assert relay.subjects() == subjects
    assert not ends(nullmta, "bounced") and not ends(nullmta, "deferred"), nullmta.log()


def full_after(places, words, messages=3):
    """A relay that says `words` at these places of a connection that has brought so many messages, and keeps it."""
    return lambda session, place: words if place in places and session.taken >= messages else None


@pytest.mark.parametrize(
    "place, words",
    [
        ("MAIL", "452 4.3.1 this session has sent enough"),
        ("MAIL", "451 4.7.0 too many messages in this session"),
        ("MAIL", "450 4.7.1 message limit of this connection reached"),
        ("DATA", "451 4.3.0 session limit, try again on another connection"),
        ("DATA", "450 4.7.0 enough"),
        ("RCPT", "451 4.7.0 too many messages in this session"),
        ("RCPT", "452 4.5.3 too many recipients in this connection"),
        ("DOT", "451 4.7.0 connection limit exceeded"),
        ("DOT", "550 5.7.1 maximum number of messages per session reached"),
    ],
)
def test_a_session_that_is_full_puts_no_message_off(relay_and_nullmta, place, words):
    """It was kept, and message after message on it was put off: 854 of 1,000 were left after ten minutes."""
    relay, nullmta = relay_and_nullmta(full_after([place], words))
    subjects = send(nullmta)
    assert_each_came_once_and_none_was_put_off(relay, nullmta, subjects)


def test_a_session_that_takes_ten_recipients_gets_the_rest_over_others(relay_and_nullmta):
    """The rest of a message was put off by its age, ten recipients at each try."""
    words = "452 4.5.3 too many recipients in this session"
    relay, nullmta = relay_and_nullmta(lambda session, place: words if place == "RCPT" and (session.taken or len(session.recipients) >= 10) else None)
    to = [f"m{number}@example.net" for number in range(35)]
    nullmta.send(b"Subject: many\r\n\r\nx\r\n", recipients=to)
    nullmta.wait_until_empty()
    assert relay.subjects() == ["many"] * 4
    assert len(ends(nullmta, "sent")) == 35 and not ends(nullmta, "deferred"), nullmta.log()


@pytest.mark.parametrize(
    "place, words",
    [
        ("MAIL", f"451 4.4.2 timeout, closing {CLOSE}"),
        ("MAIL", f"421 4.7.0 closing {CLOSE}"),
        ("RCPT", f"451 4.4.2 timeout, closing {CLOSE}"),
        ("RCPT", f"421 4.7.0 closing {CLOSE}"),
        ("DATA", f"451 4.4.2 timeout, closing {CLOSE}"),
        ("DATA", f"421 4.7.0 closing {CLOSE}"),
        ("TAKEN", f"451 4.4.2 idle too long {CLOSE}"),
        ("TAKEN", f"421 4.4.2 idle too long {CLOSE}"),
        ("TAKEN", CLOSE),
    ],
)
def test_taking_leave_in_any_words_puts_no_message_off(relay_and_nullmta, place, words):
    """Words other than 421 were taken for the next message's refusal, and a 421 at RCPT or DATA for an outage."""
    relay, nullmta = relay_and_nullmta(full_after([place], words))
    subjects = send(nullmta)
    assert_each_came_once_and_none_was_put_off(relay, nullmta, subjects)
    assert "WARN" not in nullmta.log()[nullmta.log().index("queued"):], nullmta.log()


@pytest.mark.parametrize("words", ["421 4.4.2 closing " + CLOSE, "500 5.5.1 no", "451 4.4.2 no", CLOSE])
def test_anything_but_2xx_to_rset_ends_the_connection_alone(relay_and_nullmta, words):
    """The message behind a refused recipient was put off when the relay did not like RSET.

    The refusal itself is believed at once, or at the second time where the connection ended before it was shown whose
    it was.
    """

    def script(session, place):
        if place == "RSET":
            return words
        return "550 5.1.1 no such user" if (place, session.asked) == ("RCPT", "gone@example.net") else None

    relay, nullmta = relay_and_nullmta(script, queue='retry-min = "1s"\nretry-max = "1s"')
    subjects = send(nullmta, 3)
    nullmta.send(b"Subject: gone\r\n\r\nx\r\n", recipients=["gone@example.net"])
    subjects += send(nullmta, 5, name="behind")
    nullmta.wait_until_empty()
    assert "gone" not in relay.subjects() and relay.said["RSET"] >= 1
    assert [subject for subject in relay.subjects() if subject.startswith(("words", "behind"))] == sorted(subjects)
    assert ends(nullmta, "bounced") == ["550 5.1.1 no such user"], nullmta.log()
    deferred = re.findall(r"to=<(.*?)>.* status=deferred", nullmta.log())
    assert deferred in ([], ["gone@example.net"]), nullmta.log()


@pytest.mark.parametrize(
    "place, words",
    [
        ("MAIL", "432 4.3.2 concurrent connections limit exceeded"),
        ("MAIL", "451 4.7.1 too many connections from you"),
        ("DATA", "452 4.3.1 too much at a time"),
        ("DOT", "454 4.7.0 throttling failure: maximum sending rate exceeded"),
        ("DOT", "451 4.7.0 rate limited"),
    ],
)
def test_a_relay_with_few_places_gets_all_mail_and_charges_none(relay_and_nullmta, place, words):
    """Each message refused for it waited by its age: three places took 262 s for what takes three."""
    relay = None

    def script(session, at):
        return words if at == place and relay is not None and relay.open > 2 else None

    relay, nullmta = relay_and_nullmta(script, relay="max-connections = 10", queue='retry-min = "1s"\nretry-max = "1s"')
    subjects = send(nullmta, 60)
    nullmta.wait_until_empty(120)
    assert relay.subjects() == subjects
    assert not ends(nullmta, "bounced"), nullmta.log()


@pytest.mark.parametrize(
    "place, words",
    [
        ("MAIL", "550 5.7.1 Client was not authenticated"),
        ("MAIL", "550 5.7.57 Client not authenticated to send mail"),
        ("RCPT", "554 5.7.1 <bob@example.net>: Relay access denied"),
        ("RCPT", "550 relay not permitted"),
        ("RCPT", "553 sorry, that domain isn't in my list of allowed rcpthosts"),
        ("DATA", "554 5.7.0 Authentication required"),
        ("DOT", "550 5.7.1 Authentication is required"),
        ("DOT", "535 5.7.8 not without a login"),
    ],
)
@pytest.mark.parametrize("has_taken", [False, True])
def test_a_login_that_is_asked_for_and_not_configured_bounces_nothing(relay_and_nullmta, place, words, has_taken):
    """Thirty of thirty messages bounced without a warning."""
    asks = threading.Event()
    relay, nullmta = relay_and_nullmta(lambda session, at: words if at == place and asks.is_set() else None)
    subjects = send(nullmta, 1, name="first") if has_taken else []
    nullmta.wait_until_empty()
    asks.set()
    subjects += send(nullmta, 12)
    nullmta.wait_for_log(r"relay paused: .*the relay said: 535" if words.startswith("535") else r"relay paused: .*set \[auth\]")
    wait_until(lambda: relay.said[place] >= 3, 30, lambda: f"three refusals; the log ends\n{nullmta.log()[-3000:]}")
    assert len(nullmta.queue()) == 12 and not ends(nullmta, "bounced"), nullmta.log()
    asks.clear()
    nullmta.probe()
    nullmta.wait_until_empty()
    assert relay.subjects() == sorted(subjects)


@pytest.mark.parametrize(
    "place, words",
    [
        ("MAIL", "550 5.7.1 Client was not authenticated"),
        ("RCPT", "554 5.7.1 Relay access denied"),
        ("DATA", "554 5.7.0 Authentication required"),
        ("DOT", "550 5.7.1 Authentication is required"),
        ("MAIL", "530 5.7.0 Authentication required"),
    ],
)
def test_one_node_of_two_that_asks_for_a_login_bounces_nothing(relay_and_nullmta, place, words):
    """What met that node twice bounced, since the relay had taken others in between."""
    relay, nullmta = relay_and_nullmta(
        lambda session, at: words if at == place and session.number % 2 == 0 else None,
        relay="max-connections = 4", queue='retry-min = "1s"\nretry-max = "1s"',
    )
    subjects = send(nullmta)
    nullmta.wait_until_empty(120)
    assert relay.subjects() == subjects
    assert not ends(nullmta, "bounced") and not ends(nullmta, "expired"), nullmta.log()


def works_and_then_refuses(relay_and_nullmta, place, words):
    """A relay that has taken a message and then refuses each that is not from `<>`, for as long as the event is set."""
    refuses = threading.Event()
    relay, nullmta = relay_and_nullmta(
        lambda session, at: words if at == place and refuses.is_set() and session.reverse_path != "" else None
    )
    send(nullmta, 1, name="first")
    nullmta.wait_until_empty()
    refuses.set()
    return relay, nullmta, refuses


@pytest.mark.parametrize(
    "place, words",
    [
        ("MAIL", "550 5.7.1 HELO name is not acceptable"),
        ("MAIL", "553 5.7.1 sender address refused"),
        ("DOT", "554 5.7.1 delivery refused"),
    ],
)
def test_one_refusal_for_everything_bounces_fewer_than_twenty(relay_and_nullmta, place, words):
    """All mail bounced for one wrong setting, and the log had no warning."""
    relay, nullmta, refuses = works_and_then_refuses(relay_and_nullmta, place, words)
    send(nullmta, 30)
    nullmta.wait_for_log(r"WARN.*relay paused: .*messages in a row were refused alike")
    assert len(ends(nullmta, "bounced")) < 20, nullmta.log()
    refuses.clear()
    nullmta.probe()
    nullmta.wait_until_empty()


@pytest.mark.parametrize(
    "place, words",
    [
        ("MAIL", "553 5.7.1 sender address rejected: not owned by user app"),
        ("MAIL", "550 5.7.1 ann@example.org is not a verified sender"),
        ("DOT", "554 Message rejected: Email address is not verified."),
    ],
)
def test_a_sender_that_is_not_the_accounts_bounces_nothing(relay_and_nullmta, place, words):
    """Up to nineteen messages bounced before the relay was paused for it."""
    relay, nullmta, refuses = works_and_then_refuses(relay_and_nullmta, place, words)
    subjects = send(nullmta, 30)
    nullmta.wait_for_log(r"WARN.*is held.*let the account that logs in send as this address")
    wait_until(lambda: [one["state"] for one in nullmta.queue()] == ["held"] * 30, 60, nullmta.log)
    assert not ends(nullmta, "bounced"), nullmta.log()
    refuses.clear()
    nullmta.command("flush")
    nullmta.wait_until_empty()
    assert sorted(relay.subjects())[-30:] == sorted(subjects)


def test_a_quota_that_is_used_up_bounces_nothing(relay_and_nullmta):
    """Up to nineteen messages bounced before the relay was paused for it."""
    refuses = threading.Event()
    words = "550 5.4.5 daily sending quota exceeded"
    relay, nullmta = relay_and_nullmta(
        lambda session, at: words if at == "RCPT" and refuses.is_set() else None
    )
    send(nullmta, 1, name="first")
    nullmta.wait_until_empty()
    refuses.set()
    subjects = send(nullmta, 30)
    nullmta.wait_for_log(r"WARN.*relay paused: .*quota")
    refuses.clear()
    nullmta.probe()
    nullmta.wait_until_empty()
    assert set(subjects) <= set(relay.subjects()) and not ends(nullmta, "bounced"), nullmta.log()


def test_a_flush_says_what_came_of_a_quota_and_of_poison(relay_and_nullmta):
    """It said "the relay was reached" and nothing of a quota that was said again, and "nothing to send" of mail at which the
    relay breaks off; the listing gave no reason for that mail, and it was in none of the counts."""
    is_quota = threading.Event()

    def script(session, at):
        if at == "DATA" and session.reverse_path == "poison@example.org":
            return CLOSE
        return "550 5.4.5 daily sending quota exceeded" if at == "DOT" and is_quota.is_set() else None

    relay, nullmta = relay_and_nullmta(script)
    send(nullmta, 1, name="first")
    nullmta.wait_until_empty()
    for number in range(3):
        nullmta.send(b"Subject: poison\r\n\r\nx\r\n", reverse_path="poison@example.org")
    wait_until(lambda: len(lost_reasons(nullmta)) == 3, 20, lambda: str(nullmta.queue()))
    assert_counts(nullmta, 3)
    done = nullmta.try_command("flush")
    assert "nothing to send" not in done.stdout + done.stderr and " 3 in the queue" in done.stdout + done.stderr, done
    assert_counts(nullmta, 3)

    is_quota.set()
    subjects = send(nullmta, 20)
    # The relay may still be paused for what it did with the others.
    nullmta.wait_for_log("relay (still )?paused: quota: ")
    for _ in range(3):
        done = nullmta.try_command("flush")
        assert done.returncode == 69 and ": the relay was reached, but takes no mail now: quota: " in done.stderr, done
        assert_counts(nullmta, 23)
    is_quota.clear()
    nullmta.try_command("flush")
    wait_until(lambda: set(subjects) <= set(relay.subjects()) and len(nullmta.queue()) == 3, 30, nullmta.log)
    assert_counts(nullmta, 3)


def lost_reasons(nullmta):
    return [one for one in nullmta.queue() if "the connection to the relay was lost" in (one["reason"] or "")]


def assert_counts(nullmta, messages):
    status = nullmta.status()
    states = [status[state] for state in ("ready", "active", "deferred", "held", "dead")]
    assert (status["messages"], sum(states)) == (messages, messages), status


def test_on_the_first_day_such_a_refusal_holds(relay_and_nullmta):
    """The first day's mail was lost at every provider: the sender was refused, and then its bounce."""
    refuses = threading.Event()
    refuses.set()
    words = "550 5.1.8 <ann@example.org>: sender rejected"
    relay, nullmta = relay_and_nullmta(lambda session, at: words if at == "MAIL" and refuses.is_set() else None)
    subjects = send(nullmta, 5)
    wait_until(lambda: {message["state"] for message in nullmta.queue()} == {"held"}, 30, "five held messages")
    refuses.clear()
    nullmta.probe()
    nullmta.wait_until_empty()
    assert relay.subjects() == subjects and not ends(nullmta, "bounced")


def test_a_relay_that_does_not_answer_quit_is_not_waited_for_each_time(relay_and_nullmta):
    """Each connection held its place for a second: with one message on each, one message a second, so that a hundred were not through in a minute."""
    is_over = threading.Event()

    def silent(session, place):
        if place == "QUIT":
            is_over.wait(100)
        return None

    relay, nullmta = relay_and_nullmta(silent, relay="max-connections = 1\nmessages-per-connection = 1")
    try:
        subjects = send(nullmta, count=100)
        assert_each_came_once_and_none_was_put_off(relay, nullmta, subjects)
    finally:
        is_over.set()


def test_a_relay_that_turns_away_every_second_connection_makes_few_lines(relay_and_nullmta):
    """It made a line that it is paused and one that it is usable again for each of them."""
    busy = lambda session, place: f"421 4.3.2 too busy {CLOSE}" if place == "CONNECT" and session.number % 2 == 0 else None
    relay, nullmta = relay_and_nullmta(busy, relay="max-connections = 1\nmessages-per-connection = 1")
    send(nullmta, count=12)
    nullmta.wait_until_empty()
    assert relay.said["CONNECT"] >= 10
    log = nullmta.log()
    assert log.count("relay paused: ") == 3 and log.count("relay usable again") == 3, log


@pytest.mark.parametrize("place", ["MAIL", "RCPT", "DATA"])
def test_a_reply_line_of_more_than_64_kib_is_said_in_words(relay_and_nullmta, place):
    """The log had a piece of the line, and neither its code nor the bound; the listing said that the connection was lost."""
    line = b"550 5.7.1 " + b"x" * 100_000 + b"\r\n"
    relay, nullmta = relay_and_nullmta(lambda session, at: line if at == place and "big" in session.reverse_path else None)
    nullmta.send(b"Subject: big\r\n\r\nx\r\n", reverse_path="big@example.org")
    told = nullmta.wait_for_log(r".*the relay sent a reply line of more than 64 KiB, which is taken for no reply.*").group()
    assert 'the line begins with "550 5.7.1 xxx' in told, told
    wait_until(lambda: nullmta.queue()[0]["reason"], 30, lambda: str(nullmta.queue()))
    [listed] = nullmta.queue()
    assert "was given up during this message" in listed["reason"] and "too long to be one" in listed["reason"], listed
    assert "was lost" not in listed["reason"] and not ends(nullmta, "bounced")
    subjects = send(nullmta, 3)
    wait_until(lambda: relay.subjects() == subjects, 30, nullmta.log)
    assert len(nullmta.queue()) == 1


@pytest.mark.parametrize(
    "place, said, seconds",
    [
        ("DOT", "451 4.7.1 greylisted, try again in 5 minutes", 300),
        ("RCPT", "450 4.2.0 Greylisted, please try again in 300 seconds", 300),
        ("DOT", "452 4.3.1 disk full, retry after 10 minutes", 600),
        ("MAIL", f"421 4.3.2 back soon, try again in 4 minutes{CLOSE}", 240),
    ],
)
def test_a_time_that_is_named_for_a_message_is_kept_and_delays_no_other(relay_and_nullmta, place, said, seconds):
    relay, nullmta = relay_and_nullmta(lambda session, at: said if at == place and "late" in session.reverse_path else None)
    nullmta.send(b"Subject: late\r\n\r\nx\r\n", reverse_path="late@example.org")

    def wait():
        next_attempt = nullmta.queue()[0]["next-attempt"]
        if next_attempt:
            arrived = datetime.datetime.fromisoformat(nullmta.queue()[0]["arrived"])
            return (datetime.datetime.fromisoformat(next_attempt) - arrived).total_seconds()
        return 0

    wait_until(lambda: wait() > 70, 30, lambda: str(nullmta.queue()))
    assert seconds - 2 <= wait() <= seconds * 1.1 + 5, nullmta.queue()
    subjects = send(nullmta, 3)
    wait_until(lambda: relay.subjects() == subjects, 30, nullmta.log)
    assert len(nullmta.queue()) == 1
