"""`openssl s_server` as a relay: TLS from the first octet by OpenSSL itself, and a script for what is said within it.

It offers no extension, takes one connection after the other, and says of each whether its TLS session was resumed.
"""

import array
import fcntl
import subprocess
import termios
import threading
from pathlib import Path

from waiting import accepts, free_port, wait_until


class OpenSSLServer:
    """`at_dot` is what it says to a final dot; with `dies_at` ("DOT" or "QUIT") it is killed then, behind what it says there,
    so that TLS ends without a close_notify."""

    def __init__(self, certificate, key, *flags, port=None, at_dot="250 2.0.0 taken\r\n", dies_at=""):
        self.port, self.at_dot, self.dies_at = port or free_port(), at_dot, dies_at
        # Of each connection whether its session was resumed; the subjects of what was taken.
        self.resumed, self.subjects = [], []
        self._command = [
            "openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", str(certificate), "-key", str(key), *flags,
        ]

    def start(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        )
        self._thread = threading.Thread(target=self._converse, daemon=True)
        self._thread.start()
        wait_until(lambda: accepts(self.port), 20, "openssl s_server")
        return self

    def _converse(self):
        lines = iter(self._process.stdout.readline, b"")
        for line in lines:
            if line.startswith(b"CIPHER is"):
                self.resumed.append(False)
            elif line.startswith(b"Reused session-id"):
                self.resumed[-1] = True
            elif line.startswith(b"Secure Renegotiation IS"):
                self._say("220 openssl.nullmta.test ESMTP\r\n")
            elif line.endswith(b"\r\n"):
                self._answer(line.split(b" ")[0].strip().upper(), lines)

    def _answer(self, verb, lines):
        if verb == b"DATA":
            self._say("354 go ahead\r\n")
            content = list(iter(lambda: next(lines), b".\r\n"))
            self.subjects += [line[9:].strip().decode() for line in content if line.startswith(b"Subject: ")]
        place = "DOT" if verb == b"DATA" else verb.decode()
        self._say(self.at_dot if place == "DOT" else "" if place == self.dies_at else "250 openssl.nullmta.test\r\n")
        if place == self.dies_at:
            wait_until(self._has_said_all, 20, "openssl s_server has sent what it was given")
            self._process.kill()

    def _say(self, text):
        # What it gets on its standard input goes to the client as it is, if it does not begin with a letter.
        self._process.stdin.write(text.encode())

    def _has_said_all(self):
        """True if it has read its standard input and sleeps again, so that nothing of it is left to be sent."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._process.stdin, termios.FIONREAD, waiting)
        state = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return waiting[0] == 0 and state == "S"

    def wait_for_its_end(self):
        self._process.wait(timeout=60)

    def close(self):
        self._process.kill()
        self._process.wait()
        self._thread.join()
