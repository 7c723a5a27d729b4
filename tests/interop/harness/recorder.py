"""A relay that writes down what it is told, octet by octet, and delivers nothing.

In the clear, or with STARTTLS demanded, and AUTH PLAIN if it `needs_user`; it refuses the recipient `refused`. It
offers no SIZE, which no two clients count alike.
"""

import base64
import socketserver
import ssl
import threading
from dataclasses import dataclass, field

from listener import Listener

EXTENSIONS = ["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]


@dataclass
class Transaction:
    """One message: MAIL and RCPT behind their colons, the content as it was before dots were stuffed, and who
    authenticated, with what password."""

    mail: str
    recipients: list = field(default_factory=list)
    content: bytes = b""
    user: str = ""


class Recorder:
    """Listens from the start; `take` gives what has come since it was last called."""

    def __init__(self, certificate=None, key=None, needs_user=False, refused=None):
        self._context, self.needs_user, self.refused = None, needs_user, refused
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate, key)
        self._taken, self._lock = [], threading.Lock()
        recorder = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    _Session(recorder, self.connection).converse()
                except (OSError, ValueError):
                    pass  # the client hung up

        self._server = Listener(Session)
        self.port = self._server.port

    def record(self, transaction):
        with self._lock:
            self._taken.append(transaction)

    def take(self) -> list:
        with self._lock:
            taken, self._taken = self._taken, []
        return taken

    def close(self):
        self._server.close()

    def secured(self, connection):
        return self._context.wrap_socket(connection, server_side=True)

    @property
    def demands_tls(self) -> bool:
        return self._context is not None


class _Session:
    def __init__(self, recorder, connection):
        self._recorder, self._transaction, self._user = recorder, None, ""
        self._is_secure = False
        self._speak_on(connection)

    def _speak_on(self, connection):
        self._connection, self._lines = connection, connection.makefile("rb")

    def converse(self):
        self._say("220 recorder.nullmta.test ESMTP")
        for line in iter(lambda: self._lines.readline(), b""):
            verb, _, rest = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape").partition(" ")
            answer = getattr(self, f"on_{verb.lower()}", None)
            self._say(answer(rest) if answer else "500 5.5.1 unknown command")
            if verb.upper() == "QUIT":
                return
            if verb.upper() == "STARTTLS":
                self._is_secure = True
                self._speak_on(self._recorder.secured(self._connection))

    def _say(self, reply):
        self._connection.sendall(reply.encode() + b"\r\n")

    def on_ehlo(self, _):
        offered = list(EXTENSIONS)
        if self._recorder.demands_tls:
            offered.append("AUTH PLAIN" if self._is_secure else "STARTTLS")
        lines = ["recorder.nullmta.test", *offered]
        return "\r\n".join(f"250-{line}" for line in lines[:-1]) + f"\r\n250 {lines[-1]}"

    def on_starttls(self, _):
        return "220 2.0.0 go ahead"

    def on_auth(self, rest):
        _, user, password = base64.b64decode(rest.split(" ")[1]).decode().split("\0")
        self._user = f"{user}:{password}"
        return "235 2.7.0 welcome"

    def on_mail(self, rest):
        if self._recorder.demands_tls and not self._is_secure or self._recorder.needs_user and not self._user:
            return "530 5.7.0 STARTTLS and AUTH first"
        self._transaction = Transaction(rest.partition(":")[2], user=self._user)
        return "250 2.1.0 ok"

    def on_rcpt(self, rest):
        if self._recorder.refused and f"<{self._recorder.refused}>" in rest:
            return "550 5.1.1 no such user"
        self._transaction.recipients.append(rest.partition(":")[2])
        return "250 2.1.5 ok"

    def on_data(self, _):
        self._say("354 go ahead")
        content = []
        while (line := self._lines.readline()) != b".\r\n":
            if not line:
                raise ConnectionError("it broke off within the content")
            content.append(line.removeprefix(b"."))
        self._transaction.content = b"".join(content)
        self._recorder.record(self._transaction)
        return "250 2.0.0 taken"

    def on_rset(self, _):
        self._transaction = None
        return "250 2.0.0 ok"

    def on_quit(self, _):
        return "221 2.0.0 bye"
