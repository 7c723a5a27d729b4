//! The keeper of the last day's history: it takes a reading of the queue and of the clients every few seconds.
//!
//! Promises: no session and no delivery waits for it, nor does more for it than count. What it knows may be told to anybody:
//! there are no names but those of routes in it, and no words of a relay.
//!
//! Fails: while the queue does not answer there is a gap.
//!
//! Not here: the history itself (`history.rs`), who is told of it (`control.rs`, `http.rs`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

use crate::history::{DayHistory, FlowCounts, FlowReading, FlowSpan, MinuteOfDay, RecentFailure};
use crate::listener::Service;
use crate::listener::repeats::IntakeCounts;
use crate::queue::{Queue, QueueStatus, RelayCounts};

/// The time between two readings.
const READING_INTERVAL: Duration = Duration::from_secs(5);

/// The keeper of the history.
#[derive(Debug)]
pub struct HistoryKeeper(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    history: DayHistory,
    /// The number of troubles of each relay, by its route, at the last reading.
    troubles: BTreeMap<Option<String>, u64>,
}

/// The last hour in numbers.
#[derive(Debug)]
pub(super) struct FlowFigures {
    pub(super) minute: FlowSpan,
    pub(super) hour: FlowSpan,
    pub(super) failures: Vec<RecentFailure>,
}

impl HistoryKeeper {
    /// Returns the keeper of a daemon that starts now.
    pub fn start() -> Arc<Self> {
        let history = DayHistory::beginning(since_boot());
        Arc::new(HistoryKeeper(Mutex::new(Kept { history, troubles: BTreeMap::new() })))
    }

    /// Takes readings until the task is ended.
    pub async fn keep(self: Arc<Self>, queue: Queue, service: Arc<Service>) {
        let mut due = interval(READING_INTERVAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let Some(status) = queue.status().await else { continue };
            let counts = counts(service.counts(), queue.outcomes());
            let failures = queue.take_failures().into_iter().collect();
            let reading = FlowReading { counts, failures, ..reading(&status, Timestamp::now()) };
            self.kept().note(since_boot(), &status, reading);
        }
    }

    /// Returns what came and went lately, and why mail has failed.
    pub(super) fn figures(&self) -> FlowFigures {
        let (now, kept) = (since_boot(), self.kept());
        FlowFigures {
            minute: kept.history.last_minute(now),
            hour: kept.history.last_hour(now),
            failures: kept.history.failures(now),
        }
    }

    /// Returns the samples of the last `minutes`, the oldest first.
    pub(super) fn minutes(&self, minutes: u64) -> Vec<MinuteOfDay> {
        self.kept().history.minutes(since_boot(), minutes)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No code under this lock can panic and leave the state inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn note(&mut self, now: Duration, status: &QueueStatus, mut reading: FlowReading) {
        let relays = status.relays.iter();
        let troubles =
            relays.map(|relay| (relay.route.clone(), relay.troubles, relay.trouble_outline.as_deref()));
        reading.failures.extend(self.new_troubles(troubles));
        self.history.note(now, reading);
    }

    /// Takes the number of troubles of each relay since the start, by its route, with the outline of the last one if it is not
    /// over. Returns those since the last reading, each with the number of times.
    fn new_troubles<'a>(
        &mut self,
        relays: impl Iterator<Item = (Option<String>, u64, Option<&'a str>)>,
    ) -> Vec<(String, u64)> {
        let before = std::mem::take(&mut self.troubles);
        let mut new = Vec::new();
        for (route, troubles, outline) in relays {
            let times = troubles.saturating_sub(before.get(&route).copied().unwrap_or(0));
            let of_route = route.as_ref().map_or(String::new(), |route| format!("route {route}: "));
            let what = outline.unwrap_or("relay trouble, which is over");
            new.extend((times > 0).then(|| (format!("{of_route}{what}"), times)));
            self.troubles.insert(route, troubles);
        }
        new
    }
}

/// Returns the state of the queue, without counts.
fn reading(status: &QueueStatus, now: Timestamp) -> FlowReading {
    let age = status.oldest().map_or(0, |oldest| now.duration_since(oldest).as_secs());
    FlowReading {
        waiting: status.live.saturating_sub(status.dead + status.on_hold) as u64,
        oldest_age: u64::try_from(age).unwrap_or(0),
        paused: status.relays.iter().any(|relay| relay.paused_since.is_some() || relay.halted_by.is_some()),
        ..FlowReading::default()
    }
}

/// Returns what was counted since the start.
fn counts(intake: IntakeCounts, outcomes: RelayCounts) -> FlowCounts {
    FlowCounts {
        accepted: intake.accepted,
        refused: intake.refused,
        sent: outcomes.sent,
        deferred: outcomes.deferred + outcomes.held,
        bounced: outcomes.bounced + outcomes.expired,
    }
}

/// Returns the time since the host was started, on the clock that nobody sets and that goes on while the host is asleep.
fn since_boot() -> Duration {
    clock_gettime(ClockId::Boottime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_and_by_its_route() {
        let keeper = HistoryKeeper::start();
        let mut kept = keeper.kept();
        let mut told = |relays: &[(Option<&str>, u64, Option<&'static str>)]| {
            kept.new_troubles(
                relays
                    .iter()
                    .map(|(route, troubles, outline)| (route.map(str::to_owned), *troubles, *outline)),
            )
        };
        let down = Some("relay trouble, connect");
        assert_eq!(told(&[(None, 0, None), (Some("news"), 0, None)]), []);
        assert_eq!(
            told(&[(None, 2, down), (Some("news"), 1, None)]),
            [
                ("relay trouble, connect".to_owned(), 2),
                ("route news: relay trouble, which is over".to_owned(), 1)
            ]
        );
        assert_eq!(told(&[(None, 2, down), (Some("news"), 1, None)]), []);
        // A route that was away begins anew, as its relay does.
        assert_eq!(told(&[(None, 2, down)]), []);
        assert_eq!(told(&[(None, 3, down)]), [("relay trouble, connect".to_owned(), 1)]);
    }

    #[test]
    fn what_is_held_and_what_expires_is_counted_as_its_kind() {
        let outcomes =
            RelayCounts { sent: 1, deferred: 2, held: 4, bounced: 8, expired: 16, ..RelayCounts::default() };
        let expected = FlowCounts { accepted: 3, refused: 5, sent: 1, deferred: 6, bounced: 24 };
        assert_eq!(counts(IntakeCounts { accepted: 3, refused: 5 }, outcomes), expected);
    }
}
