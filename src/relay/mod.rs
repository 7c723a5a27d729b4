//! Outward: one relayhost, from its name to the reply that takes responsibility for a message.
//!
//! Promises:
//! 1. No AUTH, no MAIL and no octet of a message goes to a relay before a [`tls::Verified`] stream
//!    exists; nothing but `tls.rs` can make one, and a [`Connection`] cannot be made without it.
//! 2. Only replies to MAIL, RCPT, DATA and the final dot, and a refusal in the midst of content, say
//!    anything about a message; everything else is a [`Trouble`] and leaves every message as it was.
//! 3. Every transaction taken from [`Work`] is reported to it exactly once, however the connection ends. Where
//!    its task is ended instead, by a panic or from outside, nothing more is reported: [`Work`] is dropped.
//! 4. A message is never cut short: where its content cannot be read to its stated size, the
//!    connection ends without a final dot.
//! 5. A report says `possible_duplicate` where, and only where, the final dot may have reached the relay
//!    and no reply to it reached us.
//! 6. Message octets go out as they are, dot-stuffing aside.
//!
//! Fails: as a [`Trouble`] that names peer and phase. Nothing here is written to disk, so a crash
//! leaves no more than the doubt of promise 5.
//!
//! The rooms, in the order of a connection's life:
//! `dial` addresses and TCP → `opening` greeting, EHLO, STARTTLS → `tls` and `trust` the proof (`first_flight` how it
//! begins, `certificate` its key, `distrust` why there is none) → `sasl` AUTH →
//! `dialog` transactions, with `group` the commands, `delivery` one message's account, `content` its
//! octets → `verdict` what a reply means, `subject` what a refusal is about. `channel` is the wire
//! they all speak through, `pace` how far ahead of its replies it is written to, `dsn_offer` whether it is given DSN
//! parameters, `remembered` what is known of it for a day, `trouble` how failure is told.
//!
//! Not here: when to connect and what to send (`queue/`), what is done to a message (`message/`).
//!
//! RFC 5321, 2920 (pipelining), 3207 (STARTTLS), 8314 (implicit TLS), 4954 (AUTH), 3461 (DSN).

mod certificate;
mod channel;
mod content;
mod delivery;
mod dial;
mod dialog;
mod distrust;
mod dsn_offer;
mod first_flight;
mod group;
mod opening;
mod pace;
mod remembered;
mod sasl;
mod subject;
#[cfg(test)]
mod testing;
mod tls;
mod trouble;
mod trust;
mod verdict;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::time::Instant;

use crate::config;
use crate::envelope::{Body, Recipient, Ret, ReversePath};
use crate::log;
use crate::queue_id::QueueId;
use crate::status::Status;

pub use dialog::Connection;
pub use subject::Subject;
pub use trouble::{Cause, Peer, Phase, Trouble};
pub use verdict::Verdict;

use dial::{Internet, Network, Race, Transport};
use dsn_offer::DsnOffer;
use first_flight::{FirstFlight, KeyExchange, Offer};
use pace::Pace;
use tls::Protection;

/// One message to hand over: only recipients still open.
pub struct Transaction {
    /// The message.
    pub id: QueueId,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// RCPT TO: the recipient's index in the stored envelope, which reports give back.
    pub recipients: Vec<(usize, Recipient)>,
    /// BODY.
    pub body: Body,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, xtext still encoded.
    pub envid: Option<Box<str>>,
    /// The message is to be declared SMTPUTF8 where the relay offers it. Where it does not, only
    /// those recipients bounce whose address (or whose reverse-path) cannot be said without it.
    pub needs_smtputf8: bool,
    /// Octets in `content`, exactly: a content that ends earlier or later is never completed.
    pub size: u64,
    /// The message as committed, CRLF line ends, not dot-stuffed.
    pub content: Box<dyn AsyncRead + Send + Unpin>,
}

/// What became of one recipient.
#[derive(Clone, Debug)]
pub struct RecipientReport {
    /// The recipient's index in the stored envelope.
    pub index: usize,
    /// What it means.
    pub verdict: Verdict,
    /// The relay's status, or ours where it gave none.
    pub status: Status,
    /// `250 2.0.0 ok`, or our own words.
    pub said: String,
    /// `said` is the relay's reply.
    pub from_relay: bool,
    /// At what command it was said.
    pub phase: Phase,
    /// What it is about where it is a refusal.
    pub about: Subject,
}

/// What became of one transaction; made for each one taken from [`Work`].
#[derive(Clone, Debug)]
pub struct Report {
    /// The message.
    pub id: QueueId,
    /// Who was to take it.
    pub peer: Peer,
    /// One for each recipient of the transaction, in its order.
    pub recipients: Vec<RecipientReport>,
    /// The connection died between the final dot and its reply: the relay may have the message.
    pub possible_duplicate: bool,
    /// The connection was lost, or of no more use, when this transaction had its turn and was at this phase: the
    /// message may be why. `None` too where something else explains it: the relay took leave, or it was
    /// written to faster than it could bear.
    pub lost_at: Option<Phase>,
    /// The relay took leave of a connection that had served, when this transaction had its turn and was at this phase:
    /// it counts only what a fresh connection is told.
    pub left_at: Option<Phase>,
    /// DSN parameters were passed on (the relay reports success from here).
    pub dsn_passed_on: bool,
    /// Connection set-up; zero on a connection used before.
    pub connecting: Duration,
    /// From the transaction's turn on the connection to its last reply.
    pub transmitting: Duration,
}

impl Report {
    /// Whether the dialogue broke off within this transaction, with somebody unanswered: the message may be why.
    pub fn is_lost(&self) -> bool {
        self.lost_at.is_some() && self.recipients.iter().any(|recipient| recipient.verdict == Verdict::Untold)
    }
}

/// The mark without which a duplicate would be silent cannot be made: the message must not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmarked;

/// Where a connection gets its messages and leaves its reports: the queue.
///
/// Up to two transactions are with a connection at a time: with `relay.pipelining = "across"` the next one is
/// taken before the last one is reported.
pub trait Work: Send {
    /// The next message; waits up to `patience` for one. None: nothing came, or nothing more is to go this way.
    fn next(&mut self, patience: Duration) -> impl Future<Output = Option<Transaction>> + Send;
    /// Called when all of `id` but its last octets and the final dot was written; the dot is written
    /// after this has returned Ok, and not at all after an error.
    fn before_dot(&mut self, id: QueueId) -> impl Future<Output = Result<(), Unmarked>> + Send;
    /// What became of a transaction that [`Work::next`] gave.
    fn report(&mut self, report: Report) -> impl Future<Output = ()> + Send;
}

/// One configured relayhost: TLS settings loaded, ready to connect.
pub struct Relay {
    settings: config::RelayConfig,
    protection: Protection,
    pace: Arc<Pace>,
    offer: Offer,
    dsn_offer: Arc<DsnOffer>,
    warnings: Vec<String>,
    /// Its keys are drawn for each run: a print tells nothing about a secret.
    secret_prints: RandomState,
}

impl Relay {
    /// Loads what the settings name (certificates, keys, the system's trust bundle).
    ///
    /// Err: in words for the operator, naming the file and the key.
    pub fn new(settings: config::RelayConfig) -> Result<Relay, String> {
        if settings.hosts.is_empty() {
            return Err("relayhost: no host is named".into());
        }
        let (protection, warnings) = Protection::new(&settings.tls, &settings.hosts)?;
        let pace = Arc::new(Pace::new(settings.pipelining));
        let (offer, secret_prints) = (Offer::default(), RandomState::new());
        let dsn_offer = Arc::default();
        Ok(Relay { settings, protection, pace, offer, dsn_offer, warnings, secret_prints })
    }

    /// What the operator should look at though it works: no system trust bundle was found, a certificate in
    /// `tls.ca-file` was passed over.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A number that is another one when the secret for the login is another. `None`: there is none, a command prints
    /// it, or it cannot be read.
    pub async fn secret_print(&self) -> Option<u64> {
        let source = &self.settings.auth.as_ref()?.secret;
        if let config::SecretSource::Command(_) = source {
            return None;
        }
        Some(self.secret_prints.hash_one(source.read().await.ok()?.expose()))
    }

    /// Tries the hosts and addresses in turn up to an authenticated session.
    ///
    /// A failure up to EHLO moves on to the next address, then to the next host; a failure of AUTH
    /// moves on to the next host, since another address of the same name would say the same and
    /// count against the account. Err: the try that got furthest, the last one of those.
    pub async fn connect(&self) -> Result<Connection, Trouble> {
        self.connect_over(&Internet).await
    }

    async fn connect_over<N: Network>(&self, network: &N) -> Result<Connection, Trouble> {
        let started = Instant::now();
        let mut told: Option<Trouble> = None;
        for host in &self.settings.hosts {
            match self.try_host(network, host).await {
                Ok(connection) => {
                    let connection = connection.connected_in(started.elapsed());
                    return Ok(connection.at_pace(self.pace.clone()).with_dsn_offer(self.dsn_offer.clone()));
                }
                Err(trouble) => told = Some(keep(told, trouble)),
            }
        }
        // Relay::new refuses an empty list, so at least one host was tried.
        Err(told.expect("a relay has at least one host"))
    }

    async fn try_host<N: Network>(
        &self,
        network: &N,
        host: &config::RelayHost,
    ) -> Result<Connection, Trouble> {
        let limit = self.settings.timeouts.connect;
        let addresses = dial::addresses(network, host, limit).await?;
        let mut race = Race::new(network, addresses, limit);
        let mut told: Option<Trouble> = None;
        while let Some((address, connected)) = race.next().await {
            let peer = peer(host, address);
            let opened = match connected {
                Ok(stream) => self.open(network, stream, peer, host).await,
                Err(cause) => Err(Trouble { phase: Phase::Connect, peer: Some(peer), cause }),
            };
            match opened {
                Ok(connection) => return Ok(connection),
                Err(trouble) if trouble.phase == Phase::Auth => return Err(trouble),
                Err(trouble) => told = Some(keep(told, trouble)),
            }
        }
        // dial::addresses gives at least one address, and the race ends only after all of them.
        Err(told.expect("a race has at least one address"))
    }

    /// A session on `stream`, or on one more connection where its ClientHello has no answer and a smaller one has.
    async fn open<N: Network>(
        &self,
        network: &N,
        stream: N::Stream,
        peer: Peer,
        host: &config::RelayHost,
    ) -> Result<Connection, Trouble> {
        let address = peer.address;
        let flight = FirstFlight::new(self.offer.now());
        let opened = self.open_with(&flight, stream, peer.clone(), host).await;
        let Err(unanswered) = opened else { return opened };
        if !flight.may_have_been_too_large() {
            return Err(unanswered);
        }
        let limit = self.settings.timeouts.connect;
        let Ok(stream) = dial::connect(network, address, limit).await else { return Err(unanswered) };
        let smaller = FirstFlight::new(KeyExchange::Classical);
        let opened = self.open_with(&smaller, stream, peer, host).await;
        if smaller.is_answered() && self.offer.fall_back() {
            log::classical_key_exchange(&unanswered);
        }
        opened
    }

    async fn open_with<S: Transport>(
        &self,
        flight: &Arc<FirstFlight>,
        stream: S,
        peer: Peer,
        host: &config::RelayHost,
    ) -> Result<Connection, Trouble> {
        opening::open(stream, peer, host, &self.settings, &self.protection, flight).await
    }
}

fn keep(told: Option<Trouble>, later: Trouble) -> Trouble {
    match told {
        Some(earlier) => earlier.more_telling(later),
        None => later,
    }
}

fn peer(host: &config::RelayHost, address: SocketAddr) -> Peer {
    Peer { name: dial::name_of(host), address, tls: None }
}

#[cfg(test)]
mod tests;
