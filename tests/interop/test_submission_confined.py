"""`sendmail` needs no privilege: not to gain any, no file system to write to, no file but the socket."""

import os
import re
import shutil
import subprocess

import pytest

from callers import BODY, HOST, Caller
from daemon import binary
from local_user import ANN, ROOT

EXPECTED = Caller("", recipient=f"root@{HOST}", to_field="undisclosed-recipients:;")

READ_ONLY = ["bwrap", "--ro-bind", "/", "/", "--cap-add", "ALL"]
AS_ANN = ["setpriv", f"--reuid={ANN.uid}", f"--regid={ANN.gid}", "--clear-groups"]

# $1: the daemon's socket, $2: the root directory. No network, so no way but the socket.
CONTAINER = f"""\
mount --bind "$1" "$2/run/nullmta/submit.sock"
exec unshare --net chroot --userspec={ANN.uid}:{ANN.gid} --groups= "$2" /usr/sbin/sendmail -i root
"""


def test_the_program_as_built_brings_no_privilege():
    assert binary().stat().st_mode & 0o7000 == 0
    assert "security.capability" not in os.listxattr(binary())


def check_arrival(host, postfix):
    (message,) = postfix.wait_for(1)
    host.daemon.wait_until_empty()
    EXPECTED.check(message, host.daemon.log())


def test_without_new_privileges_and_the_daemon_up(host, postfix):
    host.start()
    done = host.run("setpriv", "--no-new-privs", "sendmail", "-i", "root", input=BODY)
    assert (done.returncode, done.stderr) == (0, b"")
    check_arrival(host, postfix)


def test_without_new_privileges_and_the_daemon_down(host, postfix):
    done = host.run("setpriv", "--no-new-privs", "sendmail", "-i", "root", input=BODY)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(host.dropped()) == 1
    host.start()
    check_arrival(host, postfix)


def test_on_a_read_only_file_system(host, postfix):
    host.start()
    done = host.run(*READ_ONLY, *AS_ANN, "sendmail", "-i", "root", user=ROOT, input=BODY)
    assert (done.returncode, done.stderr) == (0, b"")
    check_arrival(host, postfix)


def test_on_a_read_only_file_system_with_the_daemon_down(host):
    done = host.run(*READ_ONLY, *AS_ANN, "sendmail", "-i", "root", user=ROOT, input=BODY)
    assert done.returncode == 75
    assert b"nothing was queued" in done.stderr and b"Read-only file system" in done.stderr
    assert host.dropped() == []


@pytest.fixture
def container(scratch, program):
    """A root directory with the program, its libraries and a place for the socket; no /etc, no /var, no /tmp."""
    root = scratch / "container"
    (root / "usr" / "sbin").mkdir(parents=True)
    shutil.copy(program, root / "usr" / "sbin" / "sendmail")
    linked = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"/\S+", linked):
        copy = root / library.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, copy)
    (root / "run" / "nullmta").mkdir(parents=True)
    (root / "run" / "nullmta" / "submit.sock").touch()
    return root


def run_in(container, host):
    return host.run("unshare", "--mount", "sh", "-ec", CONTAINER, "sh", host.daemon.socket, container, user=ROOT,
                    LOGNAME="ann", input=BODY)


def test_in_a_container_with_nothing_but_the_socket(host, postfix, container):
    host.start()
    done = run_in(container, host)
    assert (done.returncode, done.stderr) == (0, b"")
    check_arrival(host, postfix)


def test_in_a_container_with_the_daemon_down(host, container):
    host.start()
    host.daemon.kill()
    done = run_in(container, host)
    assert done.returncode == 75
    assert b"nothing was queued" in done.stderr and b"submit.sock: Connection refused" in done.stderr
    assert host.dropped() == [] and not (container / "var").exists()
