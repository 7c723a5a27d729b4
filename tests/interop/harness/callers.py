"""The programs that hand in mail: how each is run, and what has to come of it.

A script runs with `sh -e` as the user ann, with BODY or its own input on standard input.
"""

import re
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import quote

from content import split
from local_user import ANN
from postfix import field as header_field

HOST = "client.nullmta.test"
BODY = b"one\n.\n..two\n\n  three\nend\n"


@dataclass(frozen=True)
class Caller:
    """One way to hand in a message, and the message that the relay then has."""

    script: str
    input: bytes = BODY
    reverse_path: str = f"ann@{HOST}"
    recipient: str = "bob@example.net"
    from_field: str = f"Ann Example <ann@{HOST}>"
    to_field: str = "bob@example.net"
    body: bytes = BODY
    # What the script exits with when nothing could be queued.
    failure: int = 75
    # SO_PEERCRED, or the owner of the dropped file; None over TCP, where nobody knows.
    uid: Optional[int] = ANN.uid
    environment: dict = field(default_factory=dict)

    def run(self, host):
        fixed = {"PORT": host.daemon.port, "NULLMTA": host.program}
        return host.run("sh", "-ec", self.script, input=self.input, **fixed, **self.environment)

    def check(self, message: bytes, log: str):
        """`message` is what was handed in, and the daemon's `log` tells of it alone."""
        assert header_field(message, "Return-Path") == f"<{self.reverse_path}>"
        assert header_field(message, "Delivered-To") == self.recipient
        assert header_field(message, "From") == self.from_field
        assert header_field(message, "To") == self.to_field
        fields, body = split(message)
        names = [name for name, _ in fields]
        assert names.count(b"from") == names.count(b"to") == names.count(b"date") == names.count(b"message-id") == 1
        assert names.count(b"received") == 2 and b"bcc" not in names
        assert body == self.body
        # Over TCP with the user of the test, whoever that is.
        client = r"localhost\[127\.0\.0\.1\] uid \d+( \(\S+\))?" if self.uid is None else rf"uid {self.uid} \({ANN.name}\)"
        assert log.count("(queued)") == 1 and log.count("status=sent") == 1
        assert re.search(f": client={client}, from=<{re.escape(self.reverse_path)}>,", log), log
        assert f": to=<{self.recipient}>," in log, log


HEADED = b"From: root\nTo: root\nSubject: hello\n\n" + BODY
NAMELESS = b"To: root\nBcc: root\nSubject: hello\n\n" + BODY
TO_ROOT = dict(recipient=f"root@{HOST}", to_field=f"root@{HOST}")
FROM_ROOT = dict(from_field=f"root@{HOST}", **TO_ROOT)

# Programs that are not at hand, by the command lines that they are known to use.
COMMAND_LINES = {
    "cronie": Caller(
        "sendmail -FCronDaemon -i -odi -oem -oi -t -f root", NAMELESS, reverse_path=f"root@{HOST}",
        from_field=f"CronDaemon <root@{HOST}>", **TO_ROOT,
    ),
    "busybox crond": Caller(
        "sendmail -ti", b"To: ann\nSubject: cron: date\n\n" + BODY, recipient=f"ann@{HOST}", to_field=f"ann@{HOST}",
    ),
    "mdadm": Caller(
        "sendmail -t -fx", b"From: mdadm monitoring <root>\nTo: root\nSubject: Fail event\n\nA Fail event\n",
        reverse_path=f"x@{HOST}", from_field=f"mdadm monitoring <root@{HOST}>", body=b"A Fail event\n", **TO_ROOT,
    ),
    "Rails": Caller("sendmail -i -t -f bounce@example.org", HEADED, reverse_path="bounce@example.org", **FROM_ROOT),
    "fail2ban": Caller(
        "sendmail -f fail2ban@example.org root", HEADED, reverse_path="fail2ban@example.org",
        # Without -i a lone dot is the end.
        body=BODY.partition(b".\n")[0], **FROM_ROOT,
    ),
    "a null reverse-path": Caller("sendmail -i -f '' root", HEADED, reverse_path="", **FROM_ROOT),
    "by the link in lib": Caller("/usr/lib/sendmail -i -t", HEADED, **FROM_ROOT),
    "nullmta sendmail": Caller('"$NULLMTA" sendmail -i -t', HEADED, **FROM_ROOT),
}

# They wait for sendmail, or nobody would hear of a failure.
MAIL_PROGRAMS = {
    "bsd-mailx": Caller("bsd-mailx -s hello bob@example.net", failure=1),
    "s-nail": Caller("s-nail -n -S sendwait -S mime-encoding=8b -s hello bob@example.net", failure=4),
    "mutt": Caller("mutt -F /dev/null -e 'set use_domain=no' -s hello bob@example.net", failure=1),
    "mutt, with an envelope sender": Caller(
        "mutt -F /dev/null -e 'set from=ann@example.org use_envelope_from=yes realname=Ann' -s hello bob@example.net",
        reverse_path="ann@example.org", from_field="Ann <ann@example.org>", failure=1,
    ),
}


def git_send_email(flags, **expected):
    script = (
        f"cat >hello.patch; EMAIL=ann@example.org git send-email --quiet --confirm=never --suppress-cc=all {flags}"
        " --from='Ann Example <ann@example.org>' --to=bob@example.net hello.patch"
    )
    patch = b"From: Ann Example <ann@example.org>\nSubject: [PATCH] hello\n\n" + BODY
    return Caller(script, patch, from_field="Ann Example <ann@example.org>", **expected)


def nodemailer(transport, fields="", **expected):
    script = f"""node -e '
const transport = require("nodemailer").createTransport({transport});
const text = require("fs").readFileSync(0, "utf8");
const message = {{from: "ann@example.org", to: "bob@example.net", subject: "hello", text, {fields}}};
transport.sendMail(message).then(() => process.exit(0), error => {{ console.error(error); process.exit(9); }});'
"""
    # Where Debian's Node looks by itself, and others do not.
    return Caller(script, failure=9, environment={"NODE_PATH": "/usr/share/nodejs"}, **FROM_EXAMPLE, **expected)


def symfony(dsn, **expected):
    script = f"""DSN="{dsn}" php -r '
require "Symfony/Component/Mailer/autoload.php";
$mailer = new Symfony\\Component\\Mailer\\Mailer(Symfony\\Component\\Mailer\\Transport::fromDsn(getenv("DSN")));
$message = new Symfony\\Component\\Mime\\Email();
$message->from("ann@example.org")->to("bob@example.net")->subject("hello")->text(stream_get_contents(STDIN));
$mailer->send($message);'
"""
    return Caller(script, failure=255, **FROM_EXAMPLE, **expected)


FROM_EXAMPLE = dict(reverse_path="ann@example.org", from_field="ann@example.org")
# mail() and Symfony's SMTP put a line end of their own behind the body.
PHP = "php %s -r 'exit(mail(\"bob@example.net\", \"hello\", stream_get_contents(STDIN), %s) ? 0 : 9);'"

LANGUAGES = {
    "PHP": Caller(PHP % ("", "[]"), body=BODY + b"\n", failure=9),
    "PHP, with a path and parameters of its own": Caller(
        PHP % ("-d sendmail_path='/usr/sbin/sendmail -oi -oem -t'", '"From: root", "-fbounce@example.org"'),
        reverse_path="bounce@example.org", from_field=f"root@{HOST}", body=BODY + b"\n", failure=9,
    ),
    "git send-email": git_send_email("--smtp-server=/usr/sbin/sendmail"),
    "git send-email, with a command": git_send_email(
        "--envelope-sender=bounce@example.org --sendmail-cmd='/usr/sbin/sendmail -i'",
        reverse_path="bounce@example.org",
    ),
    "nodemailer": nodemailer('{sendmail: true, newline: "unix"}'),
    "Symfony, by -bs": symfony("sendmail://default", body=BODY + b"\n"),
    "Symfony, by -t": symfony("sendmail://default?command=" + quote("/usr/sbin/sendmail -t -i")),
}

SMTP_CLIENTS = {
    "git send-email": git_send_email(
        "--smtp-server=127.0.0.1 --smtp-server-port=$PORT", reverse_path="ann@example.org", uid=None, failure=111,
    ),
    "nodemailer": nodemailer('{host: "127.0.0.1", port: process.env.PORT}', uid=None),
    "smtplib": Caller(
        """/usr/bin/python3 -c '
import os, smtplib, sys
with smtplib.SMTP("127.0.0.1", int(os.environ["PORT"])) as client:
    client.sendmail("root", ["root"], sys.stdin.read())
'""",
        HEADED, reverse_path=f"root@{HOST}", uid=None, failure=1, **FROM_ROOT,
    ),
    "Symfony": symfony("smtp://127.0.0.1:$PORT", uid=None, body=BODY + b"\n"),
    "s-nail": Caller(
        "s-nail -n -S v15-compat -S mta=smtp://127.0.0.1:$PORT -S smtp-auth=none -S sendwait -S mime-encoding=8b"
        " -S from=ann@example.org -s hello bob@example.net",
        uid=None, failure=4, **FROM_EXAMPLE,
    ),
}

# Each has bob in To, carol in Cc and dave in Bcc.
BLIND_COPIES = {
    "bsd-mailx": Caller("bsd-mailx -s hello -c carol@example.net -b dave@example.net bob@example.net"),
    "s-nail": Caller("s-nail -n -S sendwait -s hello -c carol@example.net -b dave@example.net bob@example.net"),
    "mutt": Caller("mutt -F /dev/null -s hello -c carol@example.net -b dave@example.net bob@example.net"),
    "PHP": Caller(PHP % ("", '["Cc" => "carol@example.net", "Bcc" => "dave@example.net"]')),
    "nodemailer": nodemailer("{sendmail: true}", 'cc: "carol@example.net", bcc: "dave@example.net"'),
    "-t": Caller("sendmail -t", b"Bcc: dave@example.net\nTo: bob@example.net\nCc: carol@example.net\n\n" + BODY),
}
