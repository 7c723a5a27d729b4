//! The relays of the configuration, and those to which a message or a connection belongs.
//!
//! Promises: a connection belongs to one relay for as long as it exists. A message belongs to each relay that gets an
//! open recipient of it, and is in the roster of each, or it waits for a look-up of its relays (`unrouted.rs`). While one
//! relay has it, it is set aside at the others, so that it is under way once at most; what happens to it is recorded for
//! each recipient, so that nobody gets it twice. A relay that is paused so holds up no recipient of another one.
//!
//! A message with recipients at several relays is not split on the spool: its ledger knows the end of each recipient
//! already, a reload can route each of them anew, and no crash can come between its parts.
//!
//! After a reload with other routes every message is looked up again. One that is under way goes to its end first. A relay
//! that the configuration does not name any more is *retired*: it has nothing but what is under way.
//!
//! What is known of no relay any more is about the first one. Pure. Not here: what is known of one relay
//! (`relay_state.rs`), the rules (`routing.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::patience::PatienceReading;
use super::reducer::Disposition;
use super::relay_state::RelayState;
use super::roster::{Member, Roster, Standing, StandingCounts};
use super::unrouted::{Found, Unrouted};
use super::{ConnectionId, RelayPlace};
use crate::queue_id::QueueId;
use crate::routing::Routes;
use crate::spool::{Entry, EntryState, Mark};

/// Every relay, and every message.
pub(super) struct Relays {
    /// The relays of the configuration, each at its [`RelayPlace`]; at least one.
    in_force: Vec<RelayState>,
    retired: Vec<RelayState>,
    routes: Routes,
    unrouted: Unrouted,
    /// The messages that several relays get.
    shared: BTreeMap<QueueId, Vec<RelayPlace>>,
    /// The messages that were under way when the routes changed.
    stale: BTreeSet<QueueId>,
}

impl Relays {
    /// Returns a set of these relays, to which these routes lead.
    pub(super) fn new(in_force: Vec<RelayState>, routes: Routes) -> Self {
        Relays {
            in_force,
            retired: Vec::new(),
            routes,
            unrouted: Unrouted::default(),
            shared: BTreeMap::new(),
            stale: BTreeSet::new(),
        }
    }

    /// Returns the relay that gets what no route takes.
    pub(super) fn first(&self) -> &RelayState {
        &self.in_force[0]
    }

    /// Returns the relay at this place.
    pub(super) fn at(&mut self, place: RelayPlace) -> &mut RelayState {
        let place = if place.0 < self.in_force.len() { place.0 } else { 0 };
        &mut self.in_force[place]
    }

    /// Returns the relay that this connection leads to.
    pub(super) fn of_connection(&mut self, connection: ConnectionId) -> &mut RelayState {
        self.found(|relay| relay.connections.has(connection))
    }

    /// Returns the relay that has this message, or else one that gets it.
    pub(super) fn of_message(&mut self, id: QueueId) -> &mut RelayState {
        let standing = |relay: &RelayState| relay.roster.member(id).map(|member| member.standing);
        let is_under_way = self.all().any(|relay| standing(relay) == Some(Standing::UnderWay));
        self.found(|relay| match standing(relay) {
            Some(standing) => standing == Standing::UnderWay || !is_under_way,
            None => false,
        })
    }

    /// Returns the rules by which a message finds its relay.
    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Returns the place of the relay that this route leads to.
    pub(super) fn place_of_route(&self, route: &str) -> Option<RelayPlace> {
        self.in_force.iter().position(|relay| relay.route.as_deref() == Some(route)).map(RelayPlace)
    }

    /// Makes the messages ready that are deferred at this relay, or at any for `None`, and that another relay has now: they
    /// are tried as soon as that gives them back.
    pub(super) fn wake_set_aside(&mut self, at: Option<RelayPlace>, now: Timestamp) {
        for (id, places) in &self.shared {
            for place in places.iter().filter(|place| at.is_none_or(|at| at == **place)) {
                self.in_force[place.0].roster.wake_set_aside(*id, now);
            }
        }
    }

    /// Makes the deferred messages ready whose relays are being looked up.
    pub(super) fn wake_unrouted(&mut self, now: Timestamp) {
        self.unrouted.wake_all(now);
    }

    /// Returns the relays of the configuration.
    pub(super) fn in_force(&self) -> &[RelayState] {
        &self.in_force
    }

    /// Returns the relays of the configuration, each at its place, to be changed.
    pub(super) fn in_force_mut(&mut self) -> &mut [RelayState] {
        &mut self.in_force
    }

    /// Returns all relays, with those that are retired.
    pub(super) fn all(&self) -> impl Iterator<Item = &RelayState> {
        self.in_force.iter().chain(&self.retired)
    }

    /// Returns all relays, with those that are retired, to be changed.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut RelayState> {
        self.in_force.iter_mut().chain(&mut self.retired)
    }

    /// Returns the number of live messages.
    pub(super) fn live(&self) -> usize {
        let places: usize = self.shared.values().map(|places| places.len() - 1).sum();
        let rosters = self.all().map(|relay| &relay.roster).chain(self.unrouted.rosters());
        rosters.map(Roster::len).sum::<usize>() + self.unrouted.asked() - places
    }

    /// Returns the number of live messages in each state. One that several relays get counts once, in the state in which
    /// it is listed.
    pub(super) fn counts(&self) -> StandingCounts {
        let mut counts = self.unrouted.counts();
        self.all().for_each(|relay| counts += relay.roster.counts());
        for id in self.shared.keys() {
            let members = self.all().filter_map(|relay| relay.roster.member(*id));
            members.for_each(|member| counts.less(member.standing));
            self.member(*id).into_iter().for_each(|member| counts.more(member.standing));
        }
        counts
    }

    /// Returns the number of messages that are ready or under way at no relay of the configuration.
    pub(super) fn astray(&self) -> usize {
        let mut counts = self.unrouted.counts();
        self.retired.iter().for_each(|relay| counts += relay.roster.counts());
        counts.ready + counts.under_way
    }

    /// Returns what is remembered of this message; of the relays that get it, the one that has it counts first.
    pub(super) fn member(&self, id: QueueId) -> Option<&Member> {
        let members = self.all().filter_map(|relay| relay.roster.member(id));
        let is_elsewhere = |member: &&Member| matches!(member.standing, Standing::Elsewhere(_));
        members.min_by_key(is_elsewhere).or_else(|| self.unrouted.member(id))
    }

    /// Returns the newest dead message.
    pub(super) fn newest_dead(&self) -> Option<QueueId> {
        let rosters = self.all().map(|relay| &relay.roster).chain(self.unrouted.rosters());
        rosters.filter_map(Roster::newest_dead).max()
    }

    /// Returns the number of connections to relays that are retired.
    pub(super) fn retired_connections(&self) -> usize {
        self.retired.iter().map(|relay| relay.connections.len()).sum()
    }

    /// Takes in a message that was committed or recovered, and has used so much of its patience.
    pub(super) fn admit(&mut self, entry: &Entry, patience_used: Duration, now: Timestamp) {
        if !self.routes.0.is_empty() {
            return self.unrouted.admit(entry, patience_used, now);
        }
        let RelayState { roster, refusals, .. } = &mut self.in_force[0];
        roster.admit(entry, patience_used, now);
        if entry.marks.state() == EntryState::Held {
            refusals.held_before([entry.id]);
            roster.begin_patience(entry.id, now);
            roster.put_back(entry.id, now);
        }
    }

    /// Returns the next messages whose relays are to be looked up, with the number of the look-up.
    pub(super) fn next_lookup(&mut self) -> Option<(u64, Vec<QueueId>)> {
        self.unrouted.next_lookup()
    }

    /// Takes in which relays get these messages.
    pub(super) fn routed(&mut self, lookup: u64, found: Vec<(QueueId, Vec<RelayPlace>)>, now: Timestamp) {
        for (id, mut places) in found {
            let Some(Found { member, was_held }) = self.unrouted.found(lookup, id) else { continue };
            if member.standing == Standing::Dead {
                places.truncate(1);
            }
            for place in &places {
                let RelayState { roster, refusals, .. } = self.at(*place);
                roster.adopt(id, member, PatienceReading::default(), now);
                let may_be_tried = !matches!(member.standing, Standing::Dead | Standing::OnHold);
                if was_held && may_be_tried {
                    refusals.held_before([id]);
                }
                // Mail of a sender is held that another relay did not take: this one has not refused it.
                if was_held && may_be_tried || roster.is_held(id) {
                    roster.begin_patience(id, now);
                    roster.put_back(id, now);
                }
            }
            if places.len() > 1 {
                self.shared.insert(id, places);
            }
        }
    }

    /// Sets these messages, which a relay has been given, aside at the others.
    pub(super) fn set_aside(&mut self, given: impl Iterator<Item = QueueId>) {
        for id in given {
            for place in self.shared.get(&id).into_iter().flatten() {
                self.in_force[place.0].roster.set_aside(id);
            }
        }
    }

    /// Takes in the end of an attempt, after the relay that had the message has taken it in.
    pub(super) fn settled(&mut self, id: QueueId, disposition: Disposition, now: Timestamp) {
        let is_stale = self.stale.remove(&id);
        if let Disposition::Deferred { warned: true, .. } | Disposition::Lost { warned: true } = disposition {
            self.warned_of(id);
        }
        match disposition {
            Disposition::Removed | Disposition::Dead => self.leaves_others(id, disposition),
            Disposition::Routed => {
                self.leaves_all_but_one(id);
                self.route_anew(id, now);
            }
            Disposition::Served if self.shared.contains_key(&id) => self.leaves_one(id),
            // Nobody else gets it by what is known: so the routes are other ones than when it was looked up.
            Disposition::Served => self.route_anew(id, now),
            _ if is_stale => self.route_anew(id, now),
            // What is dead stays where it died, whatever the routes became since.
            Disposition::Released if !self.shared.contains_key(&id) && self.may_be_elsewhere(id) => {
                self.route_anew(id, now)
            }
            Disposition::OnHold | Disposition::Released => self.follows_at_others(id, disposition, now),
            _ => {}
        }
        self.comes_back(id, now);
    }

    /// Returns whether the routes may lead a message that one relay has to another one.
    fn may_be_elsewhere(&self, id: QueueId) -> bool {
        !self.routes.0.is_empty() || self.in_force[0].roster.member(id).is_none()
    }

    /// Has a message do the same at each of its relays, after an order of an operator.
    fn follows_at_others(&mut self, id: QueueId, disposition: Disposition, now: Timestamp) {
        for place in self.shared.get(&id).into_iter().flatten() {
            let relay = &mut self.in_force[place.0];
            if disposition == Disposition::OnHold {
                relay.roster.put_on_hold(id, now);
            } else {
                relay.release(id, now);
            }
        }
    }

    /// Takes a message out of everybody's hands for an order of an operator. Returns what is remembered of it, how much of
    /// its patience it has used, and what it was doing.
    pub(super) fn take_up(&mut self, id: QueueId, now: Timestamp) -> Option<(Member, Duration, Standing)> {
        let roster = &mut self.of_message(id).roster;
        let (member, was) = roster.take_up(id, now)?;
        Some((member, member.patience_used(roster.reading(now)), was))
    }

    /// Has a message tried now at each relay that has it as deferred or held. Returns whether there is one.
    pub(super) fn retry(&mut self, id: QueueId, now: Timestamp) -> bool {
        let mut is_retried = false;
        for relay in self.all_mut() {
            is_retried |= relay.retry(id, now);
        }
        is_retried
    }

    /// Returns whether the relays of this message are not known yet.
    pub(super) fn is_unrouted(&self, id: QueueId) -> bool {
        self.unrouted.member(id).is_some()
    }

    /// Notes at each relay of a message that its sender was told of the delay, which is done once for all of them.
    fn warned_of(&mut self, id: QueueId) {
        for place in self.shared.get(&id).into_iter().flatten() {
            let roster = &mut self.in_force[place.0].roster;
            roster.update(id, |member| member.marks = member.marks.and(Mark::Warned, true));
        }
    }

    /// Removes a message that is settled from the rosters of the other relays.
    fn leaves_others(&mut self, id: QueueId, disposition: Disposition) {
        for place in self.shared.remove(&id).into_iter().flatten() {
            let relay = &mut self.in_force[place.0];
            let is_kept = disposition == Disposition::Dead
                && relay.roster.member(id).is_some_and(|member| member.standing == Standing::Dead);
            if !is_kept {
                relay.forget(id);
            }
        }
    }

    /// Removes a message from each relay but the one that has it.
    fn leaves_all_but_one(&mut self, id: QueueId) {
        let place = self.of_message(id).place;
        for other in self.shared.remove(&id).into_iter().flatten().filter(|other| *other != place) {
            self.in_force[other.0].forget(id);
        }
    }

    /// Removes a message from the relay that had it, and that gets none of its recipients any more.
    fn leaves_one(&mut self, id: QueueId) {
        let Some(places) = self.shared.get_mut(&id) else { return };
        let has_it = |place: &RelayPlace| {
            let member = self.in_force[place.0].roster.member(id);
            member.is_some_and(|member| !matches!(member.standing, Standing::Elsewhere(_)))
        };
        if let Some(position) = places.iter().position(has_it) {
            let place = places.remove(position);
            self.in_force[place.0].forget(id);
        }
    }

    /// Makes a message that no relay has any more one that any of its relays may take. What was recorded of it is the same
    /// for all.
    fn comes_back(&mut self, id: QueueId, now: Timestamp) {
        let Some(places) = self.shared.get(&id) else { return };
        for place in places {
            self.in_force[place.0].roster.take_back(id, now);
        }
        if places.len() == 1 {
            self.shared.remove(&id);
        }
    }

    /// Has the relays of a message looked up that is not under way.
    fn route_anew(&mut self, id: QueueId, now: Timestamp) {
        let relay = self.of_message(id);
        let was_held = relay.refusals.is_held(id);
        let reading = relay.roster.reading(now);
        if let Some((_, member)) = relay.forget(id) {
            self.unrouted.add(id, member, reading, was_held, now);
        }
    }

    /// Replaces the relays of the configuration by those that `change` makes of them, or of nothing; those that are left
    /// over are retired. If the routes are other ones, every message is routed anew.
    pub(super) fn reconfigure(
        &mut self,
        change: impl FnOnce(&mut Vec<RelayState>) -> Vec<RelayState>,
        routes: Routes,
        now: Timestamp,
    ) {
        self.in_force = {
            let mut old = std::mem::take(&mut self.in_force);
            let new = change(&mut old);
            self.retired.extend(old);
            new
        };
        if routes == self.routes {
            return;
        }
        self.routes = routes;
        self.unrouted.route_anew(now);
        self.leave_shared();
        let Relays { in_force, retired, unrouted, stale, .. } = self;
        for relay in in_force.iter_mut().chain(retired) {
            let reading = relay.roster.reading(now);
            let rest = relay.roster.split_off_idle(now);
            stale.extend(relay.roster.ids());
            let held: Vec<QueueId> =
                relay.refusals.held().filter(|id| relay.roster.member(*id).is_none()).collect();
            held.iter().for_each(|id| relay.refusals.release(*id));
            unrouted.add_all(rest, held, reading);
        }
    }

    /// Leaves each message that several relays get in one roster: that of the relay that has it, if one has.
    fn leave_shared(&mut self) {
        for id in std::mem::take(&mut self.shared).into_keys() {
            let has_it = |relay: &RelayState| relay.roster.member(id).is_some();
            let is_under_way = |relay: &RelayState| relay.roster.is_under_way(id);
            let keeper = self.all().position(is_under_way).or_else(|| self.all().position(has_it));
            let others = self.all_mut().enumerate().filter(|(place, _)| Some(*place) != keeper);
            others.for_each(|(_, relay)| {
                relay.forget(id);
            });
        }
    }

    /// Forgets the retired relays that have nothing any more.
    pub(super) fn forget_retired(&mut self) {
        self.retired.retain(|relay| relay.roster.len() + relay.connections.len() > 0);
    }

    /// Returns the relay of which this is so; if it is so of none, the first one.
    fn found(&mut self, is_so: impl Fn(&RelayState) -> bool) -> &mut RelayState {
        let place = self.all().position(is_so).unwrap_or_default();
        match place.checked_sub(self.in_force.len()) {
            Some(place) => &mut self.retired[place],
            None => &mut self.in_force[place],
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::queue::clock::Moment;
    use crate::queue::part_limits::PartLimits;
    use crate::queue::reducer::RelayPolicy;
    use crate::queue::refusals::RefusalRule;
    use crate::queue::testing::entry;

    fn policy(name: &str) -> RelayPolicy {
        let refusals = RefusalRule { relay: name.into(), has_login: true, on_refusal: None };
        RelayPolicy {
            route: None,
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
        let mut relay = RelayState::new(RelayPlace(place), policy(name), moment);
        relay.roster.admit(&entry(number), Duration::ZERO, now);
        relay.connections.begin(number);
        relay
    }

    fn two() -> Relays {
        Relays::new(vec![relay(0, "one.example", 1), relay(1, "two.example", 2)], Routes::default())
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

    /// A message that went to another relay was still said to have met a reply that is too long, and waited there for a time
    /// that the first one had told it.
    #[test]
    fn what_a_message_met_is_forgotten_with_it_and_with_the_settings() {
        let now = Timestamp::UNIX_EPOCH;
        let moment = Moment { steady: now, time_of_day: now };
        let ways: [fn(&mut RelayState, Moment); 2] = [
            |relay, _| assert!(relay.forget(QueueId::from_raw(1)).is_some()),
            |relay, moment| assert!(relay.reconfigure(policy("one.example"), moment).is_empty()),
        ];
        for way in ways {
            let mut relay = relay(0, "one.example", 1);
            relay.met_overlong.insert(QueueId::from_raw(1));
            relay.told_alone.insert(QueueId::from_raw(1), now);
            way(&mut relay, moment);
            assert!(relay.met_overlong.is_empty() && relay.told_alone.is_empty());
        }
    }
}
