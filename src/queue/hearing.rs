//! The hearing of a report: what the queue's state is told of it and asked about it, in order, before it is settled.
//!
//! Promises: the queue first hears that the relay has taken a recipient, since that counts when it is asked next what a
//! refusal means. It is asked whether the message is excused only if the relay took leave during it. It hears last that
//! the connection broke off, or that the relay has answered.
//!
//! Pure. Not here: the answers (`reducer/judge.rs`, `throttle.rs`), settling the report (`settlement.rs`).

use super::ConnectionId;
use super::attempt::Attempt;
use super::null_sender::NullSender;
use super::reducer::{Event, QueueAnswer};
use super::refusals::{Refusal, Ruling};
use crate::envelope::ReversePath;
use crate::relay::{Report, Verdict};

/// Something that the queue's state hears of a report.
#[derive(Debug)]
pub(super) enum Hears {
    /// The queue's state is told this event.
    Told(Event),
    /// The queue's state is asked by this event; its answer is due before anything else ([`Hearing::answered`]).
    Asked(Event),
}

/// The part of the hearing that is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HearingStage {
    Taken,
    Refused,
    Left,
    End,
    Over,
}

/// The relay's answer to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TransactionAnswer {
    /// It took a recipient.
    Taken,
    /// It took nobody, and refused a recipient for now or for good.
    Refused,
    /// It said nothing about any recipient.
    Nothing,
}

/// A report that is being heard.
pub(super) struct Hearing {
    connection: ConnectionId,
    report: Report,
    refusal: Option<Refusal>,
    from: ReversePath,
    answer: TransactionAnswer,
    ruling: Ruling,
    stage: HearingStage,
}

impl Hearing {
    /// Begins the hearing of a report about `attempt`, which came over this connection.
    pub(super) fn new(
        connection: ConnectionId,
        attempt: &Attempt,
        mut report: Report,
        null_sender: &NullSender,
    ) -> Self {
        attempt.weigh_unproven(&mut report);
        let has = |verdict| report.recipients.iter().any(|recipient| recipient.verdict == verdict);
        let waits = report.recipients.iter().any(|one| matches!(one.verdict, Verdict::Waits(_)));
        let answer = if has(Verdict::Sent) {
            TransactionAnswer::Taken
        } else if has(Verdict::Deferred) || has(Verdict::Bounced) || waits {
            TransactionAnswer::Refused
        } else {
            TransactionAnswer::Nothing
        };
        null_sender.excuse(attempt, &mut report);
        let mut refusal = Refusal::of(&report, &attempt.envelope);
        if let Some(refusal) = &mut refusal {
            refusal.follows_taken = attempt.has_been_taken();
        }
        Hearing {
            connection,
            refusal,
            report,
            from: attempt.envelope.reverse_path.clone(),
            answer,
            ruling: Ruling::AsSaid,
            stage: HearingStage::Taken,
        }
    }

    /// Returns what the queue's state is told or asked next; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Hears> {
        loop {
            let (stage, heard) = match self.stage {
                HearingStage::Taken => (HearingStage::Refused, self.taken()),
                HearingStage::Refused => (HearingStage::Left, self.refused()),
                HearingStage::Left => (HearingStage::End, self.left()),
                HearingStage::End => (HearingStage::Over, self.ends()),
                HearingStage::Over => return None,
            };
            self.stage = stage;
            if heard.is_some() {
                return heard;
            }
        }
    }

    /// Takes in the answer to what was asked last. Without one the queue has stopped, and the next start tries the
    /// message again.
    pub(super) fn answered(&mut self, answer: Option<QueueAnswer>) {
        match answer {
            Some(QueueAnswer::Ruling(ruling)) => self.ruling = ruling,
            Some(QueueAnswer::IsExcused(false)) => self.report.lost_at = self.report.left_at,
            Some(_) => {}
            None if self.stage == HearingStage::Left => self.ruling = Ruling::Untold,
            None => {}
        }
    }

    /// Returns the report as it is to be settled, and what its refusal means.
    pub(super) fn end(self) -> (Report, Ruling) {
        (self.report, self.ruling)
    }

    fn taken(&self) -> Option<Hears> {
        let connection = self.connection;
        let is_taken = self.answer == TransactionAnswer::Taken;
        is_taken.then(|| Hears::Told(Event::TakenByRelay { connection, from: self.from.clone() }))
    }

    fn refused(&mut self) -> Option<Hears> {
        let refusal = Box::new(self.refusal.take()?);
        Some(Hears::Asked(Event::Refused { connection: self.connection, refusal }))
    }

    fn left(&self) -> Option<Hears> {
        let left = Event::Left { connection: self.connection, id: self.report.id };
        self.report.left_at.is_some().then_some(Hears::Asked(left))
    }

    fn ends(&self) -> Option<Hears> {
        let (connection, id) = (self.connection, self.report.id);
        if self.report.is_lost() {
            let in_doubt = self.report.possible_duplicate;
            Some(Hears::Told(Event::Lost { connection, id, in_doubt }))
        } else if self.ruling != Ruling::Untold && self.answer != TransactionAnswer::Nothing {
            Some(Hears::Told(Event::Answered(connection)))
        } else {
            None
        }
    }
}

/// Returns whether the attempt ends with this report, even if a further transaction was to follow.
pub(super) fn breaks_off(report: &Report, ruling: Ruling) -> bool {
    let is_untold = report.recipients.iter().any(|recipient| recipient.verdict == Verdict::Untold);
    ruling != Ruling::AsSaid || is_untold
}
