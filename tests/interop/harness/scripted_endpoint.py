"""A token endpoint by script: what it answers to each request, octet by octet, over TLS or in the clear.

`answers` are taken in turn, and the last one again and again. Each is the octets of a reply of HTTP, or a function that is
called with the stream. `forms` are the requests, as dictionaries; `clients` the address that each connection came from.
"""

import json
import socketserver
import ssl
import urllib.parse

from listener import Listener

# The first octet of a ClientHello.
TLS_HANDSHAKE = b"\x16"


def reply(status: int, body: str, *headers: str) -> bytes:
    """A reply of HTTP with a JSON body."""
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(body.encode())}", *headers]
    return "\r\n".join([*lines, "", body]).encode()


def token(text: str, lifetime=3600, **more) -> bytes:
    """A reply with an access token."""
    return reply(200, json.dumps({"access_token": text, "token_type": "Bearer", "expires_in": lifetime, **more}))


def error(status: int, code: str, description="", *headers: str) -> bytes:
    """A refusal of RFC 6749 5.2."""
    return reply(status, json.dumps({"error": code, "error_description": description}), *headers)


class ScriptedEndpoint:
    def __init__(self, *answers, identity=None, host="127.0.0.1", name="127.0.0.1"):
        """`identity` is the PEM files of a certificate and its key; without it, the endpoint speaks no TLS. `name` is that of
        its `url`."""
        self.answers, self.forms, self.clients = list(answers), [], []
        self._context = None
        if identity:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*identity)
        endpoint = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                endpoint.clients.append(self.client_address[0].removeprefix("::ffff:"))
                try:
                    endpoint._serve(self.request)
                except OSError:
                    pass  # the client hung up, or does not trust us

        self._server = Listener(Handler, host)
        self.port = self._server.port
        self.url = f"{'https' if identity else 'http'}://{name}:{self.port}/token"

    def _serve(self, connection):
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection, connection.makefile("rwb") as stream:
            if stream.peek(1)[:1] == TLS_HANDSHAKE:
                stream.write(reply(400, "this is HTTP"))
                return
            head = b"".join(iter(stream.readline, b"\r\n")).decode().lower()
            length = next(line for line in head.splitlines() if line.startswith("content-length:")).split(":")[1]
            self.forms.append(dict(urllib.parse.parse_qsl(stream.read(int(length)).decode())))
            answer = self.answers[min(len(self.forms), len(self.answers)) - 1]
            if callable(answer):
                answer(stream)
            else:
                stream.write(answer)

    def close(self):
        self._server.close()
