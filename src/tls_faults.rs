//! Describes errors of TLS in sentences for people: errors of a certificate, or of a session.
//!
//! Promises: a sentence says what is wrong, and with what. It contains no name that only the source code of the TLS
//! library explains; an error that this version does not know gets a more general sentence.
//!
//! Not here: errors of the files of a certificate and its key (`config/key_pair.rs`), the refusal of a relay's
//! certificate (`relay/distrust.rs`).
//!
//! RFC 8446 6 (alerts), RFC 5280 (certificates).

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// The other end of a TLS connection, as sentences name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsPeer {
    who: &'static str,
    /// The setting that says which certificate we show.
    shown: &'static str,
}

impl TlsPeer {
    /// The relay, to which we send mail.
    pub(crate) const RELAY: TlsPeer = TlsPeer { who: "the relay", shown: "tls.client-certificate" };
    /// The endpoint that hands out access tokens.
    pub(crate) const TOKEN_ENDPOINT: TlsPeer = TlsPeer { who: "the token endpoint", shown: "auth.oauth" };
    /// A server that is told of alarms.
    pub(crate) const RECEIVER: TlsPeer = TlsPeer { who: "the server", shown: "post" };
    /// A client, which submits mail to the daemon.
    pub(crate) const CLIENT: TlsPeer = TlsPeer { who: "the client", shown: "listen.certificate" };
    /// A client of the sink.
    pub(crate) const SINK_CLIENT: TlsPeer = TlsPeer { who: "the client", shown: "--certificate, --ca-file" };
}

/// Returns the reason why a connection with `peer` failed: the error of TLS, else that of the system.
pub(crate) fn connection(peer: TlsPeer, error: &io::Error) -> String {
    match within(error) {
        Some(fault) => session(peer, fault),
        None => error.to_string(),
    }
}

/// Returns the error of TLS inside an error of a stream, if there is one.
pub(crate) fn within(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Returns the reason why a TLS session with `peer` failed.
pub(crate) fn session(peer: TlsPeer, error: &Error) -> String {
    let TlsPeer { who, shown } = peer;
    match error {
        Error::AlertReceived(alert) => {
            let setting = if is_of_our_certificate(*alert) { format!(" ({shown})") } else { String::new() };
            format!("{who} ended the TLS session: {}{setting}", said(*alert))
        }
        Error::InvalidCertificate(error) => format!("the certificate of {who} {}", flaw(error)),
        Error::InvalidMessage(_) => format!("what {who} sent is not TLS"),
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => format!(
            "what {who} sent breaks the rules of TLS; does a program or a device in between change what is sent?"
        ),
        Error::NoCertificatesPresented => format!("{who} has shown no certificate"),
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
            format!("{who} and this host have no version of TLS, or no cipher, in common")
        }
        Error::FailedToGetCurrentTime => "the clock of this host cannot be read, and TLS needs it".into(),
        Error::FailedToGetRandomBytes => "this host has no random numbers, and TLS needs them".into(),
        _ => format!("this host could not do its part of TLS with {who}"),
    }
}

/// Returns the meaning of an alert that the peer sent; `it` is the peer.
fn said(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    let words = match alert {
        Alert::CloseNotify | Alert::UserCanceled => "it wanted no more of it",
        Alert::UnexpectedMessage
        | Alert::BadRecordMac
        | Alert::DecryptionFailed
        | Alert::RecordOverflow
        | Alert::DecompressionFailure
        | Alert::IllegalParameter
        | Alert::DecodeError
        | Alert::DecryptError
        | Alert::MissingExtension
        | Alert::UnsupportedExtension
        | Alert::NoRenegotiation
        | Alert::UnknownPSKIdentity
        | Alert::BadCertificateHashValue => {
            "what it got from this host breaks its rules of TLS; does a program or a device in between change what \
             is sent?"
        }
        Alert::HandshakeFailure | Alert::InsufficientSecurity | Alert::ExportRestriction => {
            "it takes none of the ciphers and keys offered to it"
        }
        Alert::ProtocolVersion => "it takes neither TLS 1.2 nor TLS 1.3, or not the one offered to it",
        Alert::InappropriateFallback => "it takes this for an attempt to make it use an older TLS",
        Alert::NoCertificate | Alert::CertificateRequired => "it asks for a certificate of this host",
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            "it does not take the certificate of this host"
        }
        Alert::CertificateRevoked => "it says that the certificate of this host is revoked",
        Alert::CertificateExpired => "it says that the certificate of this host has expired",
        Alert::UnknownCA => "it does not trust the certificate of this host, or its issuer",
        Alert::CertificateUnobtainable | Alert::BadCertificateStatusResponse => {
            "it could not find out whether the certificate of this host is good"
        }
        Alert::AccessDenied => "it knows the certificate of this host, and does not let it in",
        Alert::UnrecognisedName => "it has no certificate for the name that it was asked for",
        Alert::NoApplicationProtocol => "it speaks another protocol than SMTP there",
        Alert::EncryptedClientHelloRequired => "it asks for an encrypted ClientHello, which is not made here",
        Alert::InternalError => "something failed on its own side; its own log says what",
        other => return format!("by the alert {}, which is not known here", u8::from(other)),
    };
    words.into()
}

fn is_of_our_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::NoCertificate
            | Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::UnknownCA
            | Alert::CertificateUnobtainable
            | Alert::BadCertificateStatusResponse
            | Alert::AccessDenied
    )
}

/// The sentence for an error that has none of its own.
const UNNAMED: &str = "is not acceptable, for a reason that this version of nullmta has no words for";

/// Returns what is wrong with a certificate: the rest of a sentence whose subject is the certificate.
pub(crate) fn flaw(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::BadEncoding => {
            "is none that can be read: what its text stands for is no certificate"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => EXPIRED,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => EARLY,
        CertificateError::Revoked => REVOKED,
        CertificateError::UnhandledCriticalExtension => EXTENSION,
        CertificateError::UnknownIssuer => UNTRUSTED,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. }
        | CertificateError::InvalidOcspResponse => UNCERTAIN,
        CertificateError::BadSignature => FORGED,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => ALGORITHM,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => OTHER_NAME,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => OTHER_PURPOSE,
        CertificateError::ApplicationVerificationFailure => "was refused",
        CertificateError::Other(other) => other.0.downcast_ref().map_or(UNNAMED, flaw_of_form),
        _ => UNNAMED,
    }
}

const EXPIRED: &str = "has expired";
const EARLY: &str = "is not valid yet";
const REVOKED: &str = "is revoked";
const EXTENSION: &str = "has an extension that cannot be read, or that is critical and not known here";
const UNTRUSTED: &str = "is of an issuer that is not trusted";
const UNCERTAIN: &str = "may be revoked, which could not be found out";
const FORGED: &str = "has a wrong signature";
const ALGORITHM: &str = "is signed with an algorithm that is not known here";
const OTHER_NAME: &str = "is for another name";
const OTHER_PURPOSE: &str = "is for another purpose";

/// Returns the same for an error that the library for certificate paths reports.
fn flaw_of_form(error: &webpki::Error) -> &'static str {
    use webpki::Error;
    match error {
        Error::UnsupportedCertVersion => "is an old one, of version 1 or 2: it can name no host",
        Error::CaUsedAsEndEntity => "is an authority's own (CA:TRUE) and not a server's",
        Error::EndEntityUsedAsCa => "is issued by a server's certificate, which is no authority's (CA:FALSE)",
        Error::EmptyEkuExtension => "has an extended key usage that allows nothing",
        Error::NameConstraintViolation => "is for a name that its authority may not issue certificates for",
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => {
            "has more issuers above it than its authority allows"
        }
        Error::MalformedExtensions | Error::ExtensionValueInvalid | Error::UnsupportedCriticalExtension => {
            EXTENSION
        }
        Error::SignatureAlgorithmMismatch => "names two different algorithms for its signature",
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => {
            "is damaged: it cannot be read to its end"
        }
        Error::InvalidSerialNumber => "has a serial number that is none (RFC 5280 4.1.2.2)",
        Error::InvalidCertValidity => "ends before it begins",
        Error::MalformedDnsIdentifier | Error::UnsupportedNameType => "has a name that is no host's name",
        Error::MalformedNameConstraint | Error::InvalidNetworkMaskConstraint => {
            "limits the names below it in a way that cannot be read"
        }
        Error::MaximumSignatureChecksExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => {
            "comes with so many issuers or names that it cannot be checked"
        }
        Error::CertDistrusted => "has a key that is known to be bad",
        Error::CertExpired { .. } => EXPIRED,
        Error::CertNotValidYet { .. } => EARLY,
        Error::CertNotValidForName(_) => OTHER_NAME,
        Error::CertRevoked => REVOKED,
        Error::UnknownIssuer => UNTRUSTED,
        Error::UnknownRevocationStatus | Error::CrlExpired { .. } => UNCERTAIN,
        Error::InvalidSignatureForPublicKey => FORGED,
        Error::RequiredEkuNotFoundContext(_) => OTHER_PURPOSE,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => ALGORITHM,
        _ => UNNAMED,
    }
}

#[cfg(test)]
pub(crate) mod tests;
