//! The settling of messages that connections have carried, by the same rules as in a daemon (`settlement/`), over the
//! spool in memory.

use jiff::tz::TimeZone;

use super::World;
use crate::envelope::Address;
use crate::message::dsn::DsnKind;
use crate::queue::attempt::Attempt;
use crate::queue::lanes::Lane;
use crate::queue::orders::OrderResult;
use crate::queue::reducer::{Disposition, Event};
use crate::queue::settlement::{
    Advance, Notice, NoticeFrame, SettlementRecord, SettlementStep, SettlementTerms, Settling,
};
use crate::spool::{CommitError, EntryState, Flight, Ledger, Mark};

/// The lane of our own DSNs.
const OWN: Lane = Lane::MAX;

/// A settlement whose record the spool refuses.
pub(super) struct Unrecorded(Settling, SettlementStep);

impl World {
    /// Says that an earlier run may have left a copy, if nobody has said so.
    pub(super) fn tell_hidden_duplicate(&mut self, attempt: &mut Attempt) {
        if attempt.member.marks.hides_duplicate() {
            self.log.push(format!("{}: possible duplicate", attempt.id));
            attempt.member.marks.set_flight(Flight::Told);
            self.happens_next(Event::DuplicateTold(attempt.id));
            self.spool.set_flight(attempt.id, Flight::Told);
        }
    }

    /// Records the result of an attempt, as far as the spool takes it.
    pub(super) fn settle(&mut self, mut settling: Settling) {
        let id = settling.attempt.id;
        if let Some(flight) = settling.flight_to_end() {
            self.spool.set_flight(id, flight);
        }
        if let Some(disposition) = settling.said.unsaid {
            return self.happens_next(Event::Became { id, disposition });
        }
        let first = SettlementStep::first(&mut settling);
        match settling.earlier_flight_to_end() {
            Some(Flight::Told) => self.tell_hidden_duplicate(&mut settling.attempt),
            Some(flight) => self.spool.set_flight(id, flight),
            None => {}
        }
        if let Some(unrecorded) = self.advance(settling, first) {
            self.happens_next(Event::Unrecorded { id, why: CommitError::Full });
            self.unrecorded.push(unrecorded);
        }
    }

    /// Takes one step after the other. Returns the settlement if the spool refuses a record.
    fn advance(&mut self, mut settling: Settling, mut step: SettlementStep) -> Option<Unrecorded> {
        let id = settling.attempt.id;
        loop {
            let record = step.record(&mut settling, &self.terms());
            let has_record = record.is_some();
            let may_be_lost = matches!(record, None | Some(SettlementRecord::Replies));
            if !may_be_lost && !self.spool.takes_record() {
                return Some(Unrecorded(settling, step));
            }
            if let Some(record) = record {
                self.record(&mut settling, record);
            }
            step = match step.done(&settling, has_record, &self.terms()) {
                Advance::To(next) => next,
                Advance::Settled(disposition) => {
                    let event = match (self.returning.remove(&id), disposition) {
                        (Some(_), Disposition::Dead) => {
                            Event::CarriedOut { id, disposition, came_to: OrderResult::Dead }
                        }
                        (Some(came_to), _) => Event::CarriedOut { id, disposition, came_to },
                        (None, _) => Event::Became { id, disposition },
                    };
                    self.happens_next(event);
                    return None;
                }
            };
        }
    }

    /// The spool records everything from now on.
    pub(in crate::queue::reducer::tests) fn spool_records_again(&mut self) {
        self.spool.records_left = None;
        for Unrecorded(settling, step) in std::mem::take(&mut self.unrecorded) {
            assert!(self.advance(settling, step).is_none());
        }
        if std::mem::take(&mut self.awaits_recording) {
            self.happens_next(Event::Recordable);
        }
        self.come_to_rest();
    }

    fn record(&mut self, settling: &mut Settling, record: SettlementRecord) {
        let id = settling.attempt.id;
        match record {
            SettlementRecord::Fates => self.spool.record(&settling.attempt.ledger),
            SettlementRecord::Notice(notice) => self.commit(settling, &notice),
            SettlementRecord::Removal(settled) => self.spool.remove(settled.id()),
            SettlementRecord::Replies => self.spool.note(id, &settling.attempt.replies),
            SettlementRecord::State(state) => {
                if state == EntryState::Dead {
                    self.log.push(format!("{id}: dead: {}", settling.why_dead()));
                }
                self.spool.with(id).marks.set_state(state);
            }
        }
    }

    /// Puts a DSN on the spool, with what it means for the message that it is about.
    fn commit(&mut self, settling: &mut Settling, notice: &Notice) {
        let id = settling.attempt.id;
        let quoted = self.spool.message(id).content.clone();
        let frame = NoticeFrame {
            queue_id: self.spool.next_id(),
            hostname: "host.example",
            author: &Address::parse("MAILER-DAEMON@host.example").unwrap(),
            quoted: quoted.as_bytes(),
            is_whole: true,
            now: &self.now.time_of_day.to_zoned(TimeZone::UTC),
        };
        let (envelope, content) = settling.compose(notice, &frame);
        let dsn = (envelope, String::from_utf8(content).unwrap());
        let entry = self.spool.commit(dsn, OWN, self.now.time_of_day, self.relay_clock);
        self.happens_next(Event::Arrived(entry));
        match notice.kind {
            DsnKind::Relayed => {}
            DsnKind::Failed => {
                let ledger: &mut Ledger = &mut settling.attempt.ledger;
                ledger.bounced_in_memory(&notice.about);
                self.spool.record(ledger);
                self.spool.bury_no_more(id);
            }
            DsnKind::Delayed { .. } => self.spool.with(id).marks.set(Mark::Warned, true),
        }
    }

    pub(super) fn terms(&self) -> SettlementTerms {
        SettlementTerms {
            overseers: self.set_up.overseers.clone(),
            retry: self.set_up.policy.retry,
            now: self.now,
        }
    }
}
