//! Says in sentences for the operator why the certificate of a relay or of a token endpoint is refused.
//!
//! Promises: each sentence says what is wrong with the certificate and what to do. If a pin would help, it names
//! `tls.pin-sha256` with the value for the key that the relay has shown, ready to be pasted; a token endpoint has no pins.
//! Text from the certificate is not escaped here (`escaped` of `tls.rs` does that).
//!
//! Not here: which certificates are refused (`trust.rs`).

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::memmem;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, ExtendedKeyPurpose, OtherError};
use webpki::EndEntityCert;

use super::certificate::{PublicKey, issuer_of, pin_of, validity_of};
use crate::tls_faults::flaw;

/// The least number of bits of an RSA key. Shorter keys can be broken with many computers, and the TLS library verifies
/// none.
pub(crate) const LEAST_RSA_BITS: usize = 2048;

/// The names of signature algorithms that nobody trusts any more, by their object identifiers.
const OUTDATED: [(&[u8], &str); 3] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "SHA-1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "MD5"),
];

/// The number of names of a certificate that are told.
const MOST_NAMES: usize = 8;

/// Whose certificate is refused, as sentences name it.
struct Suspect {
    who: &'static str,
    /// The setting that names a private authority.
    ca_file: &'static str,
    /// What that setting is for.
    private: &'static str,
    /// What to do about a certificate for another name; `NAME` stands for the first one that it has.
    other_name: &'static str,
}

const RELAY: Suspect = Suspect {
    who: "the relay",
    ca_file: "tls.ca-file",
    private: "names a private CA",
    other_name: "if that is your relay's own name, set tls.server-name = \"NAME\"",
};

const TOKEN_ENDPOINT: Suspect = Suspect {
    who: "the token endpoint",
    ca_file: "auth.oauth.ca-file",
    private: "names a private CA, such as that of a proxy that reads what goes through it",
    other_name: "is the host in auth.oauth.token-url right?",
};

const RECEIVER: Suspect = Suspect {
    who: "the server",
    ca_file: "ca-file",
    private: "beside post names a private CA",
    other_name: "is the host in post right?",
};

/// A refused certificate.
#[derive(Debug)]
pub(crate) struct Distrust {
    why: DistrustCause,
    /// The pin of the key that the relay has shown.
    pin: Option<[u8; 32]>,
    /// The facts that the certificate states, in words.
    stated: Option<String>,
    /// The certificates that were shown, the relay's own first.
    shown: Vec<CertificateDer<'static>>,
}

/// The reason why a certificate is refused.
#[derive(Debug)]
pub(crate) enum DistrustCause {
    /// Its key is none of the pinned ones.
    NotPinned,
    /// Its key, or that of an authority above it, is an RSA key with too few bits.
    ShortRsa { bits: usize, of_authority: bool },
    /// The signature of the relay in the handshake cannot be verified, since its RSA key is too short. A pin does not
    /// help.
    ShortRsaProof { bits: usize },
    /// Another error that the verifier found.
    Found(CertificateError),
}

impl Distrust {
    /// Returns the error of a handshake with a relay that has shown `certificate`, and with it those of its `issuers`.
    pub(crate) fn error(
        why: DistrustCause,
        certificate: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
    ) -> Error {
        let shown = std::iter::once(certificate).chain(issuers).map(|shown| shown.clone().into_owned());
        let (pin, stated) = (pin_of(certificate), stated(certificate));
        let distrust = Distrust { why, pin, stated, shown: shown.collect() };
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(distrust))))
    }

    /// Returns the refusal inside an error of TLS, if there is one.
    pub(crate) fn within(error: &Error) -> Option<&Distrust> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
            _ => None,
        }
    }

    /// Returns the certificates that were shown, the relay's own first.
    pub(crate) fn shown(&self) -> &[CertificateDer<'static>] {
        &self.shown
    }

    /// Describes the refusal of a token endpoint's certificate.
    pub(crate) fn of_endpoint(&self) -> String {
        self.of_web_server(&TOKEN_ENDPOINT)
    }

    /// Describes the refusal of the certificate of a server that is told of alarms.
    pub(crate) fn of_receiver(&self) -> String {
        self.of_web_server(&RECEIVER)
    }

    fn of_web_server(&self, server: &Suspect) -> String {
        let who = server.who;
        let why = match &self.why {
            DistrustCause::Found(error) => sentence(error, server),
            DistrustCause::ShortRsa { bits, .. } | DistrustCause::ShortRsaProof { bits } => {
                format!("{who}'s key, or an authority's, is RSA with {bits} bits, which can be forged")
            }
            // No pin is asked of such a server.
            DistrustCause::NotPinned => format!("{who}'s key is not the one that was asked for"),
        };
        let stated = self.stated.as_ref().map(|stated| format!("; the certificate is {stated}"));
        why + &stated.unwrap_or_default()
    }

    /// Returns the same for an error of the verifier about `certificate`; other errors are returned unchanged.
    pub(crate) fn found<T>(
        outcome: Result<T, Error>,
        certificate: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
    ) -> Result<T, Error> {
        outcome.map_err(|error| match error {
            Error::InvalidCertificate(found) => {
                Distrust::error(DistrustCause::Found(found), certificate, issuers)
            }
            other => other,
        })
    }
}

/// Returns the outcome of verifying the signature with which the relay proves that it has its key. If that fails and the
/// key is a short RSA key, the error says so.
pub(crate) fn proof(
    outcome: Result<HandshakeSignatureValid, Error>,
    certificate: &CertificateDer<'_>,
) -> Result<HandshakeSignatureValid, Error> {
    match short_rsa(certificate) {
        Some(bits) if outcome.is_err() => {
            Err(Distrust::error(DistrustCause::ShortRsaProof { bits }, certificate, &[]))
        }
        _ => Distrust::found(outcome, certificate, &[]),
    }
}

/// Returns the number of bits of the key of `certificate`, if it is an RSA key with too few bits.
pub(crate) fn short_rsa(certificate: &CertificateDer<'_>) -> Option<usize> {
    PublicKey::of(certificate)?.rsa_bits().filter(|bits| *bits < LEAST_RSA_BITS)
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let helps = match &self.why {
            DistrustCause::NotPinned => {
                f.write_str("the relay's key is none of tls.pin-sha256; its pin is ")?;
                PinText(self.pin.unwrap_or_default()).fmt(f)?;
                return self.write_stated(f);
            }
            DistrustCause::ShortRsa { bits, of_authority } => {
                let whose = if *of_authority { "the key of an authority above" } else { "the key in" };
                write!(f, "{whose} the relay's certificate is RSA with {bits} bits, which can be forged; ")?;
                write!(f, "{LEAST_RSA_BITS} are needed")?;
                if !of_authority {
                    f.write_str("; give the relay a new key (a pin serves only where it speaks TLS 1.2)")?;
                }
                true
            }
            DistrustCause::ShortRsaProof { bits } => {
                write!(
                    f,
                    "the relay's key is RSA with {bits} bits, and its signature in this handshake cannot be "
                )?;
                write!(
                    f,
                    "verified: that is possible only with a pin, TLS 1.2 and a PKCS #1 signature; give the relay a \
                     new key, with {LEAST_RSA_BITS} bits"
                )?;
                false
            }
            DistrustCause::Found(error) => {
                f.write_str(&sentence(error, &RELAY))?;
                a_pin_helps(error)
            }
        };
        match self.pin {
            Some(pin) if helps => write!(
                f,
                "; if it is your relay's own all the same, trust its key alone: tls.pin-sha256 = \"{}\"",
                PinText(pin)
            )?,
            _ => {}
        }
        self.write_stated(f)
    }
}

impl Distrust {
    fn write_stated(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stated.as_ref().map_or(Ok(()), |stated| write!(f, "; the certificate is {stated}"))
    }
}

/// Returns what `certificate` says of itself: its names, its dates and its issuer. `None` if its dates cannot be read.
pub(crate) fn stated(certificate: &CertificateDer<'_>) -> Option<String> {
    let (from, until) = validity_of(certificate)?;
    let names = names_of(certificate);
    let names = if names.is_empty() { "no host name".into() } else { names.join(", ") };
    let issuer = issuer_of(certificate).unwrap_or_else(|| "an issuer without a name".into());
    Some(format!("for {names}, valid from {} to {}, issued by {issuer}", day(from), day(until)))
}

/// Returns the host names that `certificate` is for; not more than are told.
pub(crate) fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    match &EndEntityCert::try_from(certificate) {
        Ok(parsed) => parsed.valid_dns_names().take(MOST_NAMES).map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}

impl std::error::Error for Distrust {}

/// Returns whether a pin would help: the reason for the refusal does not matter if the key itself is trusted. A
/// certificate of another host must be replaced instead, and one with a wrong signature belongs to nobody.
fn a_pin_helps(error: &CertificateError) -> bool {
    !matches!(
        error,
        CertificateError::BadSignature
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::Revoked
    ) && !matches!(error, CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty())
}

fn sentence(error: &CertificateError, suspect: &Suspect) -> String {
    let Suspect { who, ca_file, private, other_name } = suspect;
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!(
                "{who}'s certificate, or an issuer's, expired on {}: it must be renewed there",
                day(seconds(*not_after))
            )
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let from = day(seconds(*not_before));
            format!("{who}'s certificate is not valid before {from}; is this host's clock right?")
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!(
                "{who}'s certificate names no host: only its common name may, which is no longer looked at (it needs a \
                 subjectAltName)"
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare_name(name)).collect();
            let expected = expected.to_str();
            let remedy = other_name.replace("NAME", names.first().unwrap_or(&""));
            format!("{who}'s certificate is for {}, not for {expected} ({remedy})", names.join(", "))
        }
        CertificateError::UnknownIssuer => {
            format!("the issuer of {who}'s certificate is not trusted ({ca_file} {private})")
        }
        CertificateError::BadSignature => {
            format!("a signature of {who}, or of the issuer it names, is wrong (is {ca_file} out of date?)")
        }
        CertificateError::BadEncoding => format!("what {who} shows as its certificate cannot be read"),
        CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            signed_with(signature_algorithm_id, who)
        }
        CertificateError::InvalidPurposeContext { presented, .. } => {
            let purposes: Vec<String> = presented.iter().map(purpose).collect();
            format!(
                "{who}'s certificate, or an issuer's, is not for servers: its extended key usage is {}",
                purposes.join(", ")
            )
        }
        other => format!("{who}'s certificate {}", flaw(other)),
    }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn signed_with(algorithm: &[u8], who: &str) -> String {
    let is_within = |oid: &[u8]| memmem::find(algorithm, oid).is_some();
    match OUTDATED.iter().find(|(oid, _)| is_within(oid)) {
        Some((_, name)) => {
            format!("{who}'s certificate, or an issuer's, is signed with {name}, which can be forged")
        }
        None => {
            format!("{who}'s certificate, or an issuer's, is signed with an algorithm that is not known here")
        }
    }
}

fn purpose(purpose: &ExtendedKeyPurpose) -> String {
    match purpose {
        ExtendedKeyPurpose::ClientAuth => "clientAuth".into(),
        ExtendedKeyPurpose::ServerAuth => "serverAuth".into(),
        ExtendedKeyPurpose::Other(numbers) => {
            numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
        }
    }
}

pub(crate) fn day(seconds: i64) -> String {
    let instant = Timestamp::from_second(seconds).ok();
    instant.map_or("a date out of range".into(), |instant| instant.strftime("%Y-%m-%d").to_string())
}

/// Returns only the name in `DnsName("mx.example")` or `IpAddress(192.0.2.1)`, as the verifier writes them.
fn bare_name(presented: &str) -> &str {
    match presented.split_once('(') {
        Some(("DnsName" | "IpAddress" | "UniformResourceIdentifier", rest)) => {
            rest.strip_suffix(')').unwrap_or(rest).trim_matches('"')
        }
        _ => "a name that is no host's",
    }
}

/// A pin, which displays in the form of `tls.pin-sha256`.
pub(crate) struct PinText(pub(crate) [u8; 32]);

impl fmt::Display for PinText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_faults::tests::{assert_plain, refusals};

    #[test]
    fn names_lose_their_wrapping() {
        assert_eq!(bare_name("DnsName(\"a.example\")"), "a.example");
        assert_eq!(bare_name("IpAddress(192.0.2.1)"), "192.0.2.1");
        assert_eq!(bare_name("DirectoryName"), "a name that is no host's");
    }

    /// A token endpoint was told of in words about the relay, with settings that do not concern it.
    #[test]
    fn a_token_endpoint_has_settings_of_its_own() {
        let unknown = sentence(&CertificateError::UnknownIssuer, &TOKEN_ENDPOINT);
        let expected = "the issuer of the token endpoint's certificate is not trusted (auth.oauth.ca-file names a private CA, \
                        such as that of a proxy that reads what goes through it)";
        assert_eq!(unknown, expected);
        for error in refusals() {
            let words = sentence(&error, &TOKEN_ENDPOINT);
            assert!(
                !words.contains("relay") && !words.contains(" tls.") && !words.contains("NAME"),
                "{words}"
            );
        }
    }

    /// Raw words of the verifier (CaUsedAsEndEntity, UnsupportedCertVersion) reached the operator.
    #[test]
    fn each_refusal_is_a_sentence() {
        for error in refusals() {
            assert_plain(&sentence(&error, &RELAY), &error);
            assert_plain(&sentence(&error, &TOKEN_ENDPOINT), &error);
        }
    }
}
