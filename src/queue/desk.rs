//! The shared context of connections and settlements: the queue, the spool, the settings and the time.

use std::sync::Arc;

use super::attempt::Attempt;
use super::clock::Clock;
use super::null_sender::NullSender;
use super::reducer::{Disposition, Event};
use super::settlement::SettlementTerms;
use super::tally::{RelayTallies, RelayTally};
use super::{Queue, RelayPlace, RelaySettings, Settings};
use crate::log;
use crate::queue_id::QueueId;
use crate::spool::{Flight, Spool};

/// The context that the connections and settlements under the same settings share.
pub(super) struct DeliveryDesk {
    pub(super) queue: Queue,
    pub(super) spool: Spool,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    /// What each relay gets in place of `<>`, in the order of the relays.
    null_senders: Vec<NullSender>,
    pub(super) tallies: Arc<RelayTallies>,
    /// The counters of each relay, in the order of the relays.
    relay_tallies: Vec<Arc<RelayTally>>,
}

impl DeliveryDesk {
    pub(super) fn new(
        queue: Queue,
        spool: Spool,
        settings: Settings,
        clock: Arc<dyn Clock>,
        tallies: Arc<RelayTallies>,
    ) -> Self {
        let null_sender =
            |relay: &RelaySettings| NullSender::new(relay.route.clone(), settings.null_substitutes());
        let null_senders = settings.relays.iter().map(null_sender).collect();
        let tally = |relay: &RelaySettings| tallies.of(relay.route.as_deref());
        let relay_tallies = settings.relays.iter().map(tally).collect();
        DeliveryDesk { queue, spool, settings, clock, null_senders, tallies, relay_tallies }
    }

    /// Returns what this relay gets in place of `<>`.
    pub(super) fn null_sender(&self, place: RelayPlace) -> &NullSender {
        // A place is one of the settings in force, whose desk this is.
        &self.null_senders[place.0]
    }

    /// Returns the counters of this relay.
    pub(super) fn tally(&self, place: RelayPlace) -> &RelayTally {
        // A place is one of the settings in force, whose desk this is.
        &self.relay_tallies[place.0]
    }

    /// Returns the settings of this relay.
    pub(super) fn relay(&self, place: RelayPlace) -> &RelaySettings {
        // A place is one of the settings in force, whose desk this is.
        &self.settings.relays[place.0]
    }

    /// Returns what decides now about the result of an attempt.
    pub(super) fn terms(&self) -> SettlementTerms {
        SettlementTerms {
            overseers: self.settings.overseers.clone(),
            retry: self.settings.retry,
            now: self.clock.moment(),
        }
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
