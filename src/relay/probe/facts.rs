//! What a probe finds out about one address of a relay, step by step.
//!
//! Promises: no secret and no part of one is in it; words of the relay in it are as the relay said them, without line breaks.
//! Pure. Not here: the walk (`probe.rs`), the sentences for a person (`cli/probe/`).

use std::net::SocketAddr;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;

use super::super::certificate::{issuer_of, pin_of, subject_of, validity_of};
use super::super::distrust::{PinText, names_of};
use super::super::reply_meaning::WaitClass;
use super::super::sasl::WeighedMechanism;
use super::super::trouble::{Cause, Phase, Trouble};
use crate::smtp::client::Capabilities;
use crate::smtp::reply::{Reply, Severity};

/// One address of a relay, or a host of which no address is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressProbe {
    /// The name of the route that leads to the relay; `None` for the relay of the top-level `relayhost`.
    pub route: Option<String>,
    /// The host as it is configured, or as an SRV record names it, with its port.
    pub host: String,
    /// The address; `None` if the lookup gave none.
    pub address: Option<SocketAddr>,
    /// The steps in their order; the last one is that which failed, if one did.
    pub steps: Vec<ProbeStep>,
}

impl AddressProbe {
    /// Returns the worst fault of a step; `None` if mail could be sent here.
    pub fn fault(&self) -> Option<ProbeFault> {
        self.steps.iter().filter_map(|step| Some(step.fault.as_ref()?.kind)).max()
    }
}

/// One step, done or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStep {
    /// The phase of the dialogue.
    pub phase: Phase,
    /// The time that it took.
    pub took: Duration,
    /// What was found out.
    pub facts: StepFacts,
    /// What is wrong with it; `None` if it is done.
    pub fault: Option<StepFault>,
}

/// What is wrong with a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFault {
    /// What it means for the relay.
    pub kind: ProbeFault,
    /// What happened, and what to do, as the daemon would say it.
    pub words: String,
}

/// What a failed step means for the relay, the worst one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeFault {
    /// The relay takes nothing now, and may later.
    Temporary,
    /// The address was not reached, or cannot be used.
    Unusable,
    /// The login was refused, or was not tried since it was refused before.
    LoginRefused,
    /// An operator must correct the settings of this host.
    Configuration,
}

impl ProbeFault {
    /// Returns what `trouble` means for the relay.
    pub(super) fn of(trouble: &Trouble) -> ProbeFault {
        match &trouble.cause {
            Cause::NoSecret(_) | Cause::Misfit(_) => ProbeFault::Configuration,
            Cause::LoginRefused { for_good: true, .. } | Cause::LoginLost { .. } => ProbeFault::LoginRefused,
            Cause::LoginRefused { .. } => ProbeFault::Temporary,
            Cause::Waits { reason, .. } => match reason.class {
                WaitClass::Configuration(_) if trouble.phase == Phase::Auth => ProbeFault::LoginRefused,
                WaitClass::Configuration(_) => ProbeFault::Configuration,
                _ => ProbeFault::Temporary,
            },
            Cause::Reply(reply) if reply.severity() == Severity::Transient => ProbeFault::Temporary,
            _ => ProbeFault::Unusable,
        }
    }
}

/// What a step has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepFacts {
    /// Nothing but that it is done, or failed.
    Nothing,
    /// It was not answered, which does no harm.
    Unanswered,
    /// The name has this number of addresses.
    Addresses(usize),
    /// The relay said this.
    Said(String),
    /// The relay offers this.
    Offered(OfferedFacts),
    /// There is a session of TLS, or was up to the certificate.
    Tls(TlsFacts),
    /// The login.
    Login(LoginFacts),
    /// The configuration has no login.
    NoLogin,
}

/// What a relay offers in its reply to EHLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedFacts {
    /// Its lines behind the name of the relay.
    pub lines: Vec<String>,
    /// The largest message that it takes, in octets, if it states a limit.
    pub size_limit: Option<u64>,
}

impl OfferedFacts {
    pub(super) fn of(reply: &Reply) -> Self {
        let lines = reply.lines().iter().skip(1).cloned().collect();
        OfferedFacts { lines, size_limit: Capabilities::from_ehlo(reply).size_limit }
    }
}

/// A session of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version, the cipher and the key exchange; `None` if the certificate was refused.
    pub session: Option<ProbedSession>,
    /// The certificates that the relay has shown, its own first.
    pub chain: Vec<ProbedCertificate>,
}

/// What was agreed on for a session of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedSession {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: String,
    /// The name of the cipher suite.
    pub cipher: String,
    /// The name of the group of the key exchange.
    pub key_exchange: String,
}

impl TlsFacts {
    /// Returns the facts of a session whose certificate was verified.
    pub(super) fn of(session: &ClientConnection) -> Self {
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        let group = session.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
        TlsFacts {
            session: Some(ProbedSession {
                version: version.into(),
                cipher: cipher.unwrap_or_default(),
                key_exchange: group.unwrap_or_default(),
            }),
            chain: shown(session.peer_certificates().unwrap_or_default()),
        }
    }

    /// Returns the facts of a handshake in which these certificates were refused.
    pub(super) fn refused(certificates: &[CertificateDer<'_>]) -> Self {
        TlsFacts { session: None, chain: shown(certificates) }
    }
}

/// A certificate that a relay has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedCertificate {
    /// The common name of its owner, or the organisation.
    pub subject: Option<String>,
    /// The same of its issuer.
    pub issuer: Option<String>,
    /// The host names that it is for.
    pub names: Vec<String>,
    /// The first and the last second at which it is valid, in seconds since 1970; `None` if they cannot be read.
    pub validity: Option<(i64, i64)>,
    /// The pin of its key, in the form of `tls.pin-sha256`.
    pub pin: Option<String>,
}

/// The most certificates of a chain that are told.
const MOST_CERTIFICATES: usize = 8;

fn shown(certificates: &[CertificateDer<'_>]) -> Vec<ProbedCertificate> {
    let certificate = |der: &CertificateDer<'_>| ProbedCertificate {
        subject: subject_of(der),
        issuer: issuer_of(der),
        names: names_of(der),
        validity: validity_of(der),
        pin: pin_of(der).map(|pin| PinText(pin).to_string()),
    };
    certificates.iter().take(MOST_CERTIFICATES).map(certificate).collect()
}

/// A login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginFacts {
    /// The mechanisms that the relay offers: those first that may be tried, the best one first.
    pub offered: Vec<WeighedMechanism>,
    /// The mechanism that the relay took.
    pub taken: Option<String>,
    /// The access token that an endpoint handed out, if it did.
    pub token: Option<TokenFacts>,
}

/// An access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// The time for which it is valid, if its endpoint states it.
    pub valid_for: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(phase: Phase, cause: Cause) -> ProbeFault {
        ProbeFault::of(&Trouble { phase, peer: None, cause })
    }

    fn refused(for_good: bool) -> Cause {
        Cause::LoginRefused { said: "no".into(), for_good, reply: None, token: None, advice: None }
    }

    #[test]
    fn each_trouble_means_something_for_the_relay() {
        let reply = |code| Cause::Reply(Reply::bare(code, "no"));
        let table = [
            (Phase::Connect, Cause::Closed, ProbeFault::Unusable),
            (Phase::Greeting, reply(421), ProbeFault::Temporary),
            (Phase::Greeting, reply(554), ProbeFault::Unusable),
            (Phase::Tls, Cause::Other("not trusted".into()), ProbeFault::Unusable),
            (Phase::Auth, refused(true), ProbeFault::LoginRefused),
            (Phase::Auth, refused(false), ProbeFault::Temporary),
            (Phase::Auth, Cause::NoSecret("no file".into()), ProbeFault::Configuration),
            (Phase::Greeting, Cause::Misfit("tls.mode".into()), ProbeFault::Configuration),
        ];
        for (phase, cause, expected) in table {
            let told = format!("{phase}: {cause}");
            assert_eq!(fault(phase, cause), expected, "{told}");
        }
    }

    /// A rule that reads "too many connections" is no matter of the login, and one about the account is.
    #[test]
    fn a_reply_that_a_rule_has_read_means_what_the_rule_says() {
        let rules = crate::relay::ReplyRules::new(&[], "smtp.office365.com");
        let read = |phase, line: &str| {
            let reply = Reply::parse(line.as_bytes()).unwrap().unwrap().0;
            let cause = match phase {
                Phase::Auth => {
                    let said = reply.to_string();
                    Cause::LoginRefused {
                        said,
                        for_good: true,
                        reply: Some(Box::new(reply)),
                        token: None,
                        advice: None,
                    }
                }
                _ => Cause::Reply(reply),
            };
            let trouble = Trouble { phase, peer: None, cause };
            ProbeFault::of(&rules.read(trouble, jiff::Timestamp::UNIX_EPOCH))
        };
        let basic = "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.\r\n";
        assert_eq!(read(Phase::Auth, basic), ProbeFault::LoginRefused);
        assert_eq!(read(Phase::Greeting, "421 4.3.2 Too many connections\r\n"), ProbeFault::Temporary);
    }
}
