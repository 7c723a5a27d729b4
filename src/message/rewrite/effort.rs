//! The effort that header rules may take with one message.
//!
//! Promises: what a message may cost is counted, not timed, so that the same message always has the same
//! end. One unit is an octet that is matched against a pattern of 1 KiB compiled: at worst some 150 ns.
//! A message whose header costs more than [`MAX_EFFORT`] is refused as a whole: no field of it goes on
//! unseen by a rule. With rules of [`MAX_RULES_KIB`] that is a header of 32 KiB, its shortest fields aside;
//! with ten rules of the usual size, which is 1 KiB, one of 800 KiB.

use super::pattern::Pattern;

/// What a message may cost, in octets times KiB.
pub const MAX_EFFORT: u64 = 8 * 1024 * 1024;

/// How large all header rules may be together, compiled, in KiB.
pub const MAX_RULES_KIB: u32 = 256;

/// A field that is shorter counts as one of so many octets.
const MIN_OCTETS: u64 = 16;

/// What a message may still cost.
#[derive(Debug)]
pub(super) struct RuleEffort {
    left: u64,
}

impl RuleEffort {
    /// All of it.
    pub(super) fn new() -> Self {
        RuleEffort { left: MAX_EFFORT }
    }

    /// Takes what matching so many octets costs; whether there was enough.
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
