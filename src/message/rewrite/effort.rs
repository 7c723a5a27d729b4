//! A limit on the work of header rules for one message.
//!
//! Promises: the work is counted and not timed, so that the same message always has the same result. One unit is
//! matching one octet against a pattern of 1 KiB compiled size, which takes at most about 150 ns. A message whose
//! header needs more than [`MAX_EFFORT`] is refused as a whole, so that no field passes without being checked. With
//! rules of [`MAX_RULES_KIB`] that is a header of 32 KiB, if it has no very short fields. With ten rules of the usual
//! size, which is 1 KiB, it is one of 800 KiB.

use super::pattern::Pattern;

/// The work allowed for one message, in octets times KiB.
pub const MAX_EFFORT: u64 = 8 * 1024 * 1024;

/// The largest compiled size of all header rules together, in KiB.
pub const MAX_RULES_KIB: u32 = 256;

/// The number of octets for which a shorter field is counted.
const MIN_OCTETS: u64 = 16;

/// The work that is still allowed for a message.
#[derive(Debug)]
pub(super) struct RuleEffort {
    left: u64,
}

impl RuleEffort {
    /// Returns the whole work that is allowed for a message.
    pub(super) fn new() -> Self {
        RuleEffort { left: MAX_EFFORT }
    }

    /// Takes the work for matching so many octets. Returns whether it was still allowed.
    pub(super) fn spend(&mut self, octets: usize, pattern: &Pattern) -> bool {
        let cost = MIN_OCTETS.max(octets as u64) * u64::from(pattern.kib());
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_is_octets_times_size() {
        let (small, large) = (Pattern::new("^X:").unwrap(), Pattern::new("[a-q]{100}").unwrap());
        assert_eq!((small.kib(), large.kib()), (1, 16));
        let mut effort = RuleEffort::new();
        assert!(effort.spend(100, &small) && effort.spend(100, &large) && effort.spend(1, &small));
        assert_eq!(effort.left, MAX_EFFORT - 100 - 1600 - 16);
        assert!(!effort.spend(MAX_EFFORT as usize, &small));
        assert!(!effort.spend(0, &small), "what is used up stays so");
    }
}
