"""The queue as it is read from the spool while no daemon runs."""

import json
import os

import pytest

from local_user import ANN, BEN, DAEMON, OPERATOR, ROOT
from waiting import free_port

CONTENT = b"Subject: hello\r\n\r\nx\r\n"


@pytest.fixture
def host(_host, make_nullmta):
    """A host whose relay is down, with a message each of two users, and whose daemon was killed."""
    _host.settle(make_nullmta(free_port()))
    _host.start()
    for user in (ANN, BEN):
        done = _host.run("sendmail", "bob@example.net", user=user, input=CONTENT)
        assert done.returncode == 0, done.stderr
    _host.online = queue(_host, ROOT, "list", "--json")[1]
    _host.daemon.kill()
    return _host


def queue(host, user, *words):
    done = host.run(host.program, "queue", *words, user=user)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def files(host):
    """Every file of the spool, with its content and its times."""
    found = {}
    for directory, _, names in os.walk(host.daemon.base / "spool"):
        for name in names:
            path = os.path.join(directory, name)
            found[path] = (open(path, "rb").read(), os.stat(path).st_mtime_ns)
    return found


@pytest.mark.parametrize("user", [ROOT, DAEMON], ids=lambda user: user.name)
def test_the_queue_is_read_from_the_spool_and_that_is_said(host, user):
    before = files(host)
    code, out, error = queue(host, user, "list", "--json")
    assert code == 0 and error.count("\n") == 1, error
    assert "is nullmta running? This is read from the spool " in error
    now, then = ([json.loads(line) for line in text.splitlines()] for text in (out, host.online))
    for key in ("id", "uid", "from", "size", "arrived"):
        assert [message[key] for message in now] == [message[key] for message in then]
    assert {message["state"] for message in now} == {"ready"}
    assert {message["reason"] for message in now} == {"nullmta is not running"}
    code, out, _ = queue(host, user, "list", "--uid", str(ANN.uid))
    assert code == 0 and out.count("  to bob@example.net\n     nullmta is not running\n") == 1, out
    assert out.endswith(" octets: 1 ready.\n"), out
    assert queue(host, user, "list", "--uid", "7")[1] == "No message that you may see is as asked for.\n"
    for id in (message["id"] for message in now):
        code, out, error = queue(host, user, "show", "--json", id)
        assert (code, json.loads(out)["content"]["subject"]) == (0, "hello")
        code, out, error = queue(host, user, "cat", id)
        assert code == 0 and "\r\nSubject: hello\r\n" in out and out.endswith("\r\n\r\nx\r\n"), out
    assert files(host) == before, "nothing was written"


@pytest.mark.parametrize("user", [ANN, OPERATOR], ids=lambda user: user.name)
@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["shape"], ["show", "18A4F1C9A02B3D40"], ["cat", "18A4F1C9A02B3D40"]], ids=" ".join)
def test_who_may_not_read_the_spool_is_told_so(host, user, words):
    code, out, error = queue(host, user, *words)
    assert (code, out, error.count("\n")) == (77, "", 1), (out, error)
    assert "only root and its own user may read the queue from the spool" in error


def test_what_only_a_daemon_knows_is_not_guessed(host):
    for words in (["list", "--route", "news"], ["shape", "--by", "route"]):
        code, out, error = queue(host, ROOT, *words)
        assert (code, out) == (69, "") and "ask without routes" in error, error


def test_a_torn_end_and_a_daemon_that_starts_are_borne(host):
    segments = sorted((host.daemon.base / "spool" / "log").glob("*.seg"))
    with open(segments[-1], "r+b") as segment:
        # What a write leaves that was cut off: half of the last record again, behind the records.
        octets = segment.read().rstrip(b"\0")
        segment.seek(len(octets) + 8)
        segment.write(octets[-40:])
    code, out, _ = queue(host, ROOT, "list", "--json")
    assert code == 0 and len(out.splitlines()) == 2, out
    host.start()
    code, out, error = queue(host, ROOT, "list", "--json")
    assert (code, len(out.splitlines()), error) == (0, 2, ""), (out, error)


def test_files_that_wait_in_the_drop_directory_are_mentioned(host):
    done = host.run("sendmail", "bob@example.net", user=ANN, input=CONTENT)
    assert done.returncode == 0, done.stderr
    assert "; 1 file of sendmail in drop/ will be taken up when it starts" in queue(host, ROOT, "list")[2]


def test_status_counts_what_is_on_the_spool_and_fails(host):
    done = host.run(host.program, "status", user=ROOT)
    assert done.returncode == 69 and b" This is read from the spool " in done.stderr, done
    assert done.stdout.startswith(b"queue   2 messages: 2 ready; the oldest is "), done
    assert done.stderr.endswith(b"nothing is sent or accepted while nullmta is not running\n"), done
    done = host.run(host.program, "status", user=ANN)
    assert (done.returncode, done.stdout) == (77, b""), done
