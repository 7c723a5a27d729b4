"""Throw-away certificates, made by openssl: a CA, and what a relay may present, good and bad."""

import datetime
import subprocess
from pathlib import Path

NAME = "relay.nullmta.test"


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)


class Authority:
    """A CA in `directory`; `ca_file` is what `tls.ca-file` names."""

    def __init__(self, directory: Path, common_name="nullmta interop CA"):
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ca_file = directory / "ca.pem"
        self._key = directory / "ca.key"
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", str(self._key), "-out", str(self.ca_file), "-days", "30",
            "-subj", f"/CN={common_name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
        )

    def issue(self, label: str, names: str, expired=False, usage="serverAuth"):
        """A certificate for `names` (a subjectAltName value), with `label` as its common name; returns its PEM file and
        its key's."""
        key, request = self.directory / f"{label}.key", self.directory / f"{label}.csr"
        certificate, extensions = self.directory / f"{label}.pem", self.directory / f"{label}.ext"
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        _openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", str(key), "-out", str(request), "-subj", f"/CN={label}",
        )
        today = datetime.datetime.now(datetime.timezone.utc)
        first, last = (-30, -1) if expired else (-1, 30)
        start, end = (f"{today + datetime.timedelta(days=days):%Y%m%d%H%M%SZ}" for days in (first, last))
        _openssl(
            "ca", "-batch", "-notext", "-config", str(self._database()), "-in", str(request), "-out", str(certificate),
            "-startdate", start, "-enddate", end, "-extfile", str(extensions),
        )
        return certificate, key

    def _database(self) -> Path:
        """What `openssl ca` wants: the only command that backdates a certificate."""
        config = self.directory / "ca.conf"
        (self.directory / "index.txt").touch()
        config.write_text(
            "[ca]\ndefault_ca = it\n[it]\npolicy = any\ndefault_md = sha256\nrand_serial = yes\n"
            f"unique_subject = no\ndatabase = {self.directory}/index.txt\nnew_certs_dir = {self.directory}\n"
            f"certificate = {self.ca_file}\nprivate_key = {self._key}\n[any]\ncommonName = supplied\n"
        )
        return config
