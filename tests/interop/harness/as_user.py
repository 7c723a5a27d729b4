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


def start_as(uid, script, *arguments):
    """Starts a script in Python as this uid."""
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", sys.executable, "-c", script]
    return subprocess.Popen(
        [*command, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd="/",
    )


def send_as(uid, port, subject):
    """Sends a message over TCP as this uid."""
    sent, trouble = start_as(uid, SEND, port, subject).communicate(timeout=60)
    assert sent == "{}\n", trouble
