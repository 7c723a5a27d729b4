"""Headers as broken programs write them, up to a real relay: nobody but its recipient learns of a Bcc.

The kinds are a table in tests/headers.rs; here are a few of them by smtplib, by `sendmail` as an ordinary user, and
with Postfix as the relay.
"""

import smtplib

import pytest

from postfix import field

HEADER = b"From: ann@example.org\nTo: bob@example.net\nSubject: x\nBcc: hidden@secret.example\n"
BODY = b"\nbody\n"
JUNK = b"no field, and no empty line\n" * 2600

TAKEN = {
    "byte order mark": b"\xef\xbb\xbf" + HEADER + BODY,
    "a line of text": HEADER.replace(b"Bcc:", b"no field\nBcc:") + BODY,
    "indented as a whole": b"".join(b"  " + line for line in HEADER.splitlines(True)) + BODY,
    "an empty line too early": b"Content-Type: text/plain\n\n" + HEADER + BODY,
    "a full-width name": HEADER.replace(b"Bcc:", "\uff22\uff43\uff43\uff1a".encode()) + BODY,
}
REFUSED = {
    "64 KiB of junk": (JUNK + HEADER + BODY, "a Bcc stands behind too many lines that are no header"),
    "indented but for the first line": (HEADER.replace(b"Bcc:", b" Bcc:") + BODY, "a Bcc stands on an indented line"),
}
WAYS = ["SMTP", "sendmail", "sendmail -t"]


@pytest.fixture
def hand_in(host):
    """Has one hand in a message: whether it was taken, and what was said."""
    host.start()

    def hand_in(way, content):
        if way == "SMTP":
            with host.daemon.client() as client:
                data = content.replace(b"\n", b"\r\n")
                try:
                    return True, str(client.sendmail("ann@example.org", ["bob@example.net"], data))
                except smtplib.SMTPDataError as error:
                    return False, f"{error.smtp_code} {error.smtp_error.decode()}"
        arguments = ["-t"] if way == "sendmail -t" else ["bob@example.net"]
        done = host.run("sendmail", "-i", *arguments, input=content)
        return done.returncode == 0, f"{done.returncode} {done.stderr.decode()}"

    return hand_in


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", TAKEN)
def test_nobody_learns_of_a_bcc(hand_in, host, postfix, name, way):
    taken, said = hand_in(way, TAKEN[name])
    assert taken, said
    copies = postfix.wait_for(2 if way == "sendmail -t" else 1)
    copies = {field(copy, "Delivered-To"): copy for copy in copies}
    assert set(copies) == {"bob@example.net"} | ({"hidden@secret.example"} if way == "sendmail -t" else set())
    bobs = copies["bob@example.net"]
    assert b"hidden" not in bobs and bobs.endswith(b"\n\nbody\n"), bobs
    assert (field(bobs, "From"), field(bobs, "To")) == ("ann@example.org", "bob@example.net")
    host.daemon.wait_until_empty()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_mended_is_refused_in_one_sentence(hand_in, host, name, way):
    content, sentence = REFUSED[name]
    taken, said = hand_in(way, content)
    assert not taken and said.startswith("550 5.6.0" if way == "SMTP" else "65 ") and sentence in said, said
    assert host.daemon.queue() == []
