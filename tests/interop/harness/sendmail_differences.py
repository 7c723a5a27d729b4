"""In what our `sendmail` differs from Postfix's, case by case, and why.

Two differences are evened out before anything is compared (`beside.py`): Date and Message-ID are made of other
clocks and ids, and the relay is told ORCPT by Postfix alone (RFC 3461 5.2.1 leaves it to each).
"""

from dataclasses import dataclass


@dataclass
class Difference:
    """`aspects` of all `cases` differ, for this reason."""

    reason: str
    aspects: list
    cases: list


NO_VALUE = [f"flags: {flag}" for flag in ("-f", "-F", "-B", "-N", "-R", "-V", "-b", "-o", "-t -f", "-L", "-O", "-C")]

DIFFERENCES = [
    Difference(
        "A message leaves with one From: a second one becomes an X-Original-From.",
        ["header"],
        ["content: two From fields"],
    ),
    Difference(
        "A wrong command line is 64 (EX_USAGE); Postfix says 75 to it, as if another try could help.",
        ["exit"],
        [
            *NO_VALUE, "flags: -B9BIT", "flags: -Z", "flags: --frobnicate", "flags: -bz", "flags: -bt",
            "modes: -bp and a recipient", "modes: -bi and a recipient", "modes: -I and a recipient",
            "modes: -q and a recipient", "modes: -bs and a recipient", "modes: -bv without a recipient",
            "modes: -bv -t", "modes: -bD", "recipients: none", "-t: none", "-t: none but Reply-To", "-t: empty",
            "-t: only an empty group", "-t: in the body", "-t: no header", "-t: no message",
        ],
    ),
    Difference("A configuration that is not there is 78 (EX_CONFIG), not 75.", ["exit"], ["flags: -C /nonexistent"]),
    Difference("-h alone asks for help.", ["exit", "output"], ["flags: -h"]),
    Difference(
        "-n and -X are Sendmail's, and callers pass them: they are ignored, where Postfix refuses the mail.",
        ["exit", "messages"],
        ["flags: -n", "flags: -iUn", "flags: -X /dev/null", "flags: -X/dev/null"],
    ),
    Difference("8bitmime is 8BITMIME: ESMTP keywords have no case.", ["exit", "messages"], ["flags: -B8bitmime"]),
    Difference("BODY=7BIT is what no BODY says, too.", ["parameters"], ["flags: -B7BIT"]),
    Difference(
        "8-bit content is declared by what it is; Postfix leaves out BODY where nobody said it.",
        ["parameters"],
        ["content: 8-bit, unsaid"],
    ),
    Difference(
        "-v shows the session, as Sendmail does; Postfix sends a report by mail, and for two of them writes a log.",
        ["messages", "output"],
        ["flags: -v"],
    ),
    Difference("-v -v is -v.", ["output"], ["flags: -v -v"]),
    Difference(
        "-bv says at once what would be done; Postfix sends a report by mail.", ["messages", "output"], ["modes: -bv"],
    ),
    Difference(
        "-bd is refused, since the daemon is a service of its own; to Postfix it means `postfix start`.",
        ["exit"],
        ["modes: -bd", "modes: -bd -q15m"],
    ),
    Difference(
        "There is one queue for one relay: -qf, -qR and -qS try all of it, where Postfix knows none of them or wants "
        "fast_flush_domains.",
        ["exit"],
        ["modes: -qf", "modes: -qRexample.net", "modes: -qSexample.net"],
    ),
    Difference(
        "-q15m means nothing here and a message is a message; Postfix exits with 0 and does not read it.",
        ["messages"],
        ["modes: -q15m and a recipient"],
    ),
    Difference(
        "A value that asks for something which will not be done is an error; Postfix warns and sends all the same.",
        ["exit", "messages"],
        ["flags: -N sometimes", "flags: -N never,success", "flags: -N ''", "flags: -R some", "flags: -V ''"],
    ),
    Difference(
        "Options go first. To Postfix what follows a recipient is one: mail goes to `-f`.",
        ["exit", "messages"],
        ["flags: options behind a recipient"],
    ),
    Difference(
        "What is no address is refused while its sender still listens: 64, from the header 65. Postfix exits with 0 "
        "and sends to what it makes of it, or bounces.",
        ["exit", "messages"],
        [
            "flags: -f ann@x@y", "flags: -f ann@", "flags: -f ann@example.org,bob@example.org",
            "flags: a bare reverse-path that needs quotes", "recipients: with a blank", "recipients: a backslash",
            "recipients: an include", "recipients: no domain", "recipients: no local part", "recipients: two at signs",
            "recipients: empty", "recipients: blank", "recipients: a bracket left open",
            "recipients: a quote left open", "-t: no addresses", "-t: one that is none", "-t: a bracket left open",
            "-t: two at signs",
        ],
    ),
    Difference(
        "NUL, line breaks and control characters are in no address: they are an attack or an accident. Postfix puts "
        "other characters in their place and sends to that.",
        ["exit", "messages"],
        [
            "flags: a reverse-path with a line break", "recipients: a line break", "recipients: a carriage return",
            "recipients: CRLF and a command", "recipients: a control character", "-t: NUL", "-t: a carriage return",
        ],
    ),
    Difference(
        "A resent message without resent recipients has none; Postfix sends it to those of its first sending again.",
        ["exit", "messages"],
        ["-t: resent to nobody"],
    ),
    Difference(
        "Local parts that differ in case may be two people (RFC 5321 2.4); Postfix sends to the first.",
        ["recipients"],
        ["recipients: one twice, in capitals", "-t: the same again"],
    ),
    Difference(
        "Local parts go to the relay as they were written; Postfix takes away quotes that are not needed and reads "
        "UUCP's host!user.",
        ["recipients"],
        ["recipients: a bang path", "-t: quoted local parts"],
    ),
    Difference(
        "A hyphen may begin a local part: no program is called with it. Postfix bounces it.",
        ["reverse_path", "parameters", "recipients", "header", "body"],
        ["recipients: a hyphen in front"],
    ),
    Difference(
        "Octets around an address stay as they are, and so do addresses that need no completion, for signatures' sake; "
        "Postfix writes a field with a changed address anew: folds, quotes.",
        ["header"],
        ["-t: quoted local parts", "content: bare addresses"],
    ),
    Difference("A field's name stays as it is; Postfix removes blanks behind it.", ["header"],
               ["-t: several fields", "content: a blank before a colon"]),
    Difference(
        "Of a field that is no list of addresses those that can be read are rewritten; Postfix makes addresses of its words, "
        "too.",
        ["header"],
        ["content: addresses that are none"],
    ),
    Difference(
        "Every address that is made is complete; Postfix leaves MAILER-DAEMON bare, which relays refuse.",
        ["header"],
        ["flags: no From, -f <>"],
    ),
    Difference(
        "A full name beyond ASCII is an encoded word (RFC 2047).", ["header"], ["flags: a full name beyond ASCII"],
    ),
    Difference(
        "A Resent-Bcc that is dropped leaves no trace; Postfix adds the other resent fields for it.",
        ["header"],
        ["-t: resent by blind copy", "content: Bcc"],
    ),
    Difference(
        "SMTPUTF8 is asked of the relay only for addresses that need it: relays without it do take UTF-8 in a header, "
        "and the message would bounce.",
        ["parameters"],
        ["-t: 8-bit display name", "content: 8-bit in the header"],
    ),
    Difference(
        "A line of the header that is too long is folded before a space where there is one; Postfix cuts it at its "
        "998th octet.",
        ["header"],
        ["content: a field of 5000"],
    ),
]
