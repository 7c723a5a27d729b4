//! The set-up of a world: the configuration of the queue, and the moment at which a test begins.

use std::rc::Rc;

use fastrand::Rng;
use jiff::Timestamp;

use super::super::super::{QueuePolicy, Reducer, RelayPolicy};
use super::{DAY, HOUR, MINUTE};
use crate::envelope::{Address, ReversePathKey, Submitter};
use crate::message::dsn::Overseers;
use crate::queue::clock::Moment;
use crate::queue::null_sender::{NullSender, NullSubstitutes};
use crate::queue::part_limits::PartLimits;
use crate::queue::refusals::RefusalRule;
use crate::queue::schedule::RetryPolicy;
use crate::queue_id::QueueId;
use crate::routing::{AddressPattern, RouteRule, Routes, SenderPattern, SendersIn};
use crate::spool::{Entry, EntryState};

/// The configuration, and what is remembered of the relay.
pub(in crate::queue::reducer::tests) struct SetUp {
    pub(in crate::queue::reducer::tests) policy: QueuePolicy,
    pub(in crate::queue::reducer::tests) overseers: Overseers,
    pub(in crate::queue::reducer::tests) null_sender: Option<Address>,
    pub(in crate::queue::reducer::tests) bounce_sender: Option<Address>,
    pub(in crate::queue::reducer::tests) postmaster_sender: Option<Address>,
    /// The seed of all chance.
    pub(in crate::queue::reducer::tests) seed: u64,
}

pub(in crate::queue::reducer::tests) fn policy(max_connections: usize) -> QueuePolicy {
    QueuePolicy {
        retry: RetryPolicy { shortest: MINUTE, longest: HOUR, lifetime: DAY * 5, delay_warning: None },
        has_null_sender: false,
        relays: vec![relay_policy("relay.example:587", max_connections)],
        routes: Routes::default(),
        pauses: Vec::new(),
    }
}

/// Returns the policy for a relay that has taken mail before.
pub(in crate::queue::reducer::tests) fn relay_policy(name: &str, max_connections: usize) -> RelayPolicy {
    RelayPolicy {
        route: None,
        max_connections,
        parts: PartLimits { recipients: 50, domains: None },
        rates: Vec::new(),
        rates_record: String::new(),
        refusals: RefusalRule { relay: name.into(), has_login: true, on_refusal: None },
        has_taken: true,
    }
}

pub(in crate::queue::reducer::tests) fn start() -> Moment {
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    Moment { steady: start, time_of_day: start }
}

pub(in crate::queue::reducer::tests) fn entry(raw: u64, now: Moment, patience_mark: u32) -> Entry {
    Entry {
        id: QueueId::from_raw(raw),
        arrived: now.time_of_day,
        submitter: Submitter::Loopback,
        lane: 1,
        from: ReversePathKey::of_text("app@example.org"),
        patience_mark,
        patience_used: 0,
        marks: EntryState::Active.into(),
    }
}

impl SetUp {
    /// Returns the set-up of a relay that has taken mail before.
    pub(super) fn new(max_connections: usize) -> Self {
        SetUp {
            policy: policy(max_connections),
            overseers: Overseers::default(),
            null_sender: None,
            bounce_sender: None,
            postmaster_sender: None,
            seed: 7,
        }
    }

    /// Adds a route to a relay of its own, for mail from these senders to these recipients; none stands for all.
    pub(in crate::queue::reducer::tests) fn add_route(
        &mut self,
        name: &str,
        senders: &[&str],
        recipients: &[&str],
    ) {
        let max_connections = self.policy.relays[0].max_connections;
        let relay = RelayPolicy {
            route: Some(name.into()),
            ..relay_policy(&format!("{name}.example:587"), max_connections)
        };
        self.policy.relays.push(relay);
        self.policy.routes.0.push(RouteRule {
            name: name.into(),
            senders: senders.iter().map(|text| SenderPattern::parse(text).unwrap()).collect(),
            senders_in: SendersIn::Envelope,
            recipients: recipients.iter().map(|text| AddressPattern::parse(text).unwrap()).collect(),
            uids: Vec::new(),
        });
    }

    /// Takes all routes away.
    pub(in crate::queue::reducer::tests) fn without_routes(&mut self) {
        self.policy.relays.truncate(1);
        self.policy.routes = Routes::default();
    }

    /// Returns the policy for the only relay.
    pub(in crate::queue::reducer::tests) fn relay(&mut self) -> &mut RelayPolicy {
        &mut self.policy.relays[0]
    }

    /// Returns the state after a start that found these entries.
    pub(super) fn reducer(&self, entries: &[Entry], relay_clock: u32, now: Moment) -> Reducer {
        Reducer::new(self.policy.clone(), entries, relay_clock, Rng::with_seed(self.seed), now)
    }

    /// Returns what each relay gets in place of `<>`.
    pub(super) fn null_senders(&self) -> Vec<Rc<NullSender>> {
        let substitutes = NullSubstitutes {
            for_all: self.null_sender.clone(),
            when_refused: self.bounce_sender.clone(),
            postmaster: self.overseers.postmaster.clone(),
            for_postmaster: self.postmaster_sender.clone(),
        };
        let of_relay = |relay: &RelayPolicy| NullSender::new(relay.route.clone(), substitutes.clone());
        self.policy.relays.iter().map(of_relay).map(Rc::new).collect()
    }

    /// Returns the policy for the relay of this name; that for the first one if there is none any more.
    pub(super) fn relay_named(&mut self, name: &str) -> &mut RelayPolicy {
        let relays = &mut self.policy.relays;
        let place = relays.iter().position(|relay| relay.refusals.relay == name).unwrap_or_default();
        &mut relays[place]
    }
}
