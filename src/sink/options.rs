//! What a sink is to be.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::auth::{MECHANISMS, SinkUser};
use super::fault::SinkFault;
use crate::listener::certificate::Certificate;
use crate::smtp::session::Policy;

/// How the sink's connections are secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// EHLO offers STARTTLS; AUTH is offered behind it only.
    StartTls,
    /// TLS from the first octet, as on port 465.
    Implicit,
    /// None at all; AUTH is offered in the clear. Loopback only, as all of the sink.
    None,
}

/// What a sink is to be.
#[derive(Clone)]
pub struct SinkOptions {
    /// Where to listen: a loopback address; port 0 takes a free one.
    pub address: SocketAddr,
    /// How it names itself.
    pub hostname: String,
    /// How connections are secured.
    pub security: Security,
    /// What it shows in a handshake.
    pub certificate: Certificate,
    /// Who may send, after AUTH; empty: anyone, and AUTH is not offered.
    pub users: Vec<SinkUser>,
    /// Where messages go; `None`: only to the events.
    pub maildir: Option<PathBuf>,
    /// Whether a message is kept with its envelope in front, as `Return-Path:` and `X-Envelope-To:`.
    pub envelope_fields: bool,
    /// Octets a message may have.
    pub max_message_size: u64,
    /// What it does instead of its duty.
    pub faults: Vec<SinkFault>,
    /// Decides the faults that strike at times.
    pub seed: u64,
}

impl SinkOptions {
    /// A sink on a free port of 127.0.0.1 that takes anything from anyone over STARTTLS.
    pub fn new(certificate: Certificate) -> Self {
        SinkOptions {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            hostname: "localhost".into(),
            security: Security::StartTls,
            certificate,
            users: Vec::new(),
            maildir: None,
            envelope_fields: false,
            max_message_size: 100 << 20,
            faults: Vec::new(),
            seed: 0,
        }
    }

    /// What the session core is to offer and ask for.
    pub(super) fn policy(&self) -> Policy {
        let auth = !self.users.is_empty();
        let offered: &[&str] = if auth { &MECHANISMS } else { &[] };
        Policy {
            hostname: self.hostname.clone(),
            max_message_size: self.max_message_size,
            max_recipients: 10_000,
            starttls: self.security == Security::StartTls,
            auth: offered.iter().map(ToString::to_string).collect(),
            auth_requires_tls: self.security != Security::None,
            auth_required: auth,
            max_errors: 100,
            max_junk_commands: u32::MAX,
        }
    }
}
