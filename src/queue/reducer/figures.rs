//! The figures of the queue for those who ask, and the tries that they may ask for.
//!
//! Not here: how the figures are shown (`admin/`).

use std::time::Duration;

use jiff::Timestamp;

use super::super::relay_state::RelayState;
use super::super::roster::{RefusedSender, SenderRefusal, Standing};
use super::super::status::rate_in_words;
use super::super::{
    MessageStanding, PaceStatus, QueueStatus, RelayCounts, RelayStatus, RelayTimes, SenderStatus, TooSoon,
};
use super::{AtRelay, Effect, Reducer};
use crate::log::{HeldBack, SenderHeldBack};
use crate::message::dsn::Overseers;
use crate::queue_id::QueueId;
use crate::relay::{RelayFault, Trouble};

/// The time between two ETRN that are followed: anybody on this host may send one, and each may cost a login.
const CLIENT_PROBE_INTERVAL: Duration = Duration::from_secs(60);

impl Reducer {
    pub(super) fn probe_now(&mut self) {
        self.wake_unready();
        self.for_each_relay(|at| at.try_for_operator());
    }

    /// Probes each paused relay, as soon as it has a message that may be tried.
    pub(super) fn probe_relays(&mut self) {
        self.for_each_relay(|at| {
            at.shared.effects.push(Effect::GiveTurns(at.relay.place));
            at.relay.breaker.probe_now(at.shared.now.steady);
        });
    }

    /// Probes the relay of this route, and tries every deferred and every held message that it gets.
    pub(super) fn probe_route(&mut self, route: &str) {
        let now = self.shared.now.steady;
        let Some(place) = self.relays.place_of_route(route) else { return };
        self.relays.wake_set_aside(Some(place), now);
        AtRelay { relay: self.relays.at(place), shared: &mut self.shared }.try_for_operator();
    }

    /// Has the deferred messages tried that no roster has as deferred: those that another relay has now, and those whose
    /// relays are being looked up.
    fn wake_unready(&mut self) {
        let now = self.shared.now.steady;
        self.relays.wake_set_aside(None, now);
        self.relays.wake_unrouted(now);
    }

    pub(super) fn probe_for_client(&mut self) -> Option<TooSoon> {
        let now = self.shared.now.steady;
        let since = |time| Duration::try_from(now.duration_since(time)).unwrap_or_default();
        let last = self.shared.last_client_probe.map(since);
        if let Some(last) = last.filter(|last| *last < CLIENT_PROBE_INTERVAL) {
            let until = |time: Timestamp| Duration::try_from(time.duration_since(now)).unwrap_or_default();
            let next_probe_in = self.relays.first().breaker.retry_at().map(until);
            return Some(TooSoon { last, again_in: CLIENT_PROBE_INTERVAL - last, next_probe_in });
        }
        self.shared.last_client_probe = Some(now);
        self.wake_unready();
        self.for_each_relay(|at| at.probe_for_client());
        None
    }

    pub(super) fn standings(&self, ids: Vec<QueueId>) -> Vec<MessageStanding> {
        let shown = |standing| match standing {
            Standing::Waiting(due) => Standing::Waiting(self.second_of_day(due)),
            other => other,
        };
        let known = |id| {
            let member = self.relays.member(id)?;
            // One that is tried behind others, since it was refused, has no other mark for that.
            let is_refused = |relay: &RelayState| relay.want_of_login.waits(id) || relay.guesses.is_apart(id);
            let losses = if self.relays.all().any(is_refused) { 0 } else { member.losses };
            let met_overlong = self.relays.all().any(|relay| relay.met_overlong.contains(&id));
            let marked = self.orders.waiting_for(id);
            Some(MessageStanding { id, standing: shown(member.standing), losses, met_overlong, marked })
        };
        ids.into_iter().filter_map(known).collect()
    }

    /// Returns a second of the steady time in the time of day.
    fn second_of_day(&self, steady: u32) -> u32 {
        let steady = Timestamp::from_second(steady.into()).unwrap_or(Timestamp::MAX);
        u32::try_from(self.shared.now.time_of_day_at(steady).as_second().max(0)).unwrap_or(u32::MAX)
    }

    pub(super) fn status(&mut self) -> QueueStatus {
        let oldest = |relay: &mut RelayState| relay.roster.oldest();
        let oldest: Vec<Option<Timestamp>> = self.relays.in_force_mut().iter_mut().map(oldest).collect();
        let relays = self.relays.in_force().iter().zip(oldest);
        let relays = relays.map(|(relay, oldest)| self.relay_status(relay, oldest)).collect();
        let counts = self.relays.counts();
        QueueStatus {
            // The executor knows them.
            overseers: Overseers::default(),
            live: self.relays.live(),
            ready: counts.ready,
            under_way: counts.under_way,
            deferred: counts.deferred,
            held: counts.held,
            on_hold: counts.on_hold,
            dead: counts.dead,
            newest_dead: self.relays.newest_dead(),
            cannot_record: !self.shared.recording.works(),
            astray: self.relays.astray(),
            relays,
            routes: self.relays.routes().clone(),
            retired_connections: self.relays.retired_connections(),
        }
    }

    fn relay_status(&self, relay: &RelayState, oldest: Option<Timestamp>) -> RelayStatus {
        let counts = relay.roster.counts();
        RelayStatus {
            route: relay.route.clone(),
            name: relay.name.clone(),
            live: relay.roster.len(),
            ready: counts.ready,
            under_way: counts.under_way,
            deferred: counts.deferred,
            held: counts.held,
            on_hold: counts.on_hold,
            connections: relay.connections.len(),
            oldest,
            // The executor knows them.
            counts: RelayCounts::default(),
            times: RelayTimes::default(),
            reached: relay.reached,
            troubles: relay.troubles,
            is_untried: relay.breaker.is_untried(),
            paused_since: relay.paused_since.map(|time| self.shared.now.time_of_day_at(time)),
            paused_until: relay.breaker.retry_at().map(|time| self.shared.now.time_of_day_at(time)),
            halted_by: relay.halted_by.clone(),
            trouble: relay.trouble.as_ref().map(ToString::to_string),
            trouble_outline: relay.trouble.as_ref().map(Trouble::outline),
            trouble_advice: relay.trouble.as_ref().map(Trouble::advice_for_anybody),
            fault: relay.trouble.as_ref().map(RelayFault::of),
            // The executor knows the connectors, which know this.
            expiring: Vec::new(),
            ends: Vec::new(),
            passed_over: Vec::new(),
            unwritten_token: None,
            held_senders: relay.roster.refused_senders().map(sender_status).collect(),
            held_because: self.held_because(relay),
            pace: self.pace(relay),
        }
    }

    fn pace(&self, relay: &RelayState) -> PaceStatus {
        let (now, max_connections) = (self.shared.now.steady, relay.max_connections);
        let allowed = relay.throttle.connections_allowed(max_connections);
        let next = Some(relay.next_by_rate()).filter(|next| *next > now && relay.roster.has_ready());
        let learned = relay.parts.learned(now);
        let slope = relay.breaker.slope().filter(|slope| *slope <= allowed);
        let told = "since the relay asked for fewer; one more after each five seconds without that";
        let why = slope.and(relay.breaker.slope_reason()).unwrap_or(told);
        let connections_allowed = slope.unwrap_or(allowed);
        PaceStatus {
            max_connections,
            connections_allowed,
            fewer_because: (connections_allowed < max_connections).then_some(why),
            rates: relay.rates.figures(now).map(|(rate, left)| (rate.to_string(), left)).collect(),
            slowed_to: relay.throttle.rate(now).map(rate_in_words),
            recipients_limited_to: learned.recipients,
            domains_limited_to: learned.domains,
            next_message: next.map(|time| self.shared.now.time_of_day_at(time)),
        }
    }

    /// Returns why mail is held at this relay, and what to do about it, if some is.
    fn held_because(&self, relay: &RelayState) -> Option<String> {
        let mut senders = relay.roster.refused_senders();
        if let (Some(first), Some(next)) = (senders.next(), relay.roster.next_sender_due()) {
            let SenderRefusal { from, said, hint, .. } = &first.refusal;
            let next = self.shared.now.time_of_day_at(next);
            let others = senders.count();
            return Some(SenderHeldBack { from, said, hint: hint.as_deref(), others, next }.to_string());
        }
        let (said, until) = (relay.refusals.held_by()?, relay.refusals.held_until());
        Some(HeldBack { said, until, has_null_sender: self.shared.has_null_sender }.to_string())
    }
}

fn sender_status(sender: &RefusedSender) -> SenderStatus {
    SenderStatus { from: sender.refusal.from.clone(), said: sender.refusal.said.clone() }
}

impl AtRelay<'_> {
    /// Has everything tried at once, since an operator wants it.
    fn try_for_operator(&mut self) {
        self.shared.effects.push(Effect::GiveTurns(self.relay.place));
        self.probe_now();
    }

    fn probe_now(&mut self) {
        self.relay.breaker.probe_now(self.shared.now.steady);
        self.try_all();
    }

    /// Does the same for a client, except that a refused login is not tried: each refused login counts against the
    /// account, and the client need not be the person who corrected the password.
    fn probe_for_client(&mut self) {
        if self.relay.breaker.is_locked_out() { self.try_all() } else { self.probe_now() }
    }
}
