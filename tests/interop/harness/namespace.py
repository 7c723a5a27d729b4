"""A network of its own for programs of a test: loopback with further addresses, which no rule for loopback addresses is about,
and names for them.
"""

import ctypes
import os
import subprocess
import threading
from pathlib import Path

CLONE_NEWNET = 0x4000_0000


class Network:
    """A network namespace whose loopback interface has `addresses`; `hosts` is the text of its /etc/hosts."""

    def __init__(self, base: Path, *addresses: str, hosts=""):
        table = base / "hosts"
        table.write_text(f"127.0.0.1 localhost\n::1 localhost\n{hosts}")
        added = "".join(f"ip address add {address} dev lo{' nodad' * (':' in address)}\n" for address in addresses)
        made = f"set -e\nip link set lo up\n{added}mount --bind {table} /etc/hosts\necho made\nexec sleep infinity\n"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", made], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        assert self._holder.stdout.readline() == "made\n", "a network namespace"

    @property
    def entered(self) -> list:
        """What runs a program in it."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", f"--mount=/proc/{self._holder.pid}/ns/mnt"]

    def within(self, make):
        """Returns what `make` returns, called by a thread in it: the sockets that it makes belong to this network."""
        made = []

        def enter():
            namespace = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)
            try:
                assert ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            finally:
                os.close(namespace)
            made.append(make())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return made[0]

    def close(self):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()
