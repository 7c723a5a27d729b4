//! Opens a session on a connected stream: greeting, EHLO, STARTTLS, EHLO again, AUTH.
//!
//! It has two parts, of which the first may go on with several relays at a time: [`secure`] up to the certificate and the
//! last EHLO, and [`Secured::log_in`]. A login counts against the account, so that there is one at a time.
//!
//! Promises:
//! 1. Before the certificate is verified, only EHLO and STARTTLS are sent; a relay that does not offer STARTTLS,
//!    refuses it, or sends more octets after its reply gets nothing else.
//! 2. Extensions that were offered before TLS are forgotten (RFC 3207 4.2).
//! 3. With `auth` configured there is no session without AUTH.
//!
//! Not here: the look at a port that does not greet (`port_look.rs`), the handshake (`tls.rs`), the exchange of secrets (`sasl.rs`).
//!
//! RFC 5321 3.1, 3.2; RFC 3207; RFC 8314 3.3.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::channel::Channel;
use super::dial::Transport;
use super::dialog::Connection;
use super::first_flight::FirstFlight;
use super::login::Login;
use super::sasl::WeighedMechanism;
use super::tls::{Protection, TlsClient, Verified};
use super::trouble::{Cause, Peer, Phase, Trouble};
use super::verdict::{Judgement, judge};
use super::witness::OpeningWitness;
use super::{config, sasl};
use crate::config::{HostOrIp, Mechanism};
use crate::smtp::client::Capabilities;
use crate::smtp::reply::{Reply, Severity};

/// The trouble with a port that waits for our ClientHello while we wait for its greeting.
const TLS_AT_ONCE: &str = "the relay sends no greeting, and speaks TLS from the first octet on this port: set tls.mode = \
                           \"implicit\"";

/// The trouble with a relay that offers AUTH only where nothing secret is sent.
const AUTH_BEFORE_TLS: &str = "the relay offers AUTH only before TLS, where nothing is sent: if it wants no login from this \
                               host, leave [auth] out, else another port may offer it under TLS (587, or 465 with \
                               tls.mode = \"implicit\")";

/// A session in which the relay has proved its identity, and nobody has logged in.
pub(crate) struct Secured {
    channel: Channel<Verified>,
    offered: Capabilities,
    /// The moment at which opening began.
    begun: Instant,
}

impl Secured {
    /// Logs in with `login`, if there is one. Without it the session is ready.
    pub(crate) async fn log_in(
        mut self,
        login: Option<&Login>,
        settings: &config::RelayConfig,
    ) -> Result<Connection, Trouble> {
        if let Some(login) = login {
            self.prove(login).await?;
        }
        Ok(Connection::new(self.channel, self.offered, settings))
    }

    /// Logs in with `login`. Returns the mechanism that the relay took.
    pub(crate) async fn prove(&mut self, login: &Login) -> Result<Mechanism, Trouble> {
        let peer = self.channel.peer().clone();
        let exchange = sasl::authenticate(&mut self.channel, &self.offered.auth, login);
        let mechanism = login.gate.pass(&peer, self.begun, exchange).await?;
        self.channel.logged_in();
        Ok(mechanism)
    }

    /// Returns what there is to be said of each mechanism that the relay offers, for a login with `auth`.
    pub(crate) fn weighed(&self, auth: &config::AuthConfig) -> Vec<WeighedMechanism> {
        sasl::weighed(&self.offered.auth, auth, self.channel.stream().binding().is_some())
    }

    /// Returns trouble with this relay.
    pub(crate) fn trouble(&self, phase: Phase, cause: Cause) -> Trouble {
        self.channel.trouble(phase, cause)
    }

    /// Ends the session without mail. Returns whether the relay replied, or ended it itself.
    pub(crate) async fn quit(self) -> bool {
        self.channel.quit().await
    }
}

/// How a session with one host is to be opened.
pub(crate) struct OpeningPlan<'a> {
    /// The host that the relay's certificate must name.
    pub(crate) identity: &'a HostOrIp,
    pub(crate) settings: &'a config::RelayConfig,
    pub(crate) protection: &'a Protection,
    /// The start of a handshake.
    pub(crate) flight: &'a Arc<FirstFlight>,
    pub(crate) witness: &'a dyn OpeningWitness,
}

/// Opens a session on `stream`, which is connected to `peer`, up to the login, by `plan`. If `tls_at_once` ends before the
/// greeting with STARTTLS has come, the port speaks TLS from the first octet.
pub(crate) async fn secure<T: Transport>(
    stream: T,
    peer: Peer,
    plan: &OpeningPlan<'_>,
    tls_at_once: impl Future<Output = ()>,
) -> Result<Secured, Trouble> {
    let begun = Instant::now();
    let OpeningPlan { identity, settings, protection, flight, witness } = *plan;
    witness.begins();
    let hello = match name_for(&stream, &settings.hello) {
        Ok(hello) => hello,
        Err(error) => {
            return Err(Trouble {
                phase: Phase::Connect,
                peer: Some(Box::new(peer)),
                cause: Cause::from(error),
            });
        }
    };
    let opening = Opening { peer, identity, settings, flight, witness, hello };
    let (channel, offered) = match protection {
        Protection::StartTls(client) => opening.start_tls(stream, client, tls_at_once).await?,
        Protection::Implicit(client) => opening.implicit(stream, client).await?,
        Protection::Loopback => opening.loopback(stream).await?,
    };
    Ok(Secured { channel, offered, begun })
}

type OpeningResult = Result<(Channel<Verified>, Capabilities), Trouble>;

struct Opening<'a> {
    peer: Peer,
    identity: &'a HostOrIp,
    settings: &'a config::RelayConfig,
    flight: &'a Arc<FirstFlight>,
    witness: &'a dyn OpeningWitness,
    /// The name that we give in EHLO.
    hello: String,
}

/// The trouble with a relay that offers no TLS.
const NO_STARTTLS: &str = "the relay does not offer STARTTLS: nothing is sent without it; name another port of it in relayhost \
                           (587 as a rule), or set tls.mode = \"implicit\" for port 465, or ask its provider";

impl Opening<'_> {
    async fn start_tls<T: Transport>(
        &self,
        stream: T,
        client: &TlsClient,
        tls_at_once: impl Future<Output = ()>,
    ) -> OpeningResult {
        let mut plain = Channel::new(stream, self.peer.clone(), self.settings.timeouts.clone());
        tokio::select! {
            biased;
            greeted = self.greeting(&mut plain) => greeted.map_err(with_hint)?,
            () = tls_at_once => return Err(self.trouble(Phase::Greeting, Cause::Misfit(TLS_AT_ONCE.into()))),
        }
        let before = self.ehlo(&mut plain).await?;
        if !before.starttls {
            return Err(plain.trouble(Phase::StartTls, Cause::Other(NO_STARTTLS.into())));
        }
        let agreed = say(&mut plain, Phase::StartTls, b"STARTTLS").await?;
        self.witness.heard(Phase::StartTls, &agreed);
        let mut channel = self.handshake(plain.into_stream()?, client).await?;
        let offered = self.ehlo(&mut channel).await?;
        if self.settings.auth.is_some() && offered.auth.is_empty() && !before.auth.is_empty() {
            return Err(channel.trouble(Phase::Auth, Cause::Misfit(AUTH_BEFORE_TLS.into())));
        }
        Ok((channel, offered))
    }

    async fn implicit<T: Transport>(&self, stream: T, client: &TlsClient) -> OpeningResult {
        let mut channel = self.handshake(stream, client).await?;
        self.greeting(&mut channel).await?;
        let offered = self.ehlo(&mut channel).await?;
        Ok((channel, offered))
    }

    async fn loopback<T: Transport>(&self, stream: T) -> OpeningResult {
        let verified = Verified::loopback(stream).map_err(|cause| self.trouble(Phase::Tls, cause))?;
        let mut channel = self.verified_channel(verified);
        self.greeting(&mut channel).await?;
        let reply = channel.command(Phase::Ehlo, &self.hello("EHLO")).await?;
        if reply.severity() == Severity::Permanent {
            // RFC 5321 3.2: a relay from before EHLO. It offers nothing.
            let reply = say(&mut channel, Phase::Ehlo, &self.hello("HELO")).await?;
            self.witness.heard(Phase::Ehlo, &reply);
            return Ok((channel, Capabilities::default()));
        }
        let reply = agreed(&channel, Phase::Ehlo, reply)?;
        self.witness.heard(Phase::Ehlo, &reply);
        Ok((channel, Capabilities::from_ehlo(&reply)))
    }

    async fn handshake<T: Transport>(
        &self,
        stream: T,
        client: &TlsClient,
    ) -> Result<Channel<Verified>, Trouble> {
        let limit = self.settings.timeouts.tls;
        let shaking = client.handshake(stream, self.identity, self.flight, self.witness);
        match self.flight.within(limit, shaking).await {
            Ok(Ok(verified)) => Ok(self.verified_channel(verified)),
            Ok(Err(cause)) => Err(self.trouble(Phase::Tls, cause)),
            Err(time) => Err(self.trouble(Phase::Tls, Cause::TimedOut(time))),
        }
    }

    fn verified_channel(&self, verified: Verified) -> Channel<Verified> {
        let peer = Peer { tls: verified.version(), ..self.peer.clone() };
        Channel::new(verified, peer, self.settings.timeouts.clone())
    }

    async fn ehlo<S>(&self, channel: &mut Channel<S>) -> Result<Capabilities, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let reply = say(channel, Phase::Ehlo, &self.hello("EHLO")).await?;
        self.witness.heard(Phase::Ehlo, &reply);
        Ok(Capabilities::from_ehlo(&reply))
    }

    async fn greeting<S>(&self, channel: &mut Channel<S>) -> Result<(), Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let reply = channel.reply(Phase::Greeting).await?;
        let reply = agreed(channel, Phase::Greeting, reply)?;
        self.witness.heard(Phase::Greeting, &reply);
        Ok(())
    }

    fn hello(&self, verb: &str) -> Vec<u8> {
        format!("{verb} {}", self.hello).into_bytes()
    }

    fn trouble(&self, phase: Phase, cause: Cause) -> Trouble {
        Trouble { phase, peer: Some(Box::new(self.peer.clone())), cause }
    }
}

/// Returns the name for EHLO on `stream`.
fn name_for(stream: &impl Transport, hello: &config::EhloName) -> io::Result<String> {
    let name = match hello {
        config::EhloName::Name(name) => name.clone(),
        // RFC 5321 4.1.3.
        config::EhloName::AddressLiteral => match stream.local_address()?.ip().to_canonical() {
            IpAddr::V4(address) => format!("[{address}]"),
            IpAddr::V6(address) => format!("[IPv6:{address}]"),
        },
    };
    Ok(name)
}

/// Adds a hint to trouble with the greeting: a port for TLS from the first octet sends no greeting, but waits, and closes
/// the connection in the end.
fn with_hint(trouble: Trouble) -> Trouble {
    match trouble.cause {
        Cause::Closed | Cause::TimedOut(_) => {
            let words = format!(
                "{}; does tls.mode fit the port (\"starttls\" on 587, \"implicit\" on 465)?",
                trouble.cause
            );
            Trouble { cause: Cause::Other(words), ..trouble }
        }
        _ => trouble,
    }
}

async fn say<S>(channel: &mut Channel<S>, phase: Phase, line: &[u8]) -> Result<Reply, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let reply = channel.command(phase, line).await?;
    agreed(channel, phase, reply)
}

/// Returns the reply if the dialogue can go on; else the trouble.
fn agreed<S>(channel: &Channel<S>, phase: Phase, reply: Reply) -> Result<Reply, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match judge(phase, Some(&reply)) {
        Judgement::GoOn => Ok(reply),
        Judgement::Ruled(..) => Err(channel.trouble(phase, Cause::Reply(reply))),
    }
}

#[cfg(test)]
mod tests;
