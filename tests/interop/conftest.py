"""Fixtures of the interop suite: the daemon between real clients and a real relay.

Runs as root on Debian with the programs that `.ci/run` installs. Everything lives on loopback, on free
ports, in one temporary directory and in a mount namespace; nothing of the host is changed.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

# What the tests share.
sys.path.insert(0, str(Path(__file__).parent / "harness"))

from daemon import Nullmta, Sink, binary  # noqa: E402
from installed import InstalledHost  # noqa: E402
from local_user import Host  # noqa: E402
from pki import NAME, Authority  # noqa: E402
from postfix import PASSWORD, USER, Postfix  # noqa: E402


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture(scope="session")
def base():
    """One directory for everything; kept when NULLMTA_KEEP is set."""
    # Postfix's own users and those of `host` pass through it and what is made below it.
    os.umask(0o022)
    directory = Path(tempfile.mkdtemp(prefix="nullmta-interop-"))
    directory.chmod(0o755)
    yield directory
    if os.environ.get("NULLMTA_KEEP"):
        print(f"\nkept: {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def scratch(base, request):
    """A directory of the test's own; removed when the test has passed."""
    directory = Path(tempfile.mkdtemp(prefix="test-", dir=base))
    directory.chmod(0o755)
    yield directory
    passed = getattr(request.node, "report_call", None)
    if passed is not None and passed.passed:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def authority(base):
    return Authority(base / "pki")


@pytest.fixture(scope="session")
def _postfix(base, authority):
    certificate, key = authority.issue("relay", f"DNS:{NAME},DNS:localhost,IP:127.0.0.1")
    relay = Postfix(base / "postfix", certificate, key)
    yield relay
    relay.stop()


@pytest.fixture
def postfix(_postfix):
    """The relay, running, its mailbox empty."""
    if not _postfix.is_running():
        _postfix.start()
    _postfix.empty()
    return _postfix


@pytest.fixture
def make_nullmta(scratch, authority):
    """Makes daemons, not yet started; stops them in the end."""
    made = []

    def make(relay_port, **overrides):
        values = dict(ca_file=authority.ca_file, server_name=NAME, user=USER, password=PASSWORD)
        values.update(overrides)
        made.append(Nullmta(scratch / f"nullmta-{len(made)}", relay_port, **values))
        return made[-1]

    yield make
    for daemon in made:
        if daemon.process is not None:
            daemon.kill()


@pytest.fixture
def nullmta(make_nullmta, postfix):
    """The daemon, running, with Postfix as its relay."""
    return make_nullmta(postfix.port).start()


@pytest.fixture(scope="session")
def program(base):
    """nullmta where everybody may run it: the clone may lie where only root goes."""
    copy = base / "nullmta"
    shutil.copyfile(binary(), copy)
    copy.chmod(0o755)
    return copy


@pytest.fixture(scope="session")
def _host(base, program):
    made = Host(base / "host", program)
    yield made
    made.close()


@pytest.fixture
def host(_host, make_nullmta, postfix):
    """A host with ordinary users; its daemon, not yet started, has Postfix as its relay."""
    _host.settle(make_nullmta(postfix.port))
    return _host


@pytest.fixture(scope="session")
def _installed(base):
    directory = base / "installed"
    directory.mkdir()
    made = InstalledHost(directory)
    yield made
    made.close()


@pytest.fixture
def installed(_installed):
    """A host that a real systemd has booted, with nullmta running on it as the README says."""
    _installed.settle()
    return _installed


@pytest.fixture
def make_sink(scratch):
    made = []

    def make(*flags):
        made.append(Sink(scratch / f"sink-{len(made)}", *flags))
        return made[-1]

    yield make
    for sink in made:
        sink.stop()


@pytest.fixture
def sink_and_nullmta(make_sink, make_nullmta):
    """A sink with the given flags, and a daemon with it as relay; both running."""

    def make(*flags, **overrides):
        sink = make_sink(*flags).start()
        daemon = make_nullmta(
            sink.port, ca_file=sink.ca_file, server_name="localhost", user=sink.USER, password=sink.PASSWORD,
            **overrides,
        )
        return sink, daemon.start()

    return make
