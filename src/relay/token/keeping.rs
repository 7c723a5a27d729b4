//! The token that is held, and the time from which on the endpoint may be asked for another.
//!
//! Promises: a token is used until five minutes before its end, or half of its life if that is later; after a failure until
//! the connections that it opened retire, shortly before its stated end: another one would retire at once. Then the endpoint
//! is asked again after a minute, or when it wants to be (Retry-After), at most an hour later.
//!
//! RFC 6749 5.1, RFC 9110 10.2.3.

use std::time::Duration;

use tokio::time::Instant;

use crate::oauth::{AccessToken, Denial, Granted};

/// A token is renewed this long before its end, or at half of its life if that is later.
const AHEAD: Duration = Duration::from_secs(300);
/// The lifetime of a token whose endpoint does not say.
const UNSAID: Duration = Duration::from_secs(600);
/// The time between two tries to renew a token that is still valid.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);
/// The most time before the stated end of a token from which on no message is begun on a connection that it opened, and the
/// part of its life that is less.
const RETIREMENT: Duration = Duration::from_secs(5);
const RETIREMENT_PART: u32 = 10;
/// The stated lifetime that is believed at least: with less, a connection would retire before it has sent a message.
const SHORTEST_LIFE: Duration = Duration::from_secs(10);
/// The longest time that the endpoint may name in Retry-After.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// The token that is held, and the last failure to get another.
#[derive(Default)]
pub(super) struct TokenKeeping {
    held: Option<HeldToken>,
    rest: Option<Rest>,
}

struct HeldToken {
    token: AccessToken,
    renew_at: Instant,
    ends_at: Instant,
    /// The time from which on connections that it opened take no further message; `None` if the endpoint states no end, or
    /// one that is too near for a message.
    retires_at: Option<Instant>,
    /// True if it was told that another one is not to be had.
    is_told: bool,
}

impl HeldToken {
    /// Returns the time from which on it is handed out no more.
    fn usable_until(&self) -> Instant {
        self.retires_at.unwrap_or(self.ends_at)
    }
}

/// The time in which the endpoint wants no request, with what it said.
struct Rest {
    ends_at: Instant,
    words: String,
}

impl TokenKeeping {
    /// Returns the token to use at `now`; `None` if the endpoint is to be asked for another.
    pub(super) fn token(&self, now: Instant) -> Option<AccessToken> {
        let held = self.held.as_ref().filter(|held| now < held.renew_at)?;
        Some(held.token.clone())
    }

    /// Returns the token that is held if a connection can use it at `now`, whether or not it should be renewed.
    pub(super) fn old_token(&self, now: Instant) -> Option<AccessToken> {
        let held = self.held.as_ref().filter(|held| now < held.usable_until())?;
        Some(held.token.clone())
    }

    /// Returns the time from which on connections that the held token opens take no further message.
    pub(super) fn retires_at(&self) -> Option<Instant> {
        self.held.as_ref()?.retires_at
    }

    /// Returns the end of the token that is held, if the endpoint states it; `None` if none is held.
    pub(super) fn stated_end(&self) -> Option<Option<Instant>> {
        self.held.as_ref().map(|held| held.retires_at.map(|_| held.ends_at))
    }

    /// Returns an error while the endpoint wants no request.
    pub(super) fn rested(&self, now: Instant) -> Result<(), Denial> {
        match self.rest.as_ref().filter(|rest| now < rest.ends_at) {
            Some(rest) => {
                let seconds = (rest.ends_at - now).as_secs().max(1);
                Err(Denial::Trouble(format!("{}; it wants no request for another {seconds} s", rest.words)))
            }
            None => Ok(()),
        }
    }

    /// Takes in the answer of the endpoint to a request of `now`.
    pub(super) fn keep(&mut self, now: Instant, granted: &Granted) {
        let lifetime = granted.lifetime.unwrap_or(UNSAID);
        let renew_at = now + lifetime.saturating_sub(AHEAD).max(lifetime / 2);
        self.held = Some(HeldToken {
            token: granted.token.clone(),
            renew_at,
            ends_at: now + lifetime,
            retires_at: granted
                .lifetime
                .filter(|stated| *stated >= SHORTEST_LIFE)
                .map(|stated| now + stated - RETIREMENT.min(stated / RETIREMENT_PART)),
            is_told: false,
        });
        self.rest = None;
    }

    /// Takes in that the endpoint gave no token, and wants no request for the time `retry_after`.
    pub(super) fn failed(&mut self, now: Instant, denial: &Denial, retry_after: Option<Duration>) {
        if let (Denial::Trouble(words), Some(rest)) = (denial, retry_after) {
            self.rest = Some(Rest { ends_at: now + rest.min(LONGEST_REST), words: words.clone() });
        }
        if let Some(held) = &mut self.held {
            held.renew_at = now + retry_after.unwrap_or(RENEWAL_PAUSE).clamp(RENEWAL_PAUSE, LONGEST_REST);
            held.renew_at = held.renew_at.min(held.usable_until());
        }
    }

    /// Returns the time at `now` for which the token that is held can be used, if it is to be told that another one is not to be
    /// had: once for each token.
    pub(super) fn tell_once(&mut self, now: Instant) -> Option<Duration> {
        let held = self.held.as_mut().filter(|held| now < held.usable_until() && !held.is_told)?;
        held.is_told = true;
        Some(held.usable_until() - now)
    }

    /// Takes in that a relay has refused `token`.
    pub(super) fn refused(&mut self, token: &AccessToken) {
        if self.held.as_ref().is_some_and(|held| held.token.expose() == token.expose()) {
            self.held = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn granted(lifetime: Option<u64>) -> Granted {
        let token = AccessToken::of(Secret::new("t".into())).unwrap();
        Granted { token, lifetime: lifetime.map(Duration::from_secs), refresh_token: None }
    }

    /// The second at which a token of this lifetime is not used any more without a question.
    fn renewed_at(lifetime: Option<u64>) -> u64 {
        let (mut keeping, now) = (TokenKeeping::default(), Instant::now());
        keeping.keep(now, &granted(lifetime));
        (0..100_000).find(|second| keeping.token(now + Duration::from_secs(*second)).is_none()).unwrap()
    }

    #[test]
    fn a_token_is_renewed_ahead_of_its_end() {
        for (lifetime, renewed) in
            [(Some(3600), 3300), (Some(600), 300), (Some(60), 30), (Some(0), 0), (None, 300)]
        {
            assert_eq!(renewed_at(lifetime), renewed, "{lifetime:?}");
        }
    }

    /// A relay that looks at the token again refused messages for good once it had ended.
    #[test]
    fn a_connection_retires_shortly_before_the_stated_end_of_its_token() {
        for (lifetime, expected) in [
            (Some(3600), Some(3595)),
            (Some(20), Some(18)),
            (Some(10), Some(9)),
            (Some(9), None),
            (Some(0), None),
            (None, None),
        ] {
            let (mut keeping, now) = (TokenKeeping::default(), Instant::now());
            keeping.keep(now, &granted(lifetime));
            assert_eq!(keeping.retires_at(), expected.map(|seconds| now + Duration::from_secs(seconds)));
        }
    }

    /// Every new connection waited 30 seconds for an endpoint that was down, while the token was good for minutes.
    #[test]
    fn a_failure_leaves_the_old_token_for_a_minute_and_not_beyond_its_end() {
        let (mut keeping, now) = (TokenKeeping::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        keeping.keep(now, &granted(Some(200)));
        let trouble = Denial::Trouble("HTTP 503".into());
        assert!(keeping.token(after(100)).is_none());
        keeping.failed(after(100), &trouble, None);
        assert!(keeping.token(after(159)).is_some() && keeping.token(after(160)).is_none());
        assert!(keeping.old_token(after(160)).is_some());
        keeping.failed(after(160), &trouble, None);
        assert!(keeping.token(after(194)).is_some() && keeping.token(after(195)).is_none());
        assert!(keeping.old_token(after(194)).is_some() && keeping.old_token(after(195)).is_none());
    }

    #[test]
    fn what_fails_beside_a_valid_token_is_told_once() {
        let (mut keeping, now) = (TokenKeeping::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(keeping.tell_once(now), None);
        keeping.keep(now, &granted(Some(200)));
        assert_eq!(keeping.tell_once(after(110)), Some(Duration::from_secs(85)));
        assert_eq!(keeping.tell_once(after(170)), None);
        keeping.keep(after(180), &granted(Some(200)));
        assert_eq!(keeping.tell_once(after(375)), None, "mail waits, which is told in another way");
        assert_eq!(keeping.tell_once(after(374)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_endpoint_gets_the_rest_that_it_wants() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        for (retry_after, rests) in [(None, 0), (Some(0), 0), (Some(30), 30), (Some(1_000_000), 3600)] {
            let mut keeping = TokenKeeping::default();
            let trouble = Denial::Trouble("HTTP 429".into());
            keeping.failed(now, &trouble, retry_after.map(Duration::from_secs));
            let rested = (0..10_000).find(|second| keeping.rested(after(*second)).is_ok()).unwrap();
            assert_eq!(rested, rests, "{retry_after:?}");
            if rests > 0 {
                let words = format!("HTTP 429; it wants no request for another {rests} s");
                assert_eq!(keeping.rested(now), Err(Denial::Trouble(words)));
            }
        }
        // What an operator must mend is asked for as soon as it is mended.
        let mut keeping = TokenKeeping::default();
        keeping.failed(now, &Denial::Configuration("invalid_grant".into()), Some(Duration::from_secs(30)));
        assert_eq!(keeping.rested(now), Ok(()));
    }
}
