use std::io::Write;
use std::path::Path;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, SignatureScheme};

use super::super::certificate::{PublicKey, pin_of};
use super::super::testing::authority::kept_path;
use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn settings(trust: Trust, client: Option<ClientCertificate>) -> TlsSettings {
    TlsSettings {
        trust,
        server_name: None,
        client,
        minimum: TlsVersion::V1_2,
        key_exchange: KeyExchangeChoice::Any,
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_key() {
    let torn = "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n";
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cases = [
        ("", "tls.ca-file: expected PEM certificates in "),
        ("not pem", ", found none"),
        (torn, ", found damaged ones"),
        (hollow, "tls.ca-file: expected a CA certificate in "),
    ];
    for (text, expected) in cases {
        let file = file(text);
        let error = client_trust(&settings(Trust::CaFile(file.path().into()), None)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
    }
    let error =
        client_trust(&settings(Trust::CaFile("/nowhere/ca.pem".into()), None)).unwrap_err().to_string();
    assert!(error.starts_with("tls.ca-file: cannot read /nowhere/ca.pem: "), "{error}");
}

#[test]
fn a_client_key_that_does_not_fit_is_refused() {
    let made = || rcgen::generate_simple_self_signed(["client".into()]).unwrap();
    let (one, other) = (made(), made());
    let (certificate, key) = (file(&one.cert.pem()), file(&other.signing_key.serialize_pem()));
    let identity = |certificate: &Path, key: &Path| ClientCertificate {
        certificate: certificate.into(),
        key: key.into(),
    };
    let mixed = Some(identity(certificate.path(), key.path()));
    let error = client_trust(&settings(Trust::Pins(vec![]), mixed)).unwrap_err().to_string();
    assert!(error.starts_with("tls.client-key: "), "{error}");
    let keyless = Some(identity(certificate.path(), certificate.path()));
    let error = client_trust(&settings(Trust::Pins(vec![]), keyless)).unwrap_err().to_string();
    assert!(error.starts_with("tls.client-key: expected a PEM private key "), "{error}");
}

#[test]
fn some_authorities_are_always_trusted_by_default() {
    let (roots, warnings) = system_roots();
    assert!(!roots.is_empty());
    assert!(warnings.iter().all(|words| words.contains("ca-certificates")));
}

const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBgzCCASmgAwIBAgIUaU7dB5St2Kpf18VOS134WtnQ32wwCgYIKoZIzj0EAwIw\n\
FjEUMBIGA1UEAwwLcGluLmV4YW1wbGUwIBcNMjYxMTIxMDMxNDEwWhgPMjEyNjEw\n\
MjgwMzE0MTBaMBYxFDASBgNVBAMMC3Bpbi5leGFtcGxlMFkwEwYHKoZIzj0CAQYI\n\
KoZIzj0DAQcDQgAEp3goSAONnAYou6a2sku/YR7TLjuJn/6z+giVISBmuCGjCGI8\n\
tl+XVwrjPeL2lNWR/aGGsDMv4zFY4dc/QsyMpKNTMFEwHQYDVR0OBBYEFI9anErh\n\
xQus0ZDHYIz3cGxXHoG3MB8GA1UdIwQYMBaAFI9anErhxQus0ZDHYIz3cGxXHoG3\n\
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgFpyKf0MgQWZuKOVg\n\
AKm3dhrt0hSOKHYe1w33uIu34R0CIQDDSLS6hwKP/+FdYoEPztQezF/nstJ+kEG9\n\
mCqzJS/dcg==\n\
-----END CERTIFICATE-----\n";

/// By `openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum`.
const PIN: &str = "015c33e4ea94e760d337ae2547af4d52df89016152a246e83838324488bbfa4d";

#[test]
fn a_pin_is_what_openssl_makes_of_the_public_key() {
    let seen = pin_of(&CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()).unwrap();
    assert_eq!(seen.iter().map(|octet| format!("{octet:02x}")).collect::<String>(), PIN);
}

#[test]
fn a_pin_outlives_its_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let named = |name: &str| {
        let parameters = rcgen::CertificateParams::new([name.into()]).unwrap();
        parameters.self_signed(&key).unwrap()
    };
    let (one, other) = (named("one.example"), named("other.example"));
    assert_eq!(pin_of(one.der()).unwrap(), pin_of(other.der()).unwrap());
}

/// By `openssl dgst -sha256 -sign` with the key of `tests/certificates/rsa-1024.pem`, over [`MESSAGE`].
const SIGNATURE: &str = "88243017a82509807834c892fd9f72952cbfcc65a2d7a26d630864a68d264e1e02dd62615fb60916bdb4\
                         20e22694d961d896d116c587cba26cb7f6dc175b933cba12b6e64c799092b688ce6e64ca2916c69697df\
                         ecfac3a56c5f3b3c71daab99ea0d1f10a6eceb849a27bbd336c266ce100c6884262e5296fe10b271db3cfc82";
const MESSAGE: &[u8] = b"what was said so far";

/// A pinned relay with a short RSA key was never talked to: its signatures were not verified at all.
#[test]
fn a_short_rsa_key_is_good_enough_for_who_has_pinned_it_and_for_nobody_else() {
    let certificate = CertificateDer::from_pem_file(kept_path("rsa-1024.pem")).unwrap();
    let pin = pin_of(&certificate).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pinned = PinVerifier { pins: vec![pin], provider: Arc::clone(&provider) };
    let name = ServerName::try_from("mx.example").unwrap();
    pinned.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now()).unwrap();
    let key = PublicKey::of(&certificate).unwrap();
    let octet = |at| u8::from_str_radix(&SIGNATURE[at..at + 2], 16).unwrap();
    let signature: Vec<u8> = (0..SIGNATURE.len()).step_by(2).map(octet).collect();
    let scheme = SignatureScheme::RSA_PKCS1_SHA256;
    assert_eq!((key.rsa_bits(), pinned.has_signed(&key, MESSAGE, scheme, &signature)), (Some(1024), true));
    assert!(!pinned.has_signed(&key, b"something else", scheme, &signature));
    assert!(!pinned.has_signed(&key, MESSAGE, SignatureScheme::RSA_PKCS1_SHA512, &signature));
    assert!(!pinned.has_signed(&key, MESSAGE, SignatureScheme::RSA_PSS_SHA256, &signature));
    assert_eq!(pinned.supported_verify_schemes()[..2], [SignatureScheme::RSA_PKCS1_SHA512, scheme]);

    let roots = Authorities::read("tls.ca-file", &kept_path("authority.pem")).unwrap().roots;
    let trusting = AuthorityVerifier::new(roots, provider).unwrap();
    let refused = trusting.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now());
    let Err(Error::InvalidCertificate(CertificateError::Other(refused))) = refused else {
        panic!("{refused:?}")
    };
    let refused = refused.0.to_string();
    let pin: String = pin.iter().map(|octet| format!("{octet:02x}")).collect();
    let said = "the key in the relay's certificate is RSA with 1024 bits, which can be forged; 2048 are needed; \
                give the relay a new key (a pin serves only where it speaks TLS 1.2); if";
    assert!(refused.contains(said) && refused.contains(&pin), "{refused}");
}
