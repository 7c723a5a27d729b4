"""The drop directory of an unprivileged daemon: what is left there it can read, or nothing is left."""

import shutil
import stat

import pytest

import strace
from callers import BODY, HOST
from local_user import ANN, DAEMON, ROOT
from postfix import field

# What systemd's RestrictSUIDSGID does to the daemon, once, at the directory that is being made.
NO_SETGID = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=chmod,fchmodat:error=EPERM:when=1"]


@pytest.fixture
def host(host):
    """A host on which only the directory around the spool is made: the rest is the daemon's to make."""
    shutil.rmtree(host.drop.parent)
    return host


def make_spool(host, *wrapper):
    """Has the daemon make its spool; the mode of the drop directory."""
    host.daemon.start(*host.command_line(DAEMON, *wrapper))
    assert host.daemon.stop() == 0
    return stat.S_IMODE(host.drop.stat().st_mode)


def test_the_daemon_takes_what_was_left_where_it_made_the_place(host, postfix):
    assert make_spool(host) == 0o3733
    done = host.run("sendmail", "-i", "root", input=BODY)
    assert (done.returncode, done.stderr) == (0, b"")
    (file,) = host.dropped()
    assert (file.stat().st_uid, file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (ANN.uid, DAEMON.gid, 0o640)
    host.start()
    (message,) = postfix.wait_for(1)
    assert field(message, "Delivered-To") == f"root@{HOST}"


@pytest.mark.skipif(not strace.available(), reason="strace cannot trace here")
def test_a_daemon_that_may_set_no_setgid_bit_starts_without(host):
    assert make_spool(host, *NO_SETGID, "-P", host.drop) == 0o1733


def test_nothing_is_left_that_the_daemon_could_not_read(host):
    """The mode was 1733, sendmail exited with 0, and the daemon could never read the file."""
    make_spool(host)
    host.drop.chmod(0o1733)
    done = host.run("sendmail", "-i", "root", input=BODY)
    assert done.returncode == 75
    assert b"nothing was queued" in done.stderr and b"3733" in done.stderr
    assert host.dropped() == []


# Beside the daemon's own spool there is one at the usual place, which no daemon looks into.
USUAL_SPOOL = """\
mount -t tmpfs -o mode=755 none /var/spool
mkdir -p /var/spool/nullmta/drop
chmod 3733 /var/spool/nullmta/drop
code=0
printf 'Subject: x\\n\\nx\\n' | setpriv --reuid="$1" --regid="$1" --clear-groups sendmail -i root || code=$?
ls -A /var/spool/nullmta/drop
exit $code
"""


def test_nothing_is_left_where_the_configuration_may_not_be_read(host):
    """sendmail took the usual spool for the daemon's, exited with 0, and the message lay there for ever."""
    make_spool(host)
    host.daemon.config.chmod(0o600)
    done = host.run("unshare", "--mount", "sh", "-c", USUAL_SPOOL, "sh", str(ANN.uid), user=ROOT)
    assert (done.returncode, done.stdout) == (75, b"")
    assert b"nullmta.toml: cannot be read: Permission denied" in done.stderr and b"nothing was queued" in done.stderr
    assert host.dropped() == []
