//! Walks to each address of a relay as the daemon does, as far as the login, and says what was found at each step.
//!
//! Promises:
//! 1. Each step is made by the code of the daemon: lookup, connection, greeting, EHLO, STARTTLS, TLS, AUTH. So nothing is sent
//!    over a connection that is not verified but EHLO and STARTTLS, and a step that works here works there. No MAIL is sent:
//!    behind the login there is QUIT.
//! 2. Every address of every host is tried. Those of one relay go on side by side, but no more at a time than
//!    `relay.max-connections` allows; they are handed out in their order.
//! 3. There is one login at a time with an account. Once one has failed, no other is tried with it: each further refusal counts
//!    against the account. But if our settings and the offer of one address do not fit together, the others are tried.
//! 4. A step takes no longer than [`STEP`], an address than [`WHOLE`] up to the login, a login than [`WHOLE`] again. A port that
//!    does not greet is looked at after [`LOOK`] (`port_look.rs`).
//! 5. A refresh token that an endpoint replaces meanwhile is written before [`probe`] returns. Who gives a probe up calls
//!    [`refresh_tokens_settled`] in its place: nothing is begun any more.
//!
//! Fails: never; what is wrong stands in an [`AddressProbe`].
//!
//! What is found is in `probe/facts.rs`. Not here: loading the files (`relay.rs`), the sentences (`cli/probe/`).

mod facts;
mod recorder;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout};

use super::dial::{self, Internet, Network};
use super::failover::{RelayTarget, peer};
use super::opening::Secured;
use super::port_look::PortLooks;
use super::trouble::{Cause, Phase, Trouble};
use super::{Relay, config, refresh_tokens_settled};
use crate::config::{AuthConfig, RelayPort, Timeouts};
use crate::key_names::on_route;
use crate::smtp::reply::Severity;
pub use facts::{
    AddressProbe, LoginFacts, OfferedFacts, ProbeFault, ProbeStep, ProbedCertificate, ProbedSession,
    StepFacts, StepFault, TlsFacts, TokenFacts,
};
use recorder::StepRecorder;

/// Upper bound of each step.
const STEP: Duration = Duration::from_secs(20);

/// Upper bound of all steps at one address up to the login, and of the login.
const WHOLE: Duration = Duration::from_secs(30);

/// The silence after which a port that does not greet is looked at. Somebody waits for the answer.
const LOOK: Duration = Duration::from_secs(5);

/// Upper bound of the addresses of one relay that are probed at a time.
const AT_ONCE: usize = 8;

/// Probes each address of `relays`, and hands out what was found, in the order of the configuration. Returns sentences about
/// what is about to expire.
pub async fn probe(relays: Vec<Relay>, each: impl FnMut(AddressProbe)) -> Vec<String> {
    let of_relay = |relay: Relay| {
        let network = Internet { families: relay.settings.families };
        (relay, network)
    };
    probe_over(relays.into_iter().map(of_relay).collect(), each).await
}

/// Does the same, each relay over its own network.
async fn probe_over<N: Network + Send + 'static>(
    relays: Vec<(Relay, N)>,
    mut each: impl FnMut(AddressProbe),
) -> Vec<String> {
    let walks = walks_of(relays);
    let hosts = |walk: &Walk<N>| {
        let hosts: Vec<config::RelayHost> = walk.relay.settings.hosts.clone();
        hosts.into_iter().map(|host| Awaited::begin(walk.clone().seek(host))).collect::<Vec<_>>()
    };
    let begun: Vec<_> = walks.iter().flat_map(hosts).collect();
    for host in begun {
        // A walk that panics has said so.
        let Ok(addresses) = host.await else { continue };
        for address in addresses {
            if let Ok(found) = address.await {
                each(found);
            }
        }
    }
    refresh_tokens_settled().await;
    walks.iter().flat_map(|walk| walk.relay.expiring()).collect()
}

/// Returns a walk for each relay. Those that log in with the same account have it in common.
fn walks_of<N: Network>(relays: Vec<(Relay, N)>) -> Vec<Walk<N>> {
    let mut accounts: Vec<(AuthConfig, Arc<LoginAccount>)> = Vec::new();
    let mut walks = Vec::new();
    for (relay, network) in relays {
        let account = match &relay.settings.auth {
            None => Arc::default(),
            Some(auth) => match accounts.iter().find(|(known, _)| known == auth) {
                Some((_, account)) => Arc::clone(account),
                None => {
                    accounts.push((auth.clone(), Arc::default()));
                    Arc::clone(&accounts[accounts.len() - 1].1)
                }
            },
        };
        let turns = Arc::new(Semaphore::new(relay.settings.max_connections.get().min(AT_ONCE)));
        walks.push(Walk { relay: Arc::new(hurried(relay)), network: Arc::new(network), account, turns });
    }
    walks
}

/// Returns the relay with shorter waits, for somebody who waits for the answer.
fn hurried(mut relay: Relay) -> Relay {
    let Timeouts { connect, tls, greeting, ehlo, auth, quit, .. } = &mut relay.settings.timeouts;
    for limit in [connect, tls, greeting, ehlo, auth, quit] {
        *limit = STEP.min(*limit);
    }
    relay.port_looks = PortLooks::behind(LOOK);
    relay
}

/// An account at a relay: the peer at which the login failed, if it did. It is locked for a login.
type LoginAccount = Mutex<Option<String>>;

/// The way to all addresses of one relay.
struct Walk<N> {
    relay: Arc<Relay>,
    network: Arc<N>,
    account: Arc<LoginAccount>,
    /// The connections that may be open at a time.
    turns: Arc<Semaphore>,
}

impl<N> Clone for Walk<N> {
    fn clone(&self) -> Self {
        let (relay, network) = (Arc::clone(&self.relay), Arc::clone(&self.network));
        Walk { relay, network, account: Arc::clone(&self.account), turns: Arc::clone(&self.turns) }
    }
}

impl<N: Network + Send + 'static> Walk<N> {
    /// Looks `host` up, and begins a walk to each of its addresses.
    async fn seek(self, host: config::RelayHost) -> Vec<Awaited<AddressProbe>> {
        let begun = Instant::now();
        let domain = Arc::new(RelayTarget::configured(&self.relay, &host));
        let RelayPort::BySrv(kinds) = host.port else { return self.walks_to(domain).await };
        match dial::service_hosts(&*self.network, &host.host, kinds, STEP).await {
            Err(trouble) => vec![self.not_found(&domain, begun, trouble)],
            Ok(found) => {
                let mut all = Vec::new();
                for named in found {
                    let target = RelayTarget::named_by(&self.relay, &domain, named);
                    all.extend(self.walks_to(Arc::new(target)).await);
                }
                all
            }
        }
    }

    /// Looks the addresses of one host up, and begins a walk to each.
    async fn walks_to(&self, target: Arc<RelayTarget>) -> Vec<Awaited<AddressProbe>> {
        let begun = Instant::now();
        let RelayPort::Number(port) = target.host.port else { return Vec::new() };
        let families = &self.relay.settings.families;
        let found = dial::addresses(&*self.network, &target.host.host, port, families, STEP).await;
        let addresses = match found {
            Ok(addresses) => addresses,
            Err(trouble) => return vec![self.not_found(&target, begun, trouble)],
        };
        let facts = StepFacts::Addresses(addresses.len());
        let lookup = ProbeStep { phase: Phase::Resolve, took: begun.elapsed(), facts, fault: None };
        let walk = |address| Awaited::begin(self.clone().go(Arc::clone(&target), address, lookup.clone()));
        addresses.into_iter().map(walk).collect()
    }

    /// Returns what is said of a host whose lookup failed.
    fn not_found(&self, target: &RelayTarget, begun: Instant, trouble: Trouble) -> Awaited<AddressProbe> {
        let fault = Some(self.fault(target, trouble, begun.elapsed()));
        let lookup =
            ProbeStep { phase: Phase::Resolve, took: begun.elapsed(), facts: StepFacts::Nothing, fault };
        let found = self.found(target, None, vec![lookup]);
        Awaited::begin(std::future::ready(found))
    }

    /// Walks to `address` of `target`, behind the step `lookup`.
    async fn go(self, target: Arc<RelayTarget>, address: SocketAddr, lookup: ProbeStep) -> AddressProbe {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let recorder = StepRecorder::new(lookup);
        let opened = match timeout(WHOLE, self.open(&recorder, &target, address)).await {
            Ok(opened) => opened,
            Err(_) => Err(Trouble {
                phase: recorder.awaited(),
                peer: Some(Box::new(peer(&self.relay, &target.host, address))),
                cause: Cause::TimedOut(WHOLE),
            }),
        };
        match opened {
            Ok(mut secured) => {
                self.log_in(&recorder, &target, &mut secured).await;
                let is_answered = secured.quit().await;
                let facts = if is_answered { StepFacts::Nothing } else { StepFacts::Unanswered };
                recorder.done(Phase::Quit, facts);
            }
            Err(trouble) => {
                let (phase, waited) = (trouble.phase, recorder.waited());
                recorder.failed(phase, StepFacts::Nothing, self.fault(&target, trouble, waited));
            }
        }
        self.found(&target, Some(address), recorder.into_steps())
    }

    async fn open(
        &self,
        recorder: &StepRecorder,
        target: &RelayTarget,
        address: SocketAddr,
    ) -> Result<Secured, Trouble> {
        let (relay, network) = (&*self.relay, &*self.network);
        let peer = peer(relay, &target.host, address);
        let stream = dial::connect(network, address, relay.settings.timeouts.connect).await;
        let stream = stream.map_err(|cause| Trouble {
            phase: Phase::Connect,
            peer: Some(Box::new(peer.clone())),
            cause,
        })?;
        recorder.done(Phase::Connect, StepFacts::Nothing);
        let opened = relay.open(network, stream, peer, target, recorder).await;
        opened.map_err(|trouble| target.explained(trouble, &relay.settings.tls))
    }

    /// Logs in, unless that has failed with this account.
    async fn log_in(&self, recorder: &StepRecorder, target: &RelayTarget, secured: &mut Secured) {
        let (Some(login), Some(auth)) = (&self.relay.login, &self.relay.settings.auth) else {
            return recorder.done(Phase::Auth, StepFacts::NoLogin);
        };
        let mut facts = LoginFacts { offered: secured.weighed(auth), ..LoginFacts::default() };
        let mut failed_at = self.account.lock().await;
        if let Some(at) = &*failed_at {
            let words = format!(
                "not tried: the login failed at {at}, and each further refusal would count against the account"
            );
            let fault = StepFault { kind: ProbeFault::LoginRefused, words };
            return recorder.failed(Phase::Auth, StepFacts::Login(facts), fault);
        }
        let begun = Instant::now();
        let proved = match timeout(WHOLE, secured.prove(login)).await {
            Ok(proved) => proved,
            Err(_) => Err(secured.trouble(Phase::Auth, Cause::TimedOut(WHOLE))),
        };
        facts.token = self.token().await;
        match proved {
            Ok(mechanism) => {
                facts.taken = Some(mechanism.name().into());
                recorder.done(Phase::Auth, StepFacts::Login(facts));
            }
            Err(trouble) => {
                // Without a secret the relay was not asked, and has refused nothing.
                if !matches!(trouble.cause, Cause::Misfit(_) | Cause::NoSecret(_)) {
                    *failed_at = trouble.peer.as_ref().map(ToString::to_string);
                }
                let fault = self.fault(target, trouble, begun.elapsed());
                recorder.failed(Phase::Auth, StepFacts::Login(facts), fault);
            }
        }
    }

    /// Returns the access token that an endpoint has handed out.
    async fn token(&self) -> Option<TokenFacts> {
        let tokens = self.relay.login.as_ref()?.tokens.as_ref()?;
        tokens.held_validity().await.map(|valid_for| TokenFacts { valid_for })
    }

    /// Returns `trouble`, behind a wait of `waited`, with what the rules for the relay say of it.
    fn fault(&self, target: &RelayTarget, trouble: Trouble, waited: Duration) -> StepFault {
        let route = self.relay.route.as_deref();
        let is_refused_early = trouble.phase <= Phase::Ehlo
            && matches!(&trouble.cause, Cause::Reply(reply) if reply.severity() == Severity::Transient);
        let trouble = target.rules.read(trouble, Timestamp::now()).met_on(route);
        let mut words = trouble.cause_in_words();
        if waited >= STEP {
            words += "; the daemon waits longer, for as long as relay.timeouts says";
        }
        if is_refused_early && self.relay.settings.max_connections.get() == 1 {
            words += "; by relay.max-connections there is one connection at a time, and a daemon that runs may have it now";
        }
        StepFault { kind: ProbeFault::of(&trouble), words: on_route(&words, route).into_owned() }
    }

    fn found(
        &self,
        target: &RelayTarget,
        address: Option<SocketAddr>,
        steps: Vec<ProbeStep>,
    ) -> AddressProbe {
        let route = self.relay.route.as_deref().map(String::from);
        AddressProbe { route, host: target.host.to_string(), address, steps }
    }
}

/// A task that ends when nobody awaits it any more.
struct Awaited<T>(JoinHandle<T>);

impl<T: Send + 'static> Awaited<T> {
    fn begin(task: impl Future<Output = T> + Send + 'static) -> Self {
        Awaited(tokio::spawn(task))
    }
}

impl<T> Future for Awaited<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
