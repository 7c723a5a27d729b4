"""Null clients made by recipe: on Postfix, and on nullmta by a small configuration and by `import-postfix`.

Their Postfix is a directory under `tests/import`; the small configuration is under `tests/recipes`. Only this is
changed in them: TLS is demanded, the relay's name becomes a recorder's address, and paths under /etc the ones of a
test. The messages are those of `tests/rewriting`, and some of the sendmail cases.
"""

import re
import subprocess
from dataclasses import dataclass

from beside import NullmtaSide, PostfixSide
from daemon import TREE, binary
from sendmail_cases import CONTENT

RELAY = re.compile(
    r"\[?(smtp\.sendgrid\.net|smtp\.example\.org|smtp\.example\.com|mail\.example\.com)\]?"
    r"(:587|:25|:submission)?(?![\w@.])"
)
ETC = re.compile(
    r"/etc/(?:postfix/)?(header_checks|sasl_passwd|senders|recipients|generic|virtual|aliases|mailname)\b"
)


# Of the sendmail cases, those that SMTP can carry as well.
CONTENTS = [
    "empty", "no header", "8-bit", "dots", "bare addresses", "lower case", "two From fields", "CRLF", "Bcc", "bare CR",
    "Received", "a folded field",
]


@dataclass
class Recipe:
    """`directory` is under `tests/import`, `small` under `tests/recipes`; `host` is the name it makes the host's.

    Where it `delivers_locally`, mail for users of the host is no part of the comparison.
    """

    directory: str
    small: str | None
    host: str
    has_user: bool = True
    delivers_locally: bool = False


RECIPES = {
    "null client": Recipe("recipe-null-client", "null-client.toml", "app1.example.com"),
    "one person": Recipe("recipe-one-person", "one-person.toml", "web1.home.example.net"),
    "ofmipd": Recipe("recipe-ofmipd", "ofmipd.toml", "web1.example.org"),
    "satellite": Recipe("debian-satellite", "satellite.toml", "web1.example.com", has_user=False),
    "masquerade": Recipe("recipe-masquerade", None, "web1.example.org"),
    "generic": Recipe("recipe-from-by-table", None, "web1.example.com", has_user=False, delivers_locally=True),
}


def postfix(recipe, base, recorder, ca_file):
    etc = TREE / "tests" / "import" / recipe.directory / "etc"
    place = base / "etc"

    def changed(path):
        text = RELAY.sub(f"[127.0.0.1]:{recorder.port}", path.read_text())
        return ETC.sub(lambda found: str(place / found.group(1)), text)

    files = [(path.name, changed(path)) for path in [*(etc / "postfix").iterdir(), *etc.iterdir()]
             if path.is_file() and path.name not in ("main.cf", "master.cf")]
    main_cf = f"myhostname = {recipe.host}\n" + changed(etc / "postfix" / "main.cf")
    if (etc / "aliases").exists():
        main_cf += f"\nalias_maps = hash:{place}/aliases\n"
    return PostfixSide(
        base, main_cf, recorder, recipe.host, files, inet_protocols="ipv4", smtp_tls_CAfile=ca_file,
        smtp_tls_security_level="encrypt",
        # nullmta always adds it.
        undisclosed_recipients_header="To: undisclosed-recipients:;",
    )


def small(recipe, base, recorder, ca_file):
    text = (TREE / "tests" / "recipes" / recipe.small).read_text()
    return _nullmta(text, recipe, base, recorder, ca_file)


def imported(recipe, base, recorder, ca_file, postfix_side):
    """What `import-postfix` makes of the very files that `postfix_side` runs by, the password among them."""
    secret = ["--secret-file", f"{base}.secret"] if recipe.has_user else []
    done = subprocess.run(
        [str(binary()), "import-postfix", *secret, str(postfix_side.config)], capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return _nullmta(done.stdout, recipe, base, recorder, ca_file)


def _nullmta(text, recipe, base, recorder, ca_file):
    def toml(daemon):
        placed = RELAY.sub("127.0.0.1", text)
        placed = re.sub(r'^relayhost = .*', f'relayhost = "127.0.0.1:{recorder.port}"', placed, flags=re.MULTILINE)
        placed = placed.replace("/etc/nullmta.secret", f"{daemon.base}/secret")
        placed = re.sub(r"^(hostname|addresses|ca-file|mode) = .*\n", "", placed, flags=re.MULTILINE)
        tables = {
            "listen": f'addresses = ["127.0.0.1:{daemon.port}"]\nsocket = "{daemon.socket}"\n'
                      f'hostname = "{recipe.host}"\n',
            "admin": f'control = "{daemon.base}/control.sock"\n',
            "tls": f'ca-file = "{ca_file}"\n',
        }
        for table, keys in tables.items():
            heading = f"[{table}]\n"
            if heading not in placed:
                placed += heading
            placed = placed.replace(heading, heading + keys)
        return f'spool = "{daemon.base}/spool"\n' + placed

    return NullmtaSide(base, recorder, recipe.host, toml)


@dataclass
class Message:
    """`content` has a last line of its own, to know it by."""

    reverse_path: str
    recipients: list
    content: bytes


def messages_for(recipe) -> dict:
    """Those of `messages` that leave the host."""
    return {
        name: message for name, message in messages().items()
        if not recipe.delivers_locally or all("@" in recipient for recipient in message.recipients)
    }


def messages() -> dict:
    """By name: what goes into the cases under `tests/rewriting`, with an envelope in ASCII, and contents of the sendmail cases."""
    found = {}
    for path in sorted((TREE / "tests" / "rewriting").glob("*.case")):
        inputs = path.read_text().split("\n--- ")[1::2]
        for number, text in enumerate(inputs, 1):
            line, _, content = text.partition("\n")
            if not line.isascii():
                # It is for SMTPUTF8 (RFC 6531), which neither way of these tests asks for.
                continue
            reverse_path, *recipients = re.findall(r"<(.*?)>", line.partition(" NAME:")[0])
            found[f"{path.stem} {number}"] = Message(reverse_path, recipients, content.encode())
    for name in CONTENTS:
        found[name] = Message("ann@example.org", ["bob@example.net"], CONTENT[name].message)
    for name, message in found.items():
        message.content += f"\nthis is {name}\n".encode()
    return found


def name_of(sent) -> str:
    """Which of the messages was sent."""
    return sent.body.decode(errors="replace").rstrip("\n").rpartition("this is ")[2]
