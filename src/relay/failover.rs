//! Opens a session with one of several relayhosts, each of which may have several addresses.
//!
//! Promises:
//! 1. Hosts are tried in their order, and the addresses of each before the next host; those that did not work lately come
//!    last (`host_memory.rs`). But for a refused login, trouble is told only when each of them has failed.
//! 2. A try that fails is followed by the next at once: nothing answers, TLS fails, the greeting or EHLO is refused. After
//!    a login that is put off the next host is tried, since another address of the same host would answer the same, and the
//!    failure would count against the account. A login that is refused for good ends all tries, since all hosts have the
//!    same account: no second login follows it, and the next time begins with the hosts that have not refused it.
//! 3. A host that has not opened a session after [`PATIENCE`] (it drops our segments, or accepts and is silent) gets
//!    company: the next address, or the next host, is tried beside it, and the first session that is ready is used. The
//!    silent one keeps the whole time limit of its phase. Nothing of a message was said by then, so none is sent twice.
//! 4. There is one login at a time, and nothing else goes on beside it. A connection that is not needed any more is closed;
//!    it waits for the relay to speak, so that there is nothing to be said in leaving.
//! 5. A domain in place of a host names the hosts by SRV records (`service.rs`). The certificate of such a host must be for
//!    the host if that is within the domain, else for the domain; or for `tls.server-name`.
//! 6. At most [`MOST`] tries go on at a time; when one more is due, the oldest is given up.
//!
//! 7. A host at which the login failed, or that names a time for another try at one of its addresses, waits for itself
//!    (`host_rests.rs`): it is left out as long as there is another one to try, and the relay as a whole waits only when each
//!    host has failed so, or [`ENOUGH_REFUSALS`] have refused the same secret for good.
//!
//! Fails: with the trouble of the host that got furthest, and of the last one among several; it says where others are tried
//! before that host is ([`Cause::OneHost`]). The trouble of a host is that for which it waits, else that of the address that
//! got furthest.
//!
//! Not here: addresses and TCP (`dial.rs`), the dialogue (`opening.rs`), which hosts refused the login (`host_memory.rs`),
//! the pause when no host works (`queue/breaker.rs`).
//!
//! RFC 5321 5.1, RFC 8305.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::dial::{self, Network, Race};
use super::dialog::Connection;
use super::first_flight::{FirstFlight, KeyExchange};
use super::host_memory::{FailureKind, HostFailure, HostMemory};
use super::host_rests::HostWait;
use super::opening::{self, OpeningPlan, Secured};
use super::reply_rules::ReplyRules;
use super::running::{Running, first_ended};
use super::service::ServiceHost;
use super::tls::Protection;
use super::trouble::{Cause, Peer, Phase, Trouble};
use super::witness::{OpeningWitness, Unwatched};
use super::{Relay, config};
use crate::config::{HostOrIp, RelayPort, TlsSettings};
use crate::log;

/// Time after which a host that has not opened a session gets company. Relays that delay their greeting on purpose wait
/// for about six seconds, and a lost segment is sent again after 1, 3 and 7 s.
const PATIENCE: Duration = Duration::from_secs(8);

/// Upper bound of the tries that go on at a time.
const MOST: usize = 8;

/// The number of hosts that refuse one secret for good, from which on the relay as a whole waits: one may be alone in it,
/// but each further login counts against the account, which all hosts have in common.
const ENOUGH_REFUSALS: usize = 2;

/// A host to which the mail may go, or a domain that names such hosts.
pub(crate) struct RelayTarget {
    pub(crate) host: config::RelayHost,
    /// The name or the address for which the certificate must be.
    identity: HostOrIp,
    protection: Protection,
    /// The rules for the meaning of its replies.
    pub(crate) rules: Arc<ReplyRules>,
}

impl RelayTarget {
    fn new(relay: &Relay, host: config::RelayHost, identity: HostOrIp, protection: Protection) -> Self {
        let rules = ReplyRules::of(&relay.settings, &host.telling_name().to_string());
        RelayTarget { host, identity, protection, rules: Arc::new(rules) }
    }

    /// Returns one of the relayhosts of the configuration.
    pub(super) fn configured(relay: &Relay, host: &config::RelayHost) -> Self {
        RelayTarget::new(relay, host.clone(), host.host.clone(), relay.protection.clone())
    }

    /// Returns a host that `domain` names by an SRV record. Anyone who can forge an answer of DNS can put a name of his own
    /// there, and has a certificate for it. So the name counts only if it is within the domain; otherwise the certificate
    /// must be for the domain (RFC 6186 6, RFC 7817 3), or for what `tls.server-name` says. If its name does not tell the
    /// provider, that of the domain does.
    pub(super) fn named_by(relay: &Relay, domain: &RelayTarget, found: ServiceHost) -> Self {
        let protection = relay.protection.for_service(found.kind);
        let is_inside = found.is_within(&domain.host.host.to_string());
        let host = HostOrIp::Name(found.name);
        let identity = if is_inside { host.clone() } else { domain.host.host.clone() };
        let host = config::RelayHost { host, port: RelayPort::Number(found.port) };
        let target = RelayTarget::new(relay, host, identity, protection);
        match target.rules.provider() {
            Some(_) => target,
            None => RelayTarget { rules: domain.rules.clone(), ..target },
        }
    }

    /// Returns whether this is a domain that names hosts.
    fn is_domain(&self) -> bool {
        matches!(self.host.port, RelayPort::BySrv(_))
    }

    /// Adds to trouble with the TLS of a host that is outside of the domain which names it why its own name is not enough.
    pub(super) fn explained(&self, trouble: Trouble, tls: &config::Tls) -> Trouble {
        let is_by_name = tls.settings().is_some_and(TlsSettings::expects_name_of_host);
        let is_outside = self.identity != self.host.host && is_by_name;
        match &trouble.cause {
            Cause::Other(words) if trouble.phase == Phase::Tls && is_outside => {
                let words = format!("{words}; {}", outside_words(&self.identity, &self.host.host));
                Trouble { cause: Cause::Other(words), ..trouble }
            }
            _ => trouble,
        }
    }
}

/// Returns the words about a host that is outside of the domain which names it by an SRV record.
pub(crate) fn outside_words(domain: &HostOrIp, host: &HostOrIp) -> String {
    format!(
        "an SRV record of {domain} names {host}, which is outside of {domain}; SRV records are not secured, so that its \
         certificate must be for {domain}, or for tls.server-name"
    )
}

/// The connections to one host: the tries of its addresses, once these are known.
struct HostRace<'a, N: Network> {
    target: Arc<RelayTarget>,
    race: Option<Race<'a, N>>,
}

/// The end of one step.
enum Step<'a, N: Network> {
    /// There is a connection to this address; the host may have further ones.
    Connected(HostRace<'a, N>, SocketAddr, N::Stream),
    /// An address of the host failed; it may have further ones.
    Refused(HostRace<'a, N>, Trouble),
    /// There is no further address.
    Exhausted(Option<Trouble>),
    /// A domain names these hosts.
    Found(Vec<Arc<RelayTarget>>),
    /// A session is open up to the login, or could not be opened.
    Opened(Box<Result<Secured, Trouble>>),
}

/// What a step is about.
struct Begun {
    target: Arc<RelayTarget>,
    /// The address with which a session is being opened; `None` while connecting.
    address: Option<SocketAddr>,
    at: Instant,
}

/// The tries to open a session with one of the hosts.
pub(crate) struct Failover<'a, N: Network> {
    relay: &'a Relay,
    network: &'a N,
    /// The hosts that are not tried yet.
    waiting: VecDeque<Arc<RelayTarget>>,
    /// The hosts at one of whose addresses a session was begun; they may have further ones.
    resting: VecDeque<HostRace<'a, N>>,
    running: Vec<Running<'a, Begun, Step<'a, N>>>,
    last_begun: Instant,
    /// The one that failed last is the last one.
    failed: Vec<FailedHost>,
    /// The hosts that are left alone for now.
    left_out: Vec<Arc<RelayTarget>>,
}

/// A host that failed.
struct FailedHost {
    failure: HostFailure,
    trouble: Trouble,
    /// The reason for which it waits for itself, if it does.
    wait: Option<HostWait>,
}

impl FailedHost {
    /// Returns whether this says more about its host than `later`, which another of its addresses did. The time that one of
    /// them names is not forgotten because of what another one does.
    fn says_more_than(&self, later: &FailedHost) -> bool {
        let weight = |failed: &FailedHost| (failed.wait.is_some(), failed.trouble.phase);
        weight(self) > weight(later)
    }
}

impl<'a, N: Network> Failover<'a, N> {
    pub(crate) fn new(relay: &'a Relay, network: &'a N) -> Self {
        let hosts = relay.settings.hosts.iter();
        let targets: Vec<_> = hosts.map(|host| Arc::new(RelayTarget::configured(relay, host))).collect();
        // Whether a domain alone names several is known when it has been looked up.
        if !matches!(&targets[..], [only] if only.is_domain()) {
            relay.memory.note_choice(targets.len() > 1);
        }
        let (waiting, left_out) = ordered(relay, targets);
        Failover {
            relay,
            network,
            waiting: waiting.into(),
            left_out,
            resting: VecDeque::new(),
            running: Vec::new(),
            last_begun: Instant::now(),
            failed: Vec::new(),
        }
    }

    /// Returns the first session that is ready for messages, and its host.
    pub(crate) async fn open(mut self) -> Result<(Arc<RelayTarget>, Connection), Trouble> {
        loop {
            if self.running.is_empty() && !self.begin_next() {
                return Err(self.ended());
            }
            let Some((begun, step)) = self.next_step().await else {
                self.begin_beside();
                continue;
            };
            match step {
                Step::Connected(race, address, stream) => self.connected(race, address, stream),
                Step::Refused(race, trouble) => {
                    self.failed(&begun.target, trouble);
                    self.seek(race);
                }
                Step::Exhausted(trouble) => {
                    trouble.into_iter().for_each(|trouble| self.failed(&begun.target, trouble));
                    self.begin_next();
                }
                Step::Found(targets) => self.found(targets),
                Step::Opened(opened) => match log_in(self.relay, *opened).await {
                    Ok(connection) => return Ok(self.won(begun, connection)),
                    Err(trouble) if matches!(trouble.cause, Cause::LoginRefused { for_good: true, .. }) => {
                        self.refused(&begun, trouble);
                        return Err(self.ended());
                    }
                    Err(trouble) => self.opening_failed(&begun, trouble),
                },
            }
        }
    }

    /// Returns the step that ends next; `None` if none ends while the last one that was begun may be alone.
    async fn next_step(&mut self) -> Option<(Begun, Step<'a, N>)> {
        let has_more = !(self.waiting.is_empty() && self.resting.is_empty());
        let due = self.last_begun + PATIENCE;
        tokio::select! {
            biased;
            ended = first_ended(&mut self.running) => Some(ended),
            () = sleep_until(due), if has_more => None,
        }
    }

    /// Begins the next try: another address of a host that was begun, else another host; one of those that are left alone
    /// only if there was no other to try. Returns false if there is none.
    fn begin_next(&mut self) -> bool {
        let has_tried = !self.failed.is_empty() || !self.running.is_empty() || !self.resting.is_empty();
        if self.waiting.is_empty() && !has_tried {
            let left_out = std::mem::take(&mut self.left_out);
            self.waiting = self.relay.memory.due(left_out, |target| target.host.to_string()).into();
        }
        let next = self.resting.pop_front().or_else(|| {
            let target = self.waiting.pop_front()?;
            Some(HostRace { target, race: None })
        });
        let is_begun = next.is_some();
        next.into_iter().for_each(|race| self.seek(race));
        is_begun
    }

    /// Begins the next try beside those that are silent.
    fn begin_beside(&mut self) {
        if self.running.len() == MOST {
            let given_up = self.running.remove(0).of;
            let trouble = self.silence_of(&given_up);
            self.failed(&given_up.target, trouble);
        }
        self.begin_next();
    }

    /// Seeks the next connection to a host.
    fn seek(&mut self, race: HostRace<'a, N>) {
        let begun = Begun { target: race.target.clone(), address: None, at: Instant::now() };
        self.begin(begun, seek(self.relay, self.network, race));
    }

    /// Tries the hosts that a domain names before the next relayhost.
    fn found(&mut self, targets: Vec<Arc<RelayTarget>>) {
        self.relay.memory.note_choice(targets.len() > 1 || self.relay.settings.hosts.len() > 1);
        let (ready, left_out) = ordered(self.relay, targets);
        ready.into_iter().rev().for_each(|target| self.waiting.push_front(target));
        self.left_out.extend(left_out);
        self.begin_next();
    }

    /// Opens a session on a new connection. Further addresses of its host are tried later.
    fn connected(&mut self, race: HostRace<'a, N>, address: SocketAddr, stream: N::Stream) {
        let (relay, network, target) = (self.relay, self.network, race.target.clone());
        self.resting.push_back(race);
        let begun = Begun { target: target.clone(), address: Some(address), at: Instant::now() };
        self.begin(begun, async move {
            let peer = peer(relay, &target.host, address);
            let opened = relay.open(network, stream, peer, &target, &Unwatched).await;
            relay.log_expiring();
            Step::Opened(Box::new(opened.map_err(|trouble| target.explained(trouble, &relay.settings.tls))))
        });
    }

    fn begin(&mut self, begun: Begun, step: impl Future<Output = Step<'a, N>> + Send + 'a) {
        self.last_begun = Instant::now();
        self.running.push(Running::new(begun, step));
    }

    /// Remembers that the host refused our login for good.
    fn refused(&mut self, begun: &Begun, trouble: Trouble) {
        let (place, why) = (begun.target.host.to_string(), trouble.to_string());
        let kind = FailureKind::of(&trouble, self.relay.last_secret());
        self.relay.memory.note_refusal(HostFailure { place, why, kind });
        self.failed(&begun.target, trouble);
    }

    /// Returns the trouble with which all tries end. Hosts that wait for themselves do so from now on; where others may be
    /// tried before, the relay as a whole does not wait for them.
    fn ended(self) -> Trouble {
        let troubles = self.failed.iter().map(|failed| failed.trouble.clone());
        let Some(told) = troubles.reduce(Trouble::more_telling) else { return all_rest(self.relay) };
        let memory = &self.relay.memory;
        let rest = |failed: &'_ FailedHost| memory.begin_rest(&failed.failure, failed.wait?);
        let rests = self.failed.iter().filter_map(|failed| Some((&failed.failure, rest(failed)?)));
        let rests: Vec<_> = rests.collect();
        let others = self.furthest_of_others();
        if others.is_some() {
            let told = told.to_string();
            rests.into_iter().for_each(|(failure, pause)| memory.tell_rest(failure, pause, &told));
        }
        match others {
            Some(others) if self.is_of_one_host(&told) => told.of_one_host(others),
            _ => told,
        }
    }

    /// Returns whether `trouble`, which a host had while there are others to try, is a matter of this host alone.
    fn is_of_one_host(&self, trouble: &Trouble) -> bool {
        // A rule may have read its words as something else: it is a refused login all the same.
        let is_refused = |failed: &FailedHost| matches!(failed.failure.kind, FailureKind::LoginRefused(_));
        if self.failed.iter().any(is_refused) {
            return self.relay.memory.refusals(self.relay.last_secret()) < ENOUGH_REFUSALS;
        }
        HostWait::of(trouble, Timestamp::now()).is_some()
    }

    /// Returns the furthest phase at which a host failed that does not wait for itself; [`Phase::Resolve`] if there is one
    /// that was not tried to its end; `None` if there is no such host.
    fn furthest_of_others(&self) -> Option<Phase> {
        let waits = |host: &str| {
            self.failed.iter().any(|failed| failed.wait.is_some() && failed.failure.place == host)
        };
        let others = self.failed.iter().filter(|failed| failed.wait.is_none());
        let failed = others.map(|failed| failed.trouble.phase);
        let running = self.running.iter().map(|running| &running.of.target);
        let untried = self.waiting.iter().chain(self.resting.iter().map(|race| &race.target)).chain(running);
        let untried = untried.filter(|target| {
            let host = target.host.to_string();
            // The hosts that a domain names may all be left alone.
            !target.is_domain() && !waits(&host) && !self.relay.memory.is_resting(&host)
        });
        failed.chain(untried.map(|_| Phase::Resolve)).max()
    }

    fn opening_failed(&mut self, begun: &Begun, trouble: Trouble) {
        if trouble.phase == Phase::Auth {
            let host = &begun.target.host;
            self.resting.retain(|race| race.target.host != *host);
            self.running.retain(|running| running.of.target.host != *host);
        }
        self.failed(&begun.target, trouble);
        self.begin_next();
    }

    fn failed(&mut self, target: &RelayTarget, trouble: Trouble) {
        let kind = FailureKind::of(&trouble, self.relay.last_secret());
        let trouble = target.rules.read(trouble, Timestamp::now()).met_on(self.relay.route.as_deref());
        let failure = HostFailure { place: target.host.to_string(), why: trouble.to_string(), kind };
        let wait = HostWait::of(&trouble, Timestamp::now());
        let later = FailedHost { failure, trouble, wait };
        let earlier = self.failed.iter().position(|failed| failed.failure.place == later.failure.place);
        match earlier {
            Some(earlier) if self.failed[earlier].says_more_than(&later) => return,
            Some(earlier) => drop(self.failed.remove(earlier)),
            None => {}
        }
        self.failed.push(later);
    }

    /// Begins the pauses of the hosts other than `works` that say for how long. Returns the failures of the others, which are
    /// to be passed over.
    fn rested(failed: Vec<FailedHost>, memory: &HostMemory, works: &str) -> Vec<HostFailure> {
        let mut passed = Vec::new();
        for FailedHost { failure, wait, .. } in failed.into_iter().filter(|host| host.failure.place != works)
        {
            let wait = wait.filter(|wait| !wait.is_of_login_alone());
            match wait.and_then(|wait| memory.begin_rest(&failure, wait)) {
                Some(pause) => memory.tell_rest(&failure, pause, ""),
                None => passed.push(failure),
            }
        }
        passed
    }

    /// Remembers the hosts that failed, and what is silent still.
    fn won(self, begun: Begun, connection: Connection) -> (Arc<RelayTarget>, Connection) {
        let host = begun.target.host.to_string();
        let at = begun.address.map(|address| peer(self.relay, &begun.target.host, address).to_string());
        let mut failed = Self::rested(self.failed, &self.relay.memory, &host);
        for silent in self.running.iter().map(|running| &running.of) {
            let there = silent.target.host.to_string();
            let place = match silent.address {
                _ if there != host => there,
                Some(address) => peer(self.relay, &silent.target.host, address).to_string(),
                // It was just about to be tried.
                None => continue,
            };
            if !failed.iter().any(|failure| failure.place == place) {
                failed.push(HostFailure {
                    place,
                    why: silence(silent.at.elapsed()),
                    kind: FailureKind::NoSession,
                });
            }
        }
        self.relay.memory.learn(&host, &at.unwrap_or_default(), failed);
        (begun.target, connection)
    }

    fn silence_of(&self, begun: &Begun) -> Trouble {
        let peer = begun.address.map(|address| peer(self.relay, &begun.target.host, address));
        let phase = if peer.is_some() { Phase::Greeting } else { Phase::Connect };
        Trouble { phase, peer: peer.map(Box::new), cause: Cause::Other(silence(begun.at.elapsed())) }
    }
}

/// Returns the hosts in the order in which they are to be tried, and those that are left alone.
fn ordered(relay: &Relay, targets: Vec<Arc<RelayTarget>>) -> (Vec<Arc<RelayTarget>>, Vec<Arc<RelayTarget>>) {
    let place = |target: &Arc<RelayTarget>| target.host.to_string();
    let ordered = relay.memory.order_hosts(targets, place, relay.last_secret());
    ordered.into_iter().partition(|target| !relay.memory.is_resting(&place(target)))
}

/// Returns the trouble of a relay each of whose hosts is left alone.
fn all_rest(relay: &Relay) -> Trouble {
    let words = format!("each host is left alone for a while: {}", relay.memory.notices(false).join("; "));
    Trouble { phase: Phase::Auth, peer: None, cause: Cause::Other(words) }
}

async fn log_in(relay: &Relay, opened: Result<Secured, Trouble>) -> Result<Connection, Trouble> {
    opened?.log_in(relay.login.as_ref(), &relay.settings).await
}

fn silence(waited: Duration) -> String {
    format!("no session could be opened within {} s", waited.as_secs())
}

/// Returns the next connection to a host, after looking its addresses up if they are not known yet.
async fn seek<'a, N: Network>(relay: &'a Relay, network: &'a N, mut race: HostRace<'a, N>) -> Step<'a, N> {
    let host = &race.target.host;
    let limit = relay.settings.timeouts.connect;
    let port = match host.port {
        RelayPort::Number(port) => port,
        RelayPort::BySrv(kinds) => {
            let found = dial::service_hosts(network, &host.host, kinds, limit).await;
            let target = |found| Arc::new(RelayTarget::named_by(relay, &race.target, found));
            return match found {
                Ok(found) => Step::Found(found.into_iter().map(target).collect()),
                Err(trouble) => Step::Exhausted(Some(trouble)),
            };
        }
    };
    if race.race.is_none() {
        let addresses =
            match dial::addresses(network, &host.host, port, &relay.settings.families, limit).await {
                Ok(addresses) => addresses,
                Err(trouble) => return Step::Exhausted(Some(trouble)),
            };
        let place = |address: &SocketAddr| peer(relay, host, *address).to_string();
        let addresses = relay.memory.order_addresses(addresses.into(), place);
        race.race = Some(Race::new(network, addresses.into(), limit));
    }
    let next = match &mut race.race {
        Some(tries) => tries.next().await,
        None => None,
    };
    match next {
        None => Step::Exhausted(None),
        Some((address, Ok(stream))) => Step::Connected(race, address, stream),
        Some((address, Err(cause))) => {
            let peer = Some(Box::new(peer(relay, &race.target.host, address)));
            Step::Refused(race, Trouble { phase: Phase::Connect, peer, cause })
        }
    }
}

/// Returns the peer at `address` of `host`.
pub(super) fn peer(relay: &Relay, host: &config::RelayHost, address: SocketAddr) -> Peer {
    Peer { name: dial::name_of(&host.host), address, route: relay.route.clone(), tls: None }
}

impl Relay {
    /// Opens a session on `stream`, up to the login. If a handshake that may have resumed a session fails, one more
    /// connection is made without resumption; if a ClientHello gets no answer, one more with a smaller one. `witness` sees it.
    pub(super) async fn open<N: Network>(
        &self,
        network: &N,
        stream: N::Stream,
        peer: Peer,
        target: &RelayTarget,
        witness: &dyn OpeningWitness,
    ) -> Result<Secured, Trouble> {
        let (address, limit) = (peer.address, self.settings.timeouts.connect);
        let mut flight = self.offer.flight();
        let way = OpenWay { network, peer: &peer, target, witness };
        let mut opened = self.open_with(&way, &flight, stream).await;
        let is_tls = matches!(&opened, Err(trouble) if trouble.phase == Phase::Tls);
        // Silence is blamed on the size first: there may be no time for both beside another relayhost.
        let is_silence = matches!(&opened, Err(Trouble { cause: Cause::TimedOut(_), .. }))
            && flight.may_have_been_too_large();
        if is_tls && target.protection.forget_sessions(flight.key_exchange()) && !is_silence {
            let Ok(stream) = dial::connect(network, address, limit).await else { return opened };
            flight = self.offer.flight();
            opened = self.open_with(&way, &flight, stream).await;
        }
        let Err(unanswered) = opened else { return opened };
        if !flight.may_have_been_too_large() {
            return Err(with_hint_at_size(unanswered, &flight));
        }
        let Ok(stream) = dial::connect(network, address, limit).await else { return Err(unanswered) };
        let smaller = FirstFlight::new(KeyExchange::Classical);
        let opened = self.open_with(&way, &smaller, stream).await;
        if smaller.is_answered() && self.offer.fall_back() {
            log::classical_key_exchange(unanswered.route(), &unanswered);
        }
        opened
    }

    async fn open_with<N: Network>(
        &self,
        way: &OpenWay<'_, N>,
        flight: &Arc<FirstFlight>,
        stream: N::Stream,
    ) -> Result<Secured, Trouble> {
        let OpenWay { network, peer, target, witness } = *way;
        let RelayTarget { identity, protection, .. } = target;
        let tls_at_once = self.port_looks.finds_tls(network, peer, protection.client_hello(identity));
        let watched = self.offer.watch(flight);
        let plan = OpeningPlan { identity, settings: &self.settings, protection, flight, witness };
        let opened = opening::secure(stream, peer.clone(), &plan, tls_at_once).await;
        watched.over();
        opened
    }
}

/// The way on which a session is opened.
struct OpenWay<'a, N> {
    network: &'a N,
    peer: &'a Peer,
    target: &'a RelayTarget,
    witness: &'a dyn OpeningWitness,
}

/// Adds to trouble with TLS, where nothing came back to a ClientHello, the setting by which it has to be large.
fn with_hint_at_size(trouble: Trouble, flight: &FirstFlight) -> Trouble {
    if trouble.phase != Phase::Tls || !flight.may_be_too_large_by_choice() {
        return trouble;
    }
    let words = format!(
        "{}; nothing came back to our ClientHello, which is larger than one TCP segment by tls.key-exchange = \
         \"post-quantum\": a firewall on the way may drop it; with \"any\" a smaller one is tried then",
        trouble.cause
    );
    Trouble { cause: Cause::Other(words), ..trouble }
}

#[cfg(test)]
mod tests;
