//! Keys for names that are no users, so that a client cannot tell these from users.
//!
//! Promises: a name gets the same salt and the same count each time, as a user would, and no password fits. Without the secret
//! nobody can tell whether a salt was made here.
//!
//! RFC 5802 9 (on what an unknown name is told).

use std::num::NonZeroU32;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::keys::{ScramHash, ScramKeys};

/// The length, in octets, of a salt that `nullmta user` makes.
const SALT_OCTETS: usize = 16;

/// The maker of keys for unknown names.
pub struct DecoyKeys(hmac::Key);

impl DecoyKeys {
    /// Returns a maker whose keys follow from `secret`.
    pub fn of(secret: &[u8]) -> Self {
        DecoyKeys(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Returns a maker with a secret of its own; an error if the system gives no random numbers.
    pub fn fresh() -> Result<Self, String> {
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut secret[..]).map_err(|_| "no random numbers to be had".to_owned())?;
        Ok(DecoyKeys::of(&secret[..]))
    }

    /// Returns the keys of an unknown name, whose count is one of `counts`, which are those of the users; there is at least
    /// one.
    pub fn keys_of(&self, name: &str, hash: ScramHash, counts: &[u32]) -> ScramKeys {
        let print = self.print("salt", name);
        let choice = usize::from(print[SALT_OCTETS]) << 8 | usize::from(print[SALT_OCTETS + 1]);
        let count = counts.get(choice % counts.len().max(1)).copied().and_then(NonZeroU32::new);
        ScramKeys {
            hash,
            iterations: count.unwrap_or(NonZeroU32::MIN),
            salt: print[..SALT_OCTETS].to_vec(),
            // No client key has this digest, unless by chance.
            stored: Zeroizing::new(hash.hmac(&self.print("stored", name), b"")),
            server: Zeroizing::new(hash.hmac(&self.print("server", name), b"")),
        }
    }

    fn print(&self, kind: &str, name: &str) -> Vec<u8> {
        hmac::sign(&self.0, format!("{kind}\0{name}").as_bytes()).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_decoy_each_time_and_no_other_name_has_it() {
        let (decoys, others) = (DecoyKeys::of(b"secret"), DecoyKeys::of(b"another"));
        let keys = |decoys: &DecoyKeys, name| decoys.keys_of(name, ScramHash::Sha256, &[15_000]).to_string();
        assert_eq!(keys(&decoys, "ann"), keys(&DecoyKeys::of(b"secret"), "ann"));
        assert_ne!(keys(&decoys, "ann"), keys(&decoys, "bob"));
        assert_ne!(keys(&decoys, "ann"), keys(&others, "ann"));
        assert!(keys(&decoys, "ann").starts_with("SCRAM-SHA-256$15000:"));
        assert!(
            !decoys
                .keys_of("", ScramHash::Sha256, &[4096])
                .is_password(&crate::secret::Secret::new("".into()))
        );
    }

    /// The count of an unknown name told it from users whose keys were made elsewhere.
    #[test]
    fn the_counts_are_those_of_the_users() {
        let decoys = DecoyKeys::of(b"secret");
        let counts: std::collections::BTreeSet<u32> = (0..100)
            .map(|number| {
                decoys.keys_of(&number.to_string(), ScramHash::Sha256, &[4096, 15_000]).iterations()
            })
            .collect();
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [4096, 15_000]);
    }
}
