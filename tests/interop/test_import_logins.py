"""The account of each message at a relay: the one with which a real Postfix logs in by the sender, and the one of nullmta with
what `import-postfix` makes of its files."""

import re
import smtplib
import subprocess

from daemon import binary
from pki import NAME
from postfix import PASSWORD, REALM, USER
from postfix_client import PostfixClient
from waiting import wait_until

SHOP, SHOP_PASSWORD = "shopuser", "an0ther pass:word"

MAIN_CF = """\
myhostname = client.nullmta.test
myorigin = client.nullmta.test
mydestination =
local_transport = error:no mail is delivered here
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_host_lookup = native
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = {name}
smtp_tls_CAfile = {ca_file}
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_mechanism_filter = plain
smtp_sasl_password_maps = texthash:{etc}/sasl_passwd
smtp_sender_dependent_authentication = yes
sender_dependent_relayhost_maps = texthash:{etc}/sender_relay
# One connection has one login.
smtp_connection_cache_on_demand = no
"""
# A sender with an account of its own; a domain of them; one with a relay of its own; and the relay's account for the others.
SASL_PASSWD = """\
ann@brand.example {shop}:{shop_password}
@shop.example {shop}:{shop_password}
[localhost]:{port} {shop}:{shop_password}
[127.0.0.1]:{port} {user}:{password}
"""
SENDER_RELAY = """\
bob@own.example [localhost]:{port}
eve@shop.example [127.0.0.1]:{port}
"""
ACCOUNTS = {
    "ann@brand.example": SHOP,
    "x@brand.example": USER,
    "any@shop.example": SHOP,
    "eve@shop.example": SHOP,
    "bob@own.example": SHOP,
    "x@own.example": USER,
    "x@net.example": USER,
}


def logins(relay, since) -> dict:
    """The account behind each reverse-path that the relay has taken since."""
    log = relay.log()[since:]
    users = dict(re.findall(rf" ([0-9A-Za-z]+): client=\S+, sasl_method=PLAIN, sasl_username=(\S+?)(?:@{REALM})?\n", log))
    return {sender: users.get(queue_id) for queue_id, sender in re.findall(r" ([0-9A-Za-z]+): from=<([^>]*)>", log)}


def sent_by_each(port):
    for sender in ACCOUNTS:
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            assert client.sendmail(sender, ["y@net.example"], b"Subject: x\r\n\r\nx\r\n") == {}


def test_each_sender_logs_in_as_with_postfix(scratch, make_nullmta, postfix, authority):
    postfix.add_user(SHOP, SHOP_PASSWORD)
    values = dict(
        port=postfix.port, name=NAME, ca_file=authority.ca_file, etc=scratch / "client" / "etc", user=USER, password=PASSWORD,
        shop=SHOP, shop_password=SHOP_PASSWORD,
    )
    client = PostfixClient(scratch / "client", MAIN_CF.format(**values))
    for name, text in {"sasl_passwd": SASL_PASSWD, "sender_relay": SENDER_RELAY}.items():
        (client.config / name).write_text(text.format(**values))
    secret = scratch / "imported.secret"
    done = subprocess.run(
        [binary(), "import-postfix", str(client.config), "--secret-file", str(secret)],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout and SHOP_PASSWORD not in done.stdout

    since = len(postfix.log())
    client.start()
    try:
        sent_by_each(client.port)
        client.wait_until_empty()
    finally:
        client.stop()
    wait_until(lambda: len(logins(postfix, since)) == len(ACCOUNTS), 30, lambda: postfix.log()[since:])
    assert logins(postfix, since) == ACCOUNTS

    nullmta = make_nullmta(postfix.port)
    base, imported = nullmta.config.read_text(), done.stdout
    # All that is about relays comes from the import: the test's own file says where the daemon itself is.
    kept = re.split(r"(?m)^(?=\[)", base)
    kept = [part for part in kept if not part.startswith(("[auth]", "[tls]"))]
    kept[0] = re.sub(r"(?m)^relayhost = .*\n", "", kept[0])
    about_relays = re.split(r"(?m)^(?=\[(?!route\.)|\[\[)", re.split(r"(?m)^# (?:Not carried|So with)", imported)[0])
    wanted = ("[auth]", "[tls]", "[[route]]")
    tables = [part for part in about_relays[1:] if part.startswith(wanted)]
    relayhost = re.search(r"(?m)^relayhost = .*$", about_relays[0]).group(0)
    nullmta.config.write_text(f"{relayhost}\n" + "".join(kept) + "\n" + "".join(tables))
    nullmta.command("check")
    nullmta.start()
    since = len(postfix.log())
    sent_by_each(nullmta.port)
    nullmta.wait_until_empty()
    wait_until(lambda: len(logins(postfix, since)) == len(ACCOUNTS), 30, lambda: postfix.log()[since:])
    assert logins(postfix, since) == ACCOUNTS
