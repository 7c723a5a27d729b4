//! The dialogue on one connection: one transaction after the other until there is nothing left to send.
//!
//! Promises:
//! 1. Every transaction that is taken is reported once, before `run` returns.
//! 2. With PIPELINING a transaction costs two round trips: MAIL, RCPT… and DATA are one group (RFC 2920 3.1). If the
//!    configuration says `across`, the group of the next transaction is sent right after the final dot of this one, and
//!    it costs one. Without PIPELINING, commands are sent one at a time.
//! 3. If a connection is lost, the transaction whose group was on its way is `Untold`, and nothing else is said of it.
//! 4. A relay that answers 503, speaks of pipelining in a refusal, closes the connection or falls silent while it had not answered everything that was
//!    sent gets one command at a time for as long as `pace.rs` says; no message is at fault.
//!
//! It ends with `Ok` if there is no more work, the count or the age is reached, or our own content failed. Also with `Ok` if
//! the relay ended a connection that had served before (421 or 4.4.2 anywhere, a close before the final dot, any
//! unexpected reply), got out of step on it, or failed at several commands at once: then what it was given and is
//! `Untold` may be tried again at once, on a fresh connection if the relay ended the connection during that message.
//! With `Err` for trouble of the relay.
//!
//! Not here: QUIT (`farewell.rs`), the commands of one transaction (`dialog/converse.rs`), whether replies are in step
//! (`dialog/step.rs`), the meaning of a reply (`verdict.rs`), the text of commands (`smtp/client.rs`), the results
//! (`open_transaction.rs`).

mod converse;
mod step;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::channel::Channel;
use super::farewell::{ConnectionPlace, Farewells};
use super::group::needed;
use super::host_memory::HostUse;
use super::open_transaction::OpenTransaction;
use super::pace::RelayPace;
use super::parameter_offers::ParameterOffers;
use super::recoded::{self, Recoding};
use super::reply_rules::ReplyRules;
use super::tls::Verified;
use super::trouble::{Cause, Phase, Trouble};
use super::verdict::is_about_pipelining;
use super::{RecipientReport, Transaction, Verdict, Work, config};
use crate::config::Pipelining;
use crate::key_names::on_route;
use crate::log;
use crate::smtp::client::{Capabilities, ParameterSet};
use crate::smtp::reply::{Reply, Severity};
use crate::status::Status;

/// A connection that is ready for transactions: verified, greeted, authenticated.
pub struct Connection {
    channel: Channel<Verified>,
    offered: Capabilities,
    /// The number of transactions that may still be begun.
    left: usize,
    idle: Duration,
    /// The moment from which on no transaction is begun; `None` if there is none.
    retires_at: Option<Instant>,
    recoding: Recoding,
    /// The time for setting up, until a report contains it.
    connecting: Duration,
    /// True if a transaction was completed on this connection.
    has_served: bool,
    pace: Arc<RelayPace>,
    parameter_offers: Arc<ParameterOffers>,
    farewells: Arc<Farewells>,
    /// Its place among the connections that may exist.
    place: ConnectionPlace,
    rules: Arc<ReplyRules>,
    /// The use of the relayhost that this connection makes.
    host_use: Option<HostUse>,
    /// The pace at which the commands were sent whose replies are still to come.
    written: Pipelining,
    /// The longest time for which the relay let us wait for a reply in the transaction at hand.
    slowest_reply: Duration,
    /// True if a group after a final dot was answered on this connection.
    has_taken_across: bool,
    /// The relay's reply to RSET, once it is known by its words.
    reset_reply: Option<Reply>,
}

/// The reason why a dialogue ends before the work is done.
enum End {
    /// Trouble with the relay ends the dialogue.
    Trouble(Trouble),
    /// The connection cannot be used any more, and no further blame follows from this.
    Spent,
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        End::Trouble(trouble)
    }
}

impl Connection {
    /// Returns a connection for transactions. [`Verified`] is the proof that they may be sent.
    pub(super) fn new(
        channel: Channel<Verified>,
        offered: Capabilities,
        settings: &config::RelayConfig,
    ) -> Self {
        let of_login = channel.retires_at();
        let of_age = settings.connection_age.map(|age| Instant::now() + age);
        Connection {
            channel,
            offered,
            left: settings.messages_per_connection.get(),
            idle: settings.idle,
            retires_at: of_age.into_iter().chain(of_login).min(),
            recoding: Recoding { eight_bit: settings.eight_bit, long_lines: settings.long_lines },
            connecting: Duration::ZERO,
            has_served: false,
            pace: Arc::new(RelayPace::new(settings.pipelining)),
            parameter_offers: Arc::default(),
            farewells: Arc::new(Farewells::new(settings.max_connections)),
            place: None,
            rules: Arc::default(),
            host_use: None,
            written: Pipelining::Off,
            slowest_reply: Duration::ZERO,
            has_taken_across: false,
            reset_reply: None,
        }
    }

    /// Sets the time that setting up took, for the first report.
    pub(super) fn connected_in(mut self, connecting: Duration) -> Self {
        self.connecting = connecting;
        self
    }

    /// Shares the pace with other connections to this relay.
    pub(super) fn at_pace(mut self, pace: Arc<RelayPace>) -> Self {
        self.pace = pace;
        self
    }

    /// Shares the experience with parameters with other connections to this relay.
    pub(super) fn with_parameter_offers(mut self, parameter_offers: Arc<ParameterOffers>) -> Self {
        self.parameter_offers = parameter_offers;
        self
    }

    /// Shares what is known of the relay's replies to QUIT with other connections to this relay, and keeps its place among
    /// them until it is closed.
    pub(super) fn with_farewells(mut self, farewells: Arc<Farewells>, place: ConnectionPlace) -> Self {
        (self.farewells, self.place) = (farewells, place);
        self
    }

    /// Sets the rules for the meaning of the relay's replies.
    pub(super) fn with_rules(mut self, rules: Arc<ReplyRules>) -> Self {
        self.rules = rules;
        self
    }

    /// Tells the memory of the relayhosts of this connection, for as long as it exists.
    pub(super) fn with_host_use(mut self, host: HostUse) -> Self {
        self.host_use = Some(host);
        self
    }

    /// Returns the peer.
    #[cfg(test)]
    pub(super) fn peer(&self) -> &super::trouble::Peer {
        self.channel.peer()
    }

    /// Delivers messages from `work` until there are no more, the count or the age is reached, or the connection ends; then sends
    /// QUIT.
    ///
    /// The error is trouble with the relay as a whole, for the breaker. Every transaction was reported before.
    pub async fn run<W: Work>(mut self, work: &mut W) -> Result<(), Trouble> {
        let rules = self.rules.clone();
        let host_use = self.host_use.take();
        match self.deliver(work).await {
            Ok(()) => {
                self.quit().await;
                Ok(())
            }
            Err(End::Spent) => Ok(()),
            Err(End::Trouble(trouble)) => {
                // One that has lost its step may be waiting for content.
                if matches!(&trouble.cause, Cause::Reply(reply) if reply.code() != 421) {
                    self.quit().await;
                }
                let trouble = rules.read(trouble, Timestamp::now());
                if let Some(host) = &host_use {
                    host.broke_off(&trouble);
                }
                Err(trouble)
            }
        }
    }

    async fn deliver<W: Work>(&mut self, work: &mut W) -> Result<(), End> {
        while let Some(transaction) = self.take(work, self.idle).await {
            let mut ahead = self.transact(transaction, false, work).await?;
            while let Some(transaction) = ahead {
                ahead = self.transact(transaction, true, work).await?;
            }
        }
        Ok(())
    }

    /// Returns the next transaction with a recipient that the relay may accept.
    async fn take<W: Work>(&mut self, work: &mut W, patience: Duration) -> Option<OpenTransaction> {
        while self.left > 0 && !self.is_retired() {
            let mut transaction = work.next(self.before_retirement(patience)).await?;
            let left_out = self.left_out(&transaction);
            let offered = self.offered.without(left_out);
            let ready = recoded::make_ready(&mut transaction, self.recoding, &offered).await;
            let (route, peer) = (self.channel.peer().route(), self.channel.peer());
            if ready.is_recoded {
                log::recoded(transaction.id, route, peer);
            }
            if let Some(left) = ready.left {
                log::not_recoded(transaction.id, route, peer, &left);
            }
            let eight_bit = self.recoding.eight_bit(&transaction);
            let transaction = OpenTransaction::new(transaction, &offered, eight_bit).leaving_out(left_out);
            if transaction.has_open() {
                self.left -= 1;
                return Some(transaction);
            }
            self.report(transaction, work).await;
        }
        None
    }

    /// Returns whether the connection is too old for another transaction.
    fn is_retired(&self) -> bool {
        self.retires_at.is_some_and(|retires_at| Instant::now() >= retires_at)
    }

    /// Returns the part of `patience` for which this connection may wait for a message.
    fn before_retirement(&self, patience: Duration) -> Duration {
        let left = self.retires_at.map(|retires_at| retires_at.duration_since(Instant::now()));
        left.map_or(patience, |left| left.min(patience))
    }

    /// Returns the parameters that the relay is known not to support, and that this message can do without.
    fn left_out(&self, transaction: &Transaction) -> ParameterSet {
        let eight_bit = self.recoding.eight_bit(transaction);
        self.parameter_offers.left_out().without(needed(transaction, eight_bit))
    }

    /// Delivers one transaction and reports it. Returns the next one if its group was sent after the final dot; `grouped`
    /// says whether this is true for the present one.
    async fn transact<W: Work>(
        &mut self,
        mut transaction: OpenTransaction,
        grouped: bool,
        work: &mut W,
    ) -> Result<Option<OpenTransaction>, End> {
        let mut ahead = None;
        let pace = if grouped { Pipelining::Across } else { self.pace.now(self.offered.pipelining) };
        let mut ended = self.converse(&mut transaction, grouped, &mut ahead, work).await;
        if let Err(End::Trouble(trouble)) = ended {
            let refuses_pace =
                matches!(&trouble.cause, Cause::Reply(reply) if self.refuses_pace(trouble.phase, reply));
            if refuses_pace || step::revokes_envelope(&trouble) {
                transaction.revoke();
            } else if step::proves_no_envelope(&trouble) {
                self.leave_unproven(&mut transaction, &trouble);
            }
            transaction.leave_untold(&trouble);
            ahead.iter_mut().for_each(|unheard| unheard.leave_untold(&trouble));
            ended = Err(self.explained(trouble, &mut transaction));
        }
        self.report(transaction, work).await;
        if let Err(end) = ended {
            if let Some(mut unheard) = ahead {
                unheard.leave_unheard();
                self.report(unheard, work).await;
            }
            return Err(end);
        }
        self.has_served = true;
        if self.offered.pipelining {
            self.pace.served(pace);
        }
        Ok(ahead)
    }

    /// Returns how the dialogue ends by `trouble` during `transaction`, as far as this connection can tell.
    fn explained(&self, trouble: Trouble, transaction: &mut OpenTransaction) -> End {
        if self.is_leave_taking(&trouble) {
            transaction.left_at = Some(trouble.phase);
            return End::Spent;
        }
        if self.is_overrun(&trouble) {
            if let Some(period) = self.pace.fall_into_lock_step(self.written) {
                log::lock_step(trouble.route(), period, &trouble);
            }
            return End::Spent;
        }
        transaction.lost_at = Some(trouble.phase);
        let is_step_lost = matches!(trouble.cause, Cause::OutOfStep(_));
        if is_step_lost && self.has_served { End::Spent } else { End::Trouble(trouble) }
    }

    /// Returns whether `trouble` only means that the relay ends this connection.
    fn is_leave_taking(&self, trouble: &Trouble) -> bool {
        let has_left = match (&trouble.cause, trouble.phase) {
            // Behind a final dot it may be the group that made it go.
            (Cause::Closed, Phase::Mail) => self.written != Pipelining::Across || self.has_taken_across,
            // What was written ahead may have made it go.
            (Cause::Closed, Phase::Rcpt | Phase::Data) => self.written == Pipelining::Off,
            // The group has had its replies.
            (Cause::Closed, Phase::Content) => true,
            // Nothing was asked yet.
            (Cause::OutOfStep(_), Phase::Mail) => self.written == Pipelining::Off,
            (Cause::Reply(reply), Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Content | Phase::Dot) => {
                takes_leave(reply) && !self.refuses_pace(trouble.phase, reply)
            }
            _ => false,
        };
        self.has_served && has_left
    }

    /// Returns whether `trouble` may be caused only by commands that were sent before earlier ones were answered.
    fn is_overrun(&self, trouble: &Trouble) -> bool {
        let has_failed = match &trouble.cause {
            Cause::Closed | Cause::Io(..) | Cause::TimedOut(_) => true,
            Cause::Reply(reply) => reply.code() == 503 || is_about_pipelining(reply),
            Cause::Other(_)
            | Cause::LoginRefused { .. }
            | Cause::LoginLost { .. }
            | Cause::OneHost { .. }
            | Cause::BeforeRestart { .. }
            | Cause::Waits { .. }
            | Cause::NoSecret(_)
            | Cause::Misfit(_)
            | Cause::Garbage(_)
            | Cause::Overlong { .. }
            | Cause::OutOfStep(_) => false,
        };
        has_failed && self.was_ahead(trouble.phase)
    }

    /// Returns whether more was written, at `phase`, than the relay had answered.
    fn was_ahead(&self, phase: Phase) -> bool {
        let is_within_group = matches!(phase, Phase::Mail | Phase::Rcpt | Phase::Data);
        match self.written {
            Pipelining::Off => false,
            Pipelining::Group => is_within_group,
            Pipelining::Across => is_within_group || phase == Phase::Dot,
        }
    }

    /// Returns whether `reply` at `phase` refuses that more was written than the relay had answered.
    fn refuses_pace(&self, phase: Phase, reply: &Reply) -> bool {
        self.was_ahead(phase) && is_about_pipelining(reply)
    }

    /// Sends QUIT. Returns when the next connection may wait for the place of this one.
    async fn quit(self) {
        self.farewells.quit(self.channel, self.place).await;
    }

    async fn report<W: Work>(&mut self, transaction: OpenTransaction, work: &mut W) {
        let connecting = std::mem::take(&mut self.connecting);
        let left_out = transaction.left_out;
        let mut report = transaction.into_report(self.channel.peer().clone(), connecting);
        self.rules.narrow(&mut report.recipients);
        // What is untold has the words of the trouble, which may be the relay's.
        let is_ours = |told: &&mut RecipientReport| !told.from_relay && told.verdict != Verdict::Untold;
        let in_our_words = report.recipients.iter_mut().filter(is_ours);
        let route = self.channel.peer().route();
        in_our_words.for_each(|told| told.said = on_route(&told.said, route).into_owned());
        self.parameter_offers.learn(&report, left_out);
        work.report(report).await;
    }
}

/// Returns whether `reply` ends the connection, whatever the command was: 421, or the status of RFC 3463 3.5 for a
/// connection that is timed out or closed.
fn takes_leave(reply: &Reply) -> bool {
    reply.code() == 421
        || (reply.severity() == Severity::Transient && reply.status() == Some(Status::transient(4, 2)))
}

#[cfg(test)]
mod tests;
