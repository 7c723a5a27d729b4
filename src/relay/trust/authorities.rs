//! The verifier of certificates that authorities have signed: chain, dates, purpose and name.
//!
//! Promises: a certificate for any purpose (RFC 5280 4.2.1.12) is for servers too. An RSA key that is too short is
//! refused, and the error says so.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, ExtendedKeyPurpose, OtherError, RootCertStore,
    SignatureScheme,
};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use super::super::distrust::{Distrust, DistrustCause, proof, short_rsa};

/// anyExtendedKeyUsage (RFC 5280 4.2.1.12).
const ANY_PURPOSE: [usize; 5] = [2, 5, 29, 37, 0];

/// A verifier that trusts authorities.
#[derive(Debug)]
pub(super) struct AuthorityVerifier {
    roots: Arc<RootCertStore>,
    usual: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl AuthorityVerifier {
    pub(super) fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let roots = Arc::new(roots);
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let usual = builder.build().map_err(|error| format!("tls.ca-file: {error}"))?;
        Ok(AuthorityVerifier { roots, usual, provider })
    }

    /// Makes the usual checks, but accepts a certificate for any purpose as one for servers.
    fn verify_for_any_purpose(
        &self,
        sent: &SentChain<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let verified = EndEntityCert::try_from(sent.end_entity).and_then(|certificate| {
            let path = certificate.verify_for_usage(
                algorithms,
                &self.roots.roots,
                sent.issuers,
                now,
                ForServers,
                None,
                None,
            );
            path.map(drop)
        });
        verified.map_err(|error| {
            let found = match error {
                webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
                webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
                other => CertificateError::Other(OtherError(Arc::new(other))),
            };
            Error::InvalidCertificate(found)
        })?;
        verify_server_name(&ParsedCertificate::try_from(sent.end_entity)?, name)
    }
}

/// The certificates that a relay has sent.
struct SentChain<'a> {
    end_entity: &'a CertificateDer<'a>,
    issuers: &'a [CertificateDer<'a>],
}

/// The check that a certificate is for servers, or for any purpose by anyExtendedKeyUsage (RFC 5280 4.2.1.12).
struct ForServers;

impl ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut has_any = false;
        let mut others = Vec::new();
        for purpose in purposes.by_ref() {
            let purpose = purpose?.to_decoded_oid();
            has_any |= purpose == ANY_PURPOSE || purpose == KeyUsage::SERVER_AUTH_REPR;
            others.push(purpose);
        }
        if has_any || others.is_empty() {
            return Ok(());
        }
        let (required, present) = (KeyUsage::server_auth(), others);
        Err(webpki::Error::RequiredEkuNotFoundContext(webpki::RequiredEkuNotFoundContext {
            required,
            present,
        }))
    }
}

impl ServerCertVerifier for AuthorityVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(bits) = short_rsa(end_entity) {
            return Err(Distrust::error(
                DistrustCause::ShortRsa { bits, of_authority: false },
                end_entity,
                intermediates,
            ));
        }
        let usual = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let outcome = match usual {
            Err(Error::InvalidCertificate(CertificateError::InvalidPurposeContext { presented, .. }))
                if presented.contains(&ExtendedKeyPurpose::Other(ANY_PURPOSE.to_vec())) =>
            {
                let sent = SentChain { end_entity, issuers: intermediates };
                self.verify_for_any_purpose(&sent, server_name, now).map(|()| ServerCertVerified::assertion())
            }
            usual => usual,
        };
        if outcome.is_err()
            && let Some(bits) = intermediates.iter().find_map(short_rsa)
        {
            return Err(Distrust::error(
                DistrustCause::ShortRsa { bits, of_authority: true },
                end_entity,
                intermediates,
            ));
        }
        Distrust::found(outcome, end_entity, intermediates)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        proof(self.usual.verify_tls12_signature(message, certificate, signature), certificate)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        proof(self.usual.verify_tls13_signature(message, certificate, signature), certificate)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
