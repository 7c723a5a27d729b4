//! Being in step: whether the reply that was just read answers the command that it was read for.
//!
//! Replies have no names: only their order matches them to commands. A relay that sends one reply too many, or one too
//! early, moves all the following ones, and one message is refused by the reply to another.
//!
//! Promises:
//! 1. Nothing is written while there is an unexpected reply to be read.
//! 2. A refusal is a verdict only if the relay then answers RSET, sent alone, with 2xx and sends nothing after it. The
//!    first 2xx on a connection may be the late reply to something else, so RSET is sent once more: both replies must
//!    have the same words, which are the ones that count from then on. A relay that refuses RSET, or answers it in other
//!    words each time, gets QUIT: 221 and the close show that it is in step. If a relay leaves before it has shown that,
//!    its refusals are unproven, and the true reply to the final dot may be missing.
//! 3. The replies in a transaction that is found to be out of step are about no message. 354 in place of the reply to
//!    DATA shows that the envelope was in step only if no unexpected reply follows before the reply to the final dot is
//!    proven.
//!
//! Not to be known: an unexpected 2xx between our last look before the final dot and the reply to it is taken for
//! that reply, unless the true reply has arrived when it is read. Where a relay answers everything in the same words,
//! nothing but the silence behind the reply to RSET shows that no other follows. Nor does anything else show it behind
//! 354 to a group with a refusal in it, or behind a refused dot, since whatever is written then may be content: there
//! the silence is twice as long as the relay took for any reply to that group.
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

/// The time in which a reply too many may follow the reply to RSET. A relay that was read out of step had received RSET
/// together with what it answered before, so that only the network is between the two replies.
const STRAGGLER_PERIOD: Duration = Duration::from_millis(200);

/// The time that a relay which refused RSET may take for QUIT. A slower relay is not believed this time.
const LAST_QUESTION_PERIOD: Duration = Duration::from_secs(5);

/// The number of refusals too many that are read after the final dot: a relay may send one for each line of the
/// content.
const MOST_REFUSALS: usize = 1000;

/// The relay's replies compared with the commands that they should answer.
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
        if self.waits_for_content().await {
            return Ok(());
        }
        let reply = self.channel.reply(phase).await?;
        Err(self.out_of_step(phase, reply))
    }

    /// Returns whether the relay says nothing more behind a reply that asks for content, for twice the time that it took
    /// for any reply before.
    pub(super) async fn waits_for_content(&mut self) -> bool {
        let period = STRAGGLER_PERIOD.max(self.slowest_reply * 2);
        self.channel.stays_silent(period).await
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

    /// Applies a refusal of the final dot, if it is one. `rider` is the number of RCPTs in the group that was sent
    /// after the dot.
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
                if rider.is_none()
                    && let Some(gentlest) = self.gentlest_refusal(&second).await
                {
                    // It was refused both in its content and at its end, or before.
                    transaction.revoke();
                    if verdict == Verdict::Bounced && gentlest == Severity::Permanent {
                        self.pace.refused_early();
                        transaction.rule_open_early(Phase::Dot, &reply);
                    } else {
                        transaction.rule_open(Verdict::Deferred, Phase::Dot, &reply);
                    }
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

    /// Handles a relay that left, as `trouble` says, before it had shown what its refusals are about. With one command
    /// at a time, a reply too many is read before the next command is written, which shows more. So only such refusals
    /// may be believed when they are repeated, and the next try with this relay sends one command at a time.
    pub(super) fn leave_unproven(&self, transaction: &mut OpenTransaction, trouble: &Trouble) {
        let is_at_a_time = self.written == Pipelining::Off;
        if transaction.leave_unproven(is_at_a_time)
            && !is_at_a_time
            && let Some(period) = self.pace.fall_into_lock_step_for_proof()
        {
            log::lock_step(trouble.route(), period, trouble);
        }
    }

    /// Applies a positive reply to the final dot. If a second reply has arrived already, the first one may have been
    /// too early.
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
            Ok(reply) if self.reset_reply.as_ref() == Some(&reply) => self.step_behind(reply).await,
            Ok(reply) => self.step_at_second_reset(reply).await,
        }
    }

    /// Handles a relay that answered RSET with `first`, which may be the late reply to something else. If it is, the next
    /// reply is the one to that RSET, which has other words, and the one to QUIT is not 221. No time is measured here,
    /// since a relay may be slow.
    async fn step_at_second_reset(&mut self, first: Reply) -> Step {
        if self.channel.has_words().await {
            return self.step_behind(first).await;
        }
        match self.channel.command(Phase::Rset, b"RSET").await {
            Err(_) => Step::Gone,
            Ok(second) if takes_leave(&second) => Step::Gone,
            Ok(second) if second == first => {
                self.reset_reply = Some(second);
                self.step_behind(first).await
            }
            Ok(_) => self.step_at_quit(first).await,
        }
    }

    /// Checks that nothing follows `reply`, which seems to answer RSET.
    async fn step_behind(&mut self, reply: Reply) -> Step {
        if self.channel.stays_silent(STRAGGLER_PERIOD).await {
            return Step::Certain;
        }
        match self.unasked_step().await {
            // The one before may have been the reply to the final dot.
            Step::Lost(_) => Step::Lost(reply),
            step => step,
        }
    }

    /// Handles a relay that answered RSET with `reply`, which may be a reply to something else.
    async fn step_at_quit(&mut self, reply: Reply) -> Step {
        if self.channel.has_words().await {
            return Step::Lost(reply);
        }
        if self.parts_in_step().await { Step::Parted } else { Step::Lost(reply) }
    }

    /// Sends QUIT. Returns whether 221 and the close show that each command before it has had its own reply.
    async fn parts_in_step(&mut self) -> bool {
        let farewell = self.channel.command(Phase::Quit, b"QUIT");
        match timeout(LAST_QUESTION_PERIOD, farewell).await {
            Ok(Ok(last)) => last.code() == 221 && self.channel.stays_silent(STRAGGLER_PERIOD).await,
            _ => false,
        }
    }

    /// Returns the gentlest severity of `second` and of all that the relay still says, if all of it are refusals, up to
    /// 221 to QUIT. One that takes the message after all may be the true reply to the dot.
    async fn gentlest_refusal(&mut self, second: &Reply) -> Option<Severity> {
        let mut gentlest = is_refusal(second).then(|| second.severity())?;
        for _ in 0..MOST_REFUSALS {
            if self.channel.stays_silent(STRAGGLER_PERIOD).await {
                return self.parts_in_step().await.then_some(gentlest);
            }
            match self.channel.reply(Phase::Dot).await {
                Ok(reply) if reply.severity() == Severity::Transient => gentlest = Severity::Transient,
                Ok(reply) if reply.severity() == Severity::Permanent => {}
                _ => return None,
            }
        }
        None
    }

    async fn unasked_step(&mut self) -> Step {
        match self.channel.reply(Phase::Rset).await {
            Ok(reply) if !takes_leave(&reply) => Step::Lost(reply),
            _ => Step::Gone,
        }
    }

    /// Reads the replies to a group of `rcpts` RCPTs that was sent after a refused final dot. They say nothing about
    /// the recipients of that group. But 354 in place of the reply to its DATA shows that everything before it was in
    /// step, if the relay then waits for content. The first of them may have been the true reply to the dot, and
    /// nothing shows that if the relay leaves after it.
    async fn step_behind_rider(&mut self, rcpts: usize) -> Step {
        // The dot may have taken much longer than a command.
        self.slowest_reply = Duration::ZERO;
        let Ok(mut last) = self.leftover(Phase::Mail).await else { return Step::Gone };
        for phase in std::iter::repeat_n(Phase::Rcpt, rcpts).chain([Phase::Data]) {
            match self.leftover(phase).await {
                Ok(reply) => last = reply,
                Err(_) => return Step::Lost(last),
            }
        }
        if last.severity() == Severity::Intermediate {
            let waits = self.waits_for_content().await && !self.channel.is_at_end();
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

/// Returns whether `trouble` ends an envelope whose refusals nothing has shown to be its own.
pub(super) fn proves_no_envelope(trouble: &Trouble) -> bool {
    matches!(trouble.phase, Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Rset)
}

#[cfg(test)]
mod tests;
