"""A message streams through: the daemon's memory does not grow with it."""

import hashlib

from daemon import peak_memory, queue_id

MEGABYTE = 1_000_000
SIZE = 100 * MEGABYTE
PEAK = 60 * 1024  # KiB; a debug build idles at a quarter of it


def test_a_message_of_100_mb_goes_through_in_little_memory(sink_and_nullmta):
    sink, nullmta = sink_and_nullmta("--max-message-size", "200000000", max_message_size="120M")
    header, chunk = b"Subject: large\r\n\r\n", b"%098d\r\n" * (MEGABYTE // 100)
    body_hash = hashlib.sha256()
    with nullmta.client(timeout=300) as client:
        client.ehlo()
        assert client.mail("ann@example.org")[0] == 250 and client.rcpt("bob@example.net")[0] == 250
        client.putcmd("data")
        assert client.getreply()[0] == 354
        client.send(header)
        for number in range(SIZE // MEGABYTE):
            octets = chunk % ((number,) * (MEGABYTE // 100))
            body_hash.update(octets)
            client.send(octets)
        client.send(b".\r\n")
        code, said = client.getreply()
        assert code == 250, said
    assert queue_id(said)
    taken = peak_memory(nullmta.process)
    (message,) = sink.wait_for(1, 300)
    nullmta.wait_until_empty()
    sent = peak_memory(nullmta.process)
    print(f"peak memory: {taken} KiB when it was in, {sent} KiB when it was out")
    body = message.partition(b"\r\n\r\n")[2]
    assert len(body) == SIZE and hashlib.sha256(body).digest() == body_hash.digest(), "not what was sent"
    assert taken < PEAK and sent < PEAK
