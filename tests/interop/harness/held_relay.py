"""A relay in the clear that answers a final dot only when the test says so."""

import socketserver
import threading

from listener import Listener


class HeldRelay:
    """Counts what it took; `at_dot` is set when a message waits for its reply, `release` lets replies go."""

    def __init__(self):
        self.at_dot, self.release = threading.Event(), threading.Event()
        self.messages = []
        relay = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    relay._converse(self.rfile, self.wfile)
                except OSError:
                    pass  # the client hung up

        self._server = Listener(Session)
        self.port = self._server.port

    def _converse(self, commands, replies):
        replies.write(b"220 held.nullmta.test ESMTP\r\n")
        for line in commands:
            verb = line.strip().upper()
            if verb == b"DATA":
                replies.write(b"354 go ahead\r\n")
                self._take_content(commands)
                replies.write(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                replies.write(b"221 2.0.0 bye\r\n")
                return
            else:
                replies.write(b"250 held.nullmta.test\r\n")

    def _take_content(self, content):
        self.messages.append(b"".join(iter(content.readline, b".\r\n")))
        self.at_dot.set()
        self.release.wait()

    def close(self):
        self.release.set()
        self._server.close()
