//! The assertion that we sign: a JWT with RS256.
//!
//! Promises: an assertion is valid for five minutes, from a minute before now on, since clocks differ. The key is read
//! from a JSON file of a service account or from PEM, and is never part of an error.
//!
//! RFC 7519 (JWT), 7515 (JWS), 7523 (assertions), 7518 3.3 (RS256).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::{digest, rand, signature};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use crate::secret::Secret;

/// The time for which an assertion is valid, in seconds. Endpoints accept at most ten minutes, or an hour.
const LIFETIME: i64 = 300;
/// The difference of clocks that is allowed for, in seconds.
const SKEW: i64 = 60;

/// A private key that signs assertions, with what its file says about it.
pub struct AssertionKey {
    pair: KeyPair,
    /// `private_key_id` of a service account: the name of the key at the endpoint.
    id: Option<String>,
    /// `client_email` of a service account: who signs.
    pub issuer: Option<String>,
}

/// The reason why the content of a key file cannot be used. It contains nothing of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAssertionKey {
    /// It is neither PEM nor the JSON of a service account.
    NoKey,
    /// It is JSON without a `private_key`, such as that of an OAuth client.
    NotAServiceAccount,
    /// The key is not an RSA key of 2,048 to 8,192 bits.
    NotRsa,
}

/// What an assertion says.
pub struct Claims<'a> {
    /// `iss`: who signs.
    pub issuer: &'a str,
    /// `sub`: who it is about.
    pub subject: &'a str,
    /// `aud`: the endpoint that it is for.
    pub audience: &'a str,
    /// `scope`: what is asked for, if the assertion says so.
    pub scope: Option<&'a str>,
    /// The time now, in seconds since 1970.
    pub now: i64,
}

impl AssertionKey {
    /// Reads the content of a key file.
    pub fn read(octets: &[u8]) -> Result<AssertionKey, BadAssertionKey> {
        if octets.trim_ascii_start().first() != Some(&b'{') {
            return Ok(AssertionKey { pair: pair(octets)?, id: None, issuer: None });
        }
        let account: Map<String, Value> =
            serde_json::from_slice(octets).map_err(|_| BadAssertionKey::NoKey)?;
        let text = |name: &str| account.get(name).and_then(Value::as_str);
        let key = text("private_key").ok_or(BadAssertionKey::NotAServiceAccount)?;
        Ok(AssertionKey {
            pair: pair(key.as_bytes())?,
            id: text("private_key_id").map(String::from),
            issuer: text("client_email").map(String::from),
        })
    }

    /// Signs `claims`. `certificate` is the DER of the certificate that the endpoint knows the key by.
    pub fn sign(&self, claims: &Claims<'_>, certificate: Option<&[u8]>) -> Result<Secret, String> {
        let header = encoded(&self.header(certificate));
        let body = encoded(&payload(claims)?);
        let signed = format!("{header}.{body}");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the assertion cannot be signed".to_owned())?;
        Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }

    /// True if `certificate`, in DER, is for this key: it holds the public key octet for octet (RFC 5280 4.1, RFC 8017 A.1.1).
    pub fn is_of(&self, certificate: &[u8]) -> bool {
        memmem::find(certificate, self.pair.public_key().as_ref()).is_some()
    }

    fn header(&self, certificate: Option<&[u8]>) -> Value {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.id {
            header["kid"] = json!(id);
        }
        if let Some(der) = certificate {
            // Microsoft finds the certificate by one of these.
            let print = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, der));
            header["x5t#S256"] = json!(print(&digest::SHA256));
            header["x5t"] = json!(print(&digest::SHA1_FOR_LEGACY_USE_ONLY));
        }
        header
    }
}

fn pair(pem: &[u8]) -> Result<KeyPair, BadAssertionKey> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| BadAssertionKey::NoKey)?;
    let pair = match &key {
        PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(BadAssertionKey::NotRsa),
    };
    pair.map_err(|_| BadAssertionKey::NotRsa)
}

fn payload(claims: &Claims<'_>) -> Result<Value, String> {
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_| "no random numbers to be had".to_owned())?;
    let mut payload = json!({
        "iss": claims.issuer,
        "sub": claims.subject,
        "aud": claims.audience,
        "iat": claims.now,
        "nbf": claims.now - SKEW,
        "exp": claims.now + LIFETIME,
        "jti": URL_SAFE_NO_PAD.encode(id),
    });
    if let Some(scope) = claims.scope {
        payload["scope"] = json!(scope);
    }
    Ok(payload)
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl std::fmt::Display for BadAssertionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadAssertionKey::NoKey => {
                "neither a PEM private key without a passphrase nor the JSON key file of a service account"
            }
            BadAssertionKey::NotAServiceAccount => {
                "JSON without a private key: the key file of a service account is wanted, not that of an OAuth client"
            }
            BadAssertionKey::NotRsa => "no RSA key of 2048 to 8192 bits",
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::UnparsedPublicKey;

    use super::*;

    fn pem_of(pair: &KeyPair) -> String {
        let der = pair.as_der().unwrap();
        let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    }

    fn parts(jwt: &Secret) -> (Value, Value, Vec<u8>, String) {
        let parts: Vec<&str> = jwt.text().unwrap().split('.').collect();
        let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        (json(parts[0]), json(parts[1]), signature, format!("{}.{}", parts[0], parts[1]))
    }

    const CLAIMS: Claims<'static> = Claims {
        issuer: "svc@project.example",
        subject: "ann@example.com",
        audience: "https://login.example/token",
        scope: Some("https://mail.google.com/"),
        now: 1_700_000_000,
    };

    #[test]
    fn a_service_account_signs_for_a_mailbox() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let file = json!({
            "type": "service_account", "client_email": "svc@project.example",
            "private_key_id": "k1", "private_key": pem_of(&pair),
        });
        let key = AssertionKey::read(file.to_string().as_bytes()).unwrap();
        assert_eq!(key.issuer.as_deref(), Some("svc@project.example"));
        let (header, body, signature, signed) = parts(&key.sign(&CLAIMS, None).unwrap());
        assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
        assert_eq!((&body["iss"], &body["sub"]), (&json!("svc@project.example"), &json!("ann@example.com")));
        assert_eq!(body["scope"], json!("https://mail.google.com/"));
        assert_eq!(body["exp"].as_i64().unwrap() - body["iat"].as_i64().unwrap(), 300);
        let public = pair.public_key().as_ref();
        let known = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, public);
        known.verify(signed.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn a_key_is_known_in_its_certificate() {
        let pair = || KeyPair::generate(KeySize::Rsa2048).unwrap();
        let (own, other) = (pair(), pair());
        let signer = rcgen::KeyPair::from_pem(&pem_of(&own)).unwrap();
        let made = rcgen::CertificateParams::new(vec!["app.example".into()]).unwrap();
        let certificate = made.self_signed(&signer).unwrap();
        let read = |pair: &KeyPair| AssertionKey::read(pem_of(pair).as_bytes()).unwrap();
        assert!(read(&own).is_of(certificate.der()));
        assert!(!read(&other).is_of(certificate.der()));
    }

    /// Microsoft knows a certificate by its prints alone.
    #[test]
    fn a_certificate_is_named_in_the_header() {
        let key =
            AssertionKey::read(pem_of(&KeyPair::generate(KeySize::Rsa2048).unwrap()).as_bytes()).unwrap();
        let (header, body, ..) =
            parts(&key.sign(&Claims { scope: None, ..CLAIMS }, Some(b"certificate")).unwrap());
        assert_eq!(header["x5t#S256"].as_str().unwrap().len(), 43);
        assert_eq!(header["x5t"].as_str().unwrap().len(), 27);
        assert_eq!((header.get("kid"), body.get("scope")), (None, None));
    }

    #[test]
    fn what_is_no_key_is_told_of() {
        let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for (text, expected) in [
            ("", BadAssertionKey::NoKey),
            ("{", BadAssertionKey::NoKey),
            ("hunter2", BadAssertionKey::NoKey),
            (r#"{"installed":{"client_secret":"x"}}"#, BadAssertionKey::NotAServiceAccount),
            (r#"{"private_key":"x"}"#, BadAssertionKey::NoKey),
            (&elliptic, BadAssertionKey::NotRsa),
        ] {
            assert_eq!(AssertionKey::read(text.as_bytes()).err(), Some(expected), "{text}");
        }
    }
}
