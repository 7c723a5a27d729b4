"""What must not change between submission and the relay's mailbox: octet by octet, added fields aside."""

import re

# What Postfix puts in front of a delivered message, then its Received field, then ours.
IN_FRONT = [b"return-path", b"x-original-to", b"delivered-to", b"received", b"received"]
# What nullmta adds behind the header section, where it was missing.
BEHIND = [b"message-id", b"date", b"from", b"to"]
# Fields with one of which a message needs no To field.
RECIPIENTS = {b"to", b"cc", b"resent-to", b"resent-cc"}

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*")


def split(message: bytes):
    """The header fields, each with its name in lower case, and the body without the empty line."""
    fields, position = [], 0
    while found := _FIELD.match(message, position):
        fields.append((found.group(1).lower(), found.group(0)))
        position = found.end()
    body = message[position:]
    return fields, body[1:] if body.startswith(b"\n") else body


def assert_delivered_unchanged(delivered: bytes, sent: bytes):
    """`delivered` is `sent` with the fields of the two hops added, and nothing else."""
    expected_fields, expected_body = split(sent.replace(b"\r\n", b"\n"))
    fields, body = split(delivered)
    assert [name for name, _ in fields[: len(IN_FRONT)]] == IN_FRONT, fields[: len(IN_FRONT)]
    assert b"(nullmta)" in fields[len(IN_FRONT) - 1][1]
    fields = fields[len(IN_FRONT) :]
    present = {name for name, _ in expected_fields}
    for name in BEHIND:
        is_needed = not present & RECIPIENTS if name == b"to" else name not in present
        if is_needed:
            position = max((i for i, field in enumerate(fields) if field[0] == name), default=None)
            assert position is not None and position >= len(expected_fields), f"{name} was not added"
            del fields[position]
    assert fields == expected_fields
    if body != expected_body:
        where = next((i for i, pair in enumerate(zip(body, expected_body)) if pair[0] != pair[1]), None)
        raise AssertionError(
            f"the body differs at octet {where}: {len(body)} octets were delivered of {len(expected_body)}"
        )
