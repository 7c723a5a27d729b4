"""A host of its own for those who call `sendmail`: ordinary users, and nullmta where they look for it.

It is a mount namespace. In it /usr/sbin/sendmail (so mailq and newaliases, too) is nullmta, /etc is a copy with
users of its own and the daemon's nullmta.toml, /run and the crontabs are empty. The daemon runs there as a user
of its own, in the directories that systemd/nullmta.tmpfiles.conf makes. Of the real host nothing is changed;
the namespace ends with the process that holds it and those that run in it.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from daemon import Nullmta


@dataclass(frozen=True)
class User:
    """What passwd(5) says of somebody."""

    name: str
    uid: int
    gid: int
    full_name: str = ""


ROOT = User("root", 0, 0)
DAEMON = User("nullmta", 64009, 64009)
ANN = User("ann", 64010, 64010, "Ann Example")
BEN = User("ben", 64011, 64011, "Ben Example")
# The daemon's group is this one's primary group …
OPERATOR = User("oda", 64012, DAEMON.gid)
# … and another one of this one's groups.
DEPUTY = User("dan", 64013, 64013)
USERS = [DAEMON, ANN, BEN, OPERATOR, DEPUTY]

# Of /etc, what is left out of the copy: jobs of the real host, and passwords.
_LEFT_OUT = ("crontab", "cron.d/*", "*shadow*")

_MOUNT = """\
mount --bind "$1/etc" /etc
mount --bind "$1/cron" /var/spool/cron
mount --bind "$2" /usr/sbin/sendmail
mount -t tmpfs -o mode=755 none /run
echo mounted
exec cat
"""


class Host:
    """The host in the directory `base`; `program` is nullmta at a place where everybody may run it.

    Before it is of use, `settle` gives it a daemon.
    """

    def __init__(self, base: Path, program: Path):
        self.base, self.program, self.daemon = base, program, None
        base.mkdir()
        self._make_homes()
        self._make_etc()
        self._make_crontabs()
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "sh", "-ec", _MOUNT, "sh", str(base), str(program)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        assert self._holder.stdout.readline() == b"mounted\n"

    def settle(self, daemon: Nullmta):
        """Makes `daemon`, which is not yet started, the one of this host."""
        self.daemon, self.drop = daemon, daemon.base / "spool" / "drop"
        daemon.program = self.program
        config = self.base / "etc" / "nullmta.toml"
        config.unlink(missing_ok=True)
        config.symlink_to(daemon.config)
        for directory, mode in ((self.drop.parent, 0o711), (self.drop, 0o3733)):
            directory.mkdir()
            os.chown(directory, DAEMON.uid, DAEMON.gid)
            directory.chmod(mode)
        for path in (daemon.base, daemon.base / "secret"):
            os.chown(path, DAEMON.uid, DAEMON.gid)

    def home(self, user: User) -> Path:
        return self.base / "home" / user.name

    def _make_homes(self):
        for user in [ROOT, *USERS]:
            self.home(user).mkdir(parents=True)
            os.chown(self.home(user), user.uid, user.gid)

    def _make_etc(self):
        etc = self.base / "etc"
        subprocess.run(["cp", "-a", "/etc", str(etc)], check=True)
        for path in (path for pattern in _LEFT_OUT for path in etc.glob(pattern)):
            path.unlink()
        with open(etc / "passwd", "a") as passwd:
            for user in USERS:
                # The * stands for a password, and so for an entry in shadow(5).
                line = (user.name, "*", user.uid, user.gid, f"{user.full_name},,,", self.home(user), "/bin/sh")
                passwd.write(":".join(map(str, line)) + "\n")
        with open(etc / "group", "a") as group:
            group.write(f"{DAEMON.name}:x:{DAEMON.gid}:{DEPUTY.name}\n")
        # Whom the real host's rules let in says nothing of us.
        for service in ("cron", "atd"):
            rules = (f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))
            (etc / "pam.d" / service).write_text("".join(rules))

    def _make_crontabs(self):
        """As Debian's packages make them, and with nothing in them."""
        for packaged in Path("/var/spool/cron").iterdir():
            made = self.base / "cron" / packaged.name
            made.mkdir(parents=True)
            like(made, packaged)
        sequence = Path("atjobs/.SEQ")
        (self.base / "cron" / sequence).write_text("0\n")
        like(self.base / "cron" / sequence, Path("/var/spool/cron") / sequence)

    def start(self):
        """Starts the daemon, as its own user."""
        self.daemon.start(*self.command_line(DAEMON))

    def command_line(self, user: User, *command, **environment) -> list:
        """What runs `command` on this host as `user`, in that user's home and with no other environment."""
        home = self.home(user)
        variables = {
            "HOME": home, "TMPDIR": home, "USER": user.name, "LOGNAME": user.name, "LANG": "C.UTF-8",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment,
        }
        return [
            "nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt",
            "env", "-i", f"--chdir={home}", *(f"{name}={value}" for name, value in variables.items()),
            "setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", *command,
        ]

    def launch(self, *command, user=ANN, **options) -> subprocess.Popen:
        """Starts `command` as `user`."""
        return subprocess.Popen(self.command_line(user, *command), **options)

    def run(self, *command, user=ANN, input=b"", **environment) -> subprocess.CompletedProcess:
        """Runs `command` as `user` to its end."""
        command_line = self.command_line(user, *command, **environment)
        return subprocess.run(command_line, input=input, capture_output=True, timeout=60)

    def dropped(self) -> list:
        """The files in the drop directory."""
        return sorted(self.drop.iterdir())

    def close(self):
        self._holder.stdin.close()
        self._holder.wait(timeout=20)


def like(made: Path, model: Path):
    """Gives `made` the owner, the group and the mode of `model`."""
    status = model.stat()
    os.chown(made, status.st_uid, status.st_gid)
    made.chmod(status.st_mode & 0o7777)
