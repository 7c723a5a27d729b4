"""What an operator does with single messages, while the relay is down and when it is back, over restarts and kill -9."""

import json
import subprocess

import pytest

from local_user import ANN, BEN, OPERATOR
from waiting import free_port


def steer(daemon, verb, *ids):
    """Does this with messages. Returns the result for each."""
    done = daemon.try_command("queue", verb, "--json", *ids)
    return [json.loads(line)["result"] for line in done.stdout.splitlines()]


def states(daemon):
    return {message["id"]: message["state"] for message in daemon.queue()}


def send(daemon, subject):
    return daemon.send(f"Subject: {subject}\r\n\r\nx\r\n".encode())


@pytest.fixture
def stuck(make_nullmta):
    """A daemon whose relay is down, with four messages."""
    daemon = make_nullmta(free_port())
    daemon.start()
    return daemon, [send(daemon, subject) for subject in ("held", "deleted", "returned", "tried")]


def test_what_was_ordered_outlives_a_kill_and_a_restart_and_the_rest_is_sent_once(stuck, postfix):
    daemon, (held, deleted, returned, tried) = stuck
    assert steer(daemon, "hold", held) == ["done"]
    assert steer(daemon, "delete", deleted, deleted) == ["done", "done"]
    assert steer(daemon, "expire", returned) == ["done"]
    daemon.kill()
    daemon.start()
    left = states(daemon)
    assert left[held] == "on-hold" and tried in left and deleted not in left and returned not in left, left
    assert steer(daemon, "retry", held, tried) in (["on-hold", "done"], ["on-hold", "already-so"], ["on-hold", "marked"])
    assert daemon.stop() == 0
    daemon.configure(relay_port=postfix.port)
    daemon.start()
    messages = postfix.wait_for(2)
    report = next(message for message in messages if b"multipart/report" in message)
    assert b"an operator of this host has" in report.replace(b"\r\n", b" ").replace(b"\n", b" ")
    assert any(b"Subject: tried" in message for message in messages)
    assert states(daemon) == {held: "on-hold"}
    assert steer(daemon, "release", held) == ["done"]
    daemon.wait_until_empty()
    assert sum(b"Subject: held" in message for message in postfix.wait_for(3)) == 1
    assert not any(b"Subject: deleted" in message and b"multipart/report" not in message for message in postfix.delivered())


def test_what_all_conditions_mean_is_steered_and_nothing_else(make_nullmta):
    daemon = make_nullmta(free_port())
    daemon.start()

    def mail(sender, recipient):
        return daemon.send(b"Subject: x\r\n\r\nx\r\n", sender, [recipient])

    job = [mail("noreply@app.example.com", f"user{number}@example.net") for number in range(600)]
    other = mail("noreply@app.example.com", "ops@example.org")
    invoice = mail("billing@app.example.com", "user1@example.net")

    def run(verb, *words):
        return daemon.try_command("queue", verb, *words)

    assert run("delete", "--from", "noreply@*", "--to", "*@example.net", "--dry-run").stdout == (
        "600 messages would be deleted\n"
    )
    assert len(states(daemon)) == 602
    assert run("hold", job[0], invoice, "--from", "billing@*").stdout == "1 message put on hold\n"
    assert states(daemon)[invoice] == "on-hold"
    assert run("delete", "--from", "noreply@*", "--to", "*@example.net").stdout == "600 messages deleted\n"
    assert set(states(daemon)) == {other, invoice}
    assert run("release", "--state", "on-hold", "--older-than", "1h").returncode == 1, "nothing is that old"
    assert run("release", "--state", "on-hold").stdout == "1 message released\n"
    assert run("delete").returncode == 64, "a command that names nothing means nothing"
    assert run("delete", "--all", "--yes", "--from", "noreply@*").returncode == 64
    assert len(states(daemon)) == 2


def test_an_order_is_carried_out_to_its_end_though_nobody_reads_on(make_nullmta):
    daemon = make_nullmta(free_port())
    daemon.start()
    for number in range(600):
        send(daemon, str(number))
    command = f"{daemon.program} queue hold --all --yes --json -c {daemon.config} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert set(states(daemon).values()) == {"on-hold"}


def test_an_ordinary_user_steers_their_own_mail_and_no_other(_host, make_nullmta):
    _host.settle(make_nullmta(free_port()))
    _host.start()
    for user in (ANN, BEN):
        done = _host.run("sendmail", "bob@example.net", user=user, input=b"Subject: hello\n\nx\n")
        assert done.returncode == 0, done.stderr

    def run(user, *words):
        return _host.run(_host.program, "queue", *words, user=user)

    listed = [json.loads(line) for line in run(OPERATOR, "list", "--json").stdout.splitlines()]
    own, other = (next(m["id"] for m in listed if m["uid"] == user.uid) for user in (ANN, BEN))
    for verb in ("hold", "release", "retry", "expire", "delete"):
        done = run(ANN, verb, other)
        assert done.returncode == 1 and done.stdout.endswith(f"\n1 not found: {other}\n".encode()), "as what is not there"
    assert run(ANN, "hold", own).returncode == 0
    _host.daemon.wait_for_log(rf"{own}: put on hold by uid {ANN.uid} \({ANN.name}\)")
    assert run(ANN, "retry", own).returncode == 75, "once a minute"
    assert run(ANN, "delete", "--from", "*").stdout == b"1 message deleted\n"
    assert run(ANN, "delete", "--all", "--yes").returncode == 1, "nothing of hers is left"
    assert run(OPERATOR, "delete", other).returncode == 0
    _host.daemon.wait_for_log(rf"{other}: deleted by uid {OPERATOR.uid} \({OPERATOR.name}\)")
    assert run(OPERATOR, "list").stdout == b"The queue is empty.\n"
