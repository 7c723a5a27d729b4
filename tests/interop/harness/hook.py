"""A page that is posted to, as alarms and heartbeats are: it keeps what it got, and answers as it is told."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hook:
    """`posts` are the paths, the heads and the JSON that came. `status` is what each is answered with."""

    def __init__(self, identity=None, name="127.0.0.1"):
        """`identity` is the PEM files of a certificate and its key; without it, the page speaks no TLS."""
        self.posts, self.status = [], 204
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.posts.append((self.path, self.headers, json.loads(body)))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if identity:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*identity)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if identity else 'http'}://{name}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def bodies(self) -> list:
        return [body for _, _, body in self.posts]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
