//! The relays of the configuration, and the one to which a message or a connection belongs.
//!
//! Promises: a message and a connection belong to one relay each, for as long as they exist; an event about one of them
//! finds that relay. What is known of no relay any more is about the first one.
//!
//! Today the configuration names one relay, which gets all mail.
//!
//! Pure. Not here: what is known of one relay (`relay_state.rs`).

use super::relay_state::RelayState;
use super::{ConnectionId, RelayPlace};
use crate::queue_id::QueueId;

/// Every relay of the configuration, each at its [`RelayPlace`]; at least one.
pub(super) struct Relays(Vec<RelayState>);

impl Relays {
    /// Returns a set of these relays, of which the first one gets the mail that arrives.
    pub(super) fn new(relays: Vec<RelayState>) -> Self {
        Relays(relays)
    }

    /// Returns the relay that gets the mail that arrives.
    pub(super) fn first(&self) -> &RelayState {
        &self.0[0]
    }

    /// Returns the relay that gets the mail that arrives, to be changed.
    pub(super) fn first_mut(&mut self) -> &mut RelayState {
        &mut self.0[0]
    }

    /// Returns the relay at this place.
    pub(super) fn at(&mut self, place: RelayPlace) -> &mut RelayState {
        self.found(|relay| relay.place == place)
    }

    /// Returns the relay that this connection leads to.
    pub(super) fn of_connection(&mut self, connection: ConnectionId) -> &mut RelayState {
        self.found(|relay| relay.connections.has(connection))
    }

    /// Returns the relay that gets this message.
    pub(super) fn of_message(&mut self, id: QueueId) -> &mut RelayState {
        self.found(|relay| relay.roster.member(id).is_some())
    }

    /// Returns all relays.
    pub(super) fn all(&self) -> impl Iterator<Item = &RelayState> {
        self.0.iter()
    }

    /// Returns all relays, to be changed.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut RelayState> {
        self.0.iter_mut()
    }

    /// Returns the number of live messages.
    pub(super) fn live(&self) -> usize {
        self.all().map(|relay| relay.roster.len()).sum()
    }

    /// Returns the relay of which this is so; if it is so of none, the first one.
    fn found(&mut self, is_so: impl Fn(&RelayState) -> bool) -> &mut RelayState {
        let place = self.0.iter().position(is_so).unwrap_or_default();
        &mut self.0[place]
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::envelope::Submitter;
    use crate::queue::clock::Moment;
    use crate::queue::part_limits::PartLimits;
    use crate::queue::reducer::RelayPolicy;
    use crate::queue::refusals::RefusalRule;
    use crate::queue::relay_clock::RelayClock;
    use crate::spool::{Entry, EntryState};

    fn policy(name: &str) -> RelayPolicy {
        let refusals = RefusalRule { relay: name.into(), has_login: true, on_refusal: None };
        RelayPolicy {
            max_connections: 2,
            parts: PartLimits { recipients: 50, domains: None },
            rates: Vec::new(),
            rates_record: String::new(),
            refusals,
            has_taken: true,
        }
    }

    /// Returns a relay with one message and one connection, both of this number.
    fn relay(place: usize, name: &str, number: u64) -> RelayState {
        let now = Timestamp::UNIX_EPOCH;
        let moment = Moment { steady: now, time_of_day: now };
        let mut relay =
            RelayState::new(RelayPlace(place), policy(name), RelayClock::starting_at(0, now), moment);
        let entry = Entry {
            id: QueueId::from_raw(number),
            arrived: now,
            submitter: Submitter::Loopback,
            lane: 1,
            patience_mark: 0,
            marks: EntryState::Active.into(),
        };
        relay.roster.admit(&entry, now);
        relay.connections.begin(number);
        relay
    }

    fn two() -> Relays {
        Relays::new(vec![relay(0, "one.example", 1), relay(1, "two.example", 2)])
    }

    #[test]
    fn a_message_and_a_connection_find_their_relay_and_what_is_unknown_the_first_one() {
        let mut relays = two();
        for (number, name) in [(1, "one.example"), (2, "two.example"), (3, "one.example")] {
            assert_eq!(relays.of_message(QueueId::from_raw(number)).name, name);
            assert_eq!(relays.of_connection(number).name, name);
        }
        assert_eq!((relays.first().name.as_str(), relays.live()), ("one.example", 2));
    }

    #[test]
    fn another_name_in_the_configuration_takes_the_messages_over_and_leaves_other_relays_alone() {
        let mut relays = two();
        let moment = Moment { steady: Timestamp::UNIX_EPOCH, time_of_day: Timestamp::UNIX_EPOCH };
        let waited = relays.at(RelayPlace(0)).reconfigure(policy("three.example"), moment);
        assert_eq!(waited, vec![]);
        let names: Vec<&str> = relays.all().map(|relay| relay.name.as_str()).collect();
        assert_eq!(names, ["three.example", "two.example"]);
        assert_eq!(relays.of_message(QueueId::from_raw(1)).name, "three.example");
        assert!(relays.of_connection(1).is_outdated(1) && !relays.of_connection(2).is_outdated(2));
    }
}
