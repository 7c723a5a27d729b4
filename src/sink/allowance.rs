//! The counts behind the limits of a sink: what each session has used, and what all of them have used together.
//!
//! Promises: what is refused is not counted, except by a limit that refused tries prolong; a session that has ended takes
//! up no connection. Of a quota, no window of its length has more than its number; of a rate, no time has more than its
//! number and what comes in that time.
//!
//! Pure: the time is an argument, counted from any beginning. Not here: the form of a limit (`limit.rs`).

use std::collections::VecDeque;
use std::time::Duration;

use super::fault::{FaultEffect, SinkPhase};
use super::limit::{LimitKind, LimitWindow, SinkLimit};

/// The limits of one sink, with what is used of each.
#[derive(Debug)]
pub struct Allowances(Vec<Allowance>);

#[derive(Debug)]
struct Allowance {
    limit: SinkLimit,
    used: Used,
}

/// What is used of a limit by all sessions together.
#[derive(Debug)]
enum Used {
    /// Nothing: the limit is one of the recipients of a transaction.
    Recipients,
    /// Nothing: the limit is one of the messages of a session.
    Messages,
    /// So many sessions.
    Connections(u32),
    /// The bucket of a rate has so much left, at that time.
    Bucket { window: LimitWindow, left: f64, at: Duration },
    /// What a quota has counted within its window, each with its time.
    Quota { window: LimitWindow, counted: VecDeque<(Duration, u32)>, sum: u32 },
}

/// What one session has used of the limits.
#[derive(Debug, Default)]
pub struct SessionTally {
    messages: u32,
    /// The recipients of the transaction.
    recipients: u32,
    /// The positions of the limits at which the session takes up one of the connections.
    places: Vec<usize>,
}

impl SessionTally {
    /// Notes that a transaction begins.
    pub fn begin(&mut self) {
        self.recipients = 0;
    }

    /// Notes that the transaction has one recipient more.
    pub fn add_recipient(&mut self) {
        self.recipients += 1;
    }

    /// Notes that a message was stored.
    pub fn add_message(&mut self) {
        self.messages += 1;
    }
}

impl Allowances {
    /// Returns the allowances of which nothing is used.
    pub fn new(limits: Vec<SinkLimit>) -> Self {
        Allowances(limits.into_iter().map(Allowance::new).collect())
    }

    /// Counts that a session has come to `phase`. Returns the effect of the first limit that does not allow it, and then
    /// counts nothing.
    pub fn take(
        &mut self,
        session: &mut SessionTally,
        phase: SinkPhase,
        now: Duration,
    ) -> Option<FaultEffect> {
        for (at, allowance) in self.those(|limit| limit.phase == phase) {
            if !allowance.allows(session, at, now) {
                allowance.note_refused(session, now);
                return Some(allowance.limit.effect.clone());
            }
        }
        let counted = self.those(|limit| limit.counted == phase);
        counted.for_each(|(at, allowance)| allowance.take(session, at, now));
        None
    }

    fn those(&mut self, are: impl Fn(&SinkLimit) -> bool) -> impl Iterator<Item = (usize, &mut Allowance)> {
        self.0.iter_mut().enumerate().filter(move |(_, allowance)| are(&allowance.limit))
    }

    /// Gives back what a session has taken up until its end.
    pub fn leave(&mut self, session: &mut SessionTally) {
        for at in session.places.drain(..) {
            if let Used::Connections(taken) = &mut self.0[at].used {
                *taken -= 1;
            }
        }
    }
}

impl Allowance {
    fn new(limit: SinkLimit) -> Self {
        let used = match limit.kind {
            LimitKind::Recipients => Used::Recipients,
            LimitKind::Messages => Used::Messages,
            LimitKind::Connections => Used::Connections(0),
            LimitKind::Rate(window) => {
                Used::Bucket { window, left: f64::from(limit.most), at: Duration::ZERO }
            }
            LimitKind::Quota(window) => Used::Quota { window, counted: VecDeque::new(), sum: 0 },
        };
        Allowance { limit, used }
    }

    /// Returns what `session`, which has come to the phase of this limit, wants to use of it now.
    fn wanted(&self, session: &SessionTally) -> u32 {
        match &self.used {
            Used::Bucket { window, .. } | Used::Quota { window, .. }
                if window.recipients && self.limit.counted != SinkPhase::Rcpt =>
            {
                // Before it has any, whoever comes wants to send at least one.
                session.recipients.max(1)
            }
            _ => 1,
        }
    }

    /// Returns true if `session` may go on. `at` is the position of this limit.
    fn allows(&mut self, session: &SessionTally, at: usize, now: Duration) -> bool {
        let (most, wanted) = (self.limit.most, self.wanted(session));
        match &mut self.used {
            // At RCPT it is not counted yet.
            Used::Recipients if self.limit.phase == SinkPhase::Rcpt => session.recipients < most,
            Used::Recipients => session.recipients <= most,
            Used::Messages => session.messages < most,
            Used::Connections(taken) => session.places.contains(&at) || *taken < most,
            Used::Bucket { window, left, at } => {
                let came = now.saturating_sub(*at).as_secs_f64() / window.length.as_secs_f64();
                (*left, *at) = ((*left + came * f64::from(most)).min(f64::from(most)), now);
                // A millionth is what rounding may have lost.
                *left + 1e-6 >= f64::from(wanted)
            }
            Used::Quota { window, counted, sum } => {
                forget(*window, counted, sum, now);
                sum.saturating_add(wanted) <= most
            }
        }
    }

    fn take(&mut self, session: &mut SessionTally, at: usize, now: Duration) {
        let wanted = self.wanted(session);
        match &mut self.used {
            Used::Recipients | Used::Messages => {}
            Used::Connections(taken) => {
                if !session.places.contains(&at) {
                    session.places.push(at);
                    *taken += 1;
                }
            }
            Used::Bucket { left, .. } => *left -= f64::from(wanted),
            Used::Quota { counted, sum, .. } => {
                counted.push_back((now, wanted));
                *sum += wanted;
            }
        }
    }

    /// Takes in that a session was refused.
    fn note_refused(&mut self, session: &SessionTally, now: Duration) {
        let wanted = self.wanted(session);
        match &mut self.used {
            Used::Bucket { window, left, .. } if window.prolonged => *left = 0.0,
            Used::Quota { window, counted, sum } if window.prolonged => {
                // All that is used counts from now on, so that nothing is free before a whole window without a try.
                let all = (*sum).max(self.limit.most.saturating_sub(wanted) + 1);
                counted.clear();
                counted.push_back((now, all));
                *sum = all;
            }
            _ => {}
        }
    }
}

/// Forgets what a quota has counted before its window.
fn forget(window: LimitWindow, counted: &mut VecDeque<(Duration, u32)>, sum: &mut u32, now: Duration) {
    while let Some((at, wanted)) = counted.front().copied()
        && at + window.length <= now
    {
        *sum -= wanted;
        counted.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::limit::BadLimit;

    fn allowances(limit: Result<SinkLimit, BadLimit>) -> Allowances {
        Allowances::new(vec![limit.unwrap()])
    }

    /// Returns how many of `tries` final dots at that second are taken.
    fn dots(allowances: &mut Allowances, second: u64, tries: usize) -> usize {
        let now = Duration::from_secs(second);
        let mut session = SessionTally::default();
        session.add_recipient();
        session.add_recipient();
        let taken = |_: &usize| allowances.take(&mut session, SinkPhase::Dot, now).is_none();
        (0..tries).filter(taken).count()
    }

    #[test]
    fn a_rate_fills_evenly_up_to_its_number() {
        let mut rate = allowances(SinkLimit::rate("10/10s=454"));
        let taken: Vec<usize> = [0, 0, 1, 3, 100].map(|second| dots(&mut rate, second, 20)).into();
        assert_eq!(taken, [10, 0, 1, 2, 10]);
    }

    #[test]
    fn a_quota_rolls() {
        let mut quota = allowances(SinkLimit::quota("10/day=454"));
        const DAY: u64 = 86400;
        assert_eq!(dots(&mut quota, 0, 4), 4);
        assert_eq!(dots(&mut quota, DAY / 2, 20), 6);
        assert_eq!(dots(&mut quota, DAY - 1, 20), 0);
        assert_eq!(dots(&mut quota, DAY, 20), 4);
        assert_eq!(dots(&mut quota, DAY + DAY / 2, 20), 6);
    }

    #[test]
    fn a_quota_of_recipients_counts_each_and_one_that_tries_prolong_waits_for_a_whole_window() {
        let mut quota = allowances(SinkLimit::quota("5rcpt/h!=550"));
        assert_eq!(dots(&mut quota, 0, 9), 2);
        assert_eq!(dots(&mut quota, 3599, 1), 0);
        assert_eq!(dots(&mut quota, 3600, 1), 0, "the try of a second before prolonged it");
        assert_eq!(dots(&mut quota, 7200, 9), 2);
    }

    #[test]
    fn connections_are_those_that_have_not_ended() {
        let mut limit = allowances(SinkLimit::connections("2@data=432"));
        let mut sessions: [SessionTally; 3] = Default::default();
        let data = |limit: &mut Allowances, session: &mut SessionTally| {
            limit.take(session, SinkPhase::Data, Duration::ZERO).is_none()
        };
        for (session, allowed) in [(0, true), (1, true), (2, false), (0, true), (2, false)] {
            assert_eq!(data(&mut limit, &mut sessions[session]), allowed, "{session}");
        }
        limit.leave(&mut sessions[2]);
        assert!(!data(&mut limit, &mut sessions[2]), "it had no place");
        limit.leave(&mut sessions[0]);
        assert!(data(&mut limit, &mut sessions[2]));
    }

    #[test]
    fn a_quota_that_is_refused_at_another_phase_is_counted_at_its_own() {
        let mut quota = allowances(SinkLimit::quota("2/h@dot,auth=451"));
        let logs_in = |quota: &mut Allowances, second| {
            quota.take(&mut SessionTally::default(), SinkPhase::Auth, Duration::from_secs(second)).is_none()
        };
        assert!(logs_in(&mut quota, 0) && logs_in(&mut quota, 0) && logs_in(&mut quota, 0));
        assert_eq!(dots(&mut quota, 0, 3), 3, "a session goes on");
        assert!(!logs_in(&mut quota, 3599));
        assert!(logs_in(&mut quota, 3600));
    }

    #[test]
    fn what_one_limit_refuses_no_other_counts() {
        let limits = [SinkLimit::quota("2/h=454"), SinkLimit::rate("1/min=451")];
        let mut both = Allowances::new(limits.map(Result::unwrap).into());
        assert_eq!(dots(&mut both, 0, 5), 1);
        assert_eq!(dots(&mut both, 60, 5), 1, "the four that came too fast are not in the quota");
        assert_eq!(dots(&mut both, 120, 5), 0);
    }
}
