"""Delivery and intake are paused, over restarts and kill -9, and go on; nothing is lost, bounced or taken by another way."""

import json

import pytest

from local_user import ANN, DEPUTY, OPERATOR, ROOT
from waiting import free_port, wait_until


def send(daemon, subject="x"):
    return daemon.send(f"Subject: {subject}\r\n\r\nx\r\n".encode())


def refusal(daemon):
    with daemon.client() as client:
        client.ehlo()
        return client.docmd("MAIL FROM:<app@example.org>")


def test_paused_delivery_outlives_a_kill_and_sends_everything_once_in_the_end(make_nullmta, postfix):
    daemon = make_nullmta(postfix.port)
    daemon.start()
    before = send(daemon, "before")
    daemon.wait_for_log(f"{before}: removed")
    said = daemon.command("pause", "delivery", "--reason", "the relay moves")
    assert said.startswith("Delivery is paused until nullmta resume delivery: nothing more is sent"), said
    waiting = [send(daemon, f"waits {number}") for number in range(5)]
    flush = daemon.try_command("flush")
    assert flush.returncode == 75 and "nothing was tried: delivery is paused by uid " in flush.stderr, flush
    retry = daemon.try_command("queue", "retry", waiting[0])
    assert retry.returncode == 75 and "nothing was tried: delivery is paused" in retry.stderr, retry
    with daemon.client() as client:
        client.ehlo()
        assert client.docmd("ETRN localhost") == (250, b"2.0.0 not started: an operator has paused delivery; the queue waits")
    first = daemon.command("status").splitlines()[0]
    assert first.startswith("delivery is PAUSED since ") and ": the relay moves; nullmta resume delivery ends that" in first
    assert "delivery is paused by uid " in daemon.queue()[0]["reason"]
    daemon.kill()
    daemon.start()
    daemon.wait_for_log("delivery is still paused, since .*: the relay moves")
    assert daemon.stop() == 0
    daemon.start()
    daemon.command("reload")
    waiting.append(send(daemon, "waits 5"))
    assert {message["id"]: message["state"] for message in daemon.queue()} == dict.fromkeys(waiting, "ready")
    assert len(postfix.delivered()) == 1
    assert daemon.command("resume", "delivery") == "Delivery goes on.\n"
    daemon.wait_until_empty()
    messages = postfix.wait_for(7)
    assert all(sum(f"waits {number}".encode() in message for message in messages) == 1 for number in range(6))
    again = daemon.try_command("resume")
    assert again.returncode == 1 and "no such pause" in again.stderr


def test_a_pause_ends_by_itself(make_nullmta, postfix):
    daemon = make_nullmta(postfix.port)
    daemon.start()
    pause = json.loads(daemon.command("pause", "delivery", "--for", "3s", "--json"))
    assert pause["part"] == "delivery" and pause["until"] > pause["since"]
    json.loads(daemon.command("pause", "intake", "--for", "1s", "--json"))
    wait_until(lambda: daemon.status()["pauses"] == [], 30, "both pauses end")
    send(daemon)
    daemon.wait_until_empty()
    daemon.wait_for_log("delivery goes on: the time of its pause is over")
    daemon.wait_for_log("intake goes on: the time of its pause is over")


def test_paused_intake_refuses_at_mail_and_what_is_in_the_queue_is_sent(make_nullmta, postfix):
    daemon = make_nullmta(postfix.port)
    daemon.start()
    daemon.command("pause", "delivery")
    waiting = send(daemon)
    with daemon.client() as client:
        client.ehlo()
        client.mail("app@example.org")
        client.rcpt("bob@example.net")
        daemon.command("pause", "intake", "--reason", "the disk is being changed")
        code, text = client.docmd("DATA")
        assert (code, text[:5]) == (451, b"4.3.2"), text
    said = (451, b"4.3.2 an operator has paused the intake of mail, try again later: the disk is being changed")
    assert refusal(daemon) == said
    daemon.kill()
    daemon.start()
    assert refusal(daemon) == said
    assert len(daemon.status()["pauses"]) == 2
    daemon.command("resume", "delivery")
    daemon.wait_for_log(f"{waiting}: removed")
    assert refusal(daemon) == said
    daemon.command("resume", "intake")
    send(daemon)
    daemon.wait_until_empty()
    assert len(postfix.wait_for(2)) == 2


def test_sendmail_says_75_and_the_drop_directory_waits_while_the_intake_is_paused(_host, make_nullmta):
    host = _host
    host.settle(make_nullmta(free_port()))
    host.start()

    def sendmail():
        return host.run("sendmail", "bob@example.net", user=ANN, input=b"Subject: x\n\nx\n")

    host.run(host.program, "pause", "intake", "--reason", "a job runs away", user=ROOT)
    done = sendmail()
    assert done.returncode == 75 and b"paused the intake" in done.stderr and b"a job runs away" in done.stderr, done
    assert list(host.drop.iterdir()) == []
    host.daemon.stop()
    assert sendmail().returncode == 0, "nullmta is down: the message waits in the drop directory"
    host.start()
    assert host.daemon.queue() == [] and len(list(host.drop.iterdir())) == 1
    host.run(host.program, "resume", user=ROOT)
    host.daemon.wait_for_log("picked up")
    assert len(host.daemon.queue()) == 1


@pytest.mark.parametrize("user, code", [(ROOT, 0), (OPERATOR, 0), (DEPUTY, 0), (ANN, 77)], ids=lambda value: str(value))
def test_only_who_runs_the_daemon_may_pause(_host, make_nullmta, user, code):
    host = _host
    host.settle(make_nullmta(free_port()))
    host.start()
    for words in (["pause", "delivery"], ["pause", "intake"], ["resume"]):
        assert host.run(host.program, *words, user=user).returncode == code, words


ROUTE = '\n[[route]]\nname = "{name}"\nsenders = ["@{name}.example"]\nrelayhost = "127.0.0.1:{port}"\n'


def test_no_pause_is_about_a_route_that_does_not_exist(make_nullmta):
    daemon = make_nullmta(free_port())
    daemon.start()
    refused = daemon.try_command("pause", "delivery", "--route", "news")
    assert refused.returncode == 64 and 'no route "news": the configuration in force has no [[route]]' in refused.stderr, refused
    without = daemon.config.read_text()
    daemon.config.write_text(without + "".join(ROUTE.format(name=name, port=free_port()) for name in ("news", "shop")))
    daemon.command("reload")
    refused = daemon.try_command("pause", "delivery", "--route", "nwes")
    assert refused.returncode == 64 and 'no route "nwes": those in force are news, shop' in refused.stderr, refused
    assert daemon.status()["pauses"] == []
    assert daemon.command("pause", "delivery", "--route", "news").startswith("Delivery by route news is paused")


def test_a_forgotten_pause_and_a_forgotten_hold_rule_are_found_by_doctor(make_nullmta):
    daemon = make_nullmta(free_port())
    daemon.start()
    daemon.command("pause", "delivery", "--reason", "the relay moves")
    daemon.command("queue", "hold", "--new", "--from", "noreply@*")
    lines = daemon.try_command("doctor", "--json").stdout.splitlines()
    found = {finding["check"]: finding for finding in map(json.loads, lines) if "check" in finding}
    assert "the relay moves" in str(found["pauses"]) and "nullmta resume delivery" in str(found["pauses"]), lines
    # What doctor prints is sent to others: it names no address.
    assert "hold rule 1: new mail from (address) is put on hold" in str(found["hold rules"]) and "release --new 1" in str(found["hold rules"]), lines
