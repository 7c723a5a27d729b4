//! The memory of relayhosts, and of their addresses, that did not work while another one did, or that refused our login.
//!
//! Promises:
//! 1. A host that failed is passed over for a while, so that not every connection pays for its failure: for one minute,
//!    then two, four, up to ten. It is still tried if no other host works.
//! 2. At the end of that time, or when an operator wants to know at once ([`HostMemory::give_turns`]), one connection tries
//!    it again in its turn, before the other hosts. If it works, it gets the mail again.
//! 3. A host at which the login failed is passed over for half an hour, since each further login may count against the
//!    account; one that refused it for good comes behind all others. Both are forgotten when the login there succeeds, and
//!    when there is another secret than the one that failed.
//! 4. A host over which connections work is not passed over, since it only wants no more of them; but for a failed login.
//! 5. Each change is logged with the name of the route, but for a login that is refused for good, which is trouble of the
//!    relay; and [`HostMemory::notices`] says what is passed over now. At most [`MOST`] are remembered.
//! 6. One of several hosts at which the login failed, or that names a time for another try, waits for itself, and the others
//!    are tried meanwhile (`host_rests.rs`). With one host the relay waits as a whole, and nothing is remembered of it.
//!
//! The memory is that of one [`Relay`](super::Relay), and forgotten with it, at a reload and at the end.
//!
//! Not here: trying them (`failover.rs`), which secret was tried (`login.rs`), the pause of the relay when none of its hosts
//! works (`queue/breaker.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::host_rests::{HostRests, HostWait};
use super::login::SecretPrint;
use super::trouble::{Cause, Phase, Trouble};
use crate::log;

const FIRST_PERIOD: Duration = Duration::from_secs(60);
const LONGEST_PERIOD: Duration = Duration::from_secs(600);
/// The period after a failed login, the same as the longest pause of the breaker after one.
const LOGIN_PERIOD: Duration = Duration::from_secs(30 * 60);
/// Upper bound of the hosts and addresses that are remembered. Of more, the oldest is forgotten.
const MOST: usize = 64;

/// The reason why a host or an address is passed over.
#[derive(Clone, Debug)]
pub(crate) struct HostFailure {
    /// The host, such as `mx.example.net:587`, or one of its addresses, such as `mx.example.net[192.0.2.5]:587`.
    pub(crate) place: String,
    /// The reason in words.
    pub(crate) why: String,
    pub(crate) kind: FailureKind,
}

/// The kind of a failure of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// There was no session, or it broke off.
    NoSession,
    /// The login with this secret failed, and may succeed later.
    LoginPutOff(SecretPrint),
    /// The login with this secret was refused for good.
    LoginRefused(SecretPrint),
}

impl FailureKind {
    /// Returns the kind of the failure by `trouble`; `secret` is that of the last login.
    pub(crate) fn of(trouble: &Trouble, secret: SecretPrint) -> Self {
        match trouble.cause {
            Cause::LoginRefused { for_good: true, .. } => FailureKind::LoginRefused(secret),
            _ if trouble.phase == Phase::Auth => FailureKind::LoginPutOff(secret),
            _ => FailureKind::NoSession,
        }
    }

    /// Returns the secret with which a login failed.
    fn secret(self) -> Option<SecretPrint> {
        match self {
            FailureKind::NoSession => None,
            FailureKind::LoginPutOff(secret) | FailureKind::LoginRefused(secret) => Some(secret),
        }
    }
}

/// A host or an address that is passed over.
struct PassedOver {
    failure: HostFailure,
    until: Instant,
    period: Duration,
    /// True if it had its turn, and is not known to work or to fail since.
    is_being_tried: bool,
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
    /// The hosts that wait for themselves.
    rests: HostRests,
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
    /// that have refused the login with this secret.
    pub(crate) fn order_hosts<T>(
        &self,
        hosts: Vec<T>,
        place: impl Fn(&T) -> String,
        secret: SecretPrint,
    ) -> Vec<T> {
        let mut known = self.known();
        known.forget_logins(|tried| tried != secret);
        known.forget_old_refusals();
        let (refused, others): (Vec<T>, Vec<T>) =
            hosts.into_iter().partition(|host| known.has_refused(&place(host)));
        let mut ordered = known.order(others, place);
        ordered.extend(refused);
        ordered
    }

    /// Returns whether a login has failed at a host that is remembered.
    pub(crate) fn has_failed_logins(&self) -> bool {
        let known = self.known();
        known.rests.has_logins()
            || known.passed_over.iter().any(|passed| passed.failure.kind.secret().is_some())
    }

    /// Forgets the failed logins, since there is another secret.
    pub(crate) fn forget_logins(&self) {
        let mut known = self.known();
        known.forget_logins(|_| true);
        known.rests.forget_logins();
    }

    /// Gives every host and address that is passed over its turn now. One that refused the login for good stays behind all
    /// others, since the same secret would be refused again, and would count against the account.
    pub(crate) fn give_turns(&self) {
        let now = Instant::now();
        let mut known = self.known();
        known.rests.end_all(now);
        for passed in &mut known.passed_over {
            if !matches!(passed.failure.kind, FailureKind::LoginRefused(_)) {
                passed.until = now;
            }
        }
    }

    /// Returns the number of hosts that have refused the login with this secret for good, not long ago.
    pub(crate) fn refusals(&self, secret: SecretPrint) -> usize {
        let (known, now) = (self.known(), Instant::now());
        let refused = FailureKind::LoginRefused(secret);
        let is_one = |passed: &&PassedOver| passed.failure.kind == refused && now < passed.until;
        known.passed_over.iter().filter(is_one).count()
    }

    /// Learns that a host has refused the login for good.
    pub(crate) fn note_refusal(&self, failure: HostFailure) {
        self.known().pass_over(failure);
    }

    /// Learns that a host waits for itself. Returns for how long it is left alone; `None` if it is not, or there is no other
    /// host.
    pub(crate) fn begin_rest(&self, failure: &HostFailure, wait: HostWait) -> Option<Duration> {
        let mut known = self.known();
        let HostFailure { place, why, .. } = failure;
        if known.is_choice { known.rests.begin(place, why, wait, Instant::now()) } else { None }
    }

    /// Logs that a host is left alone for this time, and that others are tried meanwhile; with the reason, unless that is the
    /// trouble of the relay, `told`.
    pub(crate) fn tell_rest(
        &self,
        HostFailure { place, why, .. }: &HostFailure,
        pause: Duration,
        told: &str,
    ) {
        let known = self.known();
        let why = Some(why.as_str()).filter(|why| *why != told);
        log::relayhost_left_alone(known.route.as_deref(), place, why, pause);
    }

    /// Returns whether a host is left alone now.
    pub(crate) fn is_resting(&self, place: &str) -> bool {
        self.known().rests.is_resting(place, Instant::now())
    }

    /// Returns those of `hosts` that may be tried though they are left alone, if no other host is left: the one that
    /// failed first is the first.
    pub(crate) fn due<T>(&self, hosts: Vec<T>, place: impl Fn(&T) -> String) -> Vec<T> {
        let (known, now) = (self.known(), Instant::now());
        let due = hosts.into_iter().filter_map(|host| Some((known.rests.due(&place(&host), now)?, host)));
        let mut due: Vec<(usize, T)> = due.collect();
        due.sort_by_key(|(rank, _)| *rank);
        due.into_iter().map(|(_, host)| host).collect()
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
            if failure.kind != FailureKind::NoSession || !known.in_use.contains(&failure.place) {
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

    /// Returns a sentence for each host and each address that is passed over or left alone now; `others_are_tried` is false
    /// if there is no host but those that are left alone.
    pub(crate) fn notices(&self, others_are_tried: bool) -> Vec<String> {
        let now = Instant::now();
        let known = self.known();
        let notices = known.passed_over.iter().filter_map(|passed| {
            let HostFailure { place, why, kind } = &passed.failure;
            if known.rests.is_resting(place, now) {
                return None;
            }
            let wait = passed.until.saturating_duration_since(now).as_secs();
            match kind {
                FailureKind::NoSession | FailureKind::LoginPutOff(_) => {
                    Some(format!("{place} is passed over, and tried again in {wait}s: {why}"))
                }
                FailureKind::LoginRefused(_) if known.is_choice && wait > 0 => Some(format!(
                    "{place} refused the login, and is tried behind the others for {wait}s, or until the secret is \
                     another one: {why}"
                )),
                // The trouble of the relay tells it.
                FailureKind::LoginRefused(_) => None,
            }
        });
        let others = if others_are_tried { ", and the other hosts are tried" } else { "" };
        let resting = known.rests.resting(now).map(|(place, left, why)| {
            format!(
                "{place} is left alone for up to {}s, or until `nullmta flush` or another secret for the login{others}: \
                 {why}",
                left.as_secs()
            )
        });
        notices.chain(resting).collect()
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
                passed.is_being_tried = true;
                true
            }
            Some(_) => false,
        }
    }

    /// Returns true if `place` has refused the login for good, not long ago.
    fn has_refused(&self, place: &str) -> bool {
        let now = Instant::now();
        let is_refusal = |passed: &PassedOver| {
            let FailureKind::LoginRefused(_) = passed.failure.kind else { return false };
            passed.failure.place == place && now < passed.until
        };
        self.passed_over.iter().any(is_refusal)
    }

    /// Forgets the logins that were refused for good half an hour ago. Their hosts lose no turn by them.
    fn forget_old_refusals(&mut self) {
        let now = Instant::now();
        let is_refusal = |passed: &PassedOver| matches!(passed.failure.kind, FailureKind::LoginRefused(_));
        self.passed_over.retain(|passed| !is_refusal(passed) || now < passed.until);
    }

    /// Forgets the logins that failed with a secret of which `is_old` is true.
    fn forget_logins(&mut self, is_old: impl Fn(SecretPrint) -> bool) {
        self.passed_over.retain(|passed| !passed.failure.kind.secret().is_some_and(&is_old));
    }

    fn pass_over(&mut self, failure: HostFailure) {
        let known = self.passed_over.iter().position(|passed| passed.failure.place == failure.place);
        let is_mere = |passed: &PassedOver| {
            let is_of_login = passed.failure.kind.secret().is_some() && !passed.is_being_tried;
            is_of_login && failure.kind == FailureKind::NoSession
        };
        if known.is_some_and(|position| is_mere(&self.passed_over[position])) {
            // The failed login counts for longer.
            return;
        }
        let earlier = known.map(|position| self.passed_over.remove(position).period);
        let period = match earlier {
            _ if failure.kind != FailureKind::NoSession => LOGIN_PERIOD,
            None => FIRST_PERIOD,
            Some(period) => period.saturating_mul(2).min(LONGEST_PERIOD),
        };
        if !matches!(failure.kind, FailureKind::LoginRefused(_)) {
            let (place, is_new) = (&failure.place, earlier.is_none());
            log::relayhost_passed_over(self.route.as_deref(), place, &failure.why, period, is_new);
        }
        if self.passed_over.len() == MOST {
            self.passed_over.remove(0);
        }
        let until = Instant::now() + period;
        self.passed_over.push(PassedOver { failure, until, period, is_being_tried: false });
    }

    fn works(&mut self, place: &str) {
        self.rests.logged_in(place);
        let Some(position) = self.passed_over.iter().position(|passed| passed.failure.place == place) else {
            return;
        };
        let passed = self.passed_over.remove(position);
        if !matches!(passed.failure.kind, FailureKind::LoginRefused(_)) {
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
            let (place, why) = (self.host.clone(), trouble.to_string());
            known.pass_over(HostFailure { place, why, kind: FailureKind::NoSession });
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
