"""Clients of the listener that run as a user of their own, who needs no entry in passwd(5)."""

import subprocess
import sys

# Sends a message over TCP: to the port of its first argument, with the subject of its second one.
SEND = """\
import smtplib, sys
port, subject = (sys.argv[1:] + ["x"])[:2]
with smtplib.SMTP("127.0.0.1", int(port), timeout=60) as client:
    print(client.sendmail("ann@example.org", ["bob@example.net"], f"Subject: {subject}\\r\\n\\r\\nx\\r\\n"))
"""

# Shares the port of its third argument with another program, to which its fifth one is a socket pair: they connect from
# there in turns, so many times (the fourth). Each time it sends a message from there, or hangs up right after the greeting
# or before it, with a reset, which frees the port at once.
PORT_IN_TURNS = """\
import random, socket, struct, sys
name, port, ours, turns, other, first = sys.argv[1], *map(int, sys.argv[2:])
other = socket.socket(fileno=other)
sent = 0
for turn in range(turns):
    if turn or not first:
        assert other.recv(1)
    client = socket.socket()
    client.settimeout(60)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.bind(("127.0.0.1", ours))
    client.connect(("127.0.0.1", port))
    how = random.random()
    if how < 0.4:
        replies = client.makefile("rb")
        client.sendall(f"HELO {name}\\r\\nMAIL FROM:<{name}@example.org>\\r\\nRCPT TO:<bob@example.net>\\r\\nDATA\\r\\n".encode())
        codes = [replies.readline()[:3] for _ in range(5)]
        assert codes == [b"220", b"250", b"250", b"250", b"354"], codes
        client.sendall(b"Subject: x\\r\\n\\r\\nx\\r\\n.\\r\\n")
        assert replies.readline().startswith(b"250")
        replies.close()
        sent += 1
    elif how < 0.7:
        assert client.recv(1000).startswith(b"220")
    client.close()
    # Nobody waits behind the last turn, and the other may have ended.
    if first or turn + 1 < turns:
        other.send(b"x")
print(sent)
"""


def start_as(uid, script, *arguments, **options):
    """Starts a script in Python as this uid."""
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", sys.executable, "-c", script]
    return subprocess.Popen(
        [*command, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd="/", **options,
    )


def send_as(uid, port, subject):
    """Sends a message over TCP as this uid."""
    sent, trouble = start_as(uid, SEND, port, subject).communicate(timeout=60)
    assert sent == "{}\n", trouble
