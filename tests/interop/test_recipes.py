"""The recipes that nullmta replaces, octet by octet: the same messages through a real Postfix that was set up by one,
and through nullmta with a small configuration, and with the one that `import-postfix` makes.

Each has a relay with STARTTLS and, where the recipe authenticates, AUTH. A difference must be one of `DIFFERENCES`,
and each of them must occur. qmail's ofmipd is in no Debian package: Postfix stands in for it, with tables. By its own
source ofmipd takes the reverse-path for the key, gives From a full name as well, and writes it anew; here each address
is looked up where it stands, and names stay.
"""

import re
import smtplib
from dataclasses import dataclass, field

import pytest

import recipes
from beside import sendmail, settled
from daemon import submit
from recorder import Recorder

EVERYWHERE = list(recipes.RECIPES)
WAYS = ["smtp", "sendmail"]


@dataclass
class Difference:
    """Of these messages, in these recipes, `aspect` differs for this reason."""

    reason: str
    aspect: str
    messages: list
    recipes: list = field(default_factory=lambda: EVERYWHERE)
    ways: list = field(default_factory=lambda: WAYS)


DIFFERENCES = [
    Difference(
        "Postfix folds a field anew when it has changed an address in it; to nullmta the octets around it are sacred.",
        "folds", ["one-sender 1", "recipe-3-ofmipd 1"],
    ),
    Difference("The same.", "folds", ["masquerade 1"], ["null client", "ofmipd", "satellite", "masquerade"]),
    Difference(
        "The same; with shorter domains Postfix comes to the same folds.",
        "folds", ["bare addresses"], ["null client"],
    ),
    Difference(
        "Of a field that is no list of addresses those that can be read are rewritten; Postfix makes addresses of its words, "
        "too.",
        "header", ["malformed 1", "no-list 1", "no-list 2"],
    ),
    Difference(
        "The name of an author that is no phrase is put in quotes, and a bare word beside brackets is a part of a name; "
        "Postfix makes a group or further authors of it.",
        "header", ["author-names 1", "author-names 2"],
    ),
    Difference(
        "A list of addresses that goes on on the next line without a comma or an indent gets what is missing; to Postfix "
        "what is not indented is the body's beginning.",
        "header", ["forgotten-comma 1"],
    ),
    Difference("The same.", "body", ["forgotten-comma 1"]),
    Difference(
        "A malformed list that DKIM signs is left alone; Postfix rewrites its words.",
        "header", ["forgotten-comma 2"], ["one person"],
    ),
    Difference(
        "A message leaves with one From: a second one becomes an X-Original-From.",
        "header", ["two From fields"],
    ),
    Difference(
        "A Resent-Bcc that is dropped leaves no trace; Postfix adds the other resent fields for it.",
        "header", ["Bcc"],
    ),
    Difference(
        "MAILER-DAEMON is completed like any address; Postfix leaves it bare, which relays refuse.",
        "header", ["recipe-1-null-client 3"], ["null client", "ofmipd", "satellite", "masquerade"],
    ),
    Difference(
        "The null reverse-path is nobody's to map: a report that fails must not be answered with another.",
        "reverse_path", ["recipe-1-null-client 3", "recipe-2-all-to-one 3"], ["one person"],
    ),
    Difference(
        "A From that is made for it is MAILER-DAEMON's, without the submitter's full name, before it is mapped.",
        "header", ["recipe-1-null-client 3"], ["one person"], ["sendmail"],
    ),
    Difference(
        "Two recipients who become one get one copy; Postfix tells the relay of both.",
        "recipients",
        ["masquerade 1", "masquerade-envelope-only 1", "masquerade-header-only 1", "one-sender 1",
         "recipe-2-all-to-one 1", "recipe-3-ofmipd 1"],
        ["one person"],
    ),
]


@dataclass
class Host:
    """A recipe by Postfix, and by nullmta with each configuration."""

    recipe: str
    messages: dict
    postfix: object
    ours: dict


@pytest.fixture(scope="module", params=recipes.RECIPES)
def host(request, base, authority):
    recipe = recipes.RECIPES[request.param]
    certificate, key = authority.issue(f"recipe-{recipe.directory}", "IP:127.0.0.1")
    directory = base / recipe.directory
    directory.mkdir(mode=0o755)

    def relay():
        return Recorder(certificate, key, needs_user=recipe.has_user)

    postfix = recipes.postfix(recipe, directory / "postfix", relay(), authority.ca_file)
    ours = {"imported": recipes.imported(recipe, directory / "imported", relay(), authority.ca_file, postfix)}
    if recipe.small:
        ours["small"] = recipes.small(recipe, directory / "small", relay(), authority.ca_file)
    yield Host(request.param, recipes.messages_for(recipe), postfix, ours)
    for side in (postfix, *ours.values()):
        side.stop()


def sent_by(side, messages, way) -> dict:
    """What the relay gets of each message."""
    for message in messages.values():
        if way == "smtp":
            with smtplib.SMTP("127.0.0.1", side.port, timeout=60) as client:
                submit(client, message.content, message.reverse_path, message.recipients)
        else:
            done = sendmail(side, ["-i", "-f", message.reverse_path, "--", *message.recipients], message.content)
            assert done.returncode == 0, done.stderr
    sent = settled(side)
    assert sorted(recipes.name_of(each) for each in sent) == sorted(messages), "each message once"
    return {recipes.name_of(each): each for each in sent}


def differing(postfix, ours):
    found = postfix.differing(ours)
    if "header" in found and unfolded(postfix.header) == unfolded(ours.header):
        found = found - {"header"} | {"folds"}
    return found


def unfolded(header):
    """Without the white space that Postfix puts between addresses in its own way."""
    return [re.sub(rb"\s*,\s*", b", ", re.sub(rb"\s+", b" ", octets)) for octets in header]


@pytest.mark.parametrize("way", WAYS)
def test_octets(host, way):
    by_postfix = sent_by(host.postfix, host.messages, way)
    for name, side in host.ours.items():
        ours = sent_by(side, host.messages, way)
        for message, postfix in by_postfix.items():
            listed = {
                difference.aspect for difference in DIFFERENCES
                if message in difference.messages and host.recipe in difference.recipes and way in difference.ways
            }
            found = differing(postfix, ours[message])
            assert found == listed, f"{message}, {name}:\n{postfix}\n{ours[message]}"


@pytest.mark.parametrize("host", ["null client"], indirect=True)
def test_ehlo_offers_all_that_postfix_does(host):
    def offered(side):
        with smtplib.SMTP("127.0.0.1", side.port, timeout=60) as client:
            client.ehlo()
            return client.esmtp_features.keys()

    assert offered(host.postfix) <= offered(host.ours["small"]), "applications miss nothing"


def test_every_difference_is_of_a_message():
    for difference in DIFFERENCES:
        assert difference.messages and set(difference.messages) <= recipes.messages().keys(), difference.reason
