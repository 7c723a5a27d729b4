//! Each state that a file can be in, for each setting that names one. `check` and `run` build the same things from a
//! configuration and print the same errors; the sink says the same of a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::geteuid;
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::listener::certificate::Certificate;
use crate::relay::Relay;

/// A PEM certificate that is none when it is decoded.
const HOLLOW: &str = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";

/// A host's files. `own.pem` and `own.key` belong together.
struct Files {
    directory: TempDir,
    certificate: String,
    key: String,
}

/// Returns a self-signed certificate and its key, in PEM.
fn pair(algorithm: &'static SignatureAlgorithm) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    (CertificateParams::new(["nullmta.example".into()]).unwrap().self_signed(&key).unwrap(), key)
}

impl Files {
    fn new() -> Files {
        let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let directory = TempDir::new().unwrap();
        let files = Files { directory, certificate: certificate.pem(), key: key.serialize_pem() };
        files.write("own.pem", &files.certificate, 0o644);
        files.write("own.key", &files.key, 0o600);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    fn plain(&self, words: impl ToString) -> String {
        words.to_string().replace(&*self.directory.path().to_string_lossy(), "DIR")
    }

    /// Returns the error, without the name of the setting, if `setting` names the file `name`, and a setting beside it
    /// names the fitting file, which is in order. All readers of such a file give the same error.
    fn said(&self, setting: &'static str, name: &str) -> Result<(), String> {
        let line = |(key, own): &(&str, &str)| {
            let path = self.path(if *key == setting { name } else { own });
            format!("{key} = \"{}\"\n", path.display())
        };
        let lines: String = settings(setting).iter().map(line).collect();
        let toml = format!("relayhost = \"smtp.example.com\"\nlisten.hostname = \"host.example\"\n{lines}");
        let path = self.path("nullmta.toml");
        fs::write(&path, toml).unwrap();

        let config = Config::load(&path).unwrap();
        let relay = Relay::new(config.relay.clone()).map(drop);
        let built = relay.and_then(|()| Certificate::of(&config.listen).map(drop));
        let said = built.map_err(|error| {
            let words = self.plain(&error).strip_prefix(&format!("{setting}: ")).unwrap().to_owned();
            let located = self.plain(config.located(&error));
            assert!(located.starts_with("DIR/nullmta.toml:"), "{located}");
            assert!(located.ends_with(&format!(": key `{setting}`: {words}")), "{located}");
            words
        });
        if let [(chain, own_chain), (key, own_key)] = settings(setting)[..] {
            let named = |key, own| self.path(if key == setting { name } else { own });
            let (chain_path, key_path) = (named(chain, own_chain), named(key, own_key));
            let chain = TlsFile { setting: "C", path: &chain_path };
            let sink = Certificate::load(chain, TlsFile { setting: "K", path: &key_path });
            let sink = sink.map(drop).map_err(|error| self.plain(error.words()));
            assert_eq!(said, sink, "daemon and sink of {setting} = {name}");
        }
        said
    }
}

/// Returns the settings that a configuration with `setting` must have, each with a file that is in order.
fn settings(setting: &str) -> Vec<(&'static str, &'static str)> {
    match setting {
        "tls.ca-file" => vec![("tls.ca-file", "own.pem")],
        "tls.client-certificate" | "tls.client-key" => {
            vec![("tls.client-certificate", "own.pem"), ("tls.client-key", "own.key")]
        }
        _ => vec![("listen.certificate", "own.pem"), ("listen.key", "own.key")],
    }
}

/// The words for a file that cannot be used, in which `FILE` stands for its path; none where it can.
type Said = Option<&'static str>;

const MISSING: Said = Some("cannot read FILE: No such file or directory (os error 2)");
const NO_FILE: Said = Some("FILE is not a regular file");
const NO_CERTIFICATE: Said = Some("expected PEM certificates in FILE, found none");
const DAMAGED: Said = Some("expected PEM certificates in FILE, found damaged ones");
const NO_KEY: Said = Some("expected a PEM private key without a passphrase in FILE, found none");
const DAMAGED_KEY: Said =
    Some("expected a PEM private key without a passphrase in FILE, found a damaged one");
const HOLLOW_CERTIFICATE: Said = Some(
    "the first certificate in FILE is none that can be read: what its text stands for is no certificate",
);
const UNUSABLE_KEY: Said = Some(
    "the private key in FILE cannot be used: expected RSA of 2048 bits or more, ECDSA (P-256, P-384 or P-521) or \
     Ed25519",
);

/// Writes a file in each state that a file for TLS may be in.
fn write_all_states(files: &Files) {
    let Files { certificate: own, key, .. } = files;
    let other = pair(&rcgen::PKCS_ECDSA_P256_SHA256).1.serialize_pem();
    let damaged = HOLLOW.replace("aGVs", "%%%%");
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\naGVsbG8=\n\
                         -----END RSA PRIVATE KEY-----\n";
    let odd_key = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
    for (name, text, mode) in [
        ("empty", "", 0o600),
        ("words", "no PEM at all\n", 0o600),
        ("odd-behind", &format!("{own}{HOLLOW}"), 0o644),
        ("odd-before", &format!("{HOLLOW}{own}"), 0o644),
        ("odd", HOLLOW, 0o600),
        ("damaged-behind", &format!("{own}{damaged}"), 0o644),
        ("damaged", &damaged, 0o600),
        ("other.key", &other, 0o600),
        ("encrypted.key", &encrypted, 0o600),
        ("old-encrypted.key", old_encrypted, 0o600),
        ("cut.key", &key[..90], 0o600),
        ("odd.key", odd_key, 0o600),
        ("open.key", key, 0o644),
        ("writable.key", key, 0o620),
        ("both", &format!("{own}{key}"), 0o600),
        ("closed", own, 0o000),
    ] {
        files.write(name, text, mode);
    }
    fs::create_dir(files.path("directory")).unwrap();
    mknodat(CWD, files.path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
}

/// `check` took files that `run` refused, or looked at with other rules: a key that everybody may read was refused by
/// `check` alone, and a pipe in the place of a certificate kept it waiting for ever.
#[test]
fn a_file_in_any_state_is_taken_or_refused_in_the_same_words_by_all() {
    let files = Files::new();
    write_all_states(&files);
    let open = |mode| format!("FILE is open to others than its owner (mode {mode}): chmod 600 FILE");
    let (readable, writable) = (open("0644"), open("0620"));
    let (readable, writable): (&'static str, &'static str) = (readable.leak(), writable.leak());
    let cases: &[(&str, Said, Said, Said)] = &[
        // The file; as authorities, as a certificate, as a key.
        ("missing", MISSING, MISSING, MISSING),
        ("directory", NO_FILE, NO_FILE, NO_FILE),
        ("pipe", NO_FILE, NO_FILE, NO_FILE),
        ("empty", NO_CERTIFICATE, NO_CERTIFICATE, NO_KEY),
        ("words", NO_CERTIFICATE, NO_CERTIFICATE, NO_KEY),
        ("odd-behind", None, None, Some(readable)),
        ("odd-before", None, HOLLOW_CERTIFICATE, Some(readable)),
        (
            "odd",
            Some("expected a CA certificate in FILE, found none that can be used"),
            HOLLOW_CERTIFICATE,
            NO_KEY,
        ),
        ("damaged-behind", None, DAMAGED, Some(readable)),
        ("damaged", DAMAGED, DAMAGED, DAMAGED_KEY),
        ("own.key", NO_CERTIFICATE, NO_CERTIFICATE, None),
        (
            "other.key",
            NO_CERTIFICATE,
            NO_CERTIFICATE,
            Some("expected the private key of DIR/own.pem in FILE, found another"),
        ),
        ("encrypted.key", NO_CERTIFICATE, NO_CERTIFICATE, NO_KEY),
        ("old-encrypted.key", DAMAGED, DAMAGED, DAMAGED_KEY),
        ("cut.key", DAMAGED, DAMAGED, DAMAGED_KEY),
        ("odd.key", NO_CERTIFICATE, NO_CERTIFICATE, UNUSABLE_KEY),
        ("open.key", NO_CERTIFICATE, NO_CERTIFICATE, Some(readable)),
        ("writable.key", NO_CERTIFICATE, NO_CERTIFICATE, Some(writable)),
        ("both", None, None, None),
    ];
    for &(name, as_authorities, as_certificate, as_key) in cases {
        for (setting, expected) in [
            ("tls.ca-file", as_authorities),
            ("tls.client-certificate", as_certificate),
            ("listen.certificate", as_certificate),
            ("tls.client-key", as_key),
            ("listen.key", as_key),
        ] {
            let file = format!("DIR/{name}");
            let expected = expected.map(|words| words.replace("FILE", &file));
            assert_eq!(files.said(setting, name).err(), expected, "{setting} = {name}");
        }
    }
    // Root may read it.
    let denied =
        format!("cannot read DIR/closed as uid {}: Permission denied (os error 13)", geteuid().as_raw());
    for setting in ["tls.ca-file", "tls.client-certificate", "listen.certificate"] {
        let expected = (!geteuid().is_root()).then(|| denied.clone());
        assert_eq!(files.said(setting, "closed").err(), expected, "{setting}");
    }
}

/// Returns `der` in PEM.
fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
}

/// Returns the key that PKCS #8 wraps, from the header of `header` octets in front of its `version` on (RFC 5208 5).
fn unwrapped<'a>(der: &'a [u8], version: &[u8], header: usize) -> &'a [u8] {
    let at = der.windows(version.len()).position(|octets| octets == version).unwrap();
    &der[at - header..]
}

/// A private key in PEM.
type Form = fn(&KeyPair) -> String;

#[test]
fn every_usual_kind_of_key_is_taken_by_all() {
    let pkcs8 = |key: &KeyPair| key.serialize_pem();
    let pkcs1 =
        |key: &KeyPair| pem("RSA PRIVATE KEY", unwrapped(&key.serialize_der(), &[2, 1, 0, 2, 0x82], 4));
    let sec1 = |key: &KeyPair| pem("EC PRIVATE KEY", unwrapped(&key.serialize_der(), &[2, 1, 1, 4, 32], 2));
    let kinds: [(_, Form); 6] = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, pkcs8),
        (&rcgen::PKCS_ECDSA_P384_SHA384, pkcs8),
        (&rcgen::PKCS_ED25519, pkcs8),
        (&rcgen::PKCS_RSA_SHA256, pkcs8),
        (&rcgen::PKCS_RSA_SHA256, pkcs1),
        (&rcgen::PKCS_ECDSA_P256_SHA256, sec1),
    ];
    for (algorithm, form) in kinds {
        let files = Files::new();
        let (certificate, key) = pair(algorithm);
        files.write("own.pem", &certificate.pem(), 0o644);
        files.write("own.key", &form(&key), 0o600);
        for setting in ["tls.client-key", "listen.key"] {
            assert_eq!(
                files.said(setting, "own.key"),
                Ok(()),
                "{algorithm:?} {}",
                form(&key).lines().next().unwrap()
            );
        }
    }
}
