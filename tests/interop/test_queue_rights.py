"""Who may see and steer what: an ordinary user their own mail, those who run the daemon everything."""

import json
import re

import pytest

from daemon import submit
from local_user import ANN, BEN, DAEMON, DEPUTY, OPERATOR, ROOT
from waiting import free_port

# Asks the control socket of its first argument the second one, whatever the command line would allow.
ASK = """\
import socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect(sys.argv[1])
asked.sendall(sys.argv[2].encode() + b"\\n")
print(asked.makefile().read(), end="")
"""
ADMINISTRATORS = [ROOT, DAEMON, OPERATOR, DEPUTY]


@pytest.fixture
def host(_host, make_nullmta):
    """A host whose relay is down, with a message each of two users, of root and of an unknown client."""
    _host.settle(make_nullmta(free_port()))
    # This one comes by way of the drop directory.
    send(_host, ANN)
    _host.start()
    for user in (ANN, BEN, ROOT):
        send(_host, user)
    with _host.daemon.client() as client:
        submit(client, b"Subject: hello\r\n\r\nx\r\n", "tcp@client.nullmta.test")
    _host.daemon.wait_for_log("picked up")
    return _host


def send(host, user):
    done = host.run("sendmail", "bob@example.net", user=user, input=b"Subject: hello\n\nx\n")
    assert done.returncode == 0, done.stderr


def ask(host, user, request):
    control = host.daemon.base / "control.sock"
    return host.run("/usr/bin/python3", "-c", ASK, control, request, user=user).stdout.decode().splitlines()


def listed(host, user):
    """The reverse-paths' local parts of what the user sees."""
    done = host.run(host.program, "queue", "list", "--json", user=user)
    assert done.returncode == 0, done.stderr
    return sorted(json.loads(line)["from"].removesuffix("@client.nullmta.test") for line in done.stdout.splitlines())


@pytest.mark.parametrize("user, own", [(ANN, ["ann", "ann"]), (BEN, ["ben"])], ids=["ann", "ben"])
def test_an_ordinary_user_sees_their_own_mail(host, user, own):
    assert listed(host, user) == own
    done = host.run("mailq", user=user)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert text.count("@client.nullmta.test\n") == text.count(f" {user.name}@client.nullmta.test\n") == len(own)
    assert text.endswith(f" Kbytes in {len(own)} Request{'s' if len(own) > 1 else ''}.\n")


@pytest.mark.parametrize("user", ADMINISTRATORS, ids=lambda user: user.name)
def test_who_runs_the_daemon_sees_all(host, user):
    assert listed(host, user) == ["ann", "ann", "ben", "root", "tcp"]
    assert host.run("mailq", user=user).stdout.endswith(b" Kbytes in 5 Requests.\n")
    done = host.run(host.program, "status", "--json", user=user)
    assert done.returncode == 0 and json.loads(done.stdout)["messages"] == 5


@pytest.mark.parametrize("request_", ["flush", "reload"])
def test_the_rest_is_not_for_ordinary_users(host, request_):
    request = json.dumps({"command": request_})
    (answer,) = ask(host, ANN, request)
    assert "only root and the daemon's own" in json.loads(answer)["denied"]
    assert ask(host, OPERATOR, request)[-1] == '"done"'


def test_a_command_that_is_not_for_the_user_fails(host):
    done = host.run(host.program, "flush")
    assert (done.returncode, done.stdout) == (77, b""), done
    assert b"only root" in done.stderr


def test_everybody_gets_the_numbers_and_no_names(host):
    done = host.run(host.program, "status", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["messages"], told["in-part"]) == (0, 5, True), done
    for name in (b"client.nullmta.test", b"example.net", b"127.0.0.1"):
        assert name not in done.stdout, done.stdout


def test_everybody_may_have_the_queue_tried(host):
    done = host.run("sendmail", "-v", "-q")
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.search(rb"^>>> ETRN localhost\n250 ", done.stdout, re.MULTILINE), done.stdout


def test_the_log_names_the_submitter(host):
    for user in (ANN, BEN, ROOT):
        host.daemon.wait_for_log(rf": client=uid {user.uid} \({user.name}\), from=<{user.name}@client\.nullmta\.test>,")
    host.daemon.wait_for_log(r": client=localhost\[127\.0\.0\.1\] uid \d+( \(\S+\))?, from=<tcp@client\.nullmta\.test>,")
    host.daemon.wait_for_log(rf": picked up from {host.drop}/\S+ of uid {ANN.uid}\n")


def test_a_user_releases_what_that_user_holds_alone(host):
    (message, *_) = map(json.loads, host.run(host.program, "queue", "list", "--json", user=BEN).stdout.splitlines())
    steer = lambda user, verb: host.run(host.program, "queue", verb, message["id"], user=user)
    held_by = lambda user: json.loads(host.run(host.program, "queue", "list", message["id"], "--json", user=user).stdout)["held-by"]
    assert steer(BEN, "hold").stdout == b"1 message put on hold\n"
    assert held_by(ROOT) == held_by(BEN) == {"kind": "submitter", "uid": BEN.uid, "user": BEN.name}
    assert steer(BEN, "release").stdout == b"1 message released\n"

    assert steer(BEN, "hold").returncode == steer(ROOT, "hold").returncode == 0
    assert (held_by(ROOT)["kind"], held_by(ROOT)["uid"], held_by(BEN)) == ("operator", 0, {"kind": "operator"})
    done = steer(BEN, "release")
    assert (done.returncode, done.stdout.splitlines()[0]) == (77, b"0 messages released"), done
    assert b"since somebody else holds them: " in done.stdout and b"(held by an operator)" in done.stdout, done
    assert b"ask them" in done.stderr, done
    host.daemon.stop()
    host.start()
    assert steer(BEN, "release").returncode == 77, "the spool knows who holds it"
    shown = host.run(host.program, "queue", "list", "--held-by", "root", user=ROOT).stdout.decode()
    assert message["id"] in shown and "held by root; nullmta queue release has it sent" in shown, shown
    assert steer(OPERATOR, "release").stdout == b"1 message released\n"
