//! The shared context of connections and settlements: the queue, the spool, the settings and the time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::attempt::Attempt;
use super::clock::Clock;
use super::reducer::{Disposition, Event};
use super::{Queue, Settings};
use crate::log;
use crate::queue_id::QueueId;
use crate::spool::{Flight, Spool};

/// The context that the connections and settlements under the same settings share.
pub(super) struct DeliveryDesk {
    pub(super) queue: Queue,
    pub(super) spool: Spool,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    /// The relay has refused mail from `<>` to the postmaster.
    pub(super) null_is_refused: AtomicBool,
}

impl DeliveryDesk {
    pub(super) fn new(queue: Queue, spool: Spool, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        DeliveryDesk { queue, spool, settings, clock, null_is_refused: AtomicBool::new(false) }
    }

    pub(super) fn became(&self, id: QueueId, disposition: Disposition) {
        self.queue.tell(Event::Became { id, disposition });
    }

    /// Logs that an earlier run may have sent this message, if nobody has said so yet, and notes on the spool that it
    /// was said. It is called at the latest safe moment: before a second final dot, and before a record that ends the
    /// mark on the spool.
    pub(super) async fn tell_hidden_duplicate(&self, attempt: &mut Attempt) {
        let Attempt { id, member, .. } = attempt;
        if member.marks.hides_duplicate() {
            log::possible_duplicate(*id, "an earlier attempt was past its content when nullmta ended");
            member.marks.set_flight(Flight::Told);
            self.queue.tell(Event::DuplicateTold(*id));
            self.spool.end_flight(*id, Flight::Told).await;
        }
    }
}
