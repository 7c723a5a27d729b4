//! The schedule of retries: the pause before the next attempt of a message, and the end of its patience.
//!
//! Promises: a message that was deferred by its own 4xx is tried again after its age, between [`RetryPolicy::shortest`]
//! and [`RetryPolicy::longest`], spread by ±10 %. The age is all that is needed, so nothing about retries is ever
//! stored; a restart tries everything once, and then goes on by age.
//!
//! A message that loses its connection is tried again after a second, from the second loss on by its age. From the
//! second copy on that the relay may have of it, the pause is its age without an upper limit, so that the number of
//! copies grows with the logarithm of the lifetime; the last attempt is when its patience ends.
//!
//! Patience is not age. The patience of a message runs only while the relay is usable (the *relay clock*), so that an
//! outage of a week expires nothing (README promise 4), and a clock that is set forward by years warns nobody of a
//! delay of years.
//!
//! Pure: ages and the spread are arguments. Not here: trouble of the relay (`breaker.rs`), which message is next
//! (`roster.rs`).

use std::time::Duration;

/// The pause after the first loss: what ended one connection may be over when the next one is open.
const AFTER_FIRST_LOSS: Duration = Duration::from_secs(1);

/// A number in `-1.0..=1.0` that spreads attempts in time; the caller draws it.
#[derive(Clone, Copy, Debug)]
pub struct Spread(f64);

impl Spread {
    /// No spread at all, for tests of exact times.
    #[cfg(test)]
    pub const NONE: Spread = Spread(0.0);

    /// Returns a spread; values outside `-1.0..=1.0` are clamped.
    pub fn new(draw: f64) -> Self {
        Spread(draw.clamp(-1.0, 1.0))
    }

    /// Returns `duration`, changed by at most `share` (0.1 is ±10 %).
    pub fn apply(self, duration: Duration, share: f64) -> Duration {
        duration.mul_f64(1.0 + self.0 * share)
    }
}

/// The rule by which a message is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The shortest pause between two attempts.
    pub shortest: Duration,
    /// The longest pause between two attempts.
    pub longest: Duration,
    /// The patience of a message: the time for which it is tried while the relay is usable. Then it bounces.
    pub lifetime: Duration,
    /// The part of its patience that a message has used when its sender is told of the delay, once; `None` for never.
    pub delay_warning: Option<Duration>,
}

impl RetryPolicy {
    /// Returns the pause before the next attempt of a message of this `age`.
    pub fn pause(&self, age: Duration, spread: Spread) -> Duration {
        spread.apply(age.clamp(self.shortest, self.longest), 0.1)
    }

    /// Returns the pause after an attempt that lost its connection, for a message of this age that has so much patience
    /// left; `None` if its patience does not run now.
    pub fn pause_after_loss(
        &self,
        losses: u8,
        copies: u8,
        age: Duration,
        patience_left: Option<Duration>,
        spread: Spread,
    ) -> Duration {
        match (copies, losses) {
            (2.., _) => {
                let pause = spread.apply(age, 0.1);
                // One that ends just before the last attempt would add a copy for nothing.
                let is_last = |left: &Duration| pause.mul_f64(1.25) >= (*left).max(age / 8);
                patience_left.filter(is_last).map_or(pause, |left| left.max(age / 8)).max(self.shortest)
            }
            (_, 2..) => self.pause(age, spread),
            _ => AFTER_FIRST_LOSS,
        }
    }

    /// Returns the patience that a message which has used this much may use until its sender is told of the delay, if that is
    /// to come, else until it bounces.
    pub fn until_sender_is_told(&self, patience_used: Duration, already_warned: bool) -> Duration {
        let warning = self.delay_warning.filter(|after| !already_warned && patience_used < *after);
        warning.unwrap_or(self.lifetime).min(self.lifetime).saturating_sub(patience_used)
    }

    /// Returns whether a message that has used this much patience has been tried for long enough.
    pub fn is_expired(&self, patience_used: Duration) -> bool {
        patience_used >= self.lifetime
    }

    /// Returns whether a message that has used this much patience gets its one delay warning now.
    pub fn is_warning_due(&self, patience_used: Duration, already_warned: bool) -> bool {
        !already_warned && self.delay_warning.is_some_and(|after| patience_used >= after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);
    const POLICY: RetryPolicy = RetryPolicy {
        shortest: MINUTE,
        longest: HOUR,
        lifetime: DAY.saturating_mul(5),
        delay_warning: Some(HOUR),
    };

    #[test]
    fn the_pause_is_the_age_within_its_bounds() {
        let cases = [
            (Duration::ZERO, MINUTE),
            (Duration::from_secs(59), MINUTE),
            (Duration::from_secs(61), Duration::from_secs(61)),
            (MINUTE * 30, MINUTE * 30),
            (HOUR, HOUR),
            (DAY * 4, HOUR),
        ];
        for (age, pause) in cases {
            assert_eq!(POLICY.pause(age, Spread::NONE), pause, "{age:?}");
        }
    }

    #[test]
    fn the_spread_is_ten_percent_both_ways() {
        assert_eq!(POLICY.pause(HOUR, Spread::new(1.0)), MINUTE * 66);
        assert_eq!(POLICY.pause(HOUR, Spread::new(-1.0)), MINUTE * 54);
        assert_eq!(POLICY.pause(HOUR, Spread::new(-9.0)), MINUTE * 54, "a wild draw is clamped");
    }

    #[test]
    fn attempts_over_five_days_double_up_to_an_hour_and_then_keep_to_it() {
        let mut age = Duration::ZERO;
        let mut attempts = Vec::new();
        while !POLICY.is_expired(age) {
            attempts.push(age);
            age += POLICY.pause(age, Spread::NONE);
        }
        let minutes: Vec<u64> = attempts.iter().take(9).map(|age| age.as_secs() / 60).collect();
        assert_eq!(minutes, [0, 1, 2, 4, 8, 16, 32, 64, 124]);
        assert_eq!(attempts.len(), 126);
    }

    /// Ages at which a message is tried that is lost each time, with or without a copy at the relay, until its
    /// patience or `end` is reached.
    fn lost_attempts(copied: bool, patience_runs: bool, end: Duration, draw: f64) -> Vec<Duration> {
        let (mut age, mut attempts) = (Duration::ZERO, 0);
        std::iter::from_fn(|| {
            (age < end).then(|| {
                attempts += 1;
                let tried_at = age;
                let left = patience_runs.then(|| POLICY.lifetime.saturating_sub(age));
                let copies = if copied { attempts } else { 0 };
                age += POLICY.pause_after_loss(attempts, copies, age, left, Spread::new(draw));
                tried_at
            })
        })
        .collect()
    }

    /// A message whose connection was lost behind its content at each try once had a copy at the relay for each
    /// probe, 290 a day, without end.
    #[test]
    fn the_copies_of_a_message_always_lost_at_its_dot_are_few() {
        let lifetime = POLICY.lifetime;
        let minutes: Vec<u64> =
            lost_attempts(true, true, lifetime, 0.0).iter().map(|age| age.as_secs() / 60).collect();
        assert_eq!(minutes, [0, 0, 1, 2, 4, 8, 16, 32, 65, 130, 260, 520, 1041, 2082, 4164]);
        for draw in [-1.0, -0.5, 0.0, 0.5, 1.0] {
            // The last one is when patience is at its end.
            let attempts = lost_attempts(true, true, lifetime + MINUTE, draw);
            let last = attempts[attempts.len() - 1];
            assert!(attempts.len() <= WORST_COPIES, "{draw}: {}", attempts.len());
            assert_eq!(last, lifetime, "{draw}");
            let without_patience = lost_attempts(true, false, lifetime * 10, draw).len();
            assert!(without_patience <= 2 * WORST_COPIES, "{draw}: {without_patience}");
        }
    }

    /// The number stands in `config/mail.md`.
    const WORST_COPIES: usize = 20;

    #[test]
    fn lost_before_its_dot_it_is_tried_by_age() {
        let attempts = lost_attempts(false, true, HOUR, 0.0);
        let seconds: Vec<u64> = attempts.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [0, 1, 61, 122, 244, 488, 976, 1952]);
    }

    #[test]
    fn the_sender_is_told_at_the_warning_and_at_the_end() {
        let never = RetryPolicy { delay_warning: None, ..POLICY };
        let short = RetryPolicy { lifetime: MINUTE, ..POLICY };
        let cases = [
            (POLICY, MINUTE * 10, false, MINUTE * 50),
            (POLICY, MINUTE * 10, true, DAY * 5 - MINUTE * 10),
            (POLICY, HOUR, false, DAY * 5 - HOUR),
            (never, MINUTE, false, DAY * 5 - MINUTE),
            (short, Duration::ZERO, false, MINUTE),
            (POLICY, DAY * 6, true, Duration::ZERO),
        ];
        for (policy, used, warned, left) in cases {
            assert_eq!(policy.until_sender_is_told(used, warned), left, "{used:?} {warned}");
        }
    }

    #[test]
    fn one_warning_and_only_when_configured() {
        assert!(!POLICY.is_warning_due(MINUTE * 59, false));
        assert!(POLICY.is_warning_due(HOUR, false));
        assert!(!POLICY.is_warning_due(DAY, true));
        assert!(!RetryPolicy { delay_warning: None, ..POLICY }.is_warning_due(DAY, false));
    }
}
