//! SCRAM, on the side of the server.
//!
//! Promises: see `sasl_server.rs`. What is signed are the messages as they were sent, with extensions that we do not know.
//!
//! ```text
//!  client-first   n,,n=ann,r=NONCE                        or p=tls-exporter,, with -PLUS
//!  server-first   r=NONCE+OURS,s=SALT,i=COUNT
//!  client-final   c=BINDING,r=NONCE+OURS,p=PROOF
//!  server-final   v=SIGNATURE                             goes out as a challenge, to which the response is empty (RFC 4954 4)
//! ```
//! RFC 5802 5 and 7.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::keys::ScramHash;
use super::plain::MAX_NAME_OCTETS;
use super::{ExporterOctets, FoundKeys, LoginFault, LoginKeys, SaslStep};

/// The number of random octets in our part of the nonce.
const NONCE_OCTETS: usize = 18;

/// The name of the only channel binding that we have.
const TLS_EXPORTER: &str = "tls-exporter";

/// The server side of one exchange.
pub(super) struct ScramServer {
    hash: ScramHash,
    /// True if the mechanism is one with -PLUS.
    is_bound: bool,
    exporter: Option<ExporterOctets>,
    stage: ScramStage,
}

/// The message that is awaited.
enum ScramStage {
    First,
    Final(Box<ExpectedFinal>),
    /// An empty response to our signature.
    Farewell(String),
    Over,
}

/// All that is known before the last message of the client.
struct ExpectedFinal {
    name: String,
    found: FoundKeys,
    /// The octets that `c=` must have.
    binding: Vec<u8>,
    nonce: String,
    /// The messages so far, as they are signed.
    signed: String,
}

impl ScramServer {
    pub(super) fn new(hash: ScramHash, is_bound: bool, exporter: Option<ExporterOctets>) -> Self {
        ScramServer { hash, is_bound, exporter, stage: ScramStage::First }
    }

    /// Returns the name whose proof is awaited.
    pub(super) fn about_to_prove(&self) -> Option<&str> {
        match &self.stage {
            ScramStage::Final(expected) => Some(&expected.name),
            ScramStage::First | ScramStage::Farewell(_) | ScramStage::Over => None,
        }
    }

    pub(super) fn respond(&mut self, response: &[u8], users: &dyn LoginKeys) -> SaslStep {
        match std::mem::replace(&mut self.stage, ScramStage::Over) {
            ScramStage::First => self.first(response, users, nonce()),
            ScramStage::Final(expected) => {
                let (stage, step) = expected.meet(self.hash, response);
                self.stage = stage;
                step
            }
            ScramStage::Farewell(name) => SaslStep::Proven(name),
            ScramStage::Over => SaslStep::Failed(None, LoginFault::Malformed),
        }
    }

    /// Processes client-first, with `ours` as our part of the nonce.
    fn first(&mut self, message: &[u8], users: &dyn LoginKeys, ours: Option<String>) -> SaslStep {
        let Some(first) = std::str::from_utf8(message).ok().and_then(ClientFirst::parse) else {
            return SaslStep::Failed(None, LoginFault::Malformed);
        };
        let failed = |why| SaslStep::Failed(Some(first.name.clone()), why);
        let Some(ours) = ours else { return failed(LoginFault::Malformed) };
        if first.acts_for.as_ref().is_some_and(|other| *other != first.name) {
            return failed(LoginFault::ForAnother);
        }
        let Some(bound) = self.bound(first.flag) else { return failed(LoginFault::NotBound) };
        let found = users.keys_of(&first.name, self.hash);
        let nonce = format!("{}{ours}", first.nonce);
        let salt = BASE64.encode(&found.keys.salt);
        let server_first = format!("r={nonce},s={salt},i={}", found.keys.iterations);
        let signed = format!("{},{server_first}", first.bare);
        let binding = [first.header.as_bytes(), bound].concat();
        let name = first.name;
        self.stage = ScramStage::Final(Box::new(ExpectedFinal { name, found, binding, nonce, signed }));
        SaslStep::Challenge(server_first.into_bytes())
    }

    /// Returns the octets of the channel binding for the flag of the client, which may be none; `None` if the flag is not one
    /// for this mechanism, here (RFC 5802 6).
    fn bound(&self, flag: &str) -> Option<&[u8]> {
        match (flag, self.is_bound, &self.exporter) {
            ("n", false, _) => Some(&[]),
            // It could bind, and was told that we cannot.
            ("y", false, None) => Some(&[]),
            (flag, true, Some(exporter)) if flag.strip_prefix("p=") == Some(TLS_EXPORTER) => {
                Some(&exporter.0)
            }
            _ => None,
        }
    }
}

impl ExpectedFinal {
    /// Processes client-final.
    fn meet(self, hash: ScramHash, message: &[u8]) -> (ScramStage, SaslStep) {
        let text = std::str::from_utf8(message).ok();
        let Some((unproven, proof)) = text.and_then(|text| text.rsplit_once(",p=")) else {
            return self.over(LoginFault::Malformed);
        };
        let mut parts = unproven.split(',');
        let said_binding = parts.next().and_then(|part| part.strip_prefix("c="));
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        let (Some(Ok(binding)), Some(nonce)) = (said_binding.map(|text| BASE64.decode(text)), nonce) else {
            return self.over(LoginFault::Malformed);
        };
        if nonce != self.nonce {
            return self.over(LoginFault::Malformed);
        }
        if binding != self.binding {
            return self.over(LoginFault::NotBound);
        }
        let Some(proof) = BASE64.decode(proof).ok().filter(|proof| proof.len() == hash.octets()) else {
            return self.over(LoginFault::Malformed);
        };
        let signed = format!("{},{unproven}", self.signed);
        let signature = hash.hmac(&self.found.keys.stored, signed.as_bytes());
        let client_key = proof.iter().zip(signature).map(|(one, other)| one ^ other);
        let client_key: Zeroizing<Vec<u8>> = Zeroizing::new(client_key.collect());
        let is_proven = self.found.keys.is_client_key(&client_key);
        if !is_proven || !self.found.is_known {
            let is_known = self.found.is_known;
            return self.over(if is_known { LoginFault::WrongPassword } else { LoginFault::UnknownUser });
        }
        let ours = BASE64.encode(hash.hmac(&self.found.keys.server, signed.as_bytes()));
        (ScramStage::Farewell(self.name), SaslStep::Challenge(format!("v={ours}").into_bytes()))
    }

    fn over(self, why: LoginFault) -> (ScramStage, SaslStep) {
        (ScramStage::Over, SaslStep::Failed(Some(self.name), why))
    }
}

/// Returns our part of a nonce; `None` if the system gives no random numbers.
fn nonce() -> Option<String> {
    let mut octets = [0; NONCE_OCTETS];
    aws_lc_rs::rand::fill(&mut octets).ok()?;
    Some(BASE64.encode(octets))
}

/// The parts of client-first.
struct ClientFirst<'a> {
    /// The flag of channel binding: `n`, `y` or `p=NAME`.
    flag: &'a str,
    acts_for: Option<String>,
    /// Everything before the bare message, with the comma at its end.
    header: &'a str,
    /// The message that is signed.
    bare: &'a str,
    name: String,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (flag, rest) = text.split_once(',')?;
        let (acts_for, bare) = rest.split_once(',')?;
        let header = &text[..text.len() - bare.len()];
        let acts_for = match acts_for {
            "" => None,
            other => Some(unescaped(other.strip_prefix("a=")?)?),
        };
        let mut parts = bare.split(',');
        // A message that begins with `m=` needs an extension, of which we know none.
        let name = unescaped(parts.next()?.strip_prefix("n=")?)?;
        let nonce = parts.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        Some(ClientFirst { flag, acts_for, header, bare, name, nonce })
    }
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',')
}

/// Returns the name in `text`, where `=2C` stands for a comma and `=3D` for an equals sign; `None` if it is none.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = match part.split_at_checked(2)? {
            ("2C", rest) => (',', rest),
            ("3D", rest) => ('=', rest),
            _ => return None,
        };
        name.push(letter);
        name.push_str(rest);
    }
    (name.len() <= MAX_NAME_OCTETS && !name.contains('\0')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl_server::ScramKeys;

    /// The user of the examples in RFC 5802 and RFC 7677.
    struct Examples(&'static str);

    impl LoginKeys for Examples {
        fn keys_of(&self, name: &str, hash: ScramHash) -> FoundKeys {
            let salt = BASE64.decode(self.0).unwrap();
            let password = crate::secret::Secret::new("pencil".into());
            let keys = ScramKeys::derive(hash, std::num::NonZeroU32::new(4096).unwrap(), salt, &password);
            FoundKeys { keys, is_known: name == "user" }
        }
    }

    fn challenge(step: SaslStep) -> String {
        match step {
            SaslStep::Challenge(octets) => String::from_utf8(octets).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// RFC 5802 5, RFC 7677 3.
    #[test]
    fn the_examples_of_the_standards_go_as_they_say() {
        for (hash, nonce, ours, salt, proof, signature) in [
            (
                ScramHash::Sha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "3rfcNHYJY1ZVvWVs7j",
                "QSXCR+Q6sek8bf92",
                "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                ScramHash::Sha256,
                "rOprNGfwEbeRWgbNEkqO",
                "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                "W22ZaJ0SNY7soEsUEjb6gQ==",
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ] {
            let users = Examples(salt);
            let mut server = ScramServer::new(hash, false, None);
            let first = format!("n,,n=user,r={nonce}");
            let said = challenge(server.first(first.as_bytes(), &users, Some(ours.into())));
            assert_eq!(said, format!("r={nonce}{ours},s={salt},i=4096"));
            let last = format!("c=biws,r={nonce}{ours},p={proof}");
            let said = challenge(server.respond(last.as_bytes(), &users));
            assert_eq!(said, format!("v={signature}"));
            assert!(matches!(server.respond(b"", &users), SaslStep::Proven(name) if name == "user"));
            assert!(matches!(server.respond(b"", &users), SaslStep::Failed(None, _)));
        }
    }

    #[test]
    fn names_are_read_as_they_were_escaped() {
        for (text, expected) in [
            ("ann", Some("ann")),
            ("a=2Cb=3Dc", Some("a,b=c")),
            ("=3D", Some("=")),
            ("\u{e4}=2C\u{20ac}", Some("\u{e4},\u{20ac}")),
            ("", Some("")),
            ("a=", None),
            ("a=2", None),
            ("a=2c", None),
            ("a=41", None),
            ("a=\u{e4}", None),
        ] {
            assert_eq!(unescaped(text).as_deref(), expected, "{text}");
        }
        assert!(unescaped(&"x".repeat(256)).is_none());
    }
}
