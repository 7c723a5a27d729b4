"""Load that outlives a kill -9: clients that note what was acknowledged, in messages that can be checked."""

import hashlib
import os
import random
import re
import smtplib
import threading

from daemon import queue_id

CLIENTS = 6


def make_message(number: str, size: int) -> bytes:
    body = os.urandom(size // 2).hex().encode()
    lines = b"\r\n".join(body[start : start + 76] for start in range(0, len(body), 76)) + b"\r\n"
    return f"X-Number: {number}\r\nX-Hash: {hashlib.sha256(lines).hexdigest()}\r\n\r\n".encode() + lines


class Load:
    """Clients that send until the daemon is gone, and note what was acknowledged under which id."""

    def __init__(self, nullmta, round_number, dice, recipients=("bob@example.net",)):
        self.acknowledged, self._lock = {}, threading.Lock()
        self._recipients = recipients
        self._threads = [
            threading.Thread(target=self._run, args=(nullmta, f"{round_number}-{n}", random.Random(dice.random())))
            for n in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, nullmta, name, dice):
        try:
            with nullmta.client(timeout=30) as client:
                client.ehlo()
                for count in range(10_000):
                    # One in forty goes to a file of its own.
                    size = 1_500_000 if dice.random() < 0.025 else dice.choice([0, 500, 4000, 40_000])
                    self._send(client, f"{name}-{count}", size)
        except (OSError, smtplib.SMTPException):
            pass

    def _send(self, client, number, size):
        for code, _ in [client.mail("ann@example.org")] + [client.rcpt(to) for to in self._recipients]:
            if code != 250:
                raise smtplib.SMTPServerDisconnected("refused")
        code, said = client.data(make_message(number, size))
        if code == 250:
            with self._lock:
                self.acknowledged[number] = queue_id(said)

    def join(self):
        for thread in self._threads:
            thread.join()
        return self.acknowledged


def read(content: bytes):
    """Number, queue id and whether it is whole."""
    header, _, body = content.partition(b"\r\n\r\n")
    number = re.search(rb"^X-Number: (\S+)\r$", header, re.MULTILINE).group(1).decode()
    expected = re.search(rb"^X-Hash: (\S+)\r?$", header, re.MULTILINE).group(1).decode()
    spool_id = re.search(rb"\(nullmta\)[^;]*?\bid (\w+)", header).group(1).decode()
    return number, spool_id, hashlib.sha256(body).hexdigest() == expected
