//! STARTTLS for clients that submit mail: `smtpd_tls_*`.
//!
//! Promises: a certificate is carried if Postfix offered STARTTLS with it. The exception is the one that the package
//! ssl-cert of Debian makes: nobody trusts it, and clients that verify certificates would fail.

use super::super::draft::{ConfigDraft, DraftKey};
use super::super::lines::items;
use super::super::location::ImportError;
use super::PostfixSource;

const LEVELS: [&str; 3] = ["smtpd_tls_security_level", "smtpd_use_tls", "smtpd_enforce_tls"];
const CERTIFICATES: [&str; 3] = ["smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_eccert_file"];
const KEYS: [&str; 2] = ["smtpd_tls_key_file", "smtpd_tls_eckey_file"];

/// The name of the file with that certificate.
const SNAKE_OIL: &str = "ssl-cert-snakeoil";

/// Adds these parameters to `draft`.
pub(super) fn carry(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let level = level(source)?;
    let pair = pair(source)?;
    let levels = source.parameters.cited(&LEVELS);
    let (certificates, keys) = (source.parameters.cited(&CERTIFICATES), source.parameters.cited(&KEYS));
    let all = || [levels.clone(), certificates.clone(), keys.clone()].concat();
    match pair {
        _ if level == "none" => draft.already_so(all(), "STARTTLS is not offered"),
        Pair::None => draft.already_so(all(), "STARTTLS is not offered without a certificate"),
        Pair::Several => draft.not_carried(
            all(),
            "there are several: listen.certificate and listen.key are one chain and its key",
        ),
        Pair::SourceFiles { certificate, .. } if certificate.contains(SNAKE_OIL) => draft.not_carried(
            all(),
            "nobody trusts this certificate, and what verifies it would fail; for programs that insist on \
             STARTTLS and verify nothing: listen.certificate = \"self-made\"",
        ),
        Pair::SourceFiles { certificate, key } => {
            draft.set_together(vec![
                DraftKey::new("listen.certificate", certificate, certificates),
                DraftKey::new("listen.key", key, keys).advised(
                    "Postfix reads it as root. Give nullmta one that nobody but its own user can read.",
                ),
            ]);
            match level {
                "may" => draft.already_so(levels, "STARTTLS is offered"),
                _ => draft.not_carried(levels, "STARTTLS is offered, and not demanded of anybody"),
            }
        }
    }
    Ok(())
}

/// Returns the security level: `none`, `may` or `encrypt`.
fn level(source: &PostfixSource<'_>) -> Result<&'static str, ImportError> {
    let level = source.value("smtpd_tls_security_level")?.to_ascii_lowercase();
    let parameters = source.parameters;
    Ok(match level.as_str() {
        "may" => "may",
        "encrypt" => "encrypt",
        "" if parameters.is_yes("smtpd_enforce_tls")? => "encrypt",
        "" if parameters.is_yes("smtpd_use_tls")? => "may",
        _ => "none",
    })
}

/// The certificate that Postfix shows.
enum Pair {
    None,
    SourceFiles { certificate: String, key: String },
    Several,
}

fn pair(source: &PostfixSource<'_>) -> Result<Pair, ImportError> {
    // It overrules the others, and each of its files has a key and a chain, or they take turns.
    let chains = source.value("smtpd_tls_chain_files")?;
    match items(&chains).as_slice() {
        [] => {}
        [only] => return Ok(Pair::SourceFiles { certificate: (*only).into(), key: (*only).into() }),
        _ => return Ok(Pair::Several),
    }
    let named = [("smtpd_tls_cert_file", KEYS[0]), ("smtpd_tls_eccert_file", KEYS[1])];
    let mut pairs = Vec::new();
    for (certificate, key) in named {
        let certificate = source.value(certificate)?;
        // `none`: no certificate, said aloud.
        if !certificate.is_empty() && certificate != "none" {
            pairs.push(Pair::SourceFiles { certificate, key: source.value(key)? });
        }
    }
    match pairs.len() {
        0 | 1 => Ok(pairs.pop().unwrap_or(Pair::None)),
        _ => Ok(Pair::Several),
    }
}
