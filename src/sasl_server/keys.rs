//! The keys that SCRAM derives from a password: what a server stores in place of it.
//!
//! Promises: the keys do not tell the password, but whoever has them can try passwords, and can play the server. So they are
//! kept like a secret, and `Debug` shows none. A comparison takes the same time whether it fails early or late.
//!
//! The text of the keys is that of RFC 5803, which PostgreSQL uses, too:
//! `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`, each of the three in base64.
//!
//! RFC 5802 3, RFC 7677.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The iteration counts that are accepted. RFC 7677 4 requires at least 4,096; a million takes about a second for each login.
pub const ITERATIONS: RangeInclusive<u32> = 4_096..=1_000_000;

/// The number of iterations of a new password: the rule of thumb in RFC 7677 4. It takes a few milliseconds for each login by
/// PLAIN or LOGIN, which a program may do for each message.
pub const USUAL_ITERATIONS: u32 = 15_000;

/// The length, in octets, of a new salt.
const SALT_OCTETS: usize = 16;

/// The longest salt that is read, in octets.
const MAX_SALT_OCTETS: usize = 128;

/// The hash function of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramHash {
    /// SCRAM-SHA-1, which old programs know.
    Sha1,
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramHash {
    /// Returns the hash of the mechanism with this name, which has no -PLUS.
    pub(super) fn of_mechanism(name: &str) -> Option<Self> {
        [ScramHash::Sha1, ScramHash::Sha256, ScramHash::Sha512]
            .into_iter()
            .find(|hash| hash.mechanism() == name)
    }

    /// Returns the name of the mechanism, without -PLUS.
    pub fn mechanism(self) -> &'static str {
        match self {
            ScramHash::Sha1 => "SCRAM-SHA-1",
            ScramHash::Sha256 => "SCRAM-SHA-256",
            ScramHash::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// Returns the length of a key, in octets.
    pub(super) fn octets(self) -> usize {
        self.digest_algorithm().output_len()
    }

    fn digest_algorithm(self) -> &'static digest::Algorithm {
        match self {
            ScramHash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            ScramHash::Sha256 => &digest::SHA256,
            ScramHash::Sha512 => &digest::SHA512,
        }
    }

    fn pbkdf2_algorithm(self) -> pbkdf2::Algorithm {
        match self {
            ScramHash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            ScramHash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            ScramHash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    pub(super) fn digest(self, octets: &[u8]) -> Vec<u8> {
        digest::digest(self.digest_algorithm(), octets).as_ref().to_vec()
    }

    pub(super) fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            ScramHash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            ScramHash::Sha256 => hmac::HMAC_SHA256,
            ScramHash::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), text).as_ref().to_vec()
    }
}

/// The StoredKey and the ServerKey of RFC 5802 3, with the salt and the count that they were derived with.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub(super) hash: ScramHash,
    pub(super) iterations: NonZeroU32,
    pub(super) salt: Vec<u8>,
    pub(super) stored: Zeroizing<Vec<u8>>,
    pub(super) server: Zeroizing<Vec<u8>>,
}

impl ScramKeys {
    /// Derives the keys of `password`, with a new salt; an error if the system gives no random numbers.
    pub fn fresh(hash: ScramHash, iterations: u32, password: &Secret) -> Result<Self, String> {
        let mut salt = vec![0; SALT_OCTETS];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| "no random numbers to be had".to_owned())?;
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        Ok(ScramKeys::derive(hash, iterations, salt, password))
    }

    pub(super) fn derive(
        hash: ScramHash,
        iterations: NonZeroU32,
        salt: Vec<u8>,
        password: &Secret,
    ) -> ScramKeys {
        // A password that is no text is hashed as it is.
        let password = password.prepared().unwrap_or_else(|| password.clone());
        let mut salted = Zeroizing::new(vec![0; hash.octets()]);
        pbkdf2::derive(hash.pbkdf2_algorithm(), iterations, &salt, password.expose(), &mut salted);
        let client_key = Zeroizing::new(hash.hmac(&salted, b"Client Key"));
        let stored = Zeroizing::new(hash.digest(&client_key));
        let server = Zeroizing::new(hash.hmac(&salted, b"Server Key"));
        ScramKeys { hash, iterations, salt, stored, server }
    }

    /// Returns whether these are the keys of `password`. Takes milliseconds.
    pub fn is_password(&self, password: &Secret) -> bool {
        let derived = ScramKeys::derive(self.hash, self.iterations, self.salt.clone(), password);
        constant_time::verify_slices_are_equal(&derived.stored, &self.stored).is_ok()
    }

    /// Returns whether `client_key` is the one that these keys were made of.
    pub(super) fn is_client_key(&self, client_key: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.hash.digest(client_key), &self.stored).is_ok()
    }

    /// Returns the number of iterations.
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    /// Parses the text that `Display` gives, of SCRAM-SHA-256; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let hash = ScramHash::Sha256;
        let rest = text.strip_prefix(hash.mechanism())?.strip_prefix('$')?;
        let (way, keys) = rest.split_once('$')?;
        let (iterations, salt) = way.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let is_number =
            !iterations.starts_with('0') && iterations.bytes().all(|octet| octet.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|count| is_number && ITERATIONS.contains(count))?;
        let salt = BASE64.decode(salt).ok()?;
        let key = |text| BASE64.decode(text).ok().filter(|key: &Vec<u8>| key.len() == hash.octets());
        (1..=MAX_SALT_OCTETS).contains(&salt.len()).then_some(())?;
        Some(ScramKeys {
            hash,
            iterations: NonZeroU32::new(iterations)?,
            salt,
            stored: Zeroizing::new(key(stored)?),
            server: Zeroizing::new(key(server)?),
        })
    }
}

/// Displays the text for a file, by RFC 5803.
impl fmt::Display for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = |octets: &[u8]| BASE64.encode(octets);
        let (name, iterations, salt) = (self.hash.mechanism(), self.iterations, base64(&self.salt));
        write!(f, "{name}${iterations}:{salt}${}:{}", base64(&self.stored), base64(&self.server))
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Secret {
        Secret::new(text.into())
    }

    /// The keys of PostgreSQL 16 for `pencil`, with the salt and the count of RFC 7677 3.
    const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                          wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn keys_are_those_of_other_programs() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let count = NonZeroU32::new(4096).unwrap();
        let derived = ScramKeys::derive(ScramHash::Sha256, count, salt, &password("pencil"));
        assert_eq!(derived.to_string(), PENCIL);
        let read = ScramKeys::parse(PENCIL).unwrap();
        assert_eq!((&read, read.to_string().as_str()), (&derived, PENCIL));
        assert!(read.is_password(&password("pencil")));
        assert!(!read.is_password(&password("pencils")) && !read.is_password(&password("")));
        assert_eq!(format!("{read:?}"), "ScramKeys(***)");
    }

    #[test]
    fn a_password_is_the_same_however_its_letters_are_made() {
        let keys = ScramKeys::fresh(ScramHash::Sha256, 4096, &password("a\u{308}")).unwrap();
        assert!(keys.is_password(&password("\u{e4}")));
        let again = ScramKeys::fresh(ScramHash::Sha256, 4096, &password("a\u{308}")).unwrap();
        assert_ne!(keys.to_string(), again.to_string(), "each password has a salt of its own");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = BASE64.encode([0; MAX_SALT_OCTETS + 1]);
        for (from, to) in [
            ("SCRAM-SHA-256$", "SCRAM-SHA-512$"),
            ("SCRAM-SHA-256$", "SCRAM-SHA-256"),
            ("4096:", "4095:"),
            ("4096:", "1000001:"),
            ("4096:", "04096:"),
            ("4096:", "+4096:"),
            ("4096:", "4096"),
            ("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            ("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEsUEjb6gQ"),
            ("W22ZaJ0SNY7soEsUEjb6gQ==", &long),
            ("WG5d", "WG5"),
            ("WG5d8oPm", ""),
            (":wfPL", "$wfPL"),
            ("2dU=", "2dU= "),
        ] {
            let text = PENCIL.replacen(from, to, 1);
            assert_ne!(text, PENCIL);
            assert!(ScramKeys::parse(&text).is_none(), "{text}");
        }
    }
}
