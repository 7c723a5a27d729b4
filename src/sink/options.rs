//! The options of a sink.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::auth::{MECHANISMS, SinkUser};
use super::bearer::{TOKEN_MECHANISMS, TokenUser};
use super::clock::SinkClock;
use super::fault::SinkFault;
use super::first_octets::HelloLimit;
use super::limit::SinkLimit;
use super::sender::SenderRule;
use crate::listener::certificate::Certificate;
use crate::smtp::session::{AuthCover, AuthOffer, ServiceExtension, SessionPolicy};

/// A sink waits longer for its clients than they wait for it.
const USUAL_IDLE: Duration = Duration::from_secs(3600);

/// The protection of connections to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// EHLO offers STARTTLS; AUTH is offered only after it.
    StartTls,
    /// TLS from the first octet, as on port 465.
    Implicit,
    /// No TLS; AUTH is offered without it. This is safe, since a sink listens on loopback only.
    None,
}

/// The options of a sink.
#[derive(Clone)]
pub struct SinkOptions {
    /// The loopback address to listen on; port 0 takes a free port.
    pub address: SocketAddr,
    /// The name that it gives for itself.
    pub hostname: String,
    /// The protection of its connections.
    pub security: Security,
    /// The certificate that it shows in a TLS handshake.
    pub certificate: Certificate,
    /// The users who may send after AUTH with a password. Without any, and without `tokens`, anyone may send, and AUTH is
    /// not offered.
    pub users: Vec<SinkUser>,
    /// The users who may send after AUTH with an access token.
    pub tokens: Vec<TokenUser>,
    /// The mechanisms that it offers to its users; `None` for all that it speaks.
    pub mechanisms: Option<&'static [&'static str]>,
    /// The extensions that it offers besides STARTTLS and AUTH.
    pub extensions: Vec<ServiceExtension>,
    /// The senders from whom it takes mail.
    pub senders: SenderRule,
    /// The directory in which messages are stored; `None` to report them as events only.
    pub maildir: Option<PathBuf>,
    /// True if a message is stored with its envelope in front, as `Return-Path:` and `X-Envelope-To:`.
    pub envelope_fields: bool,
    /// The largest message accepted, in octets.
    pub max_message_size: u64,
    /// The faults that strike.
    pub faults: Vec<SinkFault>,
    /// The limits; at each phase the first one that does not allow more is used.
    pub limits: Vec<SinkLimit>,
    /// The time after which a silent session is closed.
    pub idle: Duration,
    /// Refusals that it says in place of its own ones with these codes.
    pub words: &'static [(u16, &'static str)],
    /// The longest ClientHello that arrives; `None` for any.
    pub hello_limit: Option<HelloLimit>,
    /// The clock by which the limits count.
    pub clock: SinkClock,
    /// The seed of the random numbers that decide when a fault with a percentage strikes.
    pub seed: u64,
}

impl SinkOptions {
    /// Returns the options of a sink on a free port of 127.0.0.1 that accepts any mail from anyone, with STARTTLS.
    pub fn new(certificate: Certificate) -> Self {
        SinkOptions {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            hostname: "localhost".into(),
            security: Security::StartTls,
            certificate,
            users: Vec::new(),
            tokens: Vec::new(),
            mechanisms: None,
            extensions: ServiceExtension::ALL.into(),
            senders: SenderRule::default(),
            maildir: None,
            envelope_fields: false,
            max_message_size: 100 << 20,
            faults: Vec::new(),
            limits: Vec::new(),
            idle: USUAL_IDLE,
            words: &[],
            hello_limit: None,
            clock: SinkClock::real(),
            seed: 0,
        }
    }

    /// Returns the policy for the session core.
    pub(super) fn policy(&self) -> SessionPolicy {
        let of_passwords: &[&str] = if self.users.is_empty() { &[] } else { &MECHANISMS };
        let of_tokens: &[&str] = if self.tokens.is_empty() { &[] } else { &TOKEN_MECHANISMS };
        let spoken = [of_passwords, of_tokens].concat();
        let offered = self.mechanisms.filter(|_| !spoken.is_empty()).unwrap_or(&spoken);
        let needs = if self.security == Security::None { AuthCover::Nothing } else { AuthCover::Tls };
        let offer = AuthOffer { is_required: true, ..AuthOffer::of(offered.iter().copied(), needs) };
        let auth = (!offer.mechanisms.is_empty()).then_some(offer);
        SessionPolicy {
            hostname: self.hostname.clone(),
            max_message_size: self.max_message_size,
            max_recipients: 10_000,
            extensions: self.extensions.clone(),
            starttls: self.security == Security::StartTls,
            auth,
            max_errors: 100,
            max_junk_commands: u32::MAX,
        }
    }
}
