"""strace: the disk has a message, and the directory its file, before the client is told 250."""

import os
import re

import pytest

from daemon import submit
from strace import Trace, available

pytestmark = pytest.mark.skipif(not available(), reason="strace cannot trace here")


@pytest.fixture
def traced(make_nullmta, postfix, scratch):
    """Submits messages to a daemon under strace, relay down; returns the trace and the spool's path."""
    postfix.stop()

    def run(messages):
        trace_file = scratch / "trace"
        nullmta = make_nullmta(postfix.port).start("strace", *Trace.FLAGS, "-o", str(trace_file))
        with nullmta.client() as client:
            ids = [submit(client, message) for message in messages]
        pid = nullmta.process.pid
        assert nullmta.stop() == 0
        return Trace(trace_file, pid), str(nullmta.base / "spool"), ids

    return run


def acknowledgement(trace, queue_id):
    return trace.first(lambda call: call.is_to_socket() and f"queued as {queue_id}" in call.arguments)


def assert_entry_is_synced(trace, path, before):
    """The directory of `path` was synced after the name was made, and before `before`."""
    made = trace.first(
        lambda call: not call.result.startswith("-1") and (
            call.name.startswith("open") and "O_CREAT" in call.arguments and f'{os.path.basename(path)}"' in call.arguments
            or call.name.startswith("rename") and f'{os.path.basename(path)}"' in call.arguments
        )
    )
    directory = os.path.dirname(path)
    synced = trace.all(
        lambda call: call.is_sync() and call.path() == directory and made.ended < call.begun and call.ended < before.begun
    )
    assert synced, f"{directory} was not synced between making {path} and the 250"


def test_small_messages_are_synced_before_their_250(traced):
    markers = [f"marker-{number}-{'x' * 20}" for number in range(5)]
    trace, spool, ids = traced([f"Subject: {marker}\r\n\r\nbody\r\n".encode() for marker in markers])
    for marker, queue_id in zip(markers, ids):
        reply = acknowledgement(trace, queue_id)
        written = trace.first(lambda call: call.is_write() and spool in call.path() and marker in call.arguments)
        synced = trace.all(
            lambda call: call.is_sync() and call.path() == written.path()
            and written.ended < call.begun and call.ended < reply.begun
        )
        assert synced, f"{queue_id} was acknowledged before fdatasync returned"
        assert_entry_is_synced(trace, written.path(), reply)


def test_large_messages_are_synced_with_their_directory_before_their_250(traced):
    body = b"".join(b"%076d\r\n" % number for number in range(40_000))
    trace, spool, (queue_id,) = traced([b"Subject: large\r\n\r\n" + body])
    reply = acknowledgement(trace, queue_id)
    large = [
        call for call in trace.calls
        if call.is_write() and call.path().startswith(f"{spool}/large/") and call.ended < reply.begun
    ]
    assert large, "a large message has no file of its own"
    last = large[-1]
    assert trace.all(
        lambda call: call.is_sync() and os.path.dirname(call.path()) == f"{spool}/large"
        and last.ended < call.begun and call.ended < reply.begun
    ), "the large file was not synced before the 250"
    assert trace.all(
        lambda call: call.is_sync() and call.path() == f"{spool}/large" and call.ended < reply.begun
    ), "large/ was not synced before the 250"
    record = [
        call for call in trace.calls
        if call.is_sync() and re.match(rf"{re.escape(spool)}/log/", call.path()) and last.ended < call.begun
        and call.ended < reply.begun
    ]
    assert record, "the record that names the large file was not synced before the 250"
