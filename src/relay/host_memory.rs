//! The memory of relayhosts, and of their addresses, that did not work while another one did.
//!
//! Promises:
//! 1. A host that failed is passed over for a while, so that not every connection pays for its failure: for one minute,
//!    then two, four, up to ten. It is still tried if no other host works.
//! 2. At the end of that time one connection tries it again in its turn, before the other hosts. If it works, it gets the
//!    mail again.
//! 3. A host whose login failed, while another one took it, is passed over for half an hour, since each further login may
//!    count against the account. One that refused it for good comes behind all others (`login.rs` knows which ones have),
//!    and does not lose its turn by that.
//! 4. A host over which connections work is not passed over, since it only wants no more of them; but for a failed login.
//! 5. Each change is logged with the name of the route, and [`HostMemory::notices`] says what is passed over now. At most
//!    [`MOST`] are remembered.
//!
//! The memory is that of one [`Relay`](super::Relay), and forgotten with it, at a reload and at the end.
//!
//! Not here: trying them (`failover.rs`), what a refused login means for the others (`login.rs`), the pause of the
//! relay when none of its hosts works (`queue/breaker.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::trouble::{Cause, Phase, Trouble};
use crate::log;

const FIRST_PERIOD: Duration = Duration::from_secs(60);
const LONGEST_PERIOD: Duration = Duration::from_secs(600);
/// The period after a failed login, the same as the longest pause of the breaker after one.
const LOGIN_PERIOD: Duration = Duration::from_secs(1800);
/// Upper bound of the hosts and addresses that are remembered. Of more, the oldest is forgotten.
const MOST: usize = 64;

/// The reason why a host or an address is passed over.
#[derive(Clone, Debug)]
pub(crate) struct HostFailure {
    /// The host, such as `mx.example.net:587`, or one of its addresses, such as `mx.example.net[192.0.2.5]:587`.
    pub(crate) place: String,
    /// The reason in words.
    pub(crate) why: String,
    /// True if our login failed there.
    pub(crate) is_login: bool,
}

impl HostFailure {
    /// Returns the failure of `place` by `trouble`.
    pub(crate) fn of(place: String, trouble: &Trouble) -> Self {
        HostFailure { place, why: trouble.to_string(), is_login: trouble.phase == Phase::Auth }
    }
}

/// A host or an address that is passed over.
struct PassedOver {
    failure: HostFailure,
    until: Instant,
    period: Duration,
}

/// What is known of the hosts and addresses of one relay.
#[derive(Default)]
pub(crate) struct HostMemory {
    known: Mutex<KnownHosts>,
}

#[derive(Default)]
struct KnownHosts {
    /// The name of the route that leads to these hosts; `None` for those of the top-level `relayhost`.
    route: Option<Arc<str>>,
    passed_over: Vec<PassedOver>,
    /// The host of each connection that exists.
    in_use: Vec<String>,
    /// True if there has been a choice of hosts.
    is_choice: bool,
}

impl HostMemory {
    /// Returns the memory of the hosts to which this route leads.
    pub(crate) fn on_route(route: Arc<str>) -> Self {
        HostMemory { known: Mutex::new(KnownHosts { route: Some(route), ..KnownHosts::default() }) }
    }

    /// Returns `hosts` in the order in which they are to be tried: those that work, those that are passed over now, those
    /// that have refused the login.
    pub(crate) fn order_hosts<T>(
        &self,
        hosts: Vec<T>,
        place: impl Fn(&T) -> String,
        has_refused_login: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let mut known = self.known();
        let (refused, others): (Vec<T>, Vec<T>) = hosts.into_iter().partition(has_refused_login);
        let mut ordered = known.order(others, place);
        ordered.extend(refused);
        ordered
    }

    /// Learns whether there is a choice among several hosts.
    pub(crate) fn note_choice(&self, is_choice: bool) {
        self.known().is_choice = is_choice;
    }

    /// Returns the addresses of one host in the order in which they are to be tried.
    pub(crate) fn order_addresses<T>(&self, addresses: Vec<T>, place: impl Fn(&T) -> String) -> Vec<T> {
        self.known().order(addresses, place)
    }

    /// Learns that a session was opened with the host `works` at the address `at`, and that these others failed before.
    pub(crate) fn learn(&self, works: &str, at: &str, failed: Vec<HostFailure>) {
        let mut known = self.known();
        for failure in failed {
            if failure.is_login || !known.in_use.contains(&failure.place) {
                known.pass_over(failure);
            }
        }
        known.works(works);
        known.works(at);
    }

    /// Notes a connection to `host`, for as long as the result exists.
    pub(crate) fn begin_use(self: Arc<Self>, host: String) -> HostUse {
        self.known().in_use.push(host.clone());
        HostUse { memory: self, host }
    }

    /// Returns a sentence for each host and each address that is passed over now.
    pub(crate) fn notices(&self) -> Vec<String> {
        let now = Instant::now();
        let known = self.known();
        let notices = known.passed_over.iter().map(|passed| {
            let HostFailure { place, why, .. } = &passed.failure;
            let wait = passed.until.saturating_duration_since(now).as_secs();
            format!("{place} is passed over, and tried again in {wait}s: {why}")
        });
        notices.collect()
    }

    fn known(&self) -> MutexGuard<'_, KnownHosts> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownHosts {
    fn order<T>(&mut self, items: Vec<T>, place: impl Fn(&T) -> String) -> Vec<T> {
        let (mut first, last): (Vec<T>, Vec<T>) =
            items.into_iter().partition(|item| self.has_its_turn(&place(item)));
        first.extend(last);
        first
    }

    /// Returns true if `place` is to be tried in its turn. One whose time is over gets one turn, and is passed over by all
    /// others until it is known to work.
    fn has_its_turn(&mut self, place: &str) -> bool {
        let now = Instant::now();
        match self.passed_over.iter_mut().find(|passed| passed.failure.place == place) {
            None => true,
            Some(passed) if now >= passed.until => {
                passed.until = now + passed.period;
                true
            }
            Some(_) => false,
        }
    }

    fn pass_over(&mut self, failure: HostFailure) {
        let known = self.passed_over.iter().position(|passed| passed.failure.place == failure.place);
        let earlier = known.map(|position| self.passed_over.remove(position).period);
        let period = match earlier {
            _ if failure.is_login => LOGIN_PERIOD,
            None => FIRST_PERIOD,
            Some(period) => period.saturating_mul(2).min(LONGEST_PERIOD),
        };
        log::relayhost_passed_over(
            self.route.as_deref(),
            &failure.place,
            &failure.why,
            period,
            earlier.is_none(),
        );
        if self.passed_over.len() == MOST {
            self.passed_over.remove(0);
        }
        self.passed_over.push(PassedOver { failure, until: Instant::now() + period, period });
    }

    fn works(&mut self, place: &str) {
        let before = self.passed_over.len();
        self.passed_over.retain(|passed| passed.failure.place != place);
        if self.passed_over.len() < before {
            log::relayhost_works_again(self.route.as_deref(), &place);
        }
    }
}

/// A connection to a host, as far as the memory of the hosts knows it.
pub(crate) struct HostUse {
    memory: Arc<HostMemory>,
    host: String,
}

impl HostUse {
    /// Learns that the connection broke off by `trouble`. If it was the only one to the host, and there is another host,
    /// the host is passed over, unless the trouble says for what the mail waits.
    pub(crate) fn broke_off(&self, trouble: &Trouble) {
        let mut known = self.memory.known();
        let uses = known.in_use.iter().filter(|host| **host == self.host).count();
        if known.is_choice && uses == 1 && !matches!(trouble.cause, Cause::Waits { .. }) {
            known.pass_over(HostFailure::of(self.host.clone(), trouble));
        }
    }
}

impl Drop for HostUse {
    fn drop(&mut self) {
        let mut known = self.memory.known();
        if let Some(position) = known.in_use.iter().position(|host| *host == self.host) {
            known.in_use.swap_remove(position);
        }
    }
}

#[cfg(test)]
mod tests;
