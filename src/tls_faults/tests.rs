use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    ContentType, ExtendedKeyPurpose, HandshakeType, InconsistentKeys, InvalidMessage, OtherError,
    PeerIncompatible, PeerMisbehaved,
};

use super::*;

/// Fails where `text` holds a name that only a source code explains: one of `error`'s own, or any CamelCase word.
pub(crate) fn assert_plain(text: &str, error: &dyn std::fmt::Debug) {
    let raw = format!("{error:?}");
    let names = raw.split(|c: char| !c.is_ascii_alphanumeric()).filter(|name| name.len() > 3);
    for name in names.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())) {
        assert!(!text.contains(name), "{name} in: {text}");
    }
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let humps = word
            .as_bytes()
            .windows(2)
            .filter(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
        let is_camel_case = word.starts_with(|c: char| c.is_ascii_uppercase()) && humps.count() > 0;
        // The name of the first message of TLS, in its RFC.
        assert!(!is_camel_case || word == "ClientHello", "{word} in: {text}");
    }
    assert!(text.contains(' ') && !text.contains("error"), "{text}");
}

/// Every way in which a certificate may be refused by the TLS library, but for those it no longer uses.
pub(crate) fn refusals() -> Vec<CertificateError> {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
    let oid = || vec![0x2a, 3];
    let mut all = vec![
        CertificateError::BadEncoding,
        CertificateError::Expired,
        CertificateError::ExpiredContext { time, not_after: time },
        CertificateError::NotValidYet,
        CertificateError::NotValidYetContext { time, not_before: time },
        CertificateError::Revoked,
        CertificateError::UnhandledCriticalExtension,
        CertificateError::UnknownIssuer,
        CertificateError::UnknownRevocationStatus,
        CertificateError::ExpiredRevocationList,
        CertificateError::ExpiredRevocationListContext { time, next_update: time },
        CertificateError::BadSignature,
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: oid(),
            supported_algorithms: vec![],
        },
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: oid(),
            public_key_algorithm_id: oid(),
        },
        CertificateError::NotValidForName,
        CertificateError::InvalidPurpose,
        CertificateError::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ServerAuth,
            presented: vec![ExtendedKeyPurpose::Other(vec![1, 2])],
        },
        CertificateError::InvalidOcspResponse,
        CertificateError::ApplicationVerificationFailure,
    ];
    let expected = ServerName::try_from("mx.example").unwrap();
    let names =
        ["DirectoryName", "Unsupported(0x80)", "UniformResourceIdentifier(\"urn:x\")", "DnsName(\"a.x\")"];
    all.extend(names.map(|name| CertificateError::NotValidForNameContext {
        expected: expected.clone(),
        presented: vec![name.into()],
    }));
    all.extend(flaws_of_form().into_iter().map(|error| CertificateError::Other(OtherError(Arc::new(error)))));
    all
}

fn flaws_of_form() -> Vec<webpki::Error> {
    use webpki::Error;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
    vec![
        Error::BadDer,
        Error::BadDerTime,
        Error::CaUsedAsEndEntity,
        Error::CertDistrusted,
        Error::CertExpired { time, not_after: time },
        Error::CertNotValidYet { time, not_before: time },
        Error::CertRevoked,
        Error::CrlExpired { time, next_update: time },
        Error::EmptyEkuExtension,
        Error::EndEntityUsedAsCa,
        Error::ExtensionValueInvalid,
        Error::InvalidCertValidity,
        Error::InvalidNetworkMaskConstraint,
        Error::InvalidSerialNumber,
        Error::InvalidSignatureForPublicKey,
        Error::MalformedDnsIdentifier,
        Error::MalformedExtensions,
        Error::MalformedNameConstraint,
        Error::MaximumNameConstraintComparisonsExceeded,
        Error::MaximumPathBuildCallsExceeded,
        Error::MaximumPathDepthExceeded,
        Error::MaximumSignatureChecksExceeded,
        Error::NameConstraintViolation,
        Error::PathLenConstraintViolated,
        Error::SignatureAlgorithmMismatch,
        Error::UnknownIssuer,
        Error::UnknownRevocationStatus,
        Error::UnsupportedCertVersion,
        Error::UnsupportedCriticalExtension,
        Error::UnsupportedNameType,
    ]
}

/// `invalid peer certificate: BadEncoding` was all that an operator was told of a file.
#[test]
fn each_flaw_of_a_certificate_is_a_sentence_of_its_own() {
    for error in refusals() {
        let text = format!("the certificate {}", flaw(&error));
        assert_plain(&text, &error);
        assert!(!text.contains(UNNAMED), "{error:?}");
    }
    // What only lists of revoked certificates come to, which nobody hands to this program, has no words of its own.
    let other = CertificateError::Other(OtherError(Arc::new(webpki::Error::UnsupportedDeltaCrl)));
    assert_plain(flaw(&other), &other);
    assert_eq!(flaw(&other), UNNAMED);
}

/// `the relay ended the handshake: UnknownCA`: every alert there is, and every one that there may be.
#[test]
fn each_alert_is_a_sentence() {
    for alert in (0..=u8::MAX).map(AlertDescription::from) {
        for peer in [TlsPeer::RELAY, TlsPeer::CLIENT, TlsPeer::SINK_CLIENT] {
            let text = session(peer, &Error::AlertReceived(alert));
            assert_plain(&text, &alert);
            let is_known = !matches!(alert, AlertDescription::Unknown(_));
            assert_eq!(text.contains("not known here"), !is_known, "{text}");
        }
    }
    let told = |peer, alert| session(peer, &Error::AlertReceived(alert));
    let cases = [
        (
            told(TlsPeer::RELAY, AlertDescription::CertificateRequired),
            "the relay ended the TLS session: it asks for a certificate of this host (tls.client-certificate)",
        ),
        (
            told(TlsPeer::CLIENT, AlertDescription::UnknownCA),
            "the client ended the TLS session: it does not trust the certificate of this host, or its issuer \
             (listen.certificate)",
        ),
        (
            told(TlsPeer::RELAY, AlertDescription::Unknown(200)),
            "the relay ended the TLS session: by the alert 200, which is not known here",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text, expected);
    }
}

#[test]
fn each_fault_of_a_session_is_a_sentence() {
    let errors = [
        Error::InappropriateMessage {
            expect_types: vec![ContentType::Handshake],
            got_type: ContentType::ApplicationData,
        },
        Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::ServerHello],
            got_type: HandshakeType::Finished,
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType),
        Error::NoCertificatesPresented,
        Error::UnsupportedNameType,
        Error::DecryptError,
        Error::EncryptError,
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedKxGroup),
        Error::InvalidCertificate(CertificateError::BadEncoding),
        Error::General("failed to parse RSA private key: InvalidEncoding".into()),
        Error::FailedToGetCurrentTime,
        Error::FailedToGetRandomBytes,
        Error::HandshakeNotComplete,
        Error::PeerSentOversizedRecord,
        Error::NoApplicationProtocol,
        Error::BadMaxFragmentSize,
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
        Error::Other(OtherError(Arc::new(webpki::Error::BadDer))),
    ];
    for error in errors {
        let broken = io::Error::new(io::ErrorKind::InvalidData, error.clone());
        for peer in [TlsPeer::RELAY, TlsPeer::CLIENT] {
            assert_plain(&connection(peer, &broken), &error);
        }
    }
    let reset = io::Error::from_raw_os_error(104);
    assert_eq!(connection(TlsPeer::RELAY, &reset), reset.to_string());
}
