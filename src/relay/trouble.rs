//! Relay trouble: an error of a relay, with the phase of the dialogue and the peer.
//!
//! Promises: a [`Trouble`] says nothing about any message (README promise 4); its text names the
//! peer and the phase, holds no secret, and octets from the relay stand escaped in it.
//!
//! Not here: which replies are trouble and which are a verdict (`verdict.rs`), pausing the relay
//! (`queue/breaker.rs`).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::reply_meaning::{WaitClass, WaitReason};
use crate::config::RuleScope;
use crate::key_names::on_route;
use crate::smtp::reply::{Reply, Severity};
use crate::tls_faults;

/// The phases of a dialogue, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The lookup of the relayhost's addresses.
    Resolve,
    /// The TCP connection to one of these addresses.
    Connect,
    /// The wait for the greeting, 220.
    Greeting,
    /// EHLO, or HELO where a relay on loopback refuses EHLO.
    Ehlo,
    /// STARTTLS, up to its reply.
    StartTls,
    /// The TLS handshake, with the check of the relay's certificate.
    Tls,
    /// The AUTH exchange, up to its last reply.
    Auth,
    /// MAIL FROM, and the time on the connection before it.
    Mail,
    /// RCPT TO for one recipient.
    Rcpt,
    /// DATA, up to the reply 354.
    Data,
    /// The content, without its final dot.
    Content,
    /// The final dot, and the wait for the reply by which the relay takes responsibility.
    Dot,
    /// RSET behind a refusal, which shows whether the replies are in step.
    Rset,
    /// QUIT, up to its reply or the end of the connection.
    Quit,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Resolve => "name lookup",
            Phase::Connect => "connect",
            Phase::Greeting => "greeting",
            Phase::Ehlo => "EHLO",
            Phase::StartTls => "STARTTLS",
            Phase::Tls => "TLS handshake",
            Phase::Auth => "AUTH",
            Phase::Mail => "MAIL FROM",
            Phase::Rcpt => "RCPT TO",
            Phase::Data => "DATA",
            Phase::Content => "message content",
            Phase::Dot => "end of data",
            Phase::Rset => "RSET",
            Phase::Quit => "QUIT",
        })
    }
}

/// The relay at the other end of a connection. Displays as `mx.example.net[192.0.2.5]:587`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The relayhost as it is configured: a name, or an address as text.
    pub name: String,
    /// The address and port connected to.
    pub address: SocketAddr,
    /// The name of the route that leads to it; `None` for the relay of the top-level `relayhost`.
    pub route: Option<Arc<str>>,
    /// The version, `TLSv1.3` or `TLSv1.2`; `None` before the handshake, and for a loopback relay without TLS.
    pub tls: Option<&'static str>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: IpAddr = self.address.ip().to_canonical();
        write!(f, "{}[{shown}]:{}", self.name, self.address.port())
    }
}

impl Peer {
    /// Returns the name of the route, for the log.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }
}

/// The reason why a dialogue could not go on.
#[derive(Clone, Debug)]
pub enum Cause {
    /// A reply that is about the relay, and not about a message.
    Reply(Reply),
    /// The login was refused.
    LoginRefused {
        /// The mechanism, and the words of the relay or ours.
        said: String,
        /// True if it was refused for good: by a 5xx reply, or by our own check of the proof of the relay.
        for_good: bool,
        /// The reply that refused it, if it was a reply.
        reply: Option<Box<Reply>>,
        /// What is known beyond that, if an access token was refused.
        token: Option<Box<TokenRefusal>>,
        /// What to do about it, once the rules for the relay have seen it (`login_advice.rs`).
        advice: Option<Box<str>>,
    },
    /// A reply behind the login that asks for one, or refuses it.
    LoginLost {
        /// The reply.
        reply: Box<Reply>,
        /// What to do about it.
        advice: Box<str>,
    },
    /// A reply that is about the relay, and whose words say for what the mail waits.
    Waits {
        /// The reply.
        said: String,
        /// The reason, by a rule.
        reason: Box<WaitReason>,
    },
    /// An earlier run has paused the relay until a time that is still to come.
    BeforeRestart {
        /// The class of the reason, if a rule has read it.
        class: Option<WaitClass>,
        /// What was said then, with the peer and the phase.
        said: String,
    },
    /// There is no password or access token for the login, and there will be none before an operator acts: our words for
    /// that. The relay was not asked.
    NoSecret(String),
    /// The settings of this host and the relay do not fit together, so that there is no session before an operator acts: our
    /// words for that. The relay has refused nothing.
    Misfit(String),
    /// This host of a list waits for itself, for this reason, and others are tried before it is.
    OneHost {
        /// The reason.
        cause: Box<Cause>,
        /// The furthest phase at which another host failed; [`Phase::Resolve`] if none was tried.
        others: Phase,
    },
    /// Another reason, in our words for the operator: TLS verification, DNS, a secret that cannot be had just now.
    Other(String),
    /// The relay closed the connection.
    Closed,
    /// The connection failed; holds the kind of error, and the words of the system.
    Io(io::ErrorKind, String),
    /// Nothing, or not everything, arrived within this time.
    TimedOut(Duration),
    /// The octets that arrived are not an SMTP reply, or not one that fits here; holds them, escaped.
    Garbage(String),
    /// A reply is so long that it is taken for none.
    Overlong {
        /// What is too long, with its bound.
        part: &'static str,
        /// The start of the last line, escaped.
        begins: String,
    },
    /// The relay sent this reply when none, or another one, was expected: it answers another command.
    OutOfStep(Reply),
}

/// What is known of the refusal of an access token beyond the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRefusal {
    /// The reason that the relay gave in a challenge.
    pub reason: Option<String>,
    /// What to do about it, by the status of the reply; for a relay whose rules say nothing of that.
    pub remedy: Option<&'static str>,
}

impl TokenRefusal {
    /// Returns `said` with the reason behind it, if the relay gave one.
    pub(super) fn behind(refusal: Option<&TokenRefusal>, said: String) -> String {
        match refusal.and_then(|refusal| refusal.reason.as_ref()) {
            Some(reason) => format!("{said} (its reason: {reason})"),
            None => said,
        }
    }
}

impl Cause {
    /// Returns the cause at the host itself, whether others are tried meanwhile or not.
    pub(super) fn of_host(&self) -> &Cause {
        match self {
            Cause::OneHost { cause, .. } => cause,
            cause => cause,
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Cause::Io(error.kind(), tls_faults::connection(tls_faults::TlsPeer::RELAY, &error))
    }
}

impl Cause {
    /// Returns what to do about it, in our words.
    fn advice(&self) -> Option<&str> {
        match self {
            Cause::LoginRefused { token, advice, .. } => {
                let remedy = token.as_ref().and_then(|refusal| refusal.remedy);
                advice.as_deref().or(remedy)
            }
            Cause::LoginLost { advice, .. } => Some(advice),
            _ => None,
        }
    }

    /// Writes it as trouble of the relay to which `route` leads.
    fn tell(&self, route: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Reply(reply) => write!(f, "the relay said: {reply}"),
            Cause::LoginLost { reply, .. } => write!(f, "the relay said: {reply}"),
            Cause::BeforeRestart { said, .. } => write!(
                f,
                "before the restart the relay had said that it takes no mail until the next probe ({said}); nullmta flush \
                 tries at once"
            ),
            // The memory of the hosts tells that others are tried.
            Cause::OneHost { cause, .. } => return cause.tell(route, f),
            Cause::LoginRefused { said, token, .. } => {
                f.write_str(&TokenRefusal::behind(token.as_deref(), said.clone()))
            }
            Cause::NoSecret(words) | Cause::Misfit(words) | Cause::Other(words) => {
                f.write_str(&on_route(words, route))
            }
            Cause::Waits { said, reason } => {
                write!(f, "the relay said: {said}")?;
                reason.hint.map_or(Ok(()), |hint| write!(f, " ({})", on_route(hint, route)))
            }
            Cause::Closed => f.write_str("the relay closed the connection"),
            Cause::Io(_, words) => f.write_str(&on_route(words, route)),
            Cause::TimedOut(limit) => write!(f, "no answer within {} s", limit.as_secs()),
            Cause::Garbage(octets) => write!(f, "not an SMTP reply: \"{octets}\""),
            Cause::Overlong { part, begins } => write!(
                f,
                "the relay sent {part}, which is taken for no reply, and the connection was given up; mail of which nothing \
                 else was said is tried again; the line begins with \"{begins}\""
            ),
            Cause::OutOfStep(reply) => write!(f, "the relay said what answers no command of ours: {reply}"),
        }?;
        self.advice().map_or(Ok(()), |advice| write!(f, "; {}", on_route(advice, route)))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(None, f)
    }
}

/// Trouble with the relay as a whole: it pauses the relay, and decides about no message.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The phase of the dialogue in which it happened.
    pub phase: Phase,
    /// The peer; `None` if no address was known yet. The cause then names the host.
    pub peer: Option<Box<Peer>>,
    /// The reason why the dialogue could not go on.
    pub cause: Cause,
}

impl Trouble {
    /// Returns the name of the route that leads to the relay, for the log.
    pub fn route(&self) -> Option<&str> {
        self.peer.as_ref().and_then(|peer| peer.route())
    }

    /// Returns its text without the class in front.
    pub fn without_class(&self) -> String {
        struct Bare<'t>(&'t Trouble);
        impl fmt::Display for Bare<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.describe(f)
            }
        }
        Bare(self).to_string()
    }

    /// Returns the words of the cause alone, for where the peer and the phase are said otherwise.
    pub(super) fn cause_in_words(&self) -> String {
        struct Alone<'t>(&'t Trouble);
        impl fmt::Display for Alone<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.describe_cause(f)
            }
        }
        Alone(self).to_string()
    }

    /// Writes the peer, the phase and the cause.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Cause::BeforeRestart { .. } = &self.cause {
            return write!(f, "{}", self.cause);
        }
        if let Some(peer) = &self.peer {
            write!(f, "{peer}: ")?;
        }
        write!(f, "{}: ", self.phase)?;
        self.describe_cause(f)
    }

    /// Writes the cause alone.
    fn describe_cause(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.tell(self.route(), f)?;
        match (self.phase, &self.cause) {
            (Phase::Ehlo, Cause::Reply(reply)) if may_be_about_our_name(reply) => {
                f.write_str(&on_route(NAME_HINT, self.route()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the phase and the code of the reply, which every user of this host may see. The words of the relay may
    /// contain an address of another user, and ours a path.
    pub fn outline(&self) -> String {
        let reply = match self.cause.of_host() {
            Cause::Reply(reply) => Some(reply),
            Cause::LoginLost { reply, .. } => Some(&**reply),
            _ => None,
        };
        if let Some(reply) = reply {
            let status = reply.status().map(|status| format!(" {status}")).unwrap_or_default();
            return format!("relay trouble, {}: {}{status}", self.phase, reply.code());
        }
        match self.cause.of_host() {
            Cause::Waits { reason, .. } => format!("{}, {}", reason.class, self.phase),
            Cause::BeforeRestart { class: Some(class), .. } => format!("{class}, before the restart"),
            Cause::BeforeRestart { class: None, .. } => "relay trouble, before the restart".to_owned(),
            Cause::NoSecret(_) | Cause::Misfit(_) => format!("{CONFIGURATION}, {}", self.phase),
            _ => format!("relay trouble, {}", self.phase),
        }
    }

    /// Returns the same trouble in the words for the relay to which `route` leads, which trouble without a peer does not know.
    pub(super) fn met_on(self, route: Option<&str>) -> Trouble {
        match self.cause {
            Cause::Other(words) if self.peer.is_none() => {
                Trouble { cause: Cause::Other(on_route(&words, route).into_owned()), ..self }
            }
            _ => self,
        }
    }

    /// Returns the same trouble as that of one host of a list, while others, which got as far as `others`, are tried.
    pub(super) fn of_one_host(self, others: Phase) -> Trouble {
        Trouble { cause: Cause::OneHost { cause: Box::new(self.cause), others }, ..self }
    }

    /// Returns the one of two failed tries that tells the operator more: the one that got further, else the later one.
    pub(super) fn more_telling(self, later: Trouble) -> Trouble {
        if self.phase > later.phase { self } else { later }
    }
}

/// The class of trouble that an operator must end.
const CONFIGURATION: WaitClass = WaitClass::Configuration(RuleScope::Route);

/// Returns whether a refusal of EHLO may be about the name in it: it is permanent, and not about the command, as 500 and 502
/// are; or its words are about a name. Gmail's `421 4.7.0 Try again later` mostly means that it does not take the name.
fn may_be_about_our_name(reply: &Reply) -> bool {
    const WORDS: [&str; 7] = ["name", "host", "hostname", "helo", "ehlo", "fqdn", "domain"];
    let text = reply.lines().join(" ").to_ascii_lowercase();
    let has_word = text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| WORDS.contains(&word));
    let is_of_gmail = text.contains("try again later, closing connection");
    let is_permanent = reply.severity() == Severity::Permanent && ![500, 502].contains(&reply.code());
    is_permanent || has_word || is_of_gmail
}

/// The hint behind a refusal of EHLO.
const NAME_HINT: &str = "; is the name that EHLO gives one that this relay takes (relay.helo-name)?";

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause.of_host() {
            Cause::Waits { reason, .. } => write!(f, "{}: ", reason.class)?,
            Cause::BeforeRestart { class: Some(class), .. } => write!(f, "{class}: ")?,
            Cause::NoSecret(_) | Cause::Misfit(_) => write!(f, "{CONFIGURATION}: ")?,
            _ => {}
        }
        self.describe(f)
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::reply_meaning::RuleName;
    use crate::status::Status;

    fn peer(address: &str) -> Peer {
        Peer { name: "mx.example.net".into(), address: address.parse().unwrap(), route: None, tls: None }
    }

    #[test]
    fn told_with_peer_phase_and_cause() {
        let refused = Reply::new(535, Status::permanent(7, 8), "bad credentials");
        let cases = [
            (
                Some(peer("192.0.2.5:587")),
                Phase::Auth,
                Cause::Reply(refused),
                "mx.example.net[192.0.2.5]:587: AUTH: the relay said: 535 5.7.8 bad credentials",
            ),
            (
                Some(peer("[2001:db8::1]:465")),
                Phase::Greeting,
                Cause::TimedOut(Duration::from_secs(300)),
                "mx.example.net[2001:db8::1]:465: greeting: no answer within 300 s",
            ),
            (
                Some(peer("[::ffff:192.0.2.5]:587")),
                Phase::Dot,
                Cause::Closed,
                "mx.example.net[192.0.2.5]:587: end of data: the relay closed the connection",
            ),
            (
                Some(peer("192.0.2.5:587")),
                Phase::Ehlo,
                Cause::Reply(Reply::new(
                    421,
                    Status::transient(7, 0),
                    "Try again later, closing connection.",
                )),
                "mx.example.net[192.0.2.5]:587: EHLO: the relay said: 421 4.7.0 Try again later, closing connection.; \
                 is the name that EHLO gives one that this relay takes (relay.helo-name)?",
            ),
            (
                Some(peer("192.0.2.5:587")),
                Phase::Ehlo,
                Cause::Reply(Reply::new(421, Status::transient(7, 0), "Too many messages in this session")),
                "mx.example.net[192.0.2.5]:587: EHLO: the relay said: 421 4.7.0 Too many messages in this session",
            ),
            (
                Some(peer("192.0.2.5:587")),
                Phase::Ehlo,
                Cause::Reply(Reply::bare(451, "cannot resolve your HELO name")),
                "mx.example.net[192.0.2.5]:587: EHLO: the relay said: 451 cannot resolve your HELO name; \
                 is the name that EHLO gives one that this relay takes (relay.helo-name)?",
            ),
            (
                Some(peer("192.0.2.5:587")),
                Phase::Auth,
                Cause::NoSecret("the token endpoint login.example: invalid_grant".into()),
                "configuration: mx.example.net[192.0.2.5]:587: AUTH: the token endpoint login.example: invalid_grant",
            ),
            (
                Some(peer("192.0.2.5:587")),
                Phase::Auth,
                Cause::Misfit("no mechanism in common: the relay offers PLAIN; we have EXTERNAL".into()),
                "configuration: mx.example.net[192.0.2.5]:587: AUTH: no mechanism in common: the relay offers PLAIN; we \
                 have EXTERNAL",
            ),
            (
                None,
                Phase::Resolve,
                Cause::Other("mx.example.net has no address".into()),
                "name lookup: mx.example.net has no address",
            ),
            (
                None,
                Phase::Ehlo,
                Cause::Garbage("HTTP/1.1 400".into()),
                "EHLO: not an SMTP reply: \"HTTP/1.1 400\"",
            ),
            (
                None,
                Phase::Rcpt,
                Cause::Overlong { part: "a reply line of more than 64 KiB", begins: "550 5.7.1 x".into() },
                "RCPT TO: the relay sent a reply line of more than 64 KiB, which is taken for no reply, and the connection \
                 was given up; mail of which nothing else was said is tried again; the line begins with \"550 5.7.1 x\"",
            ),
        ];
        for (peer, phase, cause, expected) in cases {
            assert_eq!(Trouble { phase, peer: peer.map(Box::new), cause }.to_string(), expected);
        }
    }

    /// The words named the tables of the top-level `relayhost`, whichever relay was meant.
    #[test]
    fn on_a_route_the_keys_have_the_names_of_the_route() {
        let on = |route: Option<&str>, cause| {
            let peer = Peer { route: route.map(Into::into), ..peer("192.0.2.5:587") };
            Trouble { phase: Phase::Mail, peer: Some(Box::new(peer)), cause }.to_string()
        };
        let reason = WaitReason {
            rule: RuleName::General("x"),
            class: WaitClass::Quota,
            pause: None,
            doubles: false,
            hint: Some("set [auth]"),
        };
        let causes = [
            Cause::Misfit("set tls.mode".into()),
            Cause::NoSecret("see auth.oauth.scope".into()),
            Cause::Other("see [[relay.reply]]".into()),
            Cause::Waits { said: "450 set [auth]".into(), reason: Box::new(reason) },
            Cause::LoginLost { reply: Box::new(Reply::bare(530, "set [auth]")), advice: "see [auth]".into() },
        ];
        let expected = [
            "set route.tls.mode",
            "see route.auth.oauth.scope",
            "see [[route.relay.reply]] of route news",
            "the relay said: 450 set [auth] (set [route.auth] of route news)",
            "the relay said: 530 set [auth]; see [route.auth] of route news",
        ];
        for (cause, expected) in causes.into_iter().zip(expected) {
            assert!(
                on(Some("news"), cause.clone()).ends_with(&format!("MAIL FROM: {expected}")),
                "{expected}"
            );
            assert!(!on(None, cause).contains("route"), "{expected}");
        }
        let lookup = Trouble { phase: Phase::Resolve, peer: None, cause: Cause::Other("relay.idle".into()) };
        assert!(lookup.met_on(Some("news")).to_string().ends_with("route.relay.idle"));
    }

    /// Every user's `mailq` showed the relay's words, with the address of whoever's mail had met them.
    #[test]
    fn its_outline_holds_nobodys_address() {
        let reply = Reply::new(530, Status::permanent(7, 0), "not for <ceo@example.org>");
        let cases = [
            (Cause::Reply(reply), "relay trouble, MAIL FROM: 530 5.7.0"),
            (Cause::Reply(Reply::bare(421, "ceo@example.org")), "relay trouble, MAIL FROM: 421"),
            (Cause::Garbage("ceo@example.org".into()), "relay trouble, MAIL FROM"),
            (Cause::Other("cannot read /root/secret".into()), "relay trouble, MAIL FROM"),
            (Cause::NoSecret("cannot read /root/secret".into()), "configuration, MAIL FROM"),
            (Cause::Misfit("the relay offers ceo@example.org".into()), "configuration, MAIL FROM"),
            (Cause::Closed, "relay trouble, MAIL FROM"),
        ];
        for (cause, expected) in cases {
            let trouble = Trouble { phase: Phase::Mail, peer: Some(Box::new(peer("192.0.2.5:587"))), cause };
            assert_eq!(trouble.outline(), expected);
        }
    }

    /// A relay that asks for a certificate says so behind the handshake of TLS 1.3, when the first command is written:
    /// `received fatal alert: CertificateRequired`.
    #[test]
    fn a_fault_of_tls_behind_the_handshake_is_a_sentence() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let cause = Cause::from(io::Error::new(io::ErrorKind::InvalidData, alert));
        assert_eq!(
            cause.to_string(),
            "the relay ended the TLS session: it asks for a certificate of this host (tls.client-certificate)"
        );
    }

    #[test]
    fn the_try_that_got_further_tells_more() {
        let at = |phase, words: &str| Trouble { phase, peer: None, cause: Cause::Other(words.into()) };
        let cases = [
            (Phase::Auth, Phase::Connect, "first"),
            (Phase::Connect, Phase::Tls, "second"),
            (Phase::Connect, Phase::Connect, "second"),
        ];
        for (first, second, expected) in cases {
            let told = at(first, "first").more_telling(at(second, "second"));
            assert!(matches!(told.cause, Cause::Other(words) if words == expected), "{first:?} {second:?}");
        }
    }
}
