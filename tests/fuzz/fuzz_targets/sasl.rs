//! What a client says in AUTH, and what stands in a file with users: an octet that chooses the mechanism, and lines, of which
//! each is a response; `%` in one stands for the nonce of the challenge before, which a client could not guess. The whole is also
//! read as a file with users.
//!
//! Promises: nothing panics; nobody is proven, since nobody here knows the password; a name and a challenge have a bounded
//! length; after the end of an exchange every response fails; the keys in a file are written as they were read.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nullmta::config::LoginUsers;
use nullmta::sasl_server::{
    DecoyKeys, ExporterOctets, FoundKeys, LoginKeys, SaslExchange, SaslMechanism, SaslStep, ScramHash, ScramKeys,
};
use nullmta::secret::Secret;

/// A user called `ann`, and nobody else.
struct OneUser(ScramKeys, DecoyKeys);

impl LoginKeys for OneUser {
    fn keys_of(&self, name: &str, hash: ScramHash) -> FoundKeys {
        let is_known = name == "ann" && hash == ScramHash::Sha256;
        let decoy = self.1.keys_of(name, hash, &[4096]);
        FoundKeys { keys: if is_known { self.0.clone() } else { decoy }, is_known }
    }
}

static USERS: LazyLock<OneUser> = LazyLock::new(|| {
    let password = Secret::new("a password that no seed has".into());
    let keys = ScramKeys::fresh(ScramHash::Sha256, 4096, &password).expect("random numbers");
    OneUser(keys, DecoyKeys::of(b"secret"))
});

const MECHANISMS: [&str; 6] =
    ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "SCRAM-SHA-512-PLUS"];

/// Returns `line` with the nonce of `challenge` in place of each `%`.
fn with_nonce(line: &[u8], challenge: &[u8]) -> Vec<u8> {
    let nonce = challenge.strip_prefix(b"r=").unwrap_or_default();
    let nonce = nonce.split(|octet| *octet == b',').next().unwrap_or_default();
    line.split(|octet| *octet == b'%').collect::<Vec<_>>().join(nonce)
}

fn assert_name(name: &str) {
    assert!(name.len() <= 255, "{}", name.len());
}

fuzz_target!(|octets: &[u8]| {
    if let Ok(text) = std::str::from_utf8(octets) {
        for user in LoginUsers::parse(text, Path::new("users")).map_or(Vec::new(), |users| users.0) {
            assert_name(&user.name);
            assert_eq!(ScramKeys::parse(&user.keys.to_string()), Some(user.keys));
        }
    }
    let Some((choice, rest)) = octets.split_first() else { return };
    let mechanism = MECHANISMS[usize::from(*choice) % MECHANISMS.len()];
    let exporter = (choice & 0x40 != 0).then_some(ExporterOctets([7; 32]));
    let mut exchange = SaslExchange::new(SaslMechanism::parse(mechanism).expect("it is known"), exporter);
    let mut lines = rest.split(|octet| *octet == b'\n');
    let initial = if choice & 0x80 != 0 { lines.next() } else { None };
    let mut step = exchange.begin(initial, &*USERS);
    for line in lines.chain([&b""[..]]) {
        if let Some(name) = exchange.about_to_prove() {
            assert_name(name);
        }
        let said = match &step {
            SaslStep::Challenge(challenge) => {
                assert!(challenge.len() <= octets.len() + 200, "{}", challenge.len());
                with_nonce(line, challenge)
            }
            SaslStep::Password(login) => {
                assert_name(&login.name);
                break;
            }
            SaslStep::Proven(name) => panic!("{name:?} was proven"),
            SaslStep::Failed(name, _) => {
                name.iter().for_each(|name| assert_name(name));
                break;
            }
        };
        step = exchange.respond(&said, &*USERS);
    }
    if !matches!(step, SaslStep::Challenge(_)) {
        let again = exchange.respond(b"\0ann\0x", &*USERS);
        assert!(matches!(again, SaslStep::Failed(None, _)), "{again:?}");
    }
});
