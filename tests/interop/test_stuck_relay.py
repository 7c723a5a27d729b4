"""A rehearsal of a bad morning: the relay is down. It is seen wherever somebody looks, steered, and over; nothing is lost or twice."""

import http.client
import re

from waiting import free_port, wait_until


class Watched:
    """A daemon, and what each of its faces says."""

    def __init__(self, daemon, port):
        self.daemon, self.port = daemon, port

    def get(self, path):
        """The status and the body of an answer over HTTP."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def page_says(self, *words):
        text = self.get("/")[1]
        return all(each in text for each in words)

    def metric(self, name):
        return float(re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)[1])

    def check(self, *bounds):
        """The exit code and the line of the plug-in."""
        done = self.daemon.try_command("status", "--check", *bounds)
        return done.returncode, done.stdout


def test_a_relay_that_is_down_is_seen_steered_and_over(make_nullmta, postfix, tmp_path):
    port, told, program = free_port(), tmp_path / "told", tmp_path / "page.sh"
    program.write_text(f'#!/bin/sh\necho "$NULLMTA_STATE" >> {told}\n')
    program.chmod(0o755)
    alarm = f'[[alarm]]\nwhen = "relay paused > 1s"\ncommand = ["{program}"]\n'
    daemon = make_nullmta(free_port(), admin=f'http = "127.0.0.1:{port}"\n{alarm}')
    watched = Watched(daemon.start(), port)
    for number in range(5):
        daemon.send(f"Subject: {number}\r\n\r\nx\r\n".encode())

    # It is seen everywhere, in words.
    wait_until(lambda: watched.check("--max-paused", "1s")[0] == 2, 60, "the plug-in is critical")
    assert "the relay is paused for " in watched.check()[1]
    wait_until(lambda: told.exists() and told.read_text() == "began\n", 60, "the alarm is told")
    seen = ("Paused for ", "<strong>What to do:</strong> Check the host and the port", "relay trouble, connect</th>")
    wait_until(lambda: watched.page_says(*seen), 60, "the page says it")
    assert "the relay is paused for " in watched.get("/readyz")[1] and watched.get("/readyz?intake")[0] == 200
    assert watched.metric('nullmta_relay_paused{route=""}') == 1
    assert daemon.status()["failures"][0]["reason"] == "relay trouble, connect"
    assert "relay trouble, connect" in daemon.command("status")

    # It is steered: one message waits for a person, and nothing goes before everybody is ready.
    held = daemon.queue()[0]["id"]
    daemon.command("queue", "hold", held)
    daemon.command("pause", "delivery", "--reason", "the relay moves")
    wait_until(lambda: watched.page_says("<dt>On hold</dt><dd>1</dd>", "<dt>Ordered pauses</dt><dd>1</dd>"), 60, "it is shown")
    daemon.configure(relay_port=postfix.port)
    daemon.command("reload")
    assert daemon.try_command("flush").returncode == 75 and postfix.count() == 0
    daemon.command("resume", "delivery")
    wait_until(lambda: daemon.status()["messages"] == 1, 60, "what is not held goes")
    daemon.command("queue", "release", held)
    daemon.wait_until_empty()

    # It is over, and everybody says so.
    messages = postfix.wait_for(5)
    assert sorted(re.search(rb"^Subject: (\d)$", message, re.MULTILINE)[1] for message in messages) == list(map(b"%d".__mod__, range(5)))
    assert watched.check()[0] == 0, watched.check()
    wait_until(lambda: watched.page_says("Mail gets through", "Nothing is wrong."), 60, "the page is clear")
    assert watched.get("/readyz") == (200, "Mail gets through.\n")
    assert watched.metric('nullmta_relay_paused{route=""}') == 0
    wait_until(lambda: daemon.status()["rates"]["last-hour"]["sent"] == 5, 60, "the rates know it")
    assert told.read_text().count("began") == 1
