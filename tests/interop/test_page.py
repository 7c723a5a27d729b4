"""The page of `admin.http` in a browser: what it says, what it looks like, and who is shut out."""

import http.client
import re
import socket
import subprocess

import pytest

from chromium import Chromium
from waiting import free_port, wait_until

SIZES = [(1280, 900), (360, 740)]


@pytest.fixture
def watched(make_nullmta):
    """A daemon whose relay is down, with a route, and the port of its HTTP."""
    port = free_port()
    daemon = make_nullmta(
        free_port(), admin=f'http = "127.0.0.1:{port}"\n[[route]]\nname = "news"\nsenders = ["@brand.example"]\n'
        f'relayhost = "127.0.0.1:{free_port()}"',
    )
    daemon.start()
    wait_until(lambda: answers(port), 30, "HTTP is open, which mail does not wait for")
    return daemon, port


@pytest.fixture
def browser(scratch):
    with (scratch / "chromium.log").open("wb") as log:
        running = Chromium(scratch / "profile", log)
        yield running
        running.close()


def fetch(port, path="/", **headers):
    """The status, the headers and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


def answers(port):
    """Whether something listens there."""
    try:
        return fetch(port, "/healthz")[0] == 200
    except OSError:
        return False


def raw(port, request):
    """The first line of the answer to these octets."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request)
        return client.makefile("rb").readline().decode()


def in_trouble(daemon, port):
    """Has mail wait for a relay that is down, until the page says so."""
    daemon.send(b"Subject: x\r\n\r\nx\r\n", recipients=["bob@secret.example"])
    daemon.command("queue", "hold", "--new", "--from", "cron@secret.example", "--reason", "a secret")
    said = ("Paused for", "What to do:", "<th scope=\"row\">relay trouble, connect</th>", "<dt>Hold rules</dt><dd>1</dd>")
    wait_until(lambda: all(words in fetch(port)[2] for words in said), 30, "the page says what is wrong")


def test_it_says_what_is_wrong_and_names_nobody(watched):
    daemon, port = watched
    status, headers, text = fetch(port)
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Mail gets through" in text and "Nothing has failed in the last hour." in text
    in_trouble(daemon, port)
    text = fetch(port)[2]
    assert "<title>Something wants a look, 1 message to be sent – nullmta</title>" in text
    assert "What to do:</strong> Check the host and the port in relayhost" in text
    for name in ("secret", "127.0.0.1", "<script", "http:", "https:"):
        assert name not in text, name
    assert "<h3>Route news</h3>" in text
    policy = fetch(port)[1]["Content-Security-Policy"]
    assert re.match(r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]+'; ", policy), policy
    assert 'http-equiv="refresh"' in text and 'http-equiv="refresh"' not in fetch(port, "/?stay")[2]


@pytest.mark.parametrize("width,height", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_looks_well_in_a_browser(watched, browser, scratch, width, height, scheme):
    daemon, port = watched
    in_trouble(daemon, port)
    browser.open(f"http://127.0.0.1:{port}/?stay", width, height, scheme)
    assert browser.value("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
    shot = browser.screenshot(scratch / f"{scheme}-{width}.png")
    assert len(set(shot)) > 100, "it is blank"
    red, green, blue = map(int, re.findall(r"\d+", browser.value("getComputedStyle(document.body).backgroundColor")))
    assert (red + green + blue > 600) == (scheme == "light")
    state = browser.value("getComputedStyle(document.querySelector('.state h2')).color")
    assert state != browser.value("getComputedStyle(document.body).color"), "the style sheet is in force"
    assert browser.requests() == [f"http://127.0.0.1:{port}/?stay"], "it loads nothing else"
    assert browser.complaints() == []


def test_it_is_read_aloud_and_works_by_keyboard(watched, browser):
    daemon, port = watched
    in_trouble(daemon, port)
    browser.open(f"http://127.0.0.1:{port}/?stay")
    told = browser.read_aloud()
    roles = {role for role, _ in told}
    assert {"main", "banner", "contentinfo", "heading", "table", "columnheader", "rowheader"} <= roles, roles
    names = [name for role, name in told if role in ("image", "img")]
    for title in ("Messages to be sent, over the last 24 hours", "Age of the oldest, over the last 24 hours"):
        assert any(name.startswith(f"{title} Now ") for name in names), names
    headings = [name for role, name in told if role == "heading"]
    assert headings[:2] == ["nullmta", "Something wants a look"], headings
    browser.press("Tab")
    assert browser.value("document.activeElement.textContent") == "Skip to the state of the mail"
    assert browser.value("document.activeElement.getBoundingClientRect().left") >= 0, "the focus is seen"
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_who_holds_connections_shuts_nobody_out(watched):
    _, port = watched
    held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(100)]
    assert fetch(port, "/healthz")[0] == 200
    for client in held:
        client.close()


def test_a_request_names_this_host_once(watched):
    _, port = watched
    for request, code in [
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        (b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    ]:
        line = raw(port, request)
        assert f" {code} " in line, (request, line)


def test_programs_that_read_no_openmetrics_get_plain_text(watched):
    daemon, port = watched
    status, headers, text = fetch(port, "/metrics", Accept="text/plain; version=0.0.4")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert checked.returncode in (0, 3), checked
    assert "# TYPE nullmta_recipients_total counter" in daemon.command("metrics", "--plain")
    names = [line.split(" ")[0] for line in text.splitlines()]
    again = fetch(port, "/metrics", Accept="text/plain")[2]
    assert names == [line.split(" ")[0] for line in again.splitlines()], "the order is stable"


def test_it_answers_on_a_unix_socket_too(make_nullmta, scratch):
    port, path = free_port(), scratch / "http.sock"
    make_nullmta(free_port(), admin=f'http = ["127.0.0.1:{port}", "unix:{path}"]').start()
    wait_until(lambda: answers(port) and path.exists(), 30, "HTTP is open at both")
    for where in (["--unix-socket", str(path), "http://nullmta/readyz"], [f"http://127.0.0.1:{port}/readyz"]):
        done = subprocess.run(["curl", "-sS", *where], capture_output=True, text=True, timeout=20)
        assert (done.returncode, done.stdout) == (0, "Mail gets through.\n"), done
