"""A firewall in front of a relay that does not let a large ClientHello pass: one that takes more than a TCP segment, as each
with a post-quantum key exchange does."""

import socket
import socketserver
import threading

from listener import Listener

SEGMENT = 1_400
HANDSHAKE = b"\x16\x03"


class Firewall:
    """`cuts` says whether it closes a connection with a large ClientHello, else nothing is answered there any more.

    `hellos` has the size of each ClientHello that it saw.
    """

    def __init__(self, relay_port, cuts=False):
        self.hellos = []
        firewall = self

        class Connection(socketserver.BaseRequestHandler):
            def handle(self):
                is_dropping = threading.Event()
                with socket.create_connection(("127.0.0.1", relay_port)) as relay:
                    back = threading.Thread(target=_pass_on, args=(relay, self.request, is_dropping), daemon=True)
                    back.start()
                    firewall._watch(self.request, relay, cuts, is_dropping)

        self._server = Listener(Connection)
        self.port = self._server.port

    def _watch(self, client, relay, cuts, is_dropping):
        while octets := _received(client):
            if octets.startswith(HANDSHAKE) and octets[5] == 1:
                self.hellos.append(len(octets))
                if len(octets) > SEGMENT:
                    is_dropping.set()
                    relay.shutdown(socket.SHUT_RDWR)
                    while not cuts and _received(client):
                        pass
                    return
            relay.sendall(octets)

    def close(self):
        self._server.close()


def _received(connection) -> bytes:
    try:
        return connection.recv(65_536)
    except OSError:
        return b""


def _pass_on(source, target, is_dropping):
    try:
        while octets := _received(source):
            target.sendall(octets)
        # The client is not to see that the relay went.
        if not is_dropping.is_set():
            target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it is closed already
