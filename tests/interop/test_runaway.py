"""A job that has gone mad: 100,000 messages are found with `shape`, held by a rule and deleted by a filter, while other mail goes on."""

import json
import socket
import threading

from postfix import field
from waiting import free_port, wait_until

MAD = 100_000
CLIENTS = 4


def flood(daemon, count, failures):
    """Sends so many messages of the mad job over one connection."""
    try:
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=120) as connection, connection.makefile("rb") as replies:
            def expect(code):
                line = replies.readline()
                while line[3:4] == b"-":
                    line = replies.readline()
                assert line.startswith(code), line

            expect(b"220")
            connection.sendall(b"EHLO mad\r\n")
            expect(b"250")
            for _ in range(count):
                connection.sendall(b"MAIL FROM:<cron@app.example>\r\nRCPT TO:<ops@example.net>\r\nDATA\r\n")
                for code in (b"250", b"250", b"354"):
                    expect(code)
                connection.sendall(b"Subject: mad\r\n\r\nx\r\n.\r\n")
                expect(b"250")
    except Exception as error:  # told below, by the test's own thread
        failures.append(error)


def shape(daemon):
    rows = [json.loads(line) for line in daemon.command("queue", "shape", "--json", "--by", "domain").splitlines()]
    return {row["key"]: row["messages"] for row in rows if row["kind"] == "key"}


def test_a_mad_job_is_found_held_and_deleted_while_other_mail_goes_on(make_nullmta, postfix):
    daemon = make_nullmta(free_port(), listen='max-messages-per-minute-per-uid = "off"')
    daemon.start()
    failures = []
    clients = [threading.Thread(target=flood, args=(daemon, MAD // CLIENTS, failures)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for number in range(5):
        daemon.send(f"Subject: before {number}\r\n\r\nx\r\n".encode(), "ann@app.example", ["bob@other.example"])
    for client in clients:
        client.join()
    assert not failures, failures
    assert shape(daemon) == {"example.net": MAD, "other.example": 5}
    daemon.command("queue", "hold", "--new", "--from", "cron@*")
    daemon.command("queue", "hold", "--from", "cron@*")
    late = daemon.send(b"Subject: mad\r\n\r\nx\r\n", "cron@app.example", ["ops@example.net"])
    status = daemon.status()
    assert (status["messages"], status["on-hold"]) == (MAD + 6, MAD + 1), status
    daemon.configure(relay_port=postfix.port)
    daemon.command("reload")
    daemon.command("flush")
    wait_until(lambda: postfix.count() == 5, 60, "other mail goes on")
    for number in range(5):
        daemon.send(f"Subject: after {number}\r\n\r\nx\r\n".encode(), "ann@app.example", ["bob@other.example"])
    told = daemon.command("queue", "delete", "--from", "cron@*")
    assert f"{MAD + 1} messages" in told.replace(",", ""), told[-500:]
    wait_until(lambda: daemon.status()["messages"] == 0, 60, "nothing is left")
    subjects = sorted(field(message, "Subject") for message in postfix.delivered())
    assert subjects == sorted(f"{when} {number}" for when in ("before", "after") for number in range(5))
    log = daemon.log()
    assert log.count(": deleted by uid ") == MAD + 1, "each deleted message has its line"
    assert f"{late}: put on hold as it came in" in log
