"""OAuth for real: oidc-provider as the token endpoint, Dovecot as the relay that asks it about each token, and somebody
with a browser who logs in by a device code.
"""

import http.cookiejar
import json
import re
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from daemon import Nullmta
from servers import CONFIGS, HOME, Dovecot, Server, in_namespace
from waiting import accepts, free_port, wait_until

# What oidc-provider has of each grant of `[auth.oauth]`; what it has not, with the reason, and what stands in.
GRANTS = {
    "client-credentials": "its own, by a secret (client_secret_post) and by a certificate (private_key_jwt)",
    "refresh-token": "its own; each is replaced when it is used, and a second use revokes all that came of it",
    "device-code": "its own, with its pages for the browser",
    "jwt-bearer": "not its own: it has no accounts of services. servers/oauth_server.mjs adds it by registerGrantType, and jose "
                  "checks signature, issuer, audience and age",
}

MAILBOX = "noreply@example.com"
SECRET = "app-s3cret&more"
ACCOUNT = "mailer@project.example"


def rsa(base: Path, name: str):
    """A self-signed certificate with an RSA key; the PEM files of both."""
    certificate, key = base / f"{name}.pem", base / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
         "-days", "30", "-subj", f"/CN={name}"], check=True, capture_output=True, stdin=subprocess.DEVNULL,
    )
    key.chmod(0o600)
    return certificate, key


class OAuthServer:
    """The token endpoint. `answers` says what it was asked and what it answered, in order."""

    def __init__(self, base: Path, authority, lifetime=3600):
        self.base, self.authority, self.port, self.process = base, authority, free_port(), None
        base.mkdir(parents=True)
        certificate, key = authority.issue("oauth", "DNS:localhost,IP:127.0.0.1")
        (base / "cert.pem").write_bytes(certificate.read_bytes())
        (base / "key.pem").write_bytes(key.read_bytes())
        self.app = rsa(base, "app")
        self.account = rsa(base, "account")
        self.url = f"https://localhost:{self.port}"
        device = "urn:ietf:params:oauth:grant-type:device_code"
        bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        post = {"token_endpoint_auth_method": "client_secret_post", "client_secret": SECRET}
        signed = {"token_endpoint_auth_method": "private_key_jwt", "certificate": str(self.app[0])}
        public = {"token_endpoint_auth_method": "none", "application_type": "native"}
        both = [device, "refresh_token"]
        clients = [
            {"client_id": "by-secret", "grant_types": ["client_credentials"], **post},
            {"client_id": "by-certificate", "grant_types": ["client_credentials"], **signed},
            {"client_id": "on-a-terminal", "grant_types": both, **public},
            {"client_id": "on-a-terminal-by-secret", "grant_types": both, **post},
            {"client_id": ACCOUNT, "grant_types": [bearer], **public},
            {"client_id": "the-relay", "grant_types": ["client_credentials"],
             "token_endpoint_auth_method": "client_secret_basic", "client_secret": "relay-secret"},
        ]
        accounts = {ACCOUNT: {"key": str(self.account[0]), "scope": "smtp.send"}}
        (base / "oauth.json").write_text(json.dumps(
            {"clients": clients, "accounts": accounts, "mailbox": MAILBOX, "lifetime": lifetime}))

    def start(self):
        with open(self.base / "output.log", "ab") as log:
            self.process = subprocess.Popen(
                ["node", str(CONFIGS / "oauth_server.mjs"), str(HOME), str(self.base), str(self.port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        wait_until(self._serves, 60, lambda: f"the OAuth server, which says {self.log()[-3000:]}")
        return self

    def _serves(self):
        assert self.process.poll() is None, f"the OAuth server did not start:\n{self.log()[-3000:]}"
        return accepts(self.port)

    def log(self):
        return (self.base / "output.log").read_text(errors="replace")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def answers(self) -> list:
        try:
            return [json.loads(line) for line in (self.base / "grants.jsonl").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def granted(self) -> list:
        return [answer["reply"] for answer in self.answers() if answer["status"] == 200]

    def hold(self):
        """From now on an answer of the token endpoint is made, and not sent before `go_on`."""
        (self.base / "hold").touch()

    def hold_introspection(self):
        """From now on no relay learns before `go_on` what a token is worth that it was shown."""
        (self.base / "introspected").unlink(missing_ok=True)
        (self.base / "hold-introspection").touch()

    def was_introspected(self) -> bool:
        return (self.base / "introspected").exists()

    def go_on(self):
        for name in ("hold", "hold-introspection"):
            (self.base / name).unlink(missing_ok=True)

    def secrets(self) -> set:
        """Everything that nobody may read: what the endpoint was told, and what it has handed out."""
        found = {SECRET}
        for answer in self.answers():
            asked = ("refresh_token", "device_code", "client_secret", "client_assertion", "assertion")
            given = ("access_token", "refresh_token", "device_code")
            found |= {answer["form"][name] for name in asked if name in answer["form"]}
            found |= {answer["reply"][name] for name in given if name in answer["reply"]}
        return found

    def revoke(self, token: str):
        """Takes an access token back, as an administrator does."""
        form = {"token": token, "client_id": "by-secret", "client_secret": SECRET}
        Browser(self.authority).post(f"{self.url}/token/revocation", form)


class Browser:
    """Somebody with a browser, on any host: follows pages and sends their forms."""

    def __init__(self, authority):
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), jar)

    def post(self, url: str, form=None):
        """Opens a page, or sends it a form; returns its address and text."""
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        with self._opener.open(url, data, timeout=30) as page:
            return page.url, page.read().decode()

    def log_in(self, page: str, code: str, user: str):
        """Types the code on the page, logs in, and agrees."""
        url, text = self.post(page)
        url, text = self._send(url, text, user_code=code)
        url, text = self._send(url, text)
        url, text = self._send(url, text, login=user, password="any")
        url, text = self._send(url, text)
        assert "form" not in text or "Success" in text, text

    def _send(self, url: str, text: str, **typed):
        """Sends the form of a page, with what is typed into it."""
        action = re.search(r'action="([^"]+)"', text)
        assert action, f"a form at {url}: {text}"
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))
        return self.post(urllib.parse.urljoin(url, action.group(1)), {**hidden, **typed})


class OAuthDovecot(Server):
    """Dovecot's submission service, which asks the token endpoint about each token, and offers XOAUTH2 and OAUTHBEARER."""

    def __init__(self, *arguments, endpoint: OAuthServer):
        self._endpoint = endpoint
        super().__init__(*arguments)

    def prepare(self):
        self.write("ca.pem", self._endpoint.authority.ca_file.read_text())
        self.write("dovecot.conf", self.fill_in("dovecot_oauth.conf"))
        asked = f"https://the-relay:relay-secret@localhost:{self._endpoint.port}/token/introspection"
        self.write("oauth2.conf.ext", "\n".join([
            "introspection_mode = post", f"introspection_url = {asked}", "force_introspection = yes",
            "active_attribute = active", "active_value = true", "username_attribute = username",
            f"tls_ca_cert_file = {self.base}/ca.pem", "",
        ]))

    command = Dovecot.command

    def log(self):
        told = self.base / "dovecot.log"
        return super().log() + (told.read_text() if told.exists() else "")


def configuration(endpoint_url: str, grant: str, **keys) -> str:
    """`[auth.oauth]` behind the other keys of `[auth]`."""
    values = {"grant": grant, "token-url": f"{endpoint_url}/token", **{key.replace("_", "-"): value for key, value in keys.items()}}
    return "\n[auth.oauth]\n" + "".join(f"{key} = {json.dumps(str(value))}\n" for key, value in values.items())


def write_secret(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def spoken(daemon: Nullmta) -> str:
    """Everything that a daemon tells: its log at level debug, its status, its queue."""
    told = daemon.log()
    if daemon.process is not None:
        told += json.dumps(daemon.status()) + json.dumps(daemon.queue()) + daemon.command("status")
    return told
