//! A reverse-path in four octets, for the memory of a queue that may hold a million messages.
//!
//! Promises: two reverse-paths that differ only in upper and lower case have the same key; others have different ones,
//! but for a chance of one in 2^32, which nobody can improve: the hash has secret keys of this process. So keys are never
//! stored, and whoever uses them bears it that two senders are taken for one.

use std::hash::{BuildHasher, RandomState};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::LazyLock;

use super::ReversePath;

static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The key of a reverse-path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReversePathKey(u32);

impl ReversePathKey {
    /// Returns the key of the reverse-path that has this text between its brackets.
    pub fn of_text(text: &str) -> Self {
        // The low half of a hash is one as well.
        ReversePathKey(SECRET.hash_one(text.to_lowercase()) as u32)
    }

    /// Returns one of the numbers below `count`, always the same one. Others have it, too, by a chance of one in `count`.
    pub fn among(self, count: NonZeroU16) -> u16 {
        // It is below a number of 16 bits.
        (self.0 % NonZeroU32::from(count)) as u16
    }
}

impl From<&ReversePath> for ReversePathKey {
    fn from(path: &ReversePath) -> Self {
        path.mailbox().map_or_else(|| Self::of_text(""), |address| Self::of_text(address.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Address;

    #[test]
    fn a_key_stands_for_one_reverse_path_in_any_case() {
        let key = |text: &str| {
            let path = match text {
                "" => ReversePath::Null,
                address => ReversePath::Mailbox(Address::parse(address).unwrap()),
            };
            assert_eq!(ReversePathKey::from(&path), ReversePathKey::of_text(text));
            ReversePathKey::from(&path)
        };
        assert_eq!(key("shop@example.org"), key("Shop@Example.ORG"));
        assert_ne!(key("shop@example.org"), key("app@example.org"));
        assert_ne!(key(""), key("app@example.org"));
    }
}
