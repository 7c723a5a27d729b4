"""A TCP server on a free port of loopback, with a thread for each connection: what every scripted relay listens by."""

import socket
import socketserver
import threading


class Listener(socketserver.ThreadingTCPServer):
    """Listens from the start, until `close`; `handler` is a class of `socketserver`'s. `host` is "::" for all addresses."""

    daemon_threads = True
    # As many may come at once as a relay has clients.
    request_queue_size = 128

    def __init__(self, handler, host="127.0.0.1"):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()
