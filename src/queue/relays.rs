//! The relays that the queue knows, by name, and the one to which a message or a connection belongs.
//!
//! Promises: a message and a connection belong to one relay each, for as long as they exist; an event about one of them
//! finds that relay. What is known of no relay any more is about the relay in force.
//!
//! Today the configuration names one relay, which gets all mail: the map has one entry.
//!
//! Pure. Not here: what is known of one relay (`relay_state.rs`).

use std::collections::BTreeMap;

use super::ConnectionId;
use super::refusals::RefusalRule;
use super::relay_state::RelayState;
use crate::queue_id::QueueId;

/// Every relay that has messages or connections.
pub(super) struct Relays {
    by_name: BTreeMap<String, RelayState>,
    /// The name of the relay that gets the mail which arrives.
    in_force: String,
}

impl Relays {
    /// Returns a set of this one relay, which gets all mail.
    pub(super) fn new(relay: RelayState) -> Self {
        let in_force = relay.name.clone();
        Relays { by_name: BTreeMap::from([(in_force.clone(), relay)]), in_force }
    }

    /// Returns the relay that gets the mail which arrives.
    pub(super) fn in_force(&self) -> &RelayState {
        &self.by_name[&self.in_force]
    }

    /// Returns the relay that gets the mail which arrives, to be changed.
    pub(super) fn in_force_mut(&mut self) -> &mut RelayState {
        self.found(|_| false)
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
        self.by_name.values()
    }

    /// Returns all relays, to be changed.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut RelayState> {
        self.by_name.values_mut()
    }

    /// Returns the number of live messages.
    pub(super) fn live(&self) -> usize {
        self.all().map(|relay| relay.roster.len()).sum()
    }

    /// Puts a changed configuration into force, by which the relay in force may be another one: its messages are the new
    /// relay's from now on. Returns the relay, and those messages that waited for a login.
    pub(super) fn reconfigure(
        &mut self,
        rule: RefusalRule,
        max_connections: usize,
        has_taken: bool,
    ) -> (&mut RelayState, Vec<QueueId>) {
        // `in_force` always names an entry.
        let mut relay = self.by_name.remove(&self.in_force).expect("the relay in force is known");
        let waited = relay.reconfigure(rule, max_connections, has_taken);
        self.in_force.clone_from(&relay.name);
        (self.by_name.entry(relay.name.clone()).insert_entry(relay).into_mut(), waited)
    }

    /// Returns the relay of which this is so; if it is so of none, the relay in force.
    fn found(&mut self, is_so: impl Fn(&RelayState) -> bool) -> &mut RelayState {
        let place = self.by_name.values().position(is_so);
        let found = match place {
            Some(place) => self.by_name.values_mut().nth(place),
            None => self.by_name.get_mut(&self.in_force),
        };
        // `in_force` always names an entry.
        found.expect("the relay in force is known")
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::envelope::Submitter;
    use crate::queue::relay_clock::RelayClock;
    use crate::spool::{Entry, EntryState};

    fn rule(name: &str) -> RefusalRule {
        RefusalRule { relay: name.into(), has_login: true, on_refusal: None }
    }

    /// Returns a relay with one message and one connection, both of this number.
    fn relay(name: &str, number: u64) -> RelayState {
        let now = Timestamp::UNIX_EPOCH;
        let mut relay = RelayState::new(rule(name), 2, true, [], RelayClock::starting_at(0, now));
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
        let mut relays = Relays::new(relay("one.example", 1));
        relays.by_name.insert("two.example".into(), relay("two.example", 2));
        relays
    }

    #[test]
    fn a_message_and_a_connection_find_their_relay_and_what_is_unknown_the_one_in_force() {
        let mut relays = two();
        for (number, name) in [(1, "one.example"), (2, "two.example"), (3, "one.example")] {
            assert_eq!(relays.of_message(QueueId::from_raw(number)).name, name);
            assert_eq!(relays.of_connection(number).name, name);
        }
        assert_eq!((relays.in_force().name.as_str(), relays.live()), ("one.example", 2));
    }

    #[test]
    fn another_name_in_the_configuration_takes_the_messages_over_and_leaves_other_relays_alone() {
        let mut relays = two();
        let (relay, waited) = relays.reconfigure(rule("three.example"), 5, false);
        assert_eq!((relay.name.as_str(), relay.max_connections, waited), ("three.example", 5, vec![]));
        let names: Vec<&str> = relays.all().map(|relay| relay.name.as_str()).collect();
        assert_eq!(names, ["three.example", "two.example"]);
        assert_eq!(relays.of_message(QueueId::from_raw(1)).name, "three.example");
        assert!(relays.of_connection(1).is_outdated(1) && !relays.of_connection(2).is_outdated(2));
    }
}
