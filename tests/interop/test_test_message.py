"""`nullmta test`: a real message, followed to the relay's reply by whoever sends it, or to why it waits."""

import json
import signal
import subprocess

import pytest

from daemon import Sink
from local_user import ANN, BEN, OPERATOR, ROOT
from waiting import free_port


@pytest.fixture
def relay(host, scratch):
    """A host whose relay is a sink that refuses some recipients; its daemon runs."""
    faults = ("rcpt:nobody@example.net=550 5.1.1 no such user", "rcpt:busy@example.net=450 4.2.1 busy",
              "mail:stranger@example.org=553 5.7.1 sender not owned by user")
    sink = Sink(scratch / "sink", *(word for fault in faults for word in ("--fail", fault))).start()
    host.daemon.configure(relay_port=sink.port, user=sink.USER, ca_file=sink.ca_file, server_name="localhost",
                          queue='on-refusal = "hold"')
    (host.daemon.base / "secret").write_text(sink.PASSWORD)
    host.start()
    yield sink
    sink.stop()


def run(host, user, *words):
    done = host.run(host.program, "test", *words, user=user)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("user", [ROOT, OPERATOR, ANN], ids=lambda user: user.name)
def test_who_sends_it_is_told_the_relay_s_reply(host, relay, user):
    code, out, error = run(host, user, "bob@example.net", "--from", "ann@example.org")
    assert (code, error) == (0, ""), out + error
    id = out[:16]
    lines = out.splitlines()
    assert lines[0] == f"{id}: accepted, from <ann@example.org> to <bob@example.net>"
    assert lines[1].startswith(f"{id}: sent after ") and f"[127.0.0.1]:{relay.port}: 250" in lines[1], out
    (message,) = relay.received()
    assert b"Subject: Test message of nullmta" in message and b"Auto-Submitted: auto-generated" in message
    host.daemon.wait_for_log(f"{id}: removed")


# Follows all that it may, and prints the recipients that it hears of, until it hears of the last one.
FOLLOW = """\
import json, socket, sys
control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
control.sendall(b'{"command":"follow"}\\n')
for line in control.makefile():
    part = json.loads(line).get("item")
    to = part.get("outcome", {}).get("to") if isinstance(part, dict) else part
    if to:
        print(to, flush=True)
    if to == sys.argv[2]:
        break
"""


@pytest.mark.parametrize("user", [ROOT, ANN], ids=lambda user: user.name)
def test_an_ordinary_user_hears_of_their_own_mail_alone(host, relay, user):
    follower = host.launch("/usr/bin/python3", "-c", FOLLOW, str(host.daemon.base / "control.sock"), "last@example.net",
                           user=user, stdout=subprocess.PIPE, text=True)
    assert follower.stdout.readline() == "ready\n"
    for sender, to in ((BEN, "bens@example.net"), (ROOT, "roots@example.net"), (ANN, "last@example.net")):
        assert run(host, sender, to)[0] == 0
    heard, _ = follower.communicate(timeout=30)
    every = ["bens@example.net", "roots@example.net", "last@example.net"]
    assert heard.split() == (every if user is ROOT else every[-1:])


def test_each_reply_has_its_exit_code(host, relay):
    for to, exit, result in (("nobody", 1, "bounced"), ("busy", 75, "waiting")):
        code, out, error = run(host, ANN, f"{to}@example.net", "--json")
        told = json.loads(out)
        assert (code, error, told["result"]) == (exit, "", result), out
        assert told["said"][:3] in ("550", "450") and told["delay"] >= 0 and told["relay"], told
    assert told["next-attempt"] > "20", told
    code, out, _ = run(host, ANN, "bob@example.net", "--from", "stranger@example.org")
    assert code == 75 and ": held after " in out and "nullmta queue retry" in out, out


def test_what_keeps_it_is_told(host, relay):
    program = host.program
    assert host.run(program, "queue", "hold", "--new", "--to", "bob@*", user=ROOT).returncode == 0
    code, out, _ = run(host, ANN, "bob@example.net")
    assert code == 75 and "still here (on-hold)" in out and f"nullmta queue release {out[:16]}" in out, out
    assert host.run(program, "pause", "delivery", "--reason", "we move", user=ROOT).returncode == 0
    code, out, _ = run(host, ANN, "carol@example.net", "--timeout", "1s")
    assert code == 75 and "delivery is paused" in out, out
    assert host.run(program, "pause", "intake", user=ROOT).returncode == 0
    code, out, error = run(host, ANN, "carol@example.net")
    assert (code, out) == (69, "") and "nothing was queued" in error and "4.3.2" in error, error


def test_a_relay_that_is_down_is_told(host):
    host.daemon.configure(relay_port=free_port())
    host.start()
    code, out, _ = run(host, ROOT, "bob@example.net", "--timeout", "2s", "--json")
    told = json.loads(out)
    assert code == 75 and told["result"] == "waiting" and "refused" in told["reason"], told


def test_without_a_daemon_nothing_is_handed_in(host):
    code, out, error = run(host, ANN, "bob@example.net")
    assert (code, out) == (69, "") and "no daemon answers" in error and "nothing was handed in" in error, error
    assert host.dropped() == []
    host.start()
    host.daemon.signal(signal.SIGSTOP)
    try:
        code, out, error = run(host, ANN, "bob@example.net")
        assert (code, out) == (69, "") and "has said nothing for" in error and host.dropped() == [], error
    finally:
        host.daemon.signal(signal.SIGCONT)
    for wrong in ("", "a b@c", "bob@example.net --timeout x"):
        assert run(host, ANN, *(wrong.split(" ") if "--" in wrong else [wrong]))[0] == 64, wrong
