//! Relay trouble: what went wrong with a relay, where in the dialogue, and with which peer.
//!
//! Promises: a [`Trouble`] says nothing about any message (README promise 4); its text names the
//! peer and the phase, holds no secret, and octets from the relay stand escaped in it.
//!
//! Not here: which replies are trouble and which are a verdict (`verdict.rs`), pausing the relay
//! (`queue/breaker.rs`).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::smtp::reply::Reply;
use crate::tls_faults;

/// Where in the dialogue something happened, in the order of the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Looking up the relayhost's addresses.
    Resolve,
    /// TCP connect.
    Connect,
    /// Awaiting the 220 greeting.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// The STARTTLS command.
    StartTls,
    /// The TLS handshake.
    Tls,
    /// The AUTH exchange.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// Content before its final dot.
    Content,
    /// The final dot: awaiting the reply that takes responsibility.
    Dot,
    /// RSET after a transaction that ended early.
    Rset,
    /// QUIT.
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

/// Who was talked to; prints as `mx.example.net[192.0.2.5]:587`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The relayhost as it is configured: a name, or an address as text.
    pub name: String,
    /// The address and port connected to.
    pub address: SocketAddr,
    /// `TLSv1.3` or `TLSv1.2`; `None` before the handshake and on a loopback relay without TLS.
    pub tls: Option<&'static str>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: IpAddr = self.address.ip().to_canonical();
        write!(f, "{}[{shown}]:{}", self.name, self.address.port())
    }
}

/// Why a dialogue did not go on.
#[derive(Clone, Debug)]
pub enum Cause {
    /// The relay's own words.
    Reply(Reply),
    /// The login was refused.
    LoginRefused {
        /// The mechanism tried, and the relay's words, or ours.
        said: String,
        /// By a 5xx reply, or by our own check of what the relay proves.
        for_good: bool,
    },
    /// Our words for the operator: TLS verification, nothing in common, DNS, a secret not readable.
    Other(String),
    /// The relay closed the connection.
    Closed,
    /// The connection broke: the kind, and the system's words.
    Io(io::ErrorKind, String),
    /// Nothing (or not all) came within this time.
    TimedOut(Duration),
    /// What came is no SMTP reply, or no reply that fits here; escaped.
    Garbage(String),
    /// The relay said this where nothing, or something else, was asked: it answers another command.
    OutOfStep(Reply),
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Cause::Io(error.kind(), tls_faults::connection(tls_faults::TlsPeer::RELAY, &error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Reply(reply) => write!(f, "the relay said: {reply}"),
            Cause::LoginRefused { said: words, .. } | Cause::Other(words) => f.write_str(words),
            Cause::Closed => f.write_str("the relay closed the connection"),
            Cause::Io(_, words) => f.write_str(words),
            Cause::TimedOut(limit) => write!(f, "no answer within {} s", limit.as_secs()),
            Cause::Garbage(octets) => write!(f, "not an SMTP reply: \"{octets}\""),
            Cause::OutOfStep(reply) => write!(f, "the relay said what answers no command of ours: {reply}"),
        }
    }
}

/// Relay-wide trouble: pauses the relay, says nothing about any message.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Where it happened.
    pub phase: Phase,
    /// With whom; `None` where no address was known yet, and the cause then names the host.
    pub peer: Option<Peer>,
    /// What happened.
    pub cause: Cause,
}

impl Trouble {
    /// The phase, and the code of a reply: what every user of this host may know. The relay's words may hold the
    /// address of somebody else's mail, and ours a path.
    pub fn outline(&self) -> String {
        match &self.cause {
            Cause::Reply(reply) => {
                let status = reply.status().map(|status| format!(" {status}")).unwrap_or_default();
                format!("relay trouble, {}: {}{status}", self.phase, reply.code())
            }
            _ => format!("relay trouble, {}", self.phase),
        }
    }

    /// Of two failed tries, the one that tells the operator more: the one that got further, else
    /// the later one.
    pub(super) fn more_telling(self, later: Trouble) -> Trouble {
        if self.phase > later.phase { self } else { later }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peer) = &self.peer {
            write!(f, "{peer}: ")?;
        }
        write!(f, "{}: {}", self.phase, self.cause)
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    fn peer(address: &str) -> Peer {
        Peer { name: "mx.example.net".into(), address: address.parse().unwrap(), tls: None }
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
        ];
        for (peer, phase, cause, expected) in cases {
            assert_eq!(Trouble { phase, peer, cause }.to_string(), expected);
        }
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
            (Cause::Closed, "relay trouble, MAIL FROM"),
        ];
        for (cause, expected) in cases {
            let trouble = Trouble { phase: Phase::Mail, peer: Some(peer("192.0.2.5:587")), cause };
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
