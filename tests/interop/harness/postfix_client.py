"""A throw-away Postfix null client: what nullmta replaces, for the same mail to go through both.

It takes mail from its own `sendmail` and on one loopback port, and relays all of it to the port it is given.
Nothing of the host's own Postfix is read or changed.
"""

import os
from pathlib import Path

from postfix import Instance
from waiting import wait_until

CLIENT_SERVICES = """\
127.0.0.1:{port} inet n - n - 20 smtpd
verify unix - - n - 1 verify
smtp unix - - n - - smtp
relay unix - - n - - smtp
local unix - n n - - local
virtual unix - n n - - virtual
"""

# No answer of the relay is awaited longer than the tests do; no delivery waits for another.
HASTE_CF = """\
in_flow_delay = 0
minimal_backoff_time = 1
queue_run_delay = 1
"""


class PostfixClient(Instance):
    """`main_cf` says what kind of null client it is."""

    def __init__(self, base: Path, main_cf: str):
        super().__init__(base, HASTE_CF + main_cf, CLIENT_SERVICES)

    @property
    def config(self) -> Path:
        """What `sendmail -C` is given."""
        return self.base / "etc"

    def map(self, table: str):
        """Makes the table `hash:FILE` out of the file."""
        self._run("postalias" if table.endswith("/aliases") else "postmap", table)

    def wait_until_empty(self, seconds=30):
        """Until all that was handed in is sent: a message only ever moves on to the next of these."""
        wait_until(
            lambda: not any(self._holds(name) for name in ("maildrop", "incoming", "active", "deferred")), seconds,
            lambda: f"Postfix's empty queue; its log ends\n{self.log()[-3000:]}",
        )

    def _holds(self, name):
        return any(files for _, _, files in os.walk(self.base / "queue" / name))
