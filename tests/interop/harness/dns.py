"""dnsmasq as the name server of one daemon: in a mount namespace of its own, whose /etc/resolv.conf names it.

It listens on an address of loopback that nobody else uses, since resolv.conf(5) knows no port but 53.
"""

import os
import signal
import subprocess
from pathlib import Path

from mounted import with_file
from waiting import wait_until


class NameServer:
    """`records` are options of dnsmasq, such as `--srv-host=NAME,TARGET,PORT` and `--host-record=NAME,ADDRESS`."""

    def __init__(self, base: Path):
        base.mkdir(parents=True, exist_ok=True)
        self.address = f"127.{1 + os.getpid() % 200}.{1 + os.getpid() // 200 % 250}.53"
        self.resolv_conf, self._log = base / "resolv.conf", base / "dnsmasq.log"
        self._process = None
        self.resolv_conf.write_text("")

    def start(self, *records):
        """Starts it, or starts it again with other records; the file names it from then on."""
        self.stop()
        with open(self._log, "ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [
                    "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces",
                    "--listen-address", self.address, "--user=root", "--log-facility=-", "--log-queries", *records,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        wait_until(lambda: "started, version" in self.log()[begin:], 20, lambda: f"dnsmasq, which says {self.log()}")
        self.resolv_conf.write_text(f"nameserver {self.address}\noptions timeout:1 attempts:1\n")
        return self

    def log(self) -> str:
        return self._log.read_text()

    def stop(self):
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=20)
            self._process = None

    @property
    def wrapper(self):
        """The words in front of a command that is to use this name server."""
        return with_file(self.resolv_conf, "/etc/resolv.conf")
