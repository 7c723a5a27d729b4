//! The pauses of single hosts of a list: each waits for itself after a login that failed, or for the time that it has named,
//! while the others are tried.
//!
//! Promises:
//! 1. A host at which the login failed is left alone for as long as a relay with one host would be (`fault.rs`): 1, 2, 4 … 30
//!    minutes after a refusal. All hosts have one account, so each refusal of one of them makes the next pause longer, except
//!    the first of a further host; and no host that failed before is tried sooner than the one that failed last.
//! 2. A host that says for what mail waits, or names a time for another try, is left alone as long as a relay would be.
//! 3. All pauses end when somebody wants to know at once; those for a login are forgotten with another secret. That of a host
//!    ends when the login there succeeds.
//! 4. At most [`MOST`] hosts are known.
//!
//! Time is an argument. Not here: which hosts are tried instead (`failover.rs`), which of them work (`host_memory.rs`),
//! the pause when each host of the list has failed so (`queue/breaker.rs`).

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::fault::{CostlyPauses, FORGOTTEN_AFTER, RelayFault};
use super::trouble::{Cause, Phase, Trouble};

/// Upper bound of the hosts that are known. Of more, the oldest is forgotten.
const MOST: usize = 64;

/// A host that is left alone, or was.
struct HostRest {
    place: String,
    why: String,
    fault: RelayFault,
    until: Instant,
    /// True if this is about the login, by which all hosts have one account.
    is_of_login: bool,
    /// The moment from which on it may be tried if no other host is left: the pause of the relay as a whole has a spread of
    /// a quarter.
    due: Instant,
}

/// The reason for which a host waits for itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostWait {
    fault: RelayFault,
    /// The time that a reply names which no rule has read.
    named: Option<Duration>,
    is_of_login: bool,
}

impl HostWait {
    /// Returns the reason by `trouble`, which happened at `now`; `None` if another try costs nothing, or if there is no secret
    /// to log in with, which is the same at all hosts, now or for good.
    pub(crate) fn of(trouble: &Trouble, now: Timestamp) -> Option<HostWait> {
        let (fault, named) = (RelayFault::of(trouble), trouble.named_time(now));
        let wait = HostWait { fault, named, is_of_login: trouble.phase == Phase::Auth };
        let lacks_secret = matches!(trouble.cause, Cause::NoSecret(_));
        let is_one = wait.pause(&mut CostlyPauses::default()).is_some();
        (is_one && !lacks_secret).then_some(wait)
    }

    /// Returns whether a login failed, and nothing says until when: then the host is only passed over, if another one works.
    pub(super) fn is_of_login_alone(self) -> bool {
        let is_login = matches!(
            self.fault,
            RelayFault::Login { .. }
                | RelayFault::LoginUnanswered
                | RelayFault::Configuration { pause: None, is_login: true, .. }
        );
        is_login && self.named.is_none()
    }

    fn pause(self, pauses: &mut CostlyPauses) -> Option<Duration> {
        // None is less than any time.
        pauses.next(self.fault).max(self.named)
    }
}

/// The hosts of one list that are left alone.
#[derive(Default)]
pub(super) struct HostRests {
    /// The one that failed last is the last one.
    rests: Vec<HostRest>,
    pauses: CostlyPauses,
    /// The length of the last pause.
    last: Duration,
}

impl HostRests {
    /// Begins the pause of the host `place` for this reason. Returns its length; `None` if a try costs nothing. Of several
    /// connections that meet the same at once, the first one begins the pause, and the others meet what is known.
    pub(super) fn begin(&mut self, place: &str, why: &str, wait: HostWait, now: Instant) -> Option<Duration> {
        if let Some(left) = self.left_of_same(place, wait, now) {
            return Some(left);
        }
        if self.rests.iter().all(|rest| now > rest.until + FORGOTTEN_AFTER) {
            self.forget();
        }
        let mut of_login = self.rests.iter().filter(|rest| rest.is_of_login).peekable();
        let is_further =
            wait.is_of_login && of_login.peek().is_some() && !of_login.any(|rest| rest.place == place);
        let pause = if is_further {
            // It counts for itself, where its fault has another pause.
            wait.pause(&mut CostlyPauses::default())?.max(self.last)
        } else {
            wait.pause(&mut self.pauses)?
        };
        self.rests.retain(|rest| rest.place != place);
        if self.rests.len() == MOST {
            self.rests.remove(0);
        }
        let (until, due) = (now + pause, now + pause * 3 / 4);
        if wait.is_of_login {
            self.last = pause;
            for rest in self.rests.iter_mut().filter(|rest| rest.is_of_login) {
                (rest.until, rest.due) = (rest.until.max(until), rest.due.max(due));
            }
        }
        let (place, why, is_of_login) = (place.into(), why.into(), wait.is_of_login);
        self.rests.push(HostRest { place, why, fault: wait.fault, until, is_of_login, due });
        Some(pause)
    }

    /// Returns what is left of the pause of the host `place`, if that began for the same reason, ends no sooner than `wait`
    /// says, and nobody may have tried the host since.
    fn left_of_same(&self, place: &str, wait: HostWait, now: Instant) -> Option<Duration> {
        let known = self.rests.iter().find(|rest| rest.place == place && now < rest.due)?;
        let left = known.until - now;
        (known.fault == wait.fault && wait.named.is_none_or(|named| named <= left)).then_some(left)
    }

    /// Returns whether the host `place` is left alone at `now`.
    pub(super) fn is_resting(&self, place: &str, now: Instant) -> bool {
        self.rests.iter().any(|rest| rest.place == place && now < rest.until)
    }

    /// Returns the place among the hosts that are due at `now` though they are left alone, the one that failed first at the
    /// front; `None` for a host that is not due.
    pub(super) fn due(&self, place: &str, now: Instant) -> Option<usize> {
        self.rests.iter().position(|rest| rest.place == place && now >= rest.due)
    }

    /// Returns the hosts that are left alone at `now`, each with the time that is left, and why.
    pub(super) fn resting(&self, now: Instant) -> impl Iterator<Item = (&str, Duration, &str)> {
        let resting = self.rests.iter().filter(move |rest| now < rest.until);
        resting.map(move |rest| (&*rest.place, rest.until - now, &*rest.why))
    }

    /// Ends all pauses, since somebody wants to know at once. The next ones are as long as they would have been.
    pub(super) fn end_all(&mut self, now: Instant) {
        for rest in &mut self.rests {
            (rest.until, rest.due) = (rest.until.min(now), rest.due.min(now));
        }
    }

    /// Learns that the login at the host `place` has succeeded.
    pub(super) fn logged_in(&mut self, place: &str) {
        self.rests.retain(|rest| rest.place != place);
        if !self.has_logins() {
            self.pauses.logged_in();
        }
    }

    /// Forgets the pauses for logins, since there is another secret.
    pub(super) fn forget_logins(&mut self) {
        self.rests.retain(|rest| !rest.is_of_login);
        self.pauses.logged_in();
    }

    fn forget(&mut self) {
        *self = HostRests::default();
    }

    /// Returns whether there is a host at which the login failed.
    pub(super) fn has_logins(&self) -> bool {
        self.rests.iter().any(|rest| rest.is_of_login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::reply::Reply;

    const REFUSED: HostWait = of_login(RelayFault::Login { for_good: true });
    const PUT_OFF: HostWait = of_login(RelayFault::Login { for_good: false });
    const UNANSWERED: HostWait = of_login(RelayFault::LoginUnanswered);
    const HOUR: HostWait =
        HostWait { fault: RelayFault::Opening, named: Some(Duration::from_secs(3600)), is_of_login: false };

    const fn of_login(fault: RelayFault) -> HostWait {
        HostWait { fault, named: None, is_of_login: true }
    }

    /// Each case: which host fails at which second, with what fault, and the second until which both are left alone.
    #[test]
    fn promise_1_the_account_gets_no_more_logins_for_a_longer_list() {
        type Step = (&'static str, u64, HostWait, u64);
        let histories: [(&str, &[Step]); 6] = [
            (
                "one host: as a relay of its own",
                &[
                    ("a", 0, REFUSED, 60),
                    ("a", 60, REFUSED, 180),
                    ("a", 180, REFUSED, 420),
                    ("a", 420, REFUSED, 900),
                    ("a", 900, REFUSED, 1860),
                    ("a", 1860, REFUSED, 3660),
                    ("a", 3660, REFUSED, 5460),
                ],
            ),
            (
                "two hosts: one login more, and the one that failed first is the next",
                &[
                    ("a", 0, REFUSED, 60),
                    ("b", 1, REFUSED, 61),
                    ("a", 61, REFUSED, 181),
                    ("b", 181, REFUSED, 421),
                ],
            ),
            (
                "put off: five minutes at most",
                &[
                    ("a", 0, PUT_OFF, 60),
                    ("a", 60, PUT_OFF, 180),
                    ("a", 180, PUT_OFF, 420),
                    ("a", 420, PUT_OFF, 720),
                ],
            ),
            (
                "no answer: the first time it may be an outage",
                &[("a", 0, UNANSWERED, 1), ("a", 1, UNANSWERED, 61)],
            ),
            (
                "several connections meet the same: one pause",
                &[
                    ("a", 0, REFUSED, 60),
                    ("a", 0, REFUSED, 60),
                    ("a", 2, REFUSED, 60),
                    ("a", 60, REFUSED, 180),
                ],
            ),
            ("a time that was named is no login", &[("a", 0, HOUR, 3600), ("a", 3600, REFUSED, 3660)]),
        ];
        for (name, steps) in histories {
            let (mut rests, start) = (HostRests::default(), Instant::now());
            for &(place, second, fault, until) in steps {
                let at = |second| start + Duration::from_secs(second);
                rests.begin(place, "no", fault, at(second)).unwrap();
                for (known, left, _) in rests.resting(at(second)) {
                    assert_eq!(left, Duration::from_secs(until - second), "{name}: {known} at {second}");
                }
                assert!(
                    rests.is_resting(place, at(until - 1)) && !rests.is_resting(place, at(until)),
                    "{name}"
                );
            }
        }
    }

    /// A password command that failed made a host wait for itself, though no pause began: with the other host down, the
    /// command was run every eight seconds. Each case: the trouble with the login, and whether the host waits for itself.
    #[test]
    fn promise_1_a_host_waits_for_itself_only_after_a_login_that_it_has_seen() {
        let refused = |for_good| {
            let said = "535 no".to_owned();
            Cause::LoginRefused { said, for_good, reply: None, token: None, advice: None }
        };
        let cases = [
            (refused(true), true),
            (refused(false), true),
            (Cause::Reply(Reply::bare(421, "no")), true),
            (Cause::Closed, true),
            (Cause::TimedOut(Duration::from_secs(1)), true),
            (Cause::Garbage("x".into()), true),
            (Cause::Misfit("no mechanism in common".into()), true),
            (Cause::NoSecret("no such file".into()), false),
            (Cause::Other("the password command failed".into()), false),
        ];
        for (cause, waits) in cases {
            let trouble = Trouble { phase: Phase::Auth, peer: None, cause };
            let wait = HostWait::of(&trouble, Timestamp::now());
            assert_eq!(wait.is_some(), waits, "{trouble}");
            let begun = wait.map(|wait| HostRests::default().begin("a", "no", wait, Instant::now()));
            assert_ne!(begun, Some(None), "{trouble}: whoever waits has a pause");
        }
    }

    #[test]
    fn promise_3_what_ends_a_pause() {
        let now = Instant::now();
        let failed = || {
            let mut rests = HostRests::default();
            rests.begin("a", "no", REFUSED, now);
            rests.begin("b", "no", REFUSED, now);
            rests
        };
        let mut rests = failed();
        assert_eq!((rests.due("a", now), rests.due("a", now + Duration::from_secs(45))), (None, Some(0)));
        rests.end_all(now);
        assert_eq!((rests.resting(now).count(), rests.due("b", now)), (0, Some(1)));
        let longer = rests.begin("a", "no", REFUSED, now);
        assert_eq!(longer, Some(Duration::from_secs(120)), "a flush does not shorten the next one");
        let mut rests = failed();
        rests.logged_in("a");
        assert!(!rests.is_resting("a", now) && rests.is_resting("b", now));
        rests.logged_in("b");
        assert_eq!(
            rests.begin("b", "no", REFUSED, now),
            Some(Duration::from_secs(60)),
            "the account is good"
        );
        let mut rests = failed();
        rests.forget_logins();
        assert!(!rests.has_logins() && !rests.is_resting("a", now));
        rests.begin("a", "later", HOUR, now);
        rests.begin("b", "no", REFUSED, now);
        rests.forget_logins();
        assert!(rests.is_resting("a", now) && !rests.is_resting("b", now), "it is not about the secret");
        let mut rests = failed();
        let much_later = now + Duration::from_secs(60) + FORGOTTEN_AFTER + Duration::from_secs(1);
        assert_eq!(
            rests.begin("a", "no", REFUSED, much_later),
            Some(Duration::from_secs(60)),
            "another outage"
        );
    }

    #[test]
    fn promise_4_no_more_are_known_than_some() {
        let (mut rests, now) = (HostRests::default(), Instant::now());
        for number in 0..MOST + 9 {
            rests.begin(&number.to_string(), "no", REFUSED, now);
        }
        assert_eq!(rests.resting(now).count(), MOST);
        assert_eq!(
            rests.begin("x", "no", HostWait { named: None, ..HOUR }, now),
            None,
            "a try costs nothing"
        );
    }
}
