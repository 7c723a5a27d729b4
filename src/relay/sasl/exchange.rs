//! One AUTH exchange: the AUTH line, challenges, and the last reply, for any mechanism that is a [`Prover`].
//!
//! Promises: at most [`MAX_CHALLENGES`] challenges are answered; an exchange that is given up is cancelled; [`Stop`] says
//! whether another mechanism may be tried, by the table in `sasl.rs`.
//!
//! Some relays take no initial response, and ask for what they were told: it is said again, once.
//!
//! RFC 4954 4.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::prover::Prover;
use super::{MAX_LINE_OCTETS, Message, PLUS, cancel, encoded};
use crate::config::Mechanism;
use crate::key_names::on_route;
use crate::relay::channel::Channel;
use crate::relay::tls::Verified;
use crate::relay::trouble::{Cause, Phase, Trouble};
use crate::smtp::reply::{Reply, Severity};
use crate::status::Status;

/// The most challenges of an exchange. The longest mechanism, SCRAM, has three.
const MAX_CHALLENGES: usize = 8;

/// One authentication that is under way.
pub(super) struct Exchange {
    mechanism: Mechanism,
    prover: Prover,
    /// The first message, if it did not fit on the AUTH line, and waits for a challenge.
    waiting: Option<Message>,
    /// The first message in base64, if it was on the AUTH line, and no challenge came yet.
    initial: Option<Zeroizing<Vec<u8>>>,
    /// True if something made of the password was sent.
    has_proved: bool,
}

/// The reason why an exchange fails.
pub(super) enum Stop {
    /// The login failed.
    Final(Trouble),
    /// The mechanism cannot work; nothing is said of the password.
    Unusable(Trouble),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Stop::Final(trouble)
    }
}

impl Exchange {
    pub(super) fn new(mechanism: Mechanism, prover: Prover) -> Self {
        Exchange { mechanism, prover, waiting: None, initial: None, has_proved: false }
    }

    pub(super) async fn run(mut self, channel: &mut Channel<Verified>) -> Result<(), Stop> {
        let mut reply = self.begin(channel).await?;
        for _ in 0..MAX_CHALLENGES {
            match reply.severity() {
                Severity::Intermediate => reply = self.answer(&reply, channel).await?,
                Severity::Positive => {
                    let finished = self.prover.finish().await;
                    return finished.map_err(|words| self.refused(&words, channel).into());
                }
                _ if reply.code() == 421 => {
                    return Err(channel.trouble(Phase::Auth, Cause::Reply(reply)).into());
                }
                severity => return Err(self.refused_by(reply, severity, channel)),
            }
        }
        cancel(channel).await?;
        Err(self.refused("the relay does not come to an end with its challenges", channel).into())
    }

    /// Sends the AUTH line, with an initial response if the mechanism has one and it fits.
    async fn begin(&mut self, channel: &mut Channel<Verified>) -> Result<Reply, Stop> {
        let first = self.prover.begin().await;
        let first = first.map_err(|words| Stop::Unusable(self.refused(&words, channel)))?;
        let mut line = Zeroizing::new(format!("AUTH {}", self.mechanism.name()).into_bytes());
        let Some(first) = first else { return Ok(channel.secret_command(Phase::Auth, &line).await?) };
        let response = encoded(&first.octets);
        if line.len() + response.len() + " \r\n".len() > MAX_LINE_OCTETS {
            self.waiting = Some(first);
            return Ok(channel.secret_command(Phase::Auth, &line).await?);
        }
        line.reserve_exact(response.len() + 2);
        line.push(b' ');
        // RFC 4954 4: an empty initial response is a single equals sign.
        line.extend_from_slice(if response.is_empty() { b"=" } else { &response });
        self.has_proved |= first.proves;
        self.initial = Some(response);
        Ok(channel.secret_command(Phase::Auth, &line).await?)
    }

    /// Answers a 334 reply. Returns the reply to that.
    async fn answer(&mut self, reply: &Reply, channel: &mut Channel<Verified>) -> Result<Reply, Stop> {
        let challenge = reply.lines().first().map_or("", |text| text.trim());
        let is_asked_again = challenge.is_empty() || !self.prover.reads_challenges();
        if let Some(initial) = self.initial.take().filter(|_| is_asked_again) {
            return Ok(channel.secret_command(Phase::Auth, &initial).await?);
        }
        let message = match self.waiting.take() {
            Some(message) => Ok(message),
            None => self.prover.answer(challenge).await,
        };
        match message {
            Ok(message) => {
                self.has_proved |= message.proves;
                Ok(channel.secret_command(Phase::Auth, &encoded(&message.octets)).await?)
            }
            Err(words) => {
                // Behind a proof nothing more is told, and a challenge that could be read says more than what follows it.
                let is_in_step = self.has_proved && STANDARD.decode(challenge).is_ok();
                if let Some(reply) = cancel(channel).await?.filter(|_| !is_in_step) {
                    return Err(channel.trouble(Phase::Auth, Cause::OutOfStep(reply)).into());
                }
                let trouble = self.refused(&words, channel);
                Err(if self.has_proved { Stop::Final(trouble) } else { Stop::Unusable(trouble) })
            }
        }
    }

    /// Returns trouble in our words.
    fn refused(&self, said: &str, channel: &Channel<Verified>) -> Trouble {
        let route = channel.peer().route();
        let said = on_route(said, route);
        let said = format!("{}: {said}{}", self.mechanism.name(), on_route(self.remedy(), route));
        channel.trouble(
            Phase::Auth,
            Cause::LoginRefused { said, for_good: true, reply: None, token: None, advice: None },
        )
    }

    fn refused_by(&self, reply: Reply, severity: Severity, channel: &Channel<Verified>) -> Stop {
        let is_of_command = match reply.code() {
            504 => true,
            500..=502 => reply.status().is_some_and(Status::is_of_protocol),
            _ => false,
        };
        let for_good = severity == Severity::Permanent;
        let is_unusable = for_good && (is_of_command || !self.has_proved);
        let remedy = if for_good { on_route(self.remedy(), channel.peer().route()) } else { "".into() };
        let said = format!("{}: {}{remedy}", self.mechanism.name(), Cause::Reply(reply.clone()));
        let cause =
            Cause::LoginRefused { said, for_good, reply: Some(Box::new(reply)), token: None, advice: None };
        let trouble = channel.trouble(Phase::Auth, cause);
        if is_unusable { Stop::Unusable(trouble) } else { Stop::Final(trouble) }
    }

    /// Returns what the operator can do about a refusal that is not only about the password.
    fn remedy(&self) -> &'static str {
        match (&self.prover, self.has_proved) {
            (Prover::External { .. }, _) => {
                "; EXTERNAL leaves the proof to tls.client-certificate, which the relay must ask for and know"
            }
            (Prover::Scram(_), _) if !self.mechanism.name().ends_with(PLUS) => "",
            (Prover::Scram(_), false) => {
                "; it may bind logins by something else than tls-exporter: allow SCRAM without -PLUS (auth.mechanisms)"
            }
            (Prover::Scram(_), true) => {
                "; if the password is right, a proxy ends TLS between us: allow SCRAM without -PLUS (auth.mechanisms)"
            }
            _ => "",
        }
    }
}
