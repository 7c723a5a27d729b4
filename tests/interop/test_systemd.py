"""Between systemd and the daemon: the sockets it passes, and what it is told."""

import signal
import smtplib
import socket
import time

import pytest

from daemon import UnixSMTP, submit
from systemd import WRAPPER, NotifySocket, passing
from waiting import wait_until

MESSAGE = b"Subject: through %s\r\n\r\nx\r\n"


def listening(family, address):
    made = socket.socket(family, socket.SOCK_STREAM)
    made.bind(address)
    made.listen()
    return made


def has_ipv6() -> bool:
    try:
        listening(socket.AF_INET6, ("::1", 0)).close()
        return True
    except OSError:
        return False


@pytest.fixture
def to_sink(make_sink, make_nullmta):
    """A daemon, not yet started, with a running sink as its relay."""
    sink = make_sink().start()
    nullmta = make_nullmta(
        sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD
    )
    return sink, nullmta


@pytest.fixture
def notify_socket(scratch):
    made = NotifySocket(scratch / "notify.sock")
    yield made
    made.close()


def connects(family, address) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        return client.connect_ex(address) == 0


def test_mail_goes_in_through_each_passed_socket_and_no_other(to_sink, scratch):
    sink, nullmta = to_sink
    path = str(scratch / "passed.sock")
    sockets = [listening(socket.AF_INET, ("127.0.0.1", 0)), listening(socket.AF_UNIX, path)]
    if has_ipv6():
        sockets.insert(1, listening(socket.AF_INET6, ("::1", 0)))
    nullmta.launch(*WRAPPER, **passing(*sockets))
    for passed in sockets:
        if passed.family == socket.AF_UNIX:
            client, label = UnixSMTP(path, timeout=30), b"unix"
        else:
            host, port = passed.getsockname()[:2]
            client, label = smtplib.SMTP(host, port, timeout=30), host.encode()
        with client:
            submit(client, MESSAGE % label)
    received = sink.wait_for(len(sockets))
    for label in [b"127.0.0.1", b"unix"] + [b"::1"] * (len(sockets) - 2):
        assert sum(b"Subject: through " + label in message for message in received) == 1, label
    assert not connects(socket.AF_INET, ("127.0.0.1", nullmta.port)), "a configured address was bound as well"
    assert not nullmta.socket.exists(), "the configured unix socket was bound as well"
    assert nullmta.stop() == 0
    for passed in sockets:
        passed.close()


def test_sockets_passed_to_another_process_are_left_alone(to_sink):
    sink, nullmta = to_sink
    passed = listening(socket.AF_INET, ("127.0.0.1", 0))
    options = passing(passed)
    options["env"].update(PID_NAMES="", LISTEN_PID="1")
    nullmta.launch(*WRAPPER, **options)
    wait_until(lambda: connects(socket.AF_INET, ("127.0.0.1", nullmta.port)), 30, nullmta.log)
    nullmta.send(MESSAGE % b"the configured address")
    sink.wait_for(1)
    passed.close()


def test_a_passed_socket_that_the_network_reaches_is_refused(to_sink):
    _, nullmta = to_sink
    good, bad = listening(socket.AF_INET, ("127.0.0.1", 0)), listening(socket.AF_INET, ("0.0.0.0", 0))
    nullmta.launch(*WRAPPER, **passing(good, bad))
    assert nullmta.process.wait(timeout=30) == 71
    nullmta.process = None
    assert f"0.0.0.0:{bad.getsockname()[1]}" in nullmta.log() and "loopback" in nullmta.log()
    for passed in (good, bad):
        passed.close()


def test_ready_is_said_when_clients_are_answered(to_sink, notify_socket):
    _, nullmta = to_sink
    nullmta.launch(*WRAPPER, **notify_socket.options())
    read = notify_socket.wait_for("READY=1")
    # At once, and once: who starts after us does not try again.
    with socket.create_connection(("127.0.0.1", nullmta.port), timeout=10) as client:
        assert client.recv(4) == b"220 "
    with UnixSMTP(str(nullmta.socket), timeout=10) as client:
        assert client.noop()[0] == 250
    read += notify_socket.wait_for("STATUS=")
    assert any(line.startswith("STATUS=0 in the queue") for line in read[-1]), read


def test_ready_is_not_said_when_the_start_fails(to_sink, notify_socket):
    _, nullmta = to_sink
    taken = listening(socket.AF_INET, ("127.0.0.1", nullmta.port))
    nullmta.launch(*WRAPPER, **notify_socket.options())
    assert nullmta.process.wait(timeout=30) == 71
    nullmta.process = None
    assert notify_socket.next(0) == []
    taken.close()


def test_the_watchdog_is_fed_in_time(to_sink, notify_socket):
    _, nullmta = to_sink
    watchdog_usec = 3_000_000
    nullmta.launch(*WRAPPER, **notify_socket.options(watchdog_usec))
    notify_socket.wait_for("READY=1")
    fed = time.monotonic()
    for _ in range(3):
        notify_socket.wait_for("WATCHDOG=1", watchdog_usec / 1e6)
    assert time.monotonic() - fed > 1, "the interval is far too short"


def test_the_watchdog_is_not_fed_by_a_daemon_that_hangs(to_sink, notify_socket):
    _, nullmta = to_sink
    nullmta.launch(*WRAPPER, **notify_socket.options(1_000_000))
    notify_socket.wait_for("WATCHDOG=1")
    nullmta.signal(signal.SIGSTOP)
    while notify_socket.next(0):
        pass
    assert notify_socket.next(1.5) == []
    nullmta.signal(signal.SIGCONT)
    notify_socket.wait_for("WATCHDOG=1")


@pytest.mark.parametrize("is_good", [True, False])
def test_a_reload_is_told_from_its_beginning_to_its_end(to_sink, notify_socket, is_good):
    """Also one that changes nothing: without the second READY=1 systemd waits for it."""
    _, nullmta = to_sink
    nullmta.launch(*WRAPPER, **notify_socket.options())
    notify_socket.wait_for("READY=1")
    if not is_good:
        nullmta.config.write_text("not toml at all = = =\n")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    nullmta.signal(signal.SIGHUP)
    began = notify_socket.wait_for("RELOADING=1")
    # Type=notify-reload wants both in one notification.
    (since,) = [line for line in began[-1] if line.startswith("MONOTONIC_USEC=")]
    assert before <= int(since.split("=")[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert not any("READY=1" in lines for lines in began), began
    notify_socket.wait_for("READY=1")
    assert nullmta.client().noop()[0] == 250


def test_the_stop_is_told_before_the_end(to_sink, notify_socket):
    _, nullmta = to_sink
    nullmta.launch(*WRAPPER, **notify_socket.options())
    notify_socket.wait_for("READY=1")
    assert nullmta.stop() == 0
    read = notify_socket.wait_for("STOPPING=1", 1)
    assert not any("READY=1" in lines for lines in read), read
