"""The relay fixture by itself: what it must ask for, and that it delivers what it is given."""

import base64
import hashlib
import hmac
import os
import smtplib
import ssl
import subprocess

import pytest

from pki import NAME
from postfix import MECHANISMS, PASSWORD, USER, field


def swaks(relay, *arguments):
    return subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{relay.port}", "--from", "ann@example.org", "--to", "bob@example.net",
         *arguments],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_takes_mail_after_starttls_and_auth(postfix, authority, mechanism):
    done = swaks(
        postfix, "-tls", "--tls-verify", "--tls-ca-path", str(authority.ca_file), "--tls-verify-target", NAME,
        "--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD,
    ) if _swaks_verifies_names() else swaks(
        postfix, "-tls", "--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    (message,) = postfix.wait_for(1)
    assert field(message, "Delivered-To") == "bob@example.net"
    assert "ESMTPSA" in field(message, "Received")


def _swaks_verifies_names():
    helped = subprocess.run(["swaks", "--help"], capture_output=True, text=True).stdout
    return "--tls-verify-target" in helped


def test_refuses_mail_without_auth_and_wrong_passwords(postfix):
    assert "Access denied" in swaks(postfix).stdout
    assert "Access denied" in swaks(postfix, "-tls").stdout
    refused = swaks(postfix, "-tls", "--auth", "PLAIN", "--auth-user", USER, "--auth-password", "wrong").stdout
    assert "535" in refused, refused[-1000:]


class Scram:
    """The client of RFC 5802, as smtplib's `auth` wants it."""

    def __init__(self, hash_name):
        self._hash, self._nonce = hash_name, base64.b64encode(os.urandom(18)).decode()
        self._bare = f"n={USER},r={self._nonce}"

    def __call__(self, challenge=None):
        if not challenge:
            return "n,," + self._bare
        server_first = challenge.decode()
        parts = dict(part.split("=", 1) for part in server_first.split(","))
        if "v" in parts:
            return ""
        salted = hashlib.pbkdf2_hmac(self._hash, PASSWORD.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
        key = self._hmac(salted, b"Client Key")
        final = f"c=biws,r={parts['r']}"
        message = ",".join([self._bare, server_first, final]).encode()
        signature = self._hmac(hashlib.new(self._hash, key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(key, signature))
        return f"{final},p={base64.b64encode(proof).decode()}"

    def _hmac(self, key, message):
        return hmac.new(key, message, self._hash).digest()


@pytest.mark.parametrize("mechanism, hash_name", [
    ("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-512", "sha512"),
])
def test_offers_scram(postfix, authority, mechanism, hash_name):
    with smtplib.SMTP("localhost", postfix.port, timeout=30) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(authority.ca_file)))
        client.ehlo()
        assert set(client.esmtp_features["auth"].split()) >= set(MECHANISMS)
        assert client.auth(mechanism, Scram(hash_name))[0] == 235


def test_stops_and_starts_again(postfix):
    postfix.stop()
    assert not postfix.is_running()
    postfix.start()
    assert "220 " in swaks(postfix, "--quit-after", "HELO").stdout
