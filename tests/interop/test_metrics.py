"""A real Prometheus scrapes the daemon, and probes ask for its health, while the relay is down and when it is back."""

import http.client
import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from waiting import free_port, wait_until

RULES = Path(__file__).parents[2] / "config" / "prometheus-rules.yml"


def names(text):
    """The names of the metrics in an exposition."""
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def get(port, path, method="GET", host=None):
    """The status, the headers and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


@pytest.fixture
def watched(make_nullmta):
    """A daemon whose relay is down, and the port of its HTTP."""
    port = free_port()
    daemon = make_nullmta(free_port(), admin=f'http = "127.0.0.1:{port}"')
    daemon.start()
    return daemon, port


@pytest.fixture
def prometheus(tmp_path):
    """Starts Prometheus, which scrapes a port each second; a function that asks it."""
    running = []

    def start(scraped):
        port, config = free_port(), tmp_path / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: ['{RULES}']\n"
            f"scrape_configs: [{{job_name: nullmta, static_configs: [{{targets: ['127.0.0.1:{scraped}']}}]}}]\n"
        )
        log = (tmp_path / "prometheus.log").open("wb")
        running.append(subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        ))

        def ask(query):
            url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
            try:
                with urllib.request.urlopen(url, timeout=20) as answer:
                    found = json.load(answer)["data"]["result"]
            except OSError:
                return None
            return float(found[0]["value"][1]) if found else None

        return ask

    yield start
    for process in running:
        process.terminate()
        process.wait(timeout=30)


def test_prometheus_sees_the_relay_go_and_come_back(watched, prometheus, postfix):
    daemon, port = watched
    ask = prometheus(port)
    wait_until(lambda: ask("up") == 1, 60, "Prometheus understands what it gets")
    daemon.send(b"Subject: x\r\n\r\nx\r\n")
    wait_until(lambda: ask('nullmta_relay_paused{route=""}') == 1, 60, "the pause is seen")
    pending = 'ALERTS{alertname="NullmtaRelayPaused",alertstate="pending"}'
    wait_until(lambda: ask(pending) == 1, 60, "the shipped rules know the pause")
    assert ask('sum(nullmta_messages)') == 1
    wait_until(lambda: (ask("nullmta_oldest_message_age_seconds") or 0) > 0, 60, "the age is seen")
    assert ask('nullmta_recipients_total{outcome="sent"}') == 0
    assert daemon.stop() == 0
    daemon.configure(relay_port=postfix.port)
    daemon.start()
    daemon.wait_until_empty()
    wait_until(lambda: ask('nullmta_recipients_total{outcome="sent"}') == 1, 60, "the success is seen")
    wait_until(lambda: ask(pending) is None, 60, "the alert is over")
    assert ask('nullmta_relay_paused{route=""}') == 0 and ask("nullmta_build_info") == 1


def test_the_shipped_rules_are_well_formed():
    checked = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and "rules found" in checked.stdout, checked


def test_health_says_why_in_words_and_names_nobody(watched):
    daemon, port = watched
    assert get(port, "/readyz")[::2] == (200, "Mail gets through.\n")
    daemon.send(b"Subject: x\r\n\r\nx\r\n", recipients=["bob@secret.example"])
    wait_until(lambda: "the relay is paused for" in get(port, "/readyz")[2], 20, "the pause is said")
    assert get(port, "/healthz")[::2] == (200, "The daemon runs.\n")
    status, headers, text = get(port, "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert names(text) == names(daemon.command("metrics"))
    for answer in (text, get(port, "/readyz")[2]):
        assert "secret.example" not in answer and "127.0.0.1" not in answer, answer
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_only_this_host_may_ask_and_nothing_may_be_changed(watched):
    _, port = watched
    assert get(port, "/metrics", host="evil.example")[0] == 403
    assert get(port, "/metrics", host="localhost:1")[0] == 200
    assert get(port, "/metrics", method="POST")[0] == 405
    assert get(port, "/metrics", method="HEAD")[::2] == (200, "")
    assert get(port, "/etc/passwd")[0] == 404


def test_mail_goes_on_while_another_program_has_the_address(watched, make_nullmta, postfix):
    _, port = watched
    second = make_nullmta(postfix.port, admin=f'http = "127.0.0.1:{port}"').start()
    second.wait_for_log(f"no page, metrics and health at 127.0.0.1:{port}: .*; see admin.http")
    second.send(b"Subject: x\r\n\r\nx\r\n")
    postfix.wait_for(1)
