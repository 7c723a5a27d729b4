//! Being in step: whether the reply just read answers the command it was read for.
//!
//! Replies have no names: they are matched to commands by count alone. A relay that says one too many, or one too
//! early, moves all that follow, and one message is refused by what was said about another.
//!
//! Promises:
//! 1. Nothing is written while something unasked is to be read.
//! 2. A refusal is a verdict only when the relay has then answered RSET, alone, with 2xx and said nothing behind
//!    it. A relay that refuses RSET is asked to QUIT: 221 and the close show it in step. One that leaves before it has
//!    shown that leaves its refusals unproven, and of the final dot the true reply may be missing.
//! 3. What was said in a transaction found out of step is about nobody. 354 at DATA's place shows that the envelope
//!    was in step only where nothing unasked follows it before the reply to the final dot has proved to be its own.
//!
//! What cannot be known: 2xx said unasked between our look before the final dot and the reply to it is taken for
//! that reply, unless that has come when it is read.
//!
//! RFC 5321 4.1.4 (RSET may be sent at any time), RFC 2920 3.1.

use std::time::Duration;

use tokio::time::timeout;

use super::super::open_transaction::OpenTransaction;
use super::super::trouble::{Cause, Phase, Trouble};
use super::super::verdict::Verdict;
use super::{Connection, End, takes_leave};
use crate::config::Pipelining;
use crate::log;
use crate::smtp::reply::{Reply, Severity};

/// How long a reply too many may come behind the one to RSET. A relay that was read out of step had both RSET and
/// what it answered before at hand, so that no more than the network is between them.
const STRAGGLER_PERIOD: Duration = Duration::from_millis(200);

/// How long a relay that refused RSET may take over QUIT. One that is slower is not believed this time.
const LAST_QUESTION_PERIOD: Duration = Duration::from_secs(5);

/// How many refusals too many are read behind the final dot: as many as a relay may say of one content, line by line.
const MOST_REFUSALS: usize = 1000;

/// Whether the replies of the relay are in step with the commands.
enum Step {
    /// The next reply answers the next command.
    Certain,
    /// Replies were in step until the relay closed the connection.
    Parted,
    /// The relay sent no unexpected reply, and has closed the connection.
    Gone,
    /// The relay sent this reply when none, or another one, was expected.
    Lost(Reply),
}

impl Connection {
    /// Returns an error if the relay has sent something, or closed the connection, before `phase` began.
    pub(super) async fn hear_unasked(&mut self, phase: Phase) -> Result<(), Trouble> {
        if !self.channel.has_spoken().await {
            return Ok(());
        }
        let reply = self.channel.reply(phase).await?;
        Err(self.out_of_step(phase, reply))
    }

    /// Returns an error if the relay sends something more behind a reply that asks for content: then that was too early.
    pub(super) async fn hear_stragglers(&mut self, phase: Phase) -> Result<(), Trouble> {
        if self.channel.stays_silent(STRAGGLER_PERIOD).await {
            return Ok(());
        }
        let reply = self.channel.reply(phase).await?;
        Err(self.out_of_step(phase, reply))
    }

    /// Returns the trouble for a reply that answers no command. A relay may end the connection at any time (RFC 5321
    /// 3.8).
    pub(super) fn out_of_step(&self, phase: Phase, reply: Reply) -> Trouble {
        let cause = if takes_leave(&reply) { Cause::Reply(reply) } else { Cause::OutOfStep(reply) };
        self.channel.trouble(phase, cause)
    }

    /// Ends a transaction that was refused before its content: the refusals stand if the relay is in step.
    pub(super) async fn confirm_envelope(&mut self, transaction: &mut OpenTransaction) -> Result<(), End> {
        match self.step().await {
            Step::Certain => Ok(()),
            Step::Parted => Err(End::Spent),
            Step::Gone => {
                self.leave_unproven(transaction, &self.channel.trouble(Phase::Rset, Cause::Closed));
                Err(End::Spent)
            }
            Step::Lost(reply) => Err(self.out_of_step(Phase::Rset, reply).into()),
        }
    }

    /// Rules by a refusal of the final dot, if that is what it is. `rider` is the number of RCPTs in the group
    /// behind the dot.
    pub(super) async fn confirm_dot(
        &mut self,
        transaction: &mut OpenTransaction,
        (verdict, reply): (Verdict, Reply),
        rider: Option<usize>,
    ) -> Result<(), End> {
        let step = match rider {
            Some(rcpts) => self.step_behind_rider(rcpts).await,
            None => self.step().await,
        };
        match step {
            Step::Lost(second) => {
                if rider.is_none() && is_refusal(&second) && self.says_only_refusals().await {
                    // It was refused both in its content and at its end, or before; it is not said for good.
                    transaction.revoke();
                    transaction.rule_open(Verdict::Deferred, Phase::Dot, &reply);
                    return Err(End::Spent);
                }
                transaction.in_doubt = true;
                Err(self.out_of_step(Phase::Dot, second).into())
            }
            Step::Gone => {
                transaction.in_doubt = true;
                transaction.rule_open(verdict, Phase::Dot, &reply);
                self.leave_unproven(transaction, &self.channel.trouble(Phase::Dot, Cause::Closed));
                Err(End::Spent)
            }
            Step::Parted => {
                transaction.rule_open(verdict, Phase::Dot, &reply);
                Err(End::Spent)
            }
            Step::Certain => {
                transaction.rule_open(verdict, Phase::Dot, &reply);
                if rider.is_some() { Err(End::Spent) } else { Ok(()) }
            }
        }
    }

    /// The relay left, as `trouble` says, before it had shown whose its refusals are. One command at a time shows more of
    /// that: what comes too many is then heard before the next command is written. So only such refusals may be
    /// believed when they are said again, and the next try with this relay is one.
    pub(super) fn leave_unproven(&self, transaction: &mut OpenTransaction, trouble: &Trouble) {
        let is_at_a_time = self.written == Pipelining::Off;
        if transaction.leave_unproven(is_at_a_time)
            && !is_at_a_time
            && let Some(period) = self.pace.fall_into_lock_step_for_proof()
        {
            log::lock_step(period, trouble);
        }
    }

    /// Rules by a positive reply to the final dot. A second reply that has come already says that the
    /// first may have been too early.
    pub(super) async fn confirm_sent(
        &mut self,
        transaction: &mut OpenTransaction,
        (verdict, reply): (Verdict, Reply),
    ) -> Result<(), End> {
        if !self.channel.has_words().await {
            transaction.rule_open(verdict, Phase::Dot, &reply);
            return if self.channel.is_at_end() { Err(End::Spent) } else { Ok(()) };
        }
        match self.channel.reply(Phase::Dot).await {
            Ok(second) if !takes_leave(&second) && second.severity() != Severity::Positive => {
                transaction.in_doubt = true;
                Err(self.out_of_step(Phase::Dot, second).into())
            }
            _ => {
                transaction.rule_open(verdict, Phase::Dot, &reply);
                Err(End::Spent)
            }
        }
    }

    /// Sends RSET alone, and checks that its reply is the only one.
    async fn step(&mut self) -> Step {
        if self.channel.has_words().await {
            return self.unasked_step().await;
        }
        match self.channel.command(Phase::Rset, b"RSET").await {
            Err(_) => Step::Gone,
            Ok(reply) if takes_leave(&reply) => Step::Gone,
            Ok(reply) if is_refusal(&reply) => self.step_at_quit(reply).await,
            Ok(reply) if reply.severity() != Severity::Positive => Step::Lost(reply),
            Ok(reply) if self.channel.stays_silent(STRAGGLER_PERIOD).await => {
                drop(reply);
                Step::Certain
            }
            Ok(reply) => match self.unasked_step().await {
                // The one before may have been the reply to the final dot.
                Step::Lost(_) => Step::Lost(reply),
                step => step,
            },
        }
    }

    /// RSET was answered by `refusal`, which may be a reply to something else. 221 and the close come to nothing
    /// but QUIT, so that each command before it has had the reply that was read for it.
    async fn step_at_quit(&mut self, refusal: Reply) -> Step {
        if self.channel.has_words().await {
            return Step::Lost(refusal);
        }
        let farewell = self.channel.command(Phase::Quit, b"QUIT");
        match timeout(LAST_QUESTION_PERIOD, farewell).await {
            Ok(Ok(reply)) if reply.code() == 221 && self.channel.stays_silent(STRAGGLER_PERIOD).await => {
                Step::Parted
            }
            _ => Step::Lost(refusal),
        }
    }

    /// Returns whether all that the relay still says, if anything, are refusals. One that takes the message after all may
    /// be the true reply to the dot.
    async fn says_only_refusals(&mut self) -> bool {
        for _ in 0..MOST_REFUSALS {
            if self.channel.stays_silent(STRAGGLER_PERIOD).await {
                return true;
            }
            match self.channel.reply(Phase::Dot).await {
                Ok(reply) if is_refusal(&reply) => {}
                _ => return false,
            }
        }
        false
    }

    async fn unasked_step(&mut self) -> Step {
        match self.channel.reply(Phase::Rset).await {
            Ok(reply) if !takes_leave(&reply) => Step::Lost(reply),
            _ => Step::Gone,
        }
    }

    /// The replies to a group of `rcpts` RCPTs that rode behind a refused final dot. They say nothing of its own
    /// recipients, but 354 at the place of its DATA shows that all before it was in step, if the relay then waits for
    /// content. The first of them may have been the true reply to the dot, and nothing shows that where the relay
    /// leaves behind it.
    async fn step_behind_rider(&mut self, rcpts: usize) -> Step {
        let Ok(mut last) = self.leftover(Phase::Mail).await else { return Step::Gone };
        for phase in std::iter::repeat_n(Phase::Rcpt, rcpts).chain([Phase::Data]) {
            match self.leftover(phase).await {
                Ok(reply) => last = reply,
                Err(_) => return Step::Lost(last),
            }
        }
        if last.severity() == Severity::Intermediate {
            let waits = self.channel.stays_silent(STRAGGLER_PERIOD).await && !self.channel.is_at_end();
            return if waits { Step::Certain } else { Step::Lost(last) };
        }
        match self.step().await {
            Step::Gone => Step::Lost(last),
            step => step,
        }
    }
}

fn is_refusal(reply: &Reply) -> bool {
    matches!(reply.severity(), Severity::Transient | Severity::Permanent)
}

/// Returns whether `reply` cannot answer a command of `phase`, and so answers something else.
pub(super) fn is_misfit(phase: Phase, reply: &Reply) -> bool {
    use Severity::{Intermediate, Positive};
    matches!(
        (phase, reply.severity()),
        (Phase::Mail | Phase::Rcpt | Phase::Content | Phase::Dot, Intermediate)
            | (Phase::Data | Phase::Content, Positive)
    )
}

/// Returns whether `trouble` shows that the replies to an envelope may have answered something else.
pub(super) fn revokes_envelope(trouble: &Trouble) -> bool {
    match &trouble.cause {
        Cause::OutOfStep(_) => true,
        Cause::Reply(reply) => {
            let is_within = matches!(trouble.phase, Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Rset);
            is_within && reply.code() == 503
        }
        _ => false,
    }
}

/// Whether `trouble` ends an envelope whose refusals nothing has shown to be its own.
pub(super) fn proves_no_envelope(trouble: &Trouble) -> bool {
    matches!(trouble.phase, Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Rset)
}

#[cfg(test)]
mod tests;
