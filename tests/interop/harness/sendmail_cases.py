"""Command lines and messages for `sendmail`, as its callers write them: for Postfix's and for ours.

A case is its arguments, its standard input, and what ours makes of it: `QUEUED` (0, and one message is sent),
`NOTHING` (0, and none is), or the exit code with which it is refused. `{etc}` stands for a `-C` argument.
"""

from dataclasses import dataclass

QUEUED, NOTHING = "queued", "nothing"
USAGE, DATA, NO_USER, UNAVAILABLE = 64, 65, 67, 69

DATE = b"Date: Sat, 21 Nov 2026 02:09:00 +0000\n"
HEADER = b"From: Ann <ann@example.org>\n" + DATE + b"Message-ID: <a@example.org>\n"
TO = HEADER + b"To: bob@example.net\n"
MESSAGE = TO + b"Subject: x\n\nbody\n"
WITHOUT_FROM = b"Subject: x\n\nbody\n"


@dataclass
class Case:
    arguments: list
    message: bytes = MESSAGE
    expected: object = QUEUED


def flags(*lines, expected=QUEUED, message=MESSAGE, to="bob@example.net", name="{}"):
    """A case for each line, with a recipient behind it; its name is made of the line."""
    cases = {}
    for line in lines:
        words = ["" if word == "''" else word for word in line.split()]
        cases[name.format(line)] = Case([*words, *([to] if to else [])], message, expected)
    return cases


FLAGS = {
    **flags(
        "", "--", "-i", "-oi", "-o i", "-i -i", "-bm", "-b m", "-om", "-m", "-oem", "-oep", "-oee", "-oeq", "-oew",
        "-em", "-ep", "-e m", "-odi", "-odb", "-odq", "-odd", "-o db", "-n", "-U", "-x", "-c", "-iUn", "-G", "-L tag",
        "-Ltag", "-X /dev/null", "-X/dev/null", "-O DeliveryMode=b", "-ODeliveryMode=b", "-oA/etc/aliases", "-oO",
        "-oX", "-o7", "-oQ/tmp", "-h5", "-h 5", "-pESMTP:host", "-p SMTP", "-A c", "-Ac",
    ),
    **flags(
        "-f ann@example.org", "-fann@example.org", "-f ann", "-fann", "-r ann@example.org", "-rann@example.org",
        "-f <ann@example.org>", "-f ann@example.org -r ops@example.org", "-f <>", "-f ''", "-f<>", "-r <>",
        "-if ann@example.org", "-ifann@example.org", "-f ann@example.org -F Ann", "-f ops@[192.0.2.1]",
    ),
    **flags("-f ann@x@y", "-f ann@", "-f ann@example.org,bob@example.org", expected=USAGE),
    **flags(
        "-F Ann", "-FAnn", "-F ''", "-f <>", "-f ann -F Ann", "-f ann@example.org", "",
        message=WITHOUT_FROM, name="no From, {}",
    ),
    "a full name with a blank": Case(["-FAnn B. Smith", "bob@example.net"], WITHOUT_FROM),
    "a full name with quotes": Case(["-F", 'Ann "A" (ops) \\', "bob@example.net"], WITHOUT_FROM),
    "a full name beyond ASCII": Case(["-F", "Jörg", "bob@example.net"], WITHOUT_FROM),
    "a full name with a line break": Case(["-F", "Ann\nBcc: eve@example.net", "bob@example.net"], WITHOUT_FROM),
    "a reverse-path with a display name": Case(["-f", "Ann <ann@example.org>", "bob@example.net"]),
    "a reverse-path with a comment": Case(["-f", "ann@example.org (Ann)", "bob@example.net"]),
    "a reverse-path with a line break": Case(["-f", "ann@example.org\nx", "bob@example.net"], expected=USAGE),
    "a reverse-path with a quoted local part": Case(["-f", '"a b"@example.org', "bob@example.net"]),
    "a bare reverse-path that needs quotes": Case(["-f", "a b", "bob@example.net"], expected=USAGE),
    "options behind a recipient": Case(["bob@example.net", "-f", "ann@example.org"], expected=USAGE),
    **flags(
        "-B7BIT", "-B 8BITMIME", "-B8BITMIME", "-B8bitmime", "-N never", "-Nnever", "-N success", "-N failure,delay",
        "-NSUCCESS,FAILURE,DELAY", "-R full", "-Rhdrs", "-RHDRS", "-V id-1", "-Vid-1", "-N failure -R hdrs -V id-1",
        "-V a+b=c", "-v", "-v -v",
    ),
    **flags(
        "-B9BIT", "-N sometimes", "-N never,success", "-N ''", "-R some", "-V ''", "-Z", "--frobnicate", "-bz", "-bt",
        expected=USAGE,
    ),
    **flags("-f", "-F", "-B", "-N", "-R", "-V", "-b", "-o", "-t -f", "-L", "-O", "-C", expected=USAGE, to=None),
    "-h": Case(["-h"], b"", NOTHING),
    "-C glued": Case(["-C{etc}", "bob@example.net"]),
    "-C separate": Case(["-C", "{etc}", "bob@example.net"]),
    "-C /nonexistent": Case(["-C", "/nonexistent", "bob@example.net"], expected=78),
}

MODES = {
    **flags("-bi", "-bp", "-bh", "-bH", "-q", "-q15m", "-q1h30m", "-qf", "-I", to=None, message=b"", expected=NOTHING),
    **flags("-bp", "-bi", "-I", expected=USAGE, message=b"", name="{} and a recipient"),
    **flags("-bd", "-bD", "-bd -q15m", to=None, message=b"", expected=USAGE),
    **flags("-qIABCDEF012345", "-qRexample.net", "-qSexample.net", to=None, message=b"", expected=NOTHING),
    "-q and a recipient": Case(["-q", "bob@example.net"], b"", USAGE),
    "-q15m and a recipient": Case(["-q15m", "bob@example.net"]),
    "-bv": Case(["-bv", "bob@example.net"], b"", NOTHING),
    "-bv without a recipient": Case(["-bv"], b"", USAGE),
    "-bv -t": Case(["-bv", "-t"], MESSAGE, USAGE),
    "-bm -bp": Case(["-bm", "-bp"], b"", NOTHING),
    "-bs": Case(["-bs"], b"QUIT\r\n", NOTHING),
    "-bs with a message": Case(
        ["-bs", "-odb", "-oem"],
        b"EHLO me\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
        + MESSAGE.replace(b"\n", b"\r\n") + b"..dot\r\n.\r\nQUIT\r\n",
    ),
    "-bs, bare addresses": Case(
        ["-bs"], b"HELO me\nMAIL FROM:<ann>\nRCPT TO:<root>\nDATA\n" + MESSAGE + b".\nQUIT\n",
    ),
    "-bs, a wrong order": Case(["-bs"], b"HELO me\r\nRCPT TO:<a@example.net>\r\nDATA\r\nFOO\r\nQUIT\r\n", NOTHING),
    "-bs, no QUIT": Case(["-bs"], b"HELO me\r\nMAIL FROM:<ann@example.org>\r\n", NOTHING),
    "-bs and a recipient": Case(["-bs", "bob@example.net"], b"QUIT\r\n", USAGE),
}

HEADED = TO + b"Subject: a job\n\nout\n"
CRON = b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@web1> true\n" + DATE + b"Message-ID: <a@b>\n\nout\n"

CALLERS = {
    "cronie": Case(["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"], CRON),
    "Debian's cron": Case(["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"], CRON),
    "busybox crond": Case(["-ti"], CRON),
    "systemd-cron": Case(["-i", "-B8BITMIME", "root"], CRON),
    "at": Case(["-i", "ann"], b"Subject: Output from your job        1\nTo: ann\n\nout\n"),
    "anacron": Case(["-FAnacron", "-i", "-odi", "root"], CRON),
    "PHP": Case(["-t", "-i"], b"To: bob@example.net\r\nSubject: x\r\nX-PHP-Script: 0:a.php\r\n\r\nbody\r\n"),
    "PHP with -f": Case(["-t", "-i", "-fann@example.org"], b"To: bob@example.net\nSubject: x\n\nbody\n"),
    "nodemailer": Case(
        ["-i", "-f", "ann@example.org", "bob@example.net", "carl@example.net"], HEADED.replace(b"\n", b"\r\n"),
    ),
    "Rails": Case(["-i", "-t", "-f", "ann@example.org"], HEADED.replace(b"\n", b"\r\n")),
    "Rails, before 7": Case(["-i", "-f", "ann@example.org", "--", "bob@example.net"], HEADED),
    "Symfony": Case(
        ["-bs"],
        b"EHLO [127.0.0.1]\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
        + HEADED.replace(b"\n", b"\r\n") + b".\r\nQUIT\r\n",
    ),
    "Symfony, native": Case(["-t", "-i"], HEADED.replace(b"\n", b"\r\n")),
    "mdadm": Case(["-t", "-fx"], b"From: mdadm monitoring <root>\nTo: root\nSubject: DegradedArray\n\nx\n"),
    "smartd": Case(["-t", "-i"], b"Subject: SMART error\nTo: root\n\nx\n"),
    "mailx": Case(["-i", "bob@example.net"], HEADED),
    "s-nail": Case(["-i", "-r", "ann@example.org", "--", "bob@example.net"], HEADED),
    "alpine": Case(
        ["-bs", "-odb", "-oem"],
        b"EHLO web1\r\nMAIL FROM:<ann@example.org> BODY=8BITMIME\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
        + HEADED.replace(b"\n", b"\r\n") + b".\r\nQUIT\r\n",
    ),
    "mutt": Case(["-oem", "-oi", "-f", "ann@example.org", "--", "bob@example.net"], HEADED),
    "mutt, 8-bit": Case(["-oem", "-oi", "-B8BITMIME", "-N", "failure", "-R", "full", "--", "bob@example.net"], HEADED),
    "git send-email": Case(["-i", "-f", "ann@example.org", "bob@example.net"], HEADED),
    "git send-email, by itself": Case(["-i", "bob@example.net", "carl@example.net"], HEADED),
    "logwatch": Case(["-t"], b"To: root\nFrom: logwatch\nSubject: Logwatch\n\nbody\n"),
    "Python's mailbox": Case(["-oi", "-t"], HEADED),
    "Mailman": Case(["-i", "-f", "list-bounces@example.org", "a@example.net", "b@example.net"], HEADED),
    "Nagios, mail": Case(["-oi", "-oem", "ops@example.net"], HEADED),
    "Zabbix": Case(["-t", "-i", "-f", "zabbix@example.org"], HEADED),
    "fail2ban": Case(["-f", "fail2ban@example.org", "root@example.net"], HEADED),
    "sudo": Case(["-t"], b"To: root\nFrom: ann\nAuto-Submitted: auto-generated\nSubject: *** SECURITY\n\nx\n"),
}


def to(*words, expected=QUEUED):
    """Recipients on the command line."""
    return Case(["--", *words], expected=expected)


RECIPIENTS = {
    "several": to("bob@example.net", "carl@example.net"),
    "one twice": to("bob@example.net", "bob@example.net"),
    "one twice, its domain in capitals": to("bob@example.net", "bob@Example.NET"),
    "one twice, in capitals": to("bob@example.net", "BOB@Example.NET"),
    "bare": to("root"),
    "with a comma": to("bob@example.net,carl@example.net"),
    "with a comma and a blank": to("bob@example.net, carl@example.net"),
    "with a blank": to("bob@example.net carl@example.net", expected=USAGE),
    "in brackets": to("<bob@example.net>"),
    "with a display name": to("Bob <bob@example.net>"),
    "with a quoted display name": to('"Smith, Bob" <bob@example.net>'),
    "with a comment": to("bob@example.net (Bob)"),
    "a group": to("team: bob@example.net, carl@example.net;"),
    "a quoted local part": to('"a b"@example.net'),
    "a comma in a quoted local part": to('"a,b"@example.net'),
    "a hyphen in front": to("-bob@example.net"),
    "a domain literal": to("bob@[192.0.2.1]"),
    "a source route": to("<@a.example,@b.example:bob@example.net>"),
    "a trailing dot": to("bob@example.net."),
    "a percent sign": to("bob%host@example.net"),
    "a bang path": to("host!bob"),
    "a plus sign": to("bob+tag@example.net"),
    "a backslash": to("\\bob", expected=USAGE),
    "beyond ASCII": to("jürgen@example.net"),
    "a program": to("|/bin/cat"),
    "a file": to("/dev/null"),
    "an include": to(":include:/etc/passwd", expected=USAGE),
    "no domain": to("bob@", expected=USAGE),
    "no local part": to("@example.net", expected=USAGE),
    "two at signs": to("bob@a.example@b.example", expected=USAGE),
    "two dots": to("a..b@example.net"),
    "dots at the ends": to(".a.@example.net"),
    "empty": to("", expected=USAGE),
    "blank": to(" ", expected=USAGE),
    "a bracket left open": to("<bob@example.net", expected=USAGE),
    "a quote left open": to('"bob@example.net', expected=USAGE),
    "a line break": to("bob@example.net\ncarl@example.net", expected=USAGE),
    "a carriage return": to("bob@example.net\rcarl@example.net", expected=USAGE),
    "CRLF and a command": to("bob@example.net>\r\nRCPT TO:<eve@example.net", expected=USAGE),
    "a tab": to("bob@example.net\t"),
    "a control character": to("b\x01b@example.net", expected=USAGE),
    "a very long one": to("b" * 900 + "@example.net"),
    "none": Case([], expected=USAGE),
}


def in_header(header, arguments=("-t",), expected=QUEUED):
    return Case(list(arguments), HEADER + header + b"Subject: x\n\nbody\n", expected)


HEADER_RECIPIENTS = {
    "To, Cc and Bcc": in_header(b"To: a@example.net\nCc: b@example.net\nBcc: c@example.net\n"),
    "several fields": in_header(b"To: a@example.net\nto : b@example.net\nTO: c@example.net\n"),
    "Bcc alone": in_header(b"Bcc: a@example.net\n"),
    "folded": in_header(b"To: Ann\n <a@example.net>,\n\tb@example.net\nBcc:\n c@example.net\n"),
    "grouped": in_header(b"To: team: a@example.net, B <b@example.net>; , c@example.net\n"),
    "an empty group": in_header(b"To: undisclosed-recipients:;\nBcc: a@example.net\n"),
    "comments": in_header(b"To: (a (nested, x@example.net)) a@example.net (A), b(x)@example.net\n"),
    "quoted local parts": in_header(b'To: "a b"@example.net, "c,d" <"e@f"@example.net>, "g"@example.net\n'),
    "quoted display names": in_header(b'To: "Smith, J. \\"x\\"" <a@example.net>, "b@example.org" <c@example.net>\n'),
    "encoded words": in_header(b"To: =?utf-8?Q?J=C3=B6rg=2C_x?= <a@example.net>\n"),
    "bare": in_header(b"To: root, ann\n"),
    "the same again": in_header(b"To: a@example.net\nCc: a@example.net, A@example.net\n"),
    "empty entries": in_header(b"To: ,, a@example.net ,,\nCc:\n"),
    "a route": in_header(b"To: <@relay.example:a@example.net>\n"),
    "8-bit display name": in_header("To: Jürgen <a@example.net>\n".encode()),
    "resent": in_header(
        b"To: a@example.net\nResent-To: b@example.net\nResent-Cc: c@example.net\nResent-Bcc: d@example.net\n"
        b"Resent-From: ann@example.org\n",
    ),
    "resent, with its own date": in_header(
        b"To: a@example.net\nResent-To: b@example.net\nResent-From: ann@example.org\n"
        b"Resent-Date: Sat, 21 Nov 2026 02:09:00 +0000\nResent-Message-ID: <r@example.org>\n",
    ),
    "resent by blind copy": in_header(b"To: a@example.net\nResent-Bcc: b@example.net\n"),
    "resent to nobody": in_header(b"To: a@example.net\nResent-From: ann@example.org\n", expected=USAGE),
    "and on the command line": in_header(b"To: a@example.net\n", ["-t", "bob@example.net"]),
    "and on the command line, to exclude": in_header(b"To: a@example.net, b@example.net\n", ["-t", "a@example.net"]),
    "none": in_header(b"", expected=USAGE),
    "none but Reply-To": in_header(b"Reply-To: a@example.net\nX-To: b@example.net\n", expected=USAGE),
    "empty": in_header(b"To:\n", expected=USAGE),
    "only an empty group": in_header(b"To: undisclosed-recipients:;\n", expected=USAGE),
    "no addresses": in_header(b"To: nobody in particular\n", expected=DATA),
    "one that is none": in_header(b"To: a@example.net, nobody in particular\n", expected=DATA),
    "a bracket left open": in_header(b"To: <a@example.net\n", expected=DATA),
    "two at signs": in_header(b"To: a@b@example.net\n", expected=DATA),
    "NUL": in_header(b"To: a\0@example.net\n", expected=DATA),
    "a carriage return": in_header(b"To: a@example.net\rBcc: b@example.net\n", expected=DATA),
    "in the body": Case(["-t"], b"Subject: x\n\nTo: a@example.net\n", USAGE),
    "no header": Case(["-t"], b"just text\nTo: a@example.net\n", USAGE),
    "no message": Case(["-t"], b"", USAGE),
    "after a From line of an mbox": Case(["-t"], b"From ann Sat Nov 21 02:10:00 2026\n" + MESSAGE),
}

LONG = b"x" * 990


def content(message, *arguments):
    return Case([*arguments, "bob@example.net"], message)


CONTENT = {
    "empty": content(b""),
    "a line break": content(b"\n"),
    "no header": content(b"just text\nand more\n"),
    "no header, an empty line first": content(b"\njust text\n"),
    "a header and nothing else": content(TO),
    "a header without a line break": content(TO.rstrip(b"\n")),
    "an empty body": content(TO + b"\n"),
    "no empty line before the body": content(TO + b"body without a blank line\n\nmore\n"),
    "no line break at the end": content(TO + b"\nbody"),
    "From missing": content(DATE + b"Message-ID: <a@b>\nTo: bob@example.net\n\nbody\n"),
    "Date and Message-ID missing": content(b"From: ann@example.org\nTo: bob@example.net\n\nbody\n"),
    "To missing": content(HEADER + b"\nbody\n"),
    "CRLF": content(MESSAGE.replace(b"\n", b"\r\n")),
    "LF and CRLF": content(TO + b"X: y\r\n\r\nbody\nmore\r\n"),
    "bare CR": content(TO + b"\na\rb\r\rc\n"),
    "bare CR in the header": content(TO + b"X-Y: a\rb\n\nbody\n"),
    "CR CR LF": content(TO + b"\na\r\r\nb\n"),
    "8-bit": content(
        TO + b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nK\xc3\xb6ln \xff\n",
    ),
    "8-bit, -B8BITMIME": content(TO + b"\nK\xc3\xb6ln\n", "-B8BITMIME"),
    "8-bit, unsaid": content(TO + b"\nK\xc3\xb6ln\n"),
    "8-bit in the header": content(TO + "Subject: Köln\n\nbody\n".encode()),
    "NUL": content(TO + b"\na\0b\n"),
    "a lone dot": content(TO + b"\na\n.\nb\n"),
    "a lone dot, -i": content(TO + b"\na\n.\nb\n", "-i"),
    "a lone dot, -oi": content(TO + b"\na\n.\nb\n", "-oi"),
    "a lone dot with CRLF": content(TO + b"\r\na\r\n.\r\nb\r\n"),
    "a lone dot with CRLF, -i": content(TO + b"\r\na\r\n.\r\nb\r\n", "-i"),
    "a lone dot in the header": content(TO + b".\n\nbody\n"),
    "a lone dot at the end": content(TO + b"\na\n."),
    "dots": content(TO + b"\n..\n.a\n ...\n. \n", "-i"),
    "From lines": content(TO + b"\nFrom me\n>From you\n"),
    "an mbox line in front": content(b"From ann Sat Nov 21 02:10:00 2026\n" + MESSAGE),
    "a line of 998": content(TO + b"\n" + b"x" * 998 + b"\n"),
    "a line of 999": content(TO + b"\n" + b"x" * 999 + b"\n"),
    "a line of 5000": content(TO + b"\n" + b"x" * 5000 + b"\n"),
    "a field of 5000": content(TO + b"X-Y: " + b"x" * 5000 + b"\n\nbody\n"),
    "a folded field": content(TO + b"X-Y: a\n\tb\n   c: d\n\nbody\n"),
    "a blank before a colon": content(TO + b"X-Y : a\n\nbody\n"),
    "an empty field": content(TO + b"X-Y:\n\nbody\n"),
    "Bcc": content(TO + b"Bcc: eve@example.net\nResent-Bcc: eve@example.net\n\nbody\n"),
    "Return-Path and Content-Length": content(b"Return-Path: <x@y>\nContent-Length: 5\n" + TO + b"\nbody\n"),
    "Received": content(b"Received: from a by b; Sat, 21 Nov 2026 02:08:00 +0000\n" + TO + b"\nbody\n"),
    "bare addresses": content(
        HEADER.replace(b"ann@example.org>", b"ann>") + b"To: root (Charlie), \"Cron, D.\" <cron>,\n\tbob@example.net\n"
        b"Cc: team: a, b;\nReply-To: x\nSender: s\nErrors-To: e\nReturn-Receipt-To: r\n\nbody\n",
    ),
    "addresses that are none": content(HEADER + b"To: no address at all\nCc: a@b@c, d\n\nbody\n"),
    "two From fields": content(b"From: a@example.org\n" + TO + b"\nbody\n"),
    "an empty From": content(b"From:\n" + DATE + b"Message-ID: <a@b>\nTo: bob@example.net\n\nbody\n"),
    "lower case": content(b"from: a@example.org\ndate: x\nmessage-id: <a@b>\nto: root\n\nbody\n"),
    "resent": content(TO + b"Resent-From: ann\nResent-To: root\n\nbody\n"),
    "a long header": content(TO + b"".join(b"X-%d: %s\n" % (n, LONG[:70]) for n in range(500)) + b"\nbody\n"),
    "a long body": content(TO + b"\n" + (LONG[:70] + b"\n") * 20_000),
}

GROUPS = {
    "flags": FLAGS, "modes": MODES, "callers": CALLERS, "recipients": RECIPIENTS, "-t": HEADER_RECIPIENTS,
    "content": CONTENT,
}
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}
