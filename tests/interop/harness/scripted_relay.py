"""A relay in the clear that follows a script: what it says in place of what a good relay says, and where.

The script is called with the session and with the place in the dialogue: `CONNECT`, `EHLO`, `MAIL`, `RCPT`, `DATA`, `DOT`,
`RSET`, `QUIT` and `OTHER` before the reply to it, and `TAKEN` behind the reply that takes a message. It returns the reply of a
relay that is not content, or `None`. A reply that ends in `CLOSE` is the last on its connection; one that is `bytes` is sent as
it is.
"""

import collections
import socketserver
import threading

from listener import Listener

CLOSE = "(and the connection is closed)"

Message = collections.namedtuple("Message", "session reverse_path recipients subject content")


class Session:
    """One connection: its number, counted from 1, how many messages it has brought, the envelope of the present one, and the
    recipient that is asked for."""

    def __init__(self, number):
        self.number, self.taken = number, 0
        self.reset()

    def reset(self):
        self.reverse_path, self.recipients, self.asked = None, [], None


class ScriptedRelay:
    """Keeps what it took in `messages`, and counts in `said` how often each place of the script was answered by it. `clients` has
    the address of each client, and `hellos` the name that each gave. `host` is "::" for all addresses, of both kinds."""

    def __init__(self, script=lambda session, place: None, host="127.0.0.1"):
        self.script, self.messages, self.said = script, [], collections.Counter()
        self.clients, self.hellos = [], []
        self.sessions, self.open = 0, 0
        self._lock = threading.Lock()
        relay = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with relay._lock:
                    relay.sessions += 1
                    relay.open += 1
                    session = Session(relay.sessions)
                    relay.clients.append(self.client_address[0].removeprefix("::ffff:"))
                try:
                    _Dialogue(relay, session, self.rfile, self.wfile).run()
                except OSError:
                    pass  # the client hung up
                finally:
                    with relay._lock:
                        relay.open -= 1

        self._server = Listener(Handler, host)
        self.port = self._server.port

    def subjects(self):
        return sorted(message.subject for message in list(self.messages))

    def close(self):
        self._server.close()


class _Dialogue:
    def __init__(self, relay, session, commands, replies):
        self.relay, self.session, self.commands, self.replies = relay, session, commands, replies
        self.is_over = False

    def run(self):
        self._answer("CONNECT", "220 scripted.nullmta.test ESMTP")
        while not self.is_over and (line := self.commands.readline()):
            command = line.decode("ascii", "replace").strip()
            verb = command.split(":")[0].split(" ")[0].upper()
            getattr(self, f"_{verb.lower()}", self._unknown)(command)

    def _answer(self, place, usual):
        """The script's reply, else `usual`; whether it was the usual one."""
        said = self.relay.script(self.session, place)
        if said is not None:
            self.relay.said[place] += 1
        reply = usual if said is None else said
        if isinstance(reply, bytes):
            self.replies.write(reply + b"\r\n")
            return False
        self.is_over = self.is_over or reply.endswith(CLOSE)
        text = reply.removesuffix(CLOSE).strip()
        if text:
            self.replies.write(text.encode() + b"\r\n")
        return said is None

    def _unknown(self, command):
        self._answer("OTHER", "500 5.5.2 what is that")

    def _ehlo(self, command):
        self.relay.hellos.append(command.partition(" ")[2])
        self._answer("EHLO", "250-scripted.nullmta.test\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES")

    def _mail(self, command):
        self.session.reverse_path = command[command.index("<") + 1:command.index(">")]
        if not self._answer("MAIL", "250 2.1.0 ok"):
            self.session.reset()

    def _rcpt(self, command):
        self.session.asked = command[command.index("<") + 1:command.index(">")]
        if self.session.reverse_path is None:
            self.replies.write(b"503 5.5.1 MAIL first\r\n")
        elif self._answer("RCPT", "250 2.1.5 ok"):
            self.session.recipients.append(self.session.asked)

    def _data(self, command):
        if not self.session.recipients:
            self.replies.write(b"503 5.5.1 RCPT first\r\n")
        elif self._answer("DATA", "354 go ahead"):
            self._take(b"".join(iter(self.commands.readline, b".\r\n")))

    def _take(self, content):
        head = content.split(b"\r\n\r\n")[0].decode("utf-8", "replace").splitlines()
        subject = next((line[9:] for line in head if line.lower().startswith("subject: ")), "")
        message = Message(self.session.number, self.session.reverse_path, self.session.recipients, subject, content)
        if self._answer("DOT", "250 2.0.0 taken"):
            self.session.taken += 1
            with self.relay._lock:
                self.relay.messages.append(message)
            self._answer("TAKEN", "")
        self.session.reset()

    def _rset(self, command):
        self.session.reset()
        self._answer("RSET", "250 2.0.0 ok")

    def _quit(self, command):
        self._answer("QUIT", "221 2.0.0 bye")
        self.is_over = True
