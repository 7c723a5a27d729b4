//! Random histories of several relays: they go away, defer, refuse for a quota or a sender, and come back, while routes are
//! added, removed, renamed and moved, the process dies and starts, and operators flush. In the end each recipient was sent:
//! a message that a relay took is never sent again once its reply has reached us, and each reply that was lost, at the end
//! of the process or of the connection, costs one copy at most.
//!
//! A longer run: `NULLMTA_ROUTES_CASES=20000 cargo test --lib routes_at_random`.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

use super::super::Event;
use super::world::{DAY, Does, Pace, ReplyWay, SECOND, TakenCopy, World};
use crate::queue_id::QueueId;
use crate::relay::Phase;

const SES: &str = "email-smtp.eu-west-1.amazonaws.com";
const SENDERS: [&str; 4] = ["app@news.example", "app@shop.example", "sue@shop.example", ""];
/// A route that is renamed has the conditions of another one here.
const ROUTES: [(&str, &[&str], &[&str]); 5] = [
    ("news", &["@news.example"], &[]),
    ("partner", &[], &["@partner.example"]),
    ("renamed", &[], &["@partner.example"]),
    ("both", &["@shop.example"], &["@x.example"]),
    ("bounces", &["<>"], &[]),
];

struct History {
    random: Rng,
    world: World,
    /// The recipients of each message that was submitted.
    submitted: BTreeMap<QueueId, Vec<String>>,
}

impl History {
    fn new(seed: u64) -> Self {
        History { random: Rng::with_seed(seed), world: World::new(2), submitted: BTreeMap::new() }
    }

    fn any_route(&mut self) -> Option<String> {
        let place = self.random.usize(..=ROUTES.len());
        ROUTES.get(place).map(|(name, ..)| (*name).to_owned())
    }

    fn any_way(&mut self) -> Does {
        match self.random.u32(..6) {
            0 => Does::Takes,
            1 => Does::Defers,
            2 => Does::RefusesAt(Phase::Mail, "450 4.2.1 busy"),
            3 => Does::RefusesByRule {
                host: SES,
                from: None,
                said: "454 Throttling failure: Daily message quota exceeded.",
            },
            4 => Does::RefusesByRule {
                host: SES,
                from: Some("sue@shop.example"),
                said: "554 Message rejected: Email address is not verified.",
            },
            _ => Does::RefusesOdd("451 4.3.0 later"),
        }
    }

    fn happens(&mut self) {
        match self.random.u32(..20) {
            0..8 => self.submits(),
            8 => {
                let route = self.any_route();
                if !self.world.away.remove(&route) {
                    self.world.away.insert(route);
                }
            }
            9 | 10 => {
                let (route, does) = (self.any_route(), self.any_way());
                self.world.by_route.insert(route, does);
            }
            11 | 12 => self.reloads(),
            13 => self.world.restart(),
            14 => self.world.tell(Event::ProbeNow),
            15 => {
                let route = self.any_route().unwrap_or_default();
                self.world.tell(Event::ProbeRoute(route));
            }
            16 => {
                let transmitting = SECOND * self.random.u32(..3);
                self.world.relay.pace = Pace { transmitting, ..Pace::default() };
            }
            _ => self.world.pass(Duration::from_millis(self.random.u64(1..300_000))),
        }
    }

    fn submits(&mut self) {
        let from = SENDERS[self.random.usize(..SENDERS.len())];
        let number = self.submitted.len();
        let mut to: Vec<String> = ["a@x.example", "odd@x.example", "b@partner.example", "c@y.example"]
            .iter()
            .filter(|_| self.random.bool())
            .map(|to| to.replace('@', &format!("{number}@")))
            .collect();
        if to.is_empty() {
            to.push(format!("only{number}@x.example"));
        }
        self.world.lane = self.random.u64(1..4);
        let id = self.world.submit(from, &to.iter().map(String::as_str).collect::<Vec<_>>());
        self.submitted.insert(id, to);
    }

    /// The configuration is read again, with some of the routes in some order.
    fn reloads(&mut self) {
        let mut places: Vec<usize> = (0..ROUTES.len()).filter(|_| self.random.bool()).collect();
        self.random.shuffle(&mut places);
        self.world.reload_with(|set_up| {
            set_up.without_routes();
            for (name, senders, recipients) in places.into_iter().map(|place| ROUTES[place]) {
                set_up.add_route(name, senders, recipients);
            }
        });
    }

    /// From now on each relay takes everything: nothing is left, and each recipient was sent once.
    fn ends_well(&mut self) {
        self.world.away.clear();
        self.world.by_route.clear();
        for _ in 0..3 {
            self.world.tell(Event::ProbeNow);
            self.world.pass(DAY / 4);
        }
        let status = self.world.status();
        assert_eq!(status.live, 0, "{status:?}");
        for (id, recipients) in &self.submitted {
            for to in recipients {
                let about = format!("{id}: to=<{to}>");
                let lines = self.world.log.iter().filter(|line| line.starts_with(&about));
                let lines: Vec<&String> = lines.collect();
                let ends = lines.iter().filter(|line| !line.contains("status=deferred"));
                let ends: Vec<_> = ends.filter(|line| !line.contains("status=held")).collect();
                assert!(ends.len() == 1 && ends[0].contains("status=sent"), "{lines:#?}");
            }
        }
    }

    /// Each recipient has one copy whose reply was heard, the last one. Returns the number of copies beyond it.
    fn copies_are_bounded(&self) -> usize {
        let mut by_recipient: BTreeMap<(QueueId, &str), Vec<ReplyWay>> = BTreeMap::new();
        for TakenCopy { id, to, reply } in &self.world.copies {
            by_recipient.entry((*id, to)).or_default().push(*reply);
        }
        let mut beyond = 0;
        for (id, recipients) in &self.submitted {
            for to in recipients {
                let copies = by_recipient.get(&(*id, to.as_str())).map_or(&[][..], Vec::as_slice);
                let Some((last, lost)) = copies.split_last() else { panic!("{id}: {to} was never sent") };
                assert!(
                    *last == ReplyWay::Heard && lost.iter().all(|way| *way == ReplyWay::Lost),
                    "{id}: {to}: {copies:?}"
                );
                beyond += lost.len();
            }
        }
        beyond
    }
}

#[test]
fn whatever_happens_to_the_relays_and_the_routes_each_recipient_is_sent_once() {
    let asked = std::env::var("NULLMTA_ROUTES_CASES").ok();
    let cases = asked.map_or(200, |cases| cases.parse().expect("NULLMTA_ROUTES_CASES is a number"));
    let mut beyond = 0;
    for seed in 0..cases {
        let mut history = History::new(seed);
        for _ in 0..60 {
            history.happens();
            history.world.status();
        }
        history.ends_well();
        beyond += history.copies_are_bounded();
    }
    assert!(beyond > 0, "the process died between a final dot and its reply at least once");
}
