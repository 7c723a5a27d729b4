"""New mail is put on hold by a rule: over restarts and kill -9, by every way in, and by nobody who may not say so."""

import json
import time

import pytest

from local_user import ANN, BEN, DAEMON, DEPUTY, OPERATOR, ROOT
from waiting import free_port, wait_until


def states(daemon):
    return {message["id"]: message["state"] for message in daemon.queue()}


def send(daemon, sender="noreply@app.example.com"):
    return daemon.send(b"Subject: x\r\n\r\nx\r\n", sender, ["bob@example.net"])


def state_of_new(daemon, *sender):
    sent = send(daemon, *sender)
    return states(daemon)[sent]


def rules(daemon):
    return [json.loads(line) for line in daemon.command("queue", "hold", "--rules", "--json").splitlines()]


def hold_new(daemon, *words):
    return json.loads(daemon.command("queue", "hold", "--new", "--json", *words))


def test_a_runaway_job_is_held_over_a_kill_and_the_rest_of_the_mail_goes_on(make_nullmta, postfix):
    daemon = make_nullmta(postfix.port)
    daemon.start()
    rule = hold_new(daemon, "--from", "noreply@*", "--reason", "the job of 8 o'clock")
    assert (rule["number"], rule["reason"], rule["until"]) == (1, "the job of 8 o'clock", None)
    held = [send(daemon) for _ in range(20)]
    invoice = send(daemon, "billing@app.example.com")
    daemon.wait_for_log(rf"{invoice}: removed")
    # At once behind the 250: what was held must never be found as anything else.
    held.append(send(daemon))
    daemon.kill()
    daemon.start()
    assert states(daemon) == dict.fromkeys(held, "on-hold")
    assert [rule["number"] for rule in rules(daemon)] == [1]
    held.append(send(daemon))
    assert daemon.stop() == 0
    daemon.start()
    daemon.command("flush")
    assert states(daemon) == dict.fromkeys(held, "on-hold")
    assert len(postfix.delivered()) == 1
    for id_ in held:
        daemon.wait_for_log(rf"{id_}: put on hold as it came in, by hold rule 1 of uid \d+.*: the job of 8 o'clock")
    assert "stays so" in daemon.command("queue", "release", "--new", "1")
    later = send(daemon)
    daemon.wait_for_log(rf"{later}: removed")
    assert set(states(daemon)) == set(held)
    assert daemon.command("queue", "delete", *held[:10]) == "10 messages deleted\n"
    assert daemon.command("queue", "release", "--reason", "*hold rule 1 of*") == "12 messages released\n"
    daemon.wait_until_empty()
    assert len(postfix.wait_for(14)) == 14
    assert hold_new(daemon, "--uid", "4000000")["number"] == 2, "no number is used again"


def test_a_rule_ends_with_its_time_also_while_nullmta_is_down(make_nullmta):
    daemon = make_nullmta(free_port())
    daemon.start()
    # What is sent may come too late for a rule that ends soon, on a busy host: a longer one is tried then.
    for number, seconds in enumerate((2, 8, 32), 1):
        hold_new(daemon, "--from", "*", "--for", f"{seconds}s")
        held = send(daemon)
        if states(daemon)[held] == "on-hold":
            break
    daemon.wait_for_log(f"hold rule {number}: its time is over; what it has put on hold, 1 message since the start, stays so")
    assert rules(daemon) == [] and states(daemon)[held] == "on-hold"
    assert state_of_new(daemon) != "on-hold"
    until = hold_new(daemon, "--from", "*", "--for", "1s")["until"]
    daemon.kill()
    wait_until(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > until, 30, "the time of the rule is over")
    daemon.start()
    assert state_of_new(daemon) != "on-hold"


def test_a_damaged_file_of_rules_pauses_delivery_until_somebody_has_looked(make_nullmta, postfix):
    daemon = make_nullmta(postfix.port)
    daemon.start()
    hold_new(daemon, "--from", "noreply@*")
    held = send(daemon)
    assert daemon.stop() == 0
    spool = daemon.base / "spool"
    file = spool / "standing-orders"
    file.write_bytes(file.read_bytes().replace(b"noreply", b"n0reply"))
    damaged = file.read_bytes()
    for _ in range(2):
        daemon.start()
        assert state_of_new(daemon) == "ready"
        daemon.kill()
    daemon.wait_for_log("spool damaged: the file of hold rules and pauses, .*/standing-orders, is not to be believed: its checksum")
    (copy,) = (spool / "corrupt").glob("standing-orders-*")
    assert copy.read_bytes() == damaged
    daemon.start()
    daemon.wait_for_log("delivery is still paused, since .*, as ordered by nullmta: the file of hold rules and pauses was damaged")
    (pause,) = daemon.status()["pauses"]
    assert pause["by"] == "nullmta" and rules(daemon) == [] and postfix.delivered() == []
    assert hold_new(daemon, "--from", "noreply@*")["number"] > 1
    assert daemon.command("resume") == "Delivery goes on.\n"
    assert len(postfix.wait_for(2)) == 2
    assert states(daemon) == {held: "on-hold"}


@pytest.mark.parametrize("user", [ROOT, DAEMON, OPERATOR, DEPUTY, ANN], ids=lambda user: user.name)
def test_only_who_runs_the_daemon_may_make_and_lift_rules(_host, make_nullmta, user):
    host = _host
    host.settle(make_nullmta(free_port()))
    host.start()

    def run(*words, user):
        return host.run(host.program, "queue", *words, user=user)

    may = 77 if user is ANN else 0
    assert run("hold", "--new", "--uid", str(BEN.uid), user=user).returncode == may
    assert run("hold", "--rules", user=user).returncode == may
    if user is ANN:
        assert run("hold", "--new", "--uid", str(ANN.uid), user=ROOT).returncode == 0
        assert host.run("sendmail", "bob@example.net", user=ANN, input=b"Subject: x\n\nx\n").returncode == 0
        (message,) = [json.loads(line) for line in run("list", "--json", user=ANN).stdout.splitlines()]
        assert message["state"] == "on-hold" and "hold rule" not in message["reason"], "the words are an operator's"
        assert run("release", message["id"], user=ANN).returncode == 77, "it is their mail, and an operator's rule"
        assert run("release", "--new", "--all", user=ANN).returncode == 77
    else:
        assert run("release", "--new", "1", user=user).returncode == 0


def test_what_waited_in_the_drop_directory_is_held_too(_host, make_nullmta):
    host = _host
    host.settle(make_nullmta(free_port()))
    host.start()
    assert host.run(host.program, "queue", "hold", "--new", "--uid", str(ANN.uid), user=ROOT).returncode == 0
    host.daemon.stop()
    for user in (ANN, BEN):
        assert host.run("sendmail", "bob@example.net", user=user, input=b"Subject: x\n\nx\n").returncode == 0
    host.start()
    host.daemon.wait_for_log(r"picked up(.*\n)+.*picked up")
    lines = host.run(host.program, "queue", "list", "--json", user=ROOT).stdout.splitlines()
    found = {message["uid"]: message["state"] for message in map(json.loads, lines)}
    assert found[ANN.uid] == "on-hold" and found[BEN.uid] != "on-hold", found


def test_what_is_beyond_a_limit_that_holds_is_accepted_and_waits_for_an_operator(make_nullmta, postfix):
    limit = '[[limit]]\nname = "job"\nsender = "noreply@app.example.com"\nmessages = "3/day"\nwhat = "hold"\n'
    daemon = make_nullmta(postfix.port)
    daemon.config.write_text(daemon.config.read_text() + limit)
    daemon.start()
    sent = [send(daemon) for _ in range(5)]
    other = send(daemon, "billing@app.example.com")
    daemon.wait_for_log(f"{other}: removed")
    assert len(postfix.wait_for(4)) == 4
    daemon.kill()
    daemon.start()
    assert states(daemon) == dict.fromkeys(sent[3:], "on-hold")
    daemon.wait_for_log(f'{sent[4]}: put on hold as it came in, by the limit "job" of this host: messages of 3/day were used up')
    assert "2 put on hold" not in daemon.command("status"), "that is since the start"
    assert daemon.command("queue", "release", "--reason", '*the limit "job"*') == "2 messages released\n"
    daemon.wait_until_empty()
    assert len(postfix.wait_for(6)) == 6
