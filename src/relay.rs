//! Delivers messages to one relayhost: from its name to the reply with which it takes responsibility for a message.
//!
//! Promises:
//! 1. No AUTH, no MAIL and no octet of a message goes to a relay before a [`tls::Verified`] stream exists; nothing but
//!    `tls.rs` can make one, and a [`Connection`] cannot be made without it.
//! 2. Only replies to MAIL, RCPT, DATA and the final dot, and a refusal during the content, decide about a message;
//!    everything else is a [`Trouble`] and changes no message.
//! 3. Every transaction taken from [`Work`] is reported to it exactly once, however the connection ends. If its task is
//!    ended, by a panic or from outside, nothing more is reported: [`Work`] is dropped.
//! 4. A message is never sent in part: if its content cannot be read to its stated size, the connection ends without a
//!    final dot.
//! 5. A report says `possible_duplicate` exactly if the final dot may have reached the relay and no reply to it reached
//!    us.
//! 6. The octets of a message are sent unchanged, except for dot-stuffing, and for bodies that are encoded where the
//!    configuration says so (`recoded.rs`).
//!
//! Fails: with a [`Trouble`] that names peer and phase. Nothing here is written to disk, so after a crash only the
//! doubt of promise 5 remains.
//!
//! The files, in the order in which a connection uses them: `failover` the choice among several hosts and addresses,
//! with `host_memory` those that do not work, `running` several tries at a time, and `service` the hosts that a domain
//! names → `dial` addresses and TCP → `opening` greeting, EHLO, STARTTLS → `tls` and `trust` the proof of identity
//! (`first_flight` the start of the handshake, `certificate` the key, `distrust` a refusal, `expiry` a warning ahead) →
//! `sasl` AUTH, with `login` what is remembered of it, `password` and `password_command` the secret
//! (`program_group` ends a program), `token` the access
//! token → `dialog` transactions, with `group` the commands, `open_transaction` the results of one transaction,
//! `content` its octets, `recoded` those that the relay does not take as they are → `verdict` the meaning of a reply,
//! with `reply_rules` and `reply_meaning` the rules for its words, `subject` the subject of a refusal. `channel` reads
//! and writes for all of them; `pace` says how many commands may be sent at once, `parameter_offers` which parameters
//! are left out; `remembered` keeps a fact for a day; `trouble` is the error. `web` posts
//! to a token endpoint, and to a server that hears of alarms. `lookup` looks the relayhosts up for a warning,
//! before anything is sent; `probe` walks to each address as far as the login, for an operator, with a `witness` of each step.
//!
//! Not here: when to connect and what to send (`queue/`), changes to a message (`message/`).
//!
//! RFC 5321, 2920 (pipelining), 3207 (STARTTLS), 8314 (implicit TLS), 4954 (AUTH), 3461 (DSN).

mod advice;
mod certificate;
mod channel;
mod content;
mod dial;
mod dialog;
mod distrust;
mod expiry;
mod failover;
mod farewell;
mod fault;
mod first_flight;
mod group;
mod host_memory;
mod host_rests;
mod late;
mod login;
mod login_advice;
mod login_gate;
pub mod lookup;
mod open_transaction;
mod opening;
mod pace;
mod parameter_offers;
mod password;
mod password_command;
mod port_look;
mod probe;
mod program_group;
mod recoded;
mod remembered;
mod reply_meaning;
mod reply_rules;
mod running;
mod sasl;
mod service;
mod subject;
#[cfg(test)]
pub(crate) mod testing;
mod tls;
mod token;
mod trouble;
mod trust;
mod verdict;
mod web;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncBufRead, AsyncSeek};
use tokio::time::Instant;

use crate::config::{self, SettingError};
use crate::envelope::{Body, Recipient, Ret, ReversePath};
use crate::key_names::on_route;
use crate::queue_id::QueueId;
use crate::status::Status;

pub use dialog::Connection;
pub use expiry::KnownExpiry;
pub use fault::{CostlyPauses, FIRST_PAUSE, FORGOTTEN_AFTER, LONGEST_PAUSE, RelayFault, WaitPause};
pub use late::LateRelay;
pub use probe::{
    AddressProbe, LoginFacts, OfferedFacts, ProbeFault, ProbeStep, ProbedCertificate, ProbedSession,
    StepFacts, StepFault, TlsFacts, TokenFacts, probe,
};
pub use program_group::ProgramGroup;
pub use reply_meaning::{Excess, ReplyMeaning, RuleName, WaitClass, WaitReason};
pub use reply_rules::{ExplainedReply, ReplyConsequence, ReplyRules, ShownRule};
pub use sasl::{MechanismUse, WeighedMechanism};
pub use subject::Subject;
pub use token::{
    DevicePrompt, device_login, is_refresh_token_of_ours, refresh_tokens_retried, refresh_tokens_settled,
};
pub use trouble::{Cause, Peer, Phase, TokenRefusal, Trouble};
pub use verdict::Verdict;
pub use web::{WebClient, WebMessage, WebServer};

use dial::{Internet, Network};
use expiry::Expiries;
use failover::Failover;
use farewell::Farewells;
use first_flight::Offer;
use host_memory::HostMemory;
use login::{Login, SecretPrint};
use pace::RelayPace;
use parameter_offers::ParameterOffers;
use port_look::PortLooks;
use tls::Protection;
use token::TokenDesk;

/// One message to deliver, with only the recipients that are still open.
pub struct Transaction {
    /// The message's queue id.
    pub id: QueueId,
    /// The reverse-path that the relay gets in MAIL FROM.
    pub reverse_path: ReversePath,
    /// True if the reverse-path of the message itself is `<>`, so that nobody can be told of a failure.
    pub is_from_null: bool,
    /// The recipients for RCPT TO, each with its index in the stored envelope, which reports repeat.
    pub recipients: Vec<(usize, Recipient)>,
    /// The type of the content for BODY= (RFC 6152).
    pub body: Body,
    /// The part of the message that a DSN of the relay is to quote, for RET= (RFC 3461 4.3).
    pub ret: Option<Ret>,
    /// The client's name for the transaction, for ENVID= (RFC 3461 4.4), in xtext.
    pub envid: Option<Box<str>>,
    /// True if the message is declared as SMTPUTF8 where the relay offers it. Where it does not, only those recipients
    /// bounce whose address or reverse-path needs it.
    pub wants_smtputf8: bool,
    /// True if the last reply about one of the recipients refused it for good, and it did not bounce.
    pub was_refused: bool,
    /// The exact number of octets in `content`. Content that ends earlier or later is never completed.
    pub size: u64,
    /// The message as it was committed, with CRLF line ends, not dot-stuffed.
    pub content: Box<dyn Content>,
}

/// The octets of a message, which can be read again from the beginning.
pub trait Content: AsyncBufRead + AsyncSeek + Send + Unpin {}

impl<T: AsyncBufRead + AsyncSeek + Send + Unpin> Content for T {}

/// The result for one recipient.
#[derive(Clone, Debug)]
pub struct RecipientReport {
    /// The recipient's index in the stored envelope.
    pub index: usize,
    /// The meaning of the relay's replies for the recipient.
    pub verdict: Verdict,
    /// The enhanced status of the relay, or ours if it gave none.
    pub status: Status,
    /// The reply, such as `250 2.0.0 ok`, or our own words.
    pub said: String,
    /// True if `said` is a reply of the relay.
    pub from_relay: bool,
    /// The phase of the dialogue at which `said` was said.
    pub phase: Phase,
    /// The subject of the reply, if it is a refusal.
    pub about: Subject,
}

/// The result of one transaction. There is one for each transaction taken from [`Work`].
#[derive(Clone, Debug)]
pub struct Report {
    /// The queue id of the transaction's message.
    pub id: QueueId,
    /// The relay that the transaction was sent to.
    pub peer: Peer,
    /// The results for all recipients of the transaction, in their order.
    pub recipients: Vec<RecipientReport>,
    /// True if the connection was lost between the final dot and its reply: the relay may have the message.
    pub possible_duplicate: bool,
    /// The phase of this transaction at which the connection was lost or became useless, so that the message may be the
    /// reason. `None` also where there is another reason: the relay ended the connection in good order, or got more
    /// commands at once than it can process.
    pub lost_at: Option<Phase>,
    /// The phase of this transaction at which the relay ended, in good order, a connection that had served others. The
    /// message is then judged only by what the relay says on a fresh connection.
    pub left_at: Option<Phase>,
    /// True if DSN parameters were passed on, so that the relay reports success.
    pub dsn_passed_on: bool,
    /// The time for setting up the connection; zero if it was used before.
    pub connecting: Duration,
    /// The time from the start of the transaction to its last reply.
    pub transmitting: Duration,
}

impl Report {
    /// Returns whether the dialogue broke off within this transaction before all recipients were answered, so that the
    /// message may be the reason.
    pub fn is_lost(&self) -> bool {
        self.lost_at.is_some() && self.recipients.iter().any(|recipient| recipient.verdict == Verdict::Untold)
    }
}

/// The error that the in-flight mark cannot be written. Without the mark, a duplicate could not be noticed later, so the
/// message must not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmarked;

/// The source of messages for a connection, and the receiver of its reports: the queue.
///
/// A connection has up to two transactions at a time: with `relay.pipelining = "across"` the next one is
/// taken before the last one is reported.
pub trait Work: Send {
    /// Returns the next message, after waiting for it up to `patience`; `None` if there is none, or none for this
    /// connection any more.
    fn next(&mut self, patience: Duration) -> impl Future<Output = Option<Transaction>> + Send;
    /// Is called when all of `id` except its last octets and the final dot was written. The dot is written after this has
    /// returned Ok; after an error, it is not written.
    fn before_dot(&mut self, id: QueueId) -> impl Future<Output = Result<(), Unmarked>> + Send;
    /// Receives the result of a transaction that [`Work::next`] returned.
    fn report(&mut self, report: Report) -> impl Future<Output = ()> + Send;
}

/// The configured relayhosts, with their TLS settings loaded, ready to connect.
pub struct Relay {
    /// The name of the route that leads here; `None` for the relay of the top-level `relayhost`.
    route: Option<Arc<str>>,
    settings: config::RelayConfig,
    protection: Protection,
    pace: Arc<RelayPace>,
    offer: Offer,
    parameter_offers: Arc<ParameterOffers>,
    farewells: Arc<Farewells>,
    warnings: Vec<String>,
    login: Option<Login>,
    /// The end of the client secret of OAuth.
    secret_end: Expiries,
    memory: Arc<HostMemory>,
    port_looks: PortLooks,
}

/// A relay of a daemon.
pub enum BuiltRelay {
    /// It can be used.
    Usable(Box<Relay>),
    /// A file that it needs cannot be read yet, as these words say, with the position of the setting.
    Late(Box<LateRelay>, String),
}

impl Relay {
    /// Loads the files that the settings name: certificates, keys, the trust bundle of the system. Blocks on the disk.
    pub fn new(settings: config::RelayConfig) -> Result<Relay, SettingError> {
        Relay::loaded(settings, None)
    }

    /// Does the same for the relay to which `route` leads; `None` is the relay of mail that takes no route.
    fn loaded(settings: config::RelayConfig, route: Option<Arc<str>>) -> Result<Relay, SettingError> {
        if settings.hosts.is_empty() {
            return Err(SettingError::Other("relayhost: no host is named".into()));
        }
        let (protection, mut warnings) = Protection::new(&settings.tls, &settings.hosts)?;
        warnings.extend(protection.expiring());
        let secret_end = Expiries::of_client_secret(&settings);
        warnings.extend(secret_end.notices_at_start(Timestamp::now().as_second()));
        let pace = Arc::new(RelayPace::new(settings.pipelining));
        let key_exchange = settings.tls.settings().map(|tls| tls.key_exchange);
        let offer = Offer::new(key_exchange.unwrap_or(config::KeyExchangeChoice::Any));
        let (tokens, of_tokens) = tokens_of(&settings, route.clone())?;
        warnings.extend(of_tokens);
        let login = settings.auth.clone().map(|auth| Login::new(auth).with_tokens(tokens));
        if let Some(name) = &route {
            let on_route = |warning: &String| format!("route {name}: {}", on_route(warning, Some(name)));
            warnings.iter_mut().for_each(|warning| *warning = on_route(warning));
        }
        let parameter_offers = Arc::default();
        let farewells = Arc::new(Farewells::new(settings.max_connections));
        let memory = Arc::new(route.clone().map_or_else(HostMemory::default, HostMemory::on_route));
        Ok(Relay {
            route,
            settings,
            protection,
            pace,
            offer,
            parameter_offers,
            farewells,
            warnings,
            login,
            secret_end,
            memory,
            port_looks: PortLooks::default(),
        })
    }

    /// Returns the relays of `config`, in the order of [`config::Config::relays`]. An error has the position of the setting
    /// that cannot be used. Blocks on the disk.
    pub fn of_config(config: &config::Config) -> Result<Vec<Relay>, String> {
        let first = Relay::new(config.relay.clone()).map_err(|error| config.located(&error))?;
        let others = config.routes.iter().enumerate().map(|(place, route)| {
            let relay = Relay::loaded(route.relay.clone(), Some(route.rule.name.as_str().into()));
            relay.map_err(|error| config.located_in_route(place, &error))
        });
        std::iter::once(Ok(first)).chain(others).collect()
    }

    /// Returns the relays of `config` for a daemon, in the same order. A file for TLS that cannot be read now is no error if
    /// another relay can be used: only the relay that needs it waits for it, as for a secret. What is wrong within a file is an
    /// error. Blocks on the disk.
    pub fn for_daemon(config: &config::Config) -> Result<Vec<BuiltRelay>, String> {
        let routes = config.routes.iter().map(|route| Some(Arc::from(route.rule.name.as_str())));
        let mut built = Vec::new();
        for (place, (settings, route)) in config.relays().zip(std::iter::once(None).chain(routes)).enumerate()
        {
            let relay = match Relay::loaded(settings.clone(), route.clone()) {
                Ok(relay) => BuiltRelay::Usable(Box::new(relay)),
                Err(error) => {
                    let words = match place.checked_sub(1) {
                        None => config.located(&error),
                        Some(route) => config.located_in_route(route, &error),
                    };
                    if !error.may_pass() {
                        return Err(words);
                    }
                    BuiltRelay::Late(Box::new(LateRelay::new(settings.clone(), route)), words)
                }
            };
            built.push(relay);
        }
        let first_fault = built.iter().try_fold(None, |first, relay| match relay {
            BuiltRelay::Usable(_) => Err(()),
            BuiltRelay::Late(_, words) => Ok(first.or(Some(words))),
        });
        match first_fault {
            Ok(Some(words)) => Err(words.clone()),
            Ok(None) | Err(()) => Ok(built),
        }
    }

    /// Returns the name of the route that leads here; `None` for the relay of the top-level `relayhost`.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// Returns warnings for the operator: no trust bundle of the system was found, a certificate in `tls.ca-file` was
    /// skipped, or our own certificate or client secret is about to expire.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns whether there is another secret for the login than that of the last one; false if a command prints it.
    pub async fn has_another_secret(&self) -> bool {
        match &self.login {
            Some(login) => login.has_another_secret().await,
            None => false,
        }
    }

    /// Has each relayhost and address that is passed over tried in its turn by the next connection, and the refresh tokens
    /// written that could not be.
    pub fn give_turns(&self) {
        self.memory.give_turns();
        refresh_tokens_retried();
    }

    /// Returns a print of the secret of the last login; that of no secret without a login.
    fn last_secret(&self) -> SecretPrint {
        self.login.as_ref().map_or_else(SecretPrint::default, Login::last_secret)
    }

    /// Returns a sentence for each relayhost or address that is passed over, since it did not work and another one did.
    pub fn passed_over(&self) -> Vec<String> {
        let is_tried = |host: &config::RelayHost| {
            matches!(host.port, config::RelayPort::Number(_)) && !self.memory.is_resting(&host.to_string())
        };
        // The hosts that a domain names may all be left alone.
        self.memory.notices(self.settings.hosts.iter().any(is_tried))
    }

    /// Returns a sentence about a refresh token of OAuth that could not be written yet.
    pub fn unwritten_token(&self) -> Option<String> {
        self.login.as_ref()?.tokens.as_ref()?.unwritten()
    }

    /// Returns a sentence for each certificate that is about to expire: ours, and those that the relay has shown; and for the
    /// client secret of OAuth.
    pub fn expiring(&self) -> Vec<String> {
        let mut notices = self.protection.expiring();
        notices.extend(self.secret_end.notices(Timestamp::now().as_second()));
        notices.iter().map(|notice| on_route(notice, self.route.as_deref()).into_owned()).collect()
    }

    /// Returns the end of each certificate, and of the client secret, however far away.
    pub fn ends(&self) -> Vec<KnownExpiry> {
        self.protection.ends().into_iter().chain(self.secret_end.ends(Timestamp::now().as_second())).collect()
    }

    /// Logs, at most once a day, what of this is about to expire.
    fn log_expiring(&self) {
        self.protection.log_expiring(self.route.as_deref());
        self.secret_end.log(self.route.as_deref(), Timestamp::now().as_second());
    }

    /// Opens an authenticated session with one of the hosts, at one of its addresses (`failover.rs`). The error is that of
    /// the try that got furthest, and of the last one among several.
    pub async fn connect(&self) -> Result<Connection, Trouble> {
        self.connect_over(&Internet { families: self.settings.families }).await
    }

    /// Does the same over another network than the Internet.
    pub(crate) async fn connect_over<N: Network>(&self, network: &N) -> Result<Connection, Trouble> {
        let place = self.farewells.place().await;
        let started = Instant::now();
        if self.memory.has_failed_logins() && self.has_another_secret().await {
            self.memory.forget_logins();
        }
        let (target, connection) = Failover::new(self, network).open().await?;
        let connection = connection.connected_in(started.elapsed()).at_pace(self.pace.clone());
        let connection = connection.with_parameter_offers(self.parameter_offers.clone());
        let connection = connection.with_rules(target.rules.clone());
        let connection = connection.with_host_use(self.memory.clone().begin_use(target.host.to_string()));
        Ok(connection.with_farewells(self.farewells.clone(), place))
    }
}

/// Returns the source of access tokens for `settings`, if tokens are handed out, and warnings for the operator.
fn tokens_of(
    settings: &config::RelayConfig,
    route: Option<Arc<str>>,
) -> Result<(Option<Arc<TokenDesk>>, Vec<String>), SettingError> {
    let Some(auth) = &settings.auth else { return Ok((None, Vec::new())) };
    let Some(oauth) = auth.secret.oauth() else { return Ok((None, Vec::new())) };
    let (desk, warnings) = TokenDesk::new(oauth.clone(), auth.username.clone(), settings.families, route)?;
    Ok((Some(Arc::new(desk)), warnings))
}

#[cfg(test)]
mod tests;
