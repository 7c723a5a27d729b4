//! The verifier of pinned keys: the key of the relay's own certificate is one of those that are pinned.
//!
//! Promises: the relay proves in the handshake that it has the key. Nothing else in the certificate is checked, not
//! even its version or the relay's name. A pinned RSA key may be as short as 1,024 bits.

use std::sync::Arc;

use ::aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::super::certificate::{PublicKey, pin_of};
use super::super::distrust::{Distrust, DistrustCause, proof};

/// A verifier that trusts pinned keys, and checks no name.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pub(super) pins: Vec<[u8; 32]>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    /// Returns true if `signature` over `message` was made with `key`, by one of the algorithms of TLS 1.2 for `scheme`.
    pub(super) fn has_signed(
        &self,
        key: &PublicKey<'_>,
        message: &[u8],
        scheme: SignatureScheme,
        signature: &[u8],
    ) -> bool {
        let mapping = self.provider.signature_verification_algorithms.mapping;
        let mut algorithms =
            mapping.iter().filter(|(known, _)| *known == scheme).flat_map(|(_, algorithms)| *algorithms);
        algorithms.any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == key.algorithm
                && algorithm.verify_signature(key.key, message, signature).is_ok()
        }) || has_signed_with_short_rsa(key, message, scheme, signature)
    }
}

/// Returns true if `signature` over `message` was made with `key`, an RSA key of 1,024 bits or more: short keys are
/// accepted if they are pinned.
fn has_signed_with_short_rsa(
    key: &PublicKey<'_>,
    message: &[u8],
    scheme: SignatureScheme,
    signature: &[u8],
) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        SignatureScheme::RSA_PKCS1_SHA512 => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        _ => return false,
    };
    key.rsa_bits().is_some() && UnparsedPublicKey::new(algorithm, key.key).verify(message, signature).is_ok()
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match pin_of(end_entity) {
            Some(seen) if self.pins.contains(&seen) => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(Distrust::error(DistrustCause::NotPinned, end_entity, intermediates)),
            None => Err(Distrust::error(
                DistrustCause::Found(CertificateError::BadEncoding),
                end_entity,
                intermediates,
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = PublicKey::of(certificate);
        let is_proved =
            key.is_some_and(|key| self.has_signed(&key, message, signature.scheme, signature.signature()));
        let bad = Error::InvalidCertificate(CertificateError::BadSignature);
        proof(is_proved.then(HandshakeSignatureValid::assertion).ok_or(bad), certificate)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = PublicKey::of(certificate).map(|key| SubjectPublicKeyInfoDer::from(key.whole));
        let key = key.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let algorithms = &self.provider.signature_verification_algorithms;
        proof(verify_tls13_signature_with_raw_key(message, &key, signature, algorithms), certificate)
    }

    /// Returns the signature schemes with PKCS #1 first, since for a short RSA key only those can be verified.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        let is_pkcs1 = |scheme: &SignatureScheme| {
            matches!(scheme, SignatureScheme::RSA_PKCS1_SHA256 | SignatureScheme::RSA_PKCS1_SHA512)
        };
        schemes.sort_by_key(|scheme| !is_pkcs1(scheme));
        schemes
    }
}
