//! What one transaction may hold: so many recipients, in so many domains.
//!
//! Promises:
//! 1. No transaction has more than the configuration allows, nor more than the relay has shown to take.
//! 2. A relay that was full after `n` recipients gets `n` in a transaction from then on, over all connections. It has said
//!    the number itself: half of what it was asked for would be refused again where it takes less than that (10 of 50:
//!    25 are too many), and be needless transactions where it takes more (40 of 50: 25 are too few). After each
//!    [`STEP`] it gets a tenth of the configured number more, since it may have been full for another reason. A relay
//!    that took one, or none, of several has said no number: it gets half as many (`attempt.rs`).
//! 3. A relay that takes one domain in a transaction gets one for [`ONE_DOMAIN`].
//!
//! Pure: time is an argument. Not here: which replies say so (`relay/verdict.rs`), the parts themselves (`attempt.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::clock::later;

/// The time after which a relay that was full gets more recipients.
const STEP: Duration = Duration::from_secs(600);
/// The time for which it is remembered that the relay takes one domain in a transaction.
const ONE_DOMAIN: Duration = Duration::from_secs(86_400);

/// What one transaction may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartLimits {
    /// The most recipients; at least one.
    pub(super) recipients: usize,
    /// The most domains of recipients; `None` for any number.
    pub(super) domains: Option<usize>,
}

/// What a relay has shown to take in one transaction; `None` where it has shown nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LearnedParts {
    /// The most recipients.
    pub(super) recipients: Option<usize>,
    /// The most domains of recipients.
    pub(super) domains: Option<usize>,
}

/// The limits of one relay.
#[derive(Debug)]
pub(super) struct RelayParts {
    configured: PartLimits,
    /// The number of recipients after which the relay was full, and when it was.
    full_after: Option<(usize, Timestamp)>,
    one_domain_until: Option<Timestamp>,
}

impl RelayParts {
    /// Returns the configured limits of a relay of which nothing is known.
    pub(super) fn new(configured: PartLimits) -> Self {
        RelayParts { configured, full_after: None, one_domain_until: None }
    }

    /// Returns the limits at `now`.
    pub(super) fn at(&self, now: Timestamp) -> PartLimits {
        let PartLimits { recipients, domains } = self.configured;
        let known = self.full_after.map_or(recipients, |(taken, since)| {
            let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let steps = usize::try_from(passed.as_secs() / STEP.as_secs()).unwrap_or(usize::MAX);
            taken.saturating_add(steps.saturating_mul((recipients / 10).max(1)))
        });
        let is_one = self.one_domain_until.is_some_and(|until| now < until);
        PartLimits { recipients: known.min(recipients), domains: if is_one { Some(1) } else { domains } }
    }

    /// Returns what the relay has shown to take at `now`, where that is less than the configuration allows.
    pub(super) fn learned(&self, now: Timestamp) -> LearnedParts {
        let (known, PartLimits { recipients, domains }) = (self.at(now), self.configured);
        LearnedParts {
            recipients: Some(known.recipients).filter(|known| *known < recipients),
            domains: known.domains.filter(|_| known.domains != domains),
        }
    }

    /// Takes in that the relay has shown these limits. Returns those that were not known.
    pub(super) fn shown(&mut self, shown: PartLimits, now: Timestamp) -> LearnedParts {
        let (known, mut news) = (self.at(now), LearnedParts::default());
        if shown.recipients < known.recipients {
            let recipients = shown.recipients.max(1);
            self.full_after = Some((recipients, now));
            news.recipients = Some(recipients);
        }
        if shown.domains == Some(1) && known.domains != Some(1) {
            self.one_domain_until = Some(later(now, ONE_DOMAIN));
            news.domains = Some(1);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_relay_that_was_full_gets_slowly_more_up_to_the_configured_number() {
        let mut parts = RelayParts::new(PartLimits { recipients: 50, domains: None });
        parts.shown(PartLimits { recipients: 10, domains: None }, at(0));
        let numbers = [0, 599, 600, 1200, 4800, 100_000].map(|second| parts.at(at(second)).recipients);
        assert_eq!(numbers, [10, 10, 15, 20, 50, 50]);
        parts.shown(PartLimits { recipients: 0, domains: None }, at(1200));
        assert_eq!(parts.at(at(1200)).recipients, 1, "never none");
        parts.shown(PartLimits { recipients: 30, domains: None }, at(1200));
        assert_eq!(parts.at(at(1200)).recipients, 1, "a larger number shows nothing");
    }

    /// Nobody was told of it: neither the log nor the status said why a message went in parts.
    #[test]
    fn what_is_new_is_told_once_and_what_is_known_as_long_as_it_counts() {
        let learned = |recipients, domains| LearnedParts { recipients, domains };
        let mut parts = RelayParts::new(PartLimits { recipients: 50, domains: None });
        assert_eq!(parts.learned(at(0)), LearnedParts::default());
        let shown = PartLimits { recipients: 10, domains: Some(1) };
        assert_eq!(parts.shown(shown, at(0)), learned(Some(10), Some(1)));
        assert_eq!(parts.shown(shown, at(1)), LearnedParts::default());
        assert_eq!(parts.learned(at(1)), learned(Some(10), Some(1)));
        assert_eq!(parts.learned(at(600)), learned(Some(15), Some(1)));
        assert_eq!(parts.learned(at(5000)), learned(None, Some(1)));
        assert_eq!(parts.learned(at(86_400)), LearnedParts::default());
        let mut parts = RelayParts::new(PartLimits { recipients: 50, domains: Some(1) });
        assert_eq!(parts.shown(shown, at(0)), learned(Some(10), None), "one domain is the configuration's");
    }

    #[test]
    fn one_domain_is_remembered_for_a_day() {
        let mut parts = RelayParts::new(PartLimits { recipients: 50, domains: Some(3) });
        parts.shown(PartLimits { recipients: 50, domains: Some(1) }, at(0));
        let domains = [0, 86_399, 86_400].map(|second| parts.at(at(second)).domains);
        assert_eq!((domains, parts.at(at(0)).recipients), ([Some(1), Some(1), Some(3)], 50));
    }
}
