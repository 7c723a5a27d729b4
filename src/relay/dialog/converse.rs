//! The commands and replies of one transaction: the envelope, the content, and the final dot.
//!
//! Promises:
//! 1. A reply counts as a verdict only if it answers the command that it seems to answer (`dialog/step.rs`).
//! 2. `before_dot` has returned before the octets of the final dot are written.
//! 3. Content that cannot be read to its end is never followed by a final dot.
//! 4. A data phase ends with a final dot or with the connection, even one that the relay began for no recipient.
//!
//! Not here: what comes before and after the transaction (`dialog.rs`), how it is known which command a reply answers
//! (`dialog/step.rs`).
//!
//! RFC 5321 3.3 and 4.1.1.4, RFC 2920.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::super::Work;
use super::super::content::{self, Streamed};
use super::super::open_transaction::OpenTransaction;
use super::super::trouble::{Cause, Phase, Trouble};
use super::super::verdict::{Judgement, Scope, Verdict, is_too_many, judge_by, refused_parameters};
use super::step::is_misfit;
use super::{Connection, End, takes_leave};
use crate::config::Pipelining;
use crate::log;
use crate::smtp::client::{ClientCommand, Group, ParameterSet};
use crate::smtp::dot::Stuffer;
use crate::smtp::reply::{Reply, Severity};

/// The result of sending the envelope.
enum EnvelopeAnswer {
    /// The relay waits for content for the open recipients.
    Taken,
    /// The relay waits for content, as this reply says, although it accepted no recipient.
    TakenForNobody(Reply),
    /// No content is awaited, and no recipient was taken.
    RefusedForAll,
    /// No content is awaited.
    Refused,
}

impl Connection {
    /// Runs the transaction from MAIL to the reply that settles it. Sets `ahead` when the next group was sent.
    pub(super) async fn converse<W: Work>(
        &mut self,
        transaction: &mut OpenTransaction,
        grouped: bool,
        ahead: &mut Option<OpenTransaction>,
        work: &mut W,
    ) -> Result<(), End> {
        transaction.begin();
        self.slowest_reply = Duration::ZERO;
        self.channel.speak_of(Some(transaction.id));
        if !grouped {
            self.begin_group(&transaction.group).await?;
        }
        let envelope = self.envelope(transaction).await?;
        if let EnvelopeAnswer::TakenForNobody(reply) = envelope {
            return self.leave_data_phase(transaction, reply).await;
        }
        if !transaction.has_open() {
            self.confirm_envelope(transaction).await?;
            // Where it took nobody at all it is this connection that is full.
            let took_somebody = matches!(envelope, EnvelopeAnswer::Refused);
            return if transaction.is_full() && !took_somebody { Err(End::Spent) } else { Ok(()) };
        }
        let stuffer = self.content(transaction).await?;
        if work.before_dot(transaction.id).await.is_err() {
            transaction.leave_unmarked();
            return Err(End::Spent);
        }
        if self.channel.has_spoken().await {
            return self.interrupted(transaction, true).await;
        }
        if self.pace() == Pipelining::Across {
            *ahead = self.take(work, Duration::ZERO).await;
        }
        self.final_dot(transaction, stuffer, ahead.as_ref().map(|next| &next.group)).await
    }

    fn pace(&self) -> Pipelining {
        self.pace.now(self.offered.pipelining)
    }

    /// Makes sure that no unexpected reply has arrived, and sends the group if its commands may be sent together.
    async fn begin_group(&mut self, group: &Group) -> Result<(), Trouble> {
        self.written = Pipelining::Off;
        self.hear_unasked(Phase::Mail).await?;
        if self.pace() != Pipelining::Off {
            self.written = Pipelining::Group;
            group.write(self.channel.output());
            self.channel.flush(Phase::Mail).await;
        }
        Ok(())
    }

    /// Reads the replies to MAIL, RCPT… and DATA; if commands are sent one at a time, sends them too.
    async fn envelope(&mut self, transaction: &mut OpenTransaction) -> Result<EnvelopeAnswer, Trouble> {
        if let (Some(verdict), reply) =
            self.ask_line(Phase::Mail, transaction.group.mail(), transaction.optional).await?
        {
            transaction.rule_open(verdict, Phase::Mail, &reply);
            return self.rest_of_group(transaction.group.rcpts().len()).await;
        }
        self.recipients(transaction).await?;
        if transaction.has_open() { self.data(transaction).await } else { self.rest_of_group(0).await }
    }

    /// Reads the replies to RCPT. If the relay accepts no more recipients after those that it accepted, the transaction
    /// is full. If it accepts a later one, the refusals before that were about their recipients.
    async fn recipients(&mut self, transaction: &mut OpenTransaction) -> Result<(), Trouble> {
        let (mut has_taken, mut takes_this) = (self.has_served, false);
        let mut too_many: Vec<(usize, Verdict, Reply)> = Vec::new();
        for position in 0..transaction.group.rcpts().len() {
            let line = &transaction.group.rcpts()[position];
            match self.ask_line(Phase::Rcpt, line, transaction.optional).await? {
                (None, _) => {
                    (has_taken, takes_this) = (true, true);
                    for (position, verdict, reply) in too_many.drain(..) {
                        transaction.rule(position, verdict, Phase::Rcpt, &reply);
                    }
                }
                (Some(_), reply) if takes_this && transaction.has_too_many_domains(&reply) => {
                    transaction.rule(position, Verdict::TooManyDomains, Phase::Rcpt, &reply);
                }
                (Some(verdict @ Verdict::Waits(_)), reply) => {
                    transaction.rule(position, verdict, Phase::Rcpt, &reply);
                }
                (Some(verdict), reply) if has_taken && is_too_many(&reply) => {
                    too_many.push((position, verdict, reply));
                }
                (Some(verdict), reply) => transaction.rule(position, verdict, Phase::Rcpt, &reply),
            }
        }
        for (position, _, reply) in too_many {
            transaction.rule(position, Verdict::TooMany, Phase::Rcpt, &reply);
        }
        Ok(())
    }

    async fn data(&mut self, transaction: &mut OpenTransaction) -> Result<EnvelopeAnswer, Trouble> {
        let asked = self.ask(Phase::Data, "DATA").await?;
        self.has_taken_across |= self.written == Pipelining::Across;
        match asked {
            (None, _) => {
                let may_be_early = transaction.was_refused && self.pace.may_refuse_early();
                if may_be_early || transaction.has_settled() && self.written != Pipelining::Off {
                    // One of the refusals may have been a reply too many, and 354 another one. What then still
                    // comes is heard before the final dot.
                    transaction.was_awaited = self.waits_for_content().await;
                }
                Ok(EnvelopeAnswer::Taken)
            }
            (Some(verdict), reply) => {
                transaction.rule_open(verdict, Phase::Data, &reply);
                Ok(EnvelopeAnswer::Refused)
            }
        }
    }

    /// Reads the replies to what was already sent after that, `rcpts` RCPTs and DATA, when every recipient is refused.
    /// They say nothing more, but they come, and the relay may have begun the data phase (RFC 2920 3.1).
    async fn rest_of_group(&mut self, rcpts: usize) -> Result<EnvelopeAnswer, Trouble> {
        if self.written == Pipelining::Off {
            return Ok(EnvelopeAnswer::RefusedForAll);
        }
        for _ in 0..rcpts {
            self.leftover(Phase::Rcpt).await?;
        }
        let data = self.leftover(Phase::Data).await?;
        let awaits_content = data.severity() == Severity::Intermediate;
        Ok(if awaits_content { EnvelopeAnswer::TakenForNobody(data) } else { EnvelopeAnswer::RefusedForAll })
    }

    /// Ends a connection on which the relay asks for content by `reply`, and has refused everybody. RFC 2920 3.1 says to
    /// send a lone dot. But if a reply too many is among those that were read, the relay may have recipients, and the dot
    /// would send each of them an empty message: nothing can be written now that cannot be content. For the same reason
    /// the refusals are unproven. The next try sends DATA only if the relay has taken somebody.
    async fn leave_data_phase(&mut self, transaction: &mut OpenTransaction, reply: Reply) -> Result<(), End> {
        self.hear_stragglers(Phase::Data).await?;
        transaction.leave_unproven(false);
        if let Some(period) = self.pace.fall_into_lock_step_for_proof() {
            let trouble = self.channel.trouble(Phase::Data, Cause::Reply(reply));
            log::lock_step(trouble.route(), period, &trouble);
        }
        Err(End::Spent)
    }

    async fn content(&mut self, transaction: &mut OpenTransaction) -> Result<Stuffer, End> {
        match content::stream(&mut *transaction.content, transaction.size, &mut self.channel).await {
            Streamed::Whole(stuffer) => {
                // The relay has all but the dot while the dot is noted, and may speak before it.
                self.channel.flush(Phase::Content).await;
                Ok(stuffer)
            }
            Streamed::Unreadable(why) => {
                transaction.defer_for_us(&why);
                Err(End::Spent)
            }
            Streamed::Interrupted { has_begun } => {
                self.interrupted(transaction, has_begun).await?;
                Err(End::Spent)
            }
        }
    }

    /// Handles a relay that sends something, or closes the connection, before the final dot. It may be a late reply to
    /// the envelope, after one reply too many: so no recipient is refused by earlier replies.
    async fn interrupted(&mut self, transaction: &mut OpenTransaction, has_begun: bool) -> Result<(), End> {
        let ruling = self.ruling(Phase::Content).await;
        if !matches!(&ruling, Err(Trouble { cause: Cause::Closed | Cause::Io(..), .. })) {
            transaction.revoke();
        }
        match ruling? {
            (Some(Verdict::Deferred), reply) if has_begun && reply.severity() == Severity::Permanent => {
                self.pace.refused_early();
                transaction.rule_open_early(Phase::Content, &reply);
            }
            (Some(verdict), reply) => transaction.rule_open(verdict, Phase::Content, &reply),
            (None, _) => {}
        }
        Err(End::Spent)
    }

    /// Sends the final dot, with the group of the next transaction after it, and reads the reply that takes
    /// responsibility.
    async fn final_dot(
        &mut self,
        transaction: &mut OpenTransaction,
        stuffer: Stuffer,
        next: Option<&Group>,
    ) -> Result<(), End> {
        stuffer.finish(self.channel.output());
        self.written = Pipelining::Off;
        if let Some(next) = next {
            self.written = Pipelining::Across;
            next.write(self.channel.output());
        }
        transaction.in_doubt = true;
        self.channel.flush(Phase::Dot).await;
        let ruling = self.ruling(Phase::Dot).await;
        if let Ok((_, reply)) | Err(Trouble { cause: Cause::Reply(reply) | Cause::OutOfStep(reply), .. }) =
            &ruling
        {
            // A 3xx answers nothing: whether the message was taken stays unknown.
            transaction.in_doubt =
                reply.severity() == Severity::Intermediate || self.is_answer_to_rider(reply);
        }
        match (ruling?, next) {
            ((None, _), _) => Ok(()),
            ((Some(Verdict::Sent), reply), None) => {
                self.confirm_sent(transaction, (Verdict::Sent, reply)).await
            }
            ((Some(Verdict::Sent), reply), Some(_)) => {
                transaction.rule_open(Verdict::Sent, Phase::Dot, &reply);
                Ok(())
            }
            ((Some(verdict), reply), next) => {
                let rider = next.map(|group| group.rcpts().len());
                self.confirm_dot(transaction, (verdict, reply), rider).await
            }
        }
    }

    /// Waits for the reply to a command of the envelope, and considers that those of its parameters which are `optional`
    /// may be refused.
    async fn ask_line(
        &mut self,
        phase: Phase,
        line: &ClientCommand,
        optional: ParameterSet,
    ) -> Result<(Option<Verdict>, Reply), Trouble> {
        let (verdict, reply) = self.ask(phase, &line.text).await?;
        let refused = refused_parameters(&reply, line.parameters.and(optional));
        let is_refused = verdict.is_some_and(|verdict| !matches!(verdict, Verdict::Waits(_)));
        let verdict = match is_refused && !refused.is_empty() {
            true => Some(Verdict::WithoutParameters(refused)),
            false => verdict,
        };
        Ok((verdict, reply))
    }

    /// Waits for the reply to a command. Sends the command first, if it was not sent in a group.
    async fn ask(&mut self, phase: Phase, line: &str) -> Result<(Option<Verdict>, Reply), Trouble> {
        if self.written == Pipelining::Off {
            self.hear_unasked(phase).await?;
            self.channel.output().extend_from_slice(line.as_bytes());
            self.channel.output().extend_from_slice(b"\r\n");
            self.channel.flush(phase).await;
        }
        self.ruling(phase).await
    }

    /// Returns the next reply and its verdict about the message, if any. The error is trouble with the relay.
    async fn ruling(&mut self, phase: Phase) -> Result<(Option<Verdict>, Reply), Trouble> {
        // No reply is relay trouble in every phase (verdict.rs).
        let reply = self.next_reply(phase).await?;
        if phase == Phase::Dot && self.is_answer_to_rider(&reply) {
            return Err(self.channel.trouble(phase, Cause::Reply(reply)));
        }
        if self.has_served && takes_leave(&reply) {
            return Err(self.channel.trouble(phase, Cause::Reply(reply)));
        }
        if self.refuses_pace(phase, &reply) {
            return Err(self.channel.trouble(phase, Cause::Reply(reply)));
        }
        if is_misfit(phase, &reply) {
            return Err(self.out_of_step(phase, reply));
        }
        match judge_by(self.rules.meaning(phase, &reply, Timestamp::now()), phase, &reply) {
            Judgement::GoOn => Ok((None, reply)),
            Judgement::Ruled(_, Scope::Relay) => Err(self.channel.trouble(phase, Cause::Reply(reply))),
            Judgement::Ruled(verdict, _) => Ok((Some(verdict), reply)),
        }
    }

    /// Returns whether `reply`, in place of one to the final dot, answers the group after it.
    fn is_answer_to_rider(&self, reply: &Reply) -> bool {
        let blames_it = reply.code() == 503 || self.refuses_pace(Phase::Dot, reply);
        self.written == Pipelining::Across && blames_it
    }

    /// Reads a reply whose content does not matter, only whether the relay is still there.
    pub(super) async fn leftover(&mut self, phase: Phase) -> Result<Reply, Trouble> {
        let reply = self.next_reply(phase).await?;
        if reply.code() == 421 {
            return Err(self.channel.trouble(phase, Cause::Reply(reply)));
        }
        Ok(reply)
    }

    async fn next_reply(&mut self, phase: Phase) -> Result<Reply, Trouble> {
        let asked = Instant::now();
        let reply = self.channel.reply(phase).await;
        self.slowest_reply = self.slowest_reply.max(asked.elapsed());
        reply
    }
}
