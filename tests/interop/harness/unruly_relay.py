"""A relay in the clear that does everything wrong, by a seed, and writes down what it really did with each message.

It knows a message by its reverse-path and recipients: `ann17@example.org` to `bob17.2@example.net`; a DSN, from `<>`,
by its recipient `ann17@example.org`. What it means by a reply (the message is taken, the recipient refused) is drawn
first, and then how that is said: as it should be, in an odd form, with a reply too many before or behind it, or not at
all. Each refusal for good and each acceptance that it means has a word of its own, such as `word12`, so that a line of
the log can be held against what the relay meant. A reply too many has the word `surplus`.

Left out is what no client can see: 2xx said too early, where the true reply to the final dot comes later, and a reply
too many before the dot where that reply never comes.
"""

import collections
import random
import re
import socket
import socketserver
import struct
import threading
import time

from listener import Listener

CLOSE, RESET, STALL = "close", "reset", "stall"
# Longer than the daemon's time limits.
STALL_SECONDS = 2.5

MOODS = {
    # What share of the answers is no success, and what share of them is badly said.
    "calm": (0, 0),
    "mixed": (0.15, 0.15),
    "odd": (0.1, 0.5),
    "refusing": (1, 0.02),
    "throttling": (0.6, 0.05),
    "leaving": (0.05, 0.4),
    "down": (0.1, 0.1),
}

SURPLUS = ["250 2.0.0 surplus", "354 surplus", "451 4.3.0 surplus", "500 5.5.1 surplus", "550 5.1.1 surplus"]
REFUSALS = {
    "MAIL": ["451 4.7.1 not so fast", "452 4.3.1 full", "450 4.2.1 later", "550 5.7.1 your account is disabled"],
    "RCPT": ["450 4.2.1 greylisted", "452 4.5.3 too many", "550 5.1.1 no such user", "550 no", "552 5.2.2 full"],
    "DATA": ["451 4.3.0 later", "554 5.5.1 no", "454 4.7.0 slow down"],
    "DOT": ["451 4.7.1 not so fast", "450 4.2.0 later", "552 5.3.4 too large", "554 5.6.0 spam", "550 no", "432 4.3.2 too many"],
}


# These may be said in the place of any reply.
OF_THE_RELAY = ["421 4.3.2 going down", "451 4.4.2 timeout", "503 5.5.1 what", "530 5.7.0 who"]


class Transaction:
    def __init__(self, key):
        self.key, self.recipients = key, []


class UnrulyRelay:
    """Listens from the start; `mood` says how it behaves now, `poison` which messages it always ends a connection at."""

    def __init__(self, seed, poison=()):
        self.seed, self.mood, self.poison = seed, "calm", dict(poison)
        # What it took and refused for good, each with the words that it said; `None`: it said none.
        self.taken, self.refused = collections.defaultdict(list), collections.defaultdict(list)
        self.dots, self.content, self.did = collections.Counter(), {}, collections.Counter()
        self._lock, self._words, self._sessions = threading.Lock(), 0, 0
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    Session(relay, self.request, relay.next_session()).converse()
                except (OSError, EOFError):
                    pass  # one of both has hung up

        self._server = Listener(Handler)
        self.port = self._server.port

    def next_session(self):
        with self._lock:
            self._sessions += 1
            return self._sessions

    def word(self):
        with self._lock:
            self._words += 1
            return f"word{self._words}"

    def note(self, book, key, recipients, word):
        with self._lock:
            for recipient in recipients:
                book[key, recipient].append(word)

    def close(self):
        self._server.close()


class Session:
    def __init__(self, relay, connection, number):
        self.relay, self.connection, self.lines = relay, connection, connection.makefile("rb")
        self.draw = random.Random(f"{relay.seed} {number}")
        self.transaction = None
        # It has said something within the content.
        self.owes_reply = False
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        mood = relay.mood
        self.extensions = [name for name in ("PIPELINING", "DSN", "8BITMIME", "ENHANCEDSTATUSCODES") if self.chance(0.7)]
        self.served, self.most_messages = 0, self.draw.randrange(1, 9) if mood == "leaving" else 1000
        self.most_recipients = self.draw.randrange(1, 6) if self.chance(0.3) and mood != "calm" else 1000

    def chance(self, share):
        return self.draw.random() < share

    # Saying it

    def send(self, *texts):
        self.connection.sendall("".join(f"{text}\r\n" for text in texts).encode())

    def end(self, how):
        self.relay.did[how] += 1
        if how == STALL:
            self.connection.settimeout(STALL_SECONDS)
            deadline = time.monotonic() + STALL_SECONDS
            while time.monotonic() < deadline and self.connection.recv(65536):
                pass
        if how == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise EOFError

    def say(self, phase, reply):
        """Says what it means, in one of the ways of its mood."""
        _, badly = MOODS[self.relay.mood]
        if not self.chance(badly):
            return self.send(reply)
        manner = self.draw.choice(["form", "form", "behind", "behind", "before", "late", "end", "instead", "cut"])
        self.relay.did[f"{manner} at {phase}"] += 1
        getattr(self, f"say_{manner}")(phase, reply)

    def say_form(self, _, reply):
        code, text = reply[:3], reply[4:]
        form = self.draw.randrange(6)
        if form == 0:
            self.send(*[f"{code}-{text}"] * self.draw.choice([1, 80]), reply)
        elif form == 1:
            self.send(f"{code} {text} " + "x" * self.draw.choice([600, 5_000, 60_000]))
        elif form == 2:
            self.send(f"{code}\t{text}")
        elif form == 3:
            self.send(f"{code}-words", f"not a code: {text}", f"{code} end")
        elif form == 4:
            self.connection.sendall(f"{code} {text}\x00\xff\x80 ü\n".encode("latin-1"))
        else:
            for octet in f"{reply}\r\n".encode():
                self.connection.sendall(bytes([octet]))

    def say_behind(self, _, reply):
        self.send(reply, self.draw.choice(SURPLUS))

    def say_before(self, _, reply):
        self.send(self.draw.choice(SURPLUS), reply)

    def say_late(self, phase, reply):
        """One reply too many a moment later, in the midst of what comes next; none that seems to take a message."""
        unasked = self.draw.choice(SURPLUS[1:] if phase == "DATA" else SURPLUS)
        self.owes_reply = phase == "DATA"
        self.send(reply)
        time.sleep(self.draw.choice([0.001, 0.01, 0.05]))
        self.send(unasked)

    def say_end(self, _phase, reply):
        if self.chance(0.3):
            self.send(reply)
        self.end(self.draw.choice([CLOSE, CLOSE, RESET, RESET, STALL]))

    def say_instead(self, *_):
        self.send(self.draw.choice(["garbage", "600 no code"]))
        if self.chance(0.7):
            self.end(CLOSE)

    def say_cut(self, _, reply):
        whole = reply.partition(" word")[0]
        self.connection.sendall(whole[: self.draw.randrange(1, len(whole) + 1)].encode())
        self.end(CLOSE)

    # Meaning it

    def means(self, phase, good):
        """The reply that is meant: `good`, or a refusal."""
        mood = self.relay.mood
        share, _ = MOODS[mood]
        if mood == "refusing" and phase == "MAIL":
            return "550 5.7.1 sender not allowed"
        if mood == "throttling":
            return "451 4.7.1 too many connections, slow down" if phase in ("MAIL", "DOT") and self.chance(share) else good
        return self.draw.choice(REFUSALS[phase] + self.draw.choice([[], OF_THE_RELAY])) if mood != "refusing" and self.chance(share / 2) else good

    def refuse(self, reply, key, recipients):
        if not reply.startswith("5"):
            return reply
        word = self.relay.word()
        self.relay.note(self.relay.refused, key, recipients, word)
        return f"{reply} {word}"

    def poisoned(self, phase):
        where, how = self.relay.poison.get(self.transaction and self.transaction.key, (None, None))
        if where == phase and self.relay.mood != "calm":
            self.relay.did[f"poison at {phase}"] += 1
            if how not in (CLOSE, RESET, STALL):
                self.send(how)
                how = CLOSE
            self.end(how)

    def converse(self):
        if self.relay.mood == "down" and self.chance(0.7):
            if self.chance(0.5):
                self.send(self.draw.choice(["421 4.3.2 down", "554 5.3.2 no", "garbage"]))
            self.end(self.draw.choice([CLOSE, RESET, STALL]))
        self.send("220 unruly.nullmta.test ESMTP")
        for line in self.lines:
            verb = re.split(rb"[ :\r\n]", line, maxsplit=1)[0].decode("latin-1").upper()
            answer = getattr(self, f"on_{verb.lower()}", None)
            if answer:
                answer(line.decode("latin-1").strip())
            else:
                self.send("500 5.5.1 unknown command")

    def on_ehlo(self, _):
        lines = ["unruly.nullmta.test", *self.extensions]
        self.send(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    def on_rset(self, _):
        self.transaction = None
        self.say("RSET", "250 2.0.0 ok")

    def on_quit(self, _):
        self.send("221 2.0.0 bye")
        self.end(CLOSE)

    def on_mail(self, line):
        address = re.search(r"<([^>]*)>", line).group(1)
        if self.transaction:
            return self.send("503 5.5.1 nested MAIL")
        if self.served >= self.most_messages:
            self.send(self.draw.choice(["421 4.7.0 enough", "451 4.4.2 enough", "450 4.7.1 enough"]))
            return self.end(CLOSE) if self.chance(0.5) else None
        self.transaction = Transaction(address.split("@")[0].removeprefix("ann") if address else "dsn")
        self.poisoned("MAIL")
        reply = self.means("MAIL", "250 2.1.0 ok")
        if reply[0] != "2":
            if reply[0] == "5" and not address:
                # Whose it is is not known yet.
                reply = "450 4.2.0 not now"
            reply, self.transaction = self.refuse(reply, self.transaction.key, ["all"]), None
        self.say("MAIL", reply)

    def on_rcpt(self, line):
        address = re.search(r"<([^>]*)>", line).group(1)
        if not self.transaction:
            return self.send("503 5.5.1 MAIL first")
        if self.transaction.key == "dsn":
            self.transaction.key = "dsn" + address.split("@")[0].removeprefix("ann")
        self.poisoned("RCPT")
        if len(self.transaction.recipients) >= self.most_recipients:
            return self.send(self.draw.choice(["452 4.5.3 too many", "452 too many", "552 too many", "550 5.5.3 too many"]))
        reply = self.means("RCPT", "250 2.1.5 ok")
        if reply[0] == "2":
            self.transaction.recipients.append(address)
        self.say("RCPT", self.refuse(reply, self.transaction.key, [address]))

    def on_data(self, _):
        transaction = self.transaction
        if not transaction or not transaction.recipients:
            return self.send("503 5.5.1 RCPT first" if self.chance(0.5) else "554 5.5.1 no valid recipients")
        self.poisoned("DATA")
        reply = self.means("DATA", "354 go ahead")
        if reply[0] != "3":
            reply, self.transaction = self.refuse(reply, transaction.key, transaction.recipients), None
            return self.say("DATA", reply)
        self.say("DATA", reply)
        self.take_content(transaction)

    def take_content(self, transaction):
        _, badly = MOODS[self.relay.mood]
        interrupts = self.chance(badly / 8)
        content = []
        while (line := self.lines.readline()) != b".\r\n":
            if not line:
                raise EOFError
            content.append(line.removeprefix(b"."))
            if interrupts and self.chance(0.02):
                # Said in the content and at the dot again, as some do of a line that is too long.
                interrupts, self.owes_reply = False, True
                self.relay.did["within content"] += 1
                if self.chance(0.3):
                    self.end(self.draw.choice([CLOSE, RESET]))
                self.send("500 5.5.2 line too long, surplus")
        self.at_dot(transaction, b"".join(content))

    def at_dot(self, transaction, content):
        relay, self.transaction = self.relay, None
        with relay._lock:
            relay.dots[transaction.key] += 1
            relay.content.setdefault(transaction.key, set()).add(content.partition(b"\r\n\r\n")[2])
        self.served += 1
        if not self.owes_reply:
            self.transaction = transaction
            self.poisoned("DOT")
            self.transaction = None
        reply = self.means("DOT", "250 2.0.0 taken")
        if reply[0] == "2":
            word = relay.word()
            relay.note(relay.taken, transaction.key, transaction.recipients, word)
            reply = f"{reply} {word}"
        reply = self.refuse(reply, transaction.key, transaction.recipients)
        owed, self.owes_reply = self.owes_reply, False
        self.send(reply) if owed else self.say("DOT", reply)
