"""cron and at mail what a job printed to the user whose job it was."""

import subprocess
from contextlib import contextmanager

import pytest

from callers import BODY, HOST, Caller
from local_user import ROOT
from waiting import wait_until

TO_ANN = dict(recipient=f"ann@{HOST}", to_field=f"ann@{HOST}")
JOB = "printf '%s'" % BODY.decode().replace("\n", "\\n")


@contextmanager
def running(host, *command):
    """A daemon of the host, started by root, which stays in the foreground."""
    streams = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    daemon = host.launch(*command, user=ROOT, **streams)
    try:
        yield
    finally:
        daemon.terminate()
        said, _ = daemon.communicate(timeout=20)
        print(said.decode())


@contextmanager
def job_of_cron(host):
    """cron runs the job as soon as it is up: it has not run yet since this host was."""
    assert host.run("rm", "-f", "/run/crond.reboot", user=ROOT).returncode == 0
    done = host.run("crontab", "-", input=f"@reboot {JOB}\n".encode())
    assert done.returncode == 0, done.stderr
    with running(host, "cron", "-f"):
        yield
    assert host.run("crontab", "-r").returncode == 0


@contextmanager
def job_of_at(host):
    with running(host, "atd", "-f"):
        # It is told of jobs by a signal, to the process that this file names.
        wait_until(lambda: host.run("test", "-s", "/run/atd.pid").returncode == 0, 20, "atd")
        done = host.run("at", "now", input=JOB.encode())
        assert done.returncode == 0, done.stderr
        yield


JOBS = {
    "cron": (job_of_cron, Caller(JOB, from_field=f"root@{HOST} (Cron Daemon)", **TO_ANN)),
    "at": (job_of_at, Caller(JOB, **TO_ANN)),
}


@pytest.fixture(params=JOBS)
def job(request, host):
    return JOBS[request.param]


def test_with_the_daemon_up(host, postfix, job):
    run_job, expected = job
    host.start()
    with run_job(host):
        (message,) = postfix.wait_for(1)
    host.daemon.wait_until_empty()
    expected.check(message, host.daemon.log())
    assert host.dropped() == []


def test_with_the_daemon_down(host, postfix, job):
    run_job, expected = job
    with run_job(host):
        wait_until(lambda: [file.suffix for file in host.dropped()] == [".bsmtp"], 30, host.dropped)
    host.start()
    (message,) = postfix.wait_for(1)
    host.daemon.wait_until_empty()
    expected.check(message, host.daemon.log())
    assert host.dropped() == []
