//! `nullmta flush` in the daemon: probes each relay, or that of one route, tries every deferred message that it gets, and
//! reports the result.
//!
//! Not here: ETRN, which every user may ask for, within a limit (`queue/`). This request is for those who may do
//! anything.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::no_route::NoRoute;
use super::protocol::{Contact, Flushed, Frame, RelayFlushed};
use crate::queue::{Queue, QueueStatus, RelayStatus};
use crate::queue_id::QueueId;

/// Time for which the relay is awaited.
const RELAY_PATIENCE: Duration = Duration::from_secs(10);
/// Time for which the messages are awaited once the relay was reached.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);
/// The interval between two queries of the queue.
const LOOK: Duration = Duration::from_millis(50);

/// The reason why nothing was flushed.
pub(super) enum FlushFailure {
    /// The daemon is stopping.
    Stopping,
    /// There is no such route.
    NoRoute(NoRoute),
}

impl From<FlushFailure> for Frame {
    fn from(failure: FlushFailure) -> Frame {
        match failure {
            FlushFailure::Stopping => Frame::Error(failure.to_string()),
            FlushFailure::NoRoute(_) => Frame::Unknown(failure.to_string()),
        }
    }
}

impl fmt::Display for FlushFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlushFailure::Stopping => f.write_str("the daemon is stopping"),
            FlushFailure::NoRoute(why) => why.fmt(f),
        }
    }
}

/// Tries everything now, or all that goes by `route`, and waits a few seconds. Returns the result and the id of the newest
/// dead message, which the caller reads.
pub(super) async fn flush(
    queue: &Queue,
    route: Option<&str>,
) -> Result<(Flushed, Option<QueueId>), FlushFailure> {
    let status = async || queue.status().await.ok_or(FlushFailure::Stopping);
    let before = status().await?;
    match route {
        None => queue.probe_now(),
        Some(route) => {
            NoRoute::refuse(route, &before).map_err(FlushFailure::NoRoute)?;
            queue.probe_route(route);
        }
    }
    let mut deadline = Instant::now() + RELAY_PATIENCE;
    let mut is_answered = false;
    loop {
        let progress = FlushProgress::between(&before, status().await?, route, Timestamp::now());
        if !is_answered && progress.contact() != Contact::Awaited {
            is_answered = true;
            deadline = deadline.min(Instant::now() + DRAIN_PATIENCE);
        }
        if progress.is_settled() || Instant::now() >= deadline {
            let newest_dead = progress.now.newest_dead;
            return Ok((progress.flushed(before.live), newest_dead));
        }
        sleep(LOOK).await;
    }
}

/// What has happened since a flush began.
struct FlushProgress {
    now: QueueStatus,
    /// The outcome so far at each relay that was to be tried, with its place in `now`.
    contacts: Vec<(usize, Contact)>,
    /// True if messages are to be tried whose relays are not known yet, or not any more.
    has_others: bool,
    at: Timestamp,
}

impl FlushProgress {
    fn between(before: &QueueStatus, now: QueueStatus, route: Option<&str>, at: Timestamp) -> Self {
        let is_asked = |relay: &RelayStatus| route.is_none() || relay.route.as_deref() == route;
        let asked = now.relays.iter().enumerate().filter(|(_, relay)| is_asked(relay));
        let contact = |(place, relay): (usize, &RelayStatus)| {
            let earlier = before.relays.iter().find(|earlier| earlier.route == relay.route);
            (place, contact(earlier, relay, at))
        };
        let contacts = asked.map(contact).collect();
        let has_others = route.is_none() && now.astray > 0;
        FlushProgress { now, contacts, has_others, at }
    }

    /// Returns the outcome for all relays together: the worst one.
    fn contact(&self) -> Contact {
        let has = |outcome| self.contacts.iter().any(|(_, contact)| *contact == outcome);
        let order =
            [Contact::Awaited, Contact::NotReached, Contact::Halted, Contact::Paused, Contact::Reached];
        let first = order.into_iter().find(|outcome| has(*outcome));
        if self.has_others { Contact::Awaited } else { first.unwrap_or(Contact::NotNeeded) }
    }

    /// Returns whether nothing more is to be awaited.
    fn is_settled(&self) -> bool {
        let is_settled = |(place, contact): &(usize, Contact)| match contact {
            Contact::NotNeeded | Contact::NotReached | Contact::Halted => true,
            Contact::Reached => to_try(&self.now.relays[*place]) == 0,
            // A short pause may be about a few messages, and others go on beside them.
            Contact::Paused => {
                let soon = self.at + SignedDuration::try_from(DRAIN_PATIENCE).unwrap_or(SignedDuration::MAX);
                let relay = &self.now.relays[*place];
                relay.under_way == 0
                    && (relay.ready == 0 || relay.paused_until.is_some_and(|until| until > soon))
            }
            Contact::Awaited => false,
        };
        !self.has_others && self.contacts.iter().all(is_settled)
    }

    fn flushed(&self, before: usize) -> Flushed {
        let FlushProgress { now, contacts, .. } = self;
        let relays = contacts.iter().map(|(place, contact)| {
            let relay = &now.relays[*place];
            RelayFlushed {
                route: relay.route.clone(),
                relay: *contact,
                trouble: relay.keeps_mail(true).filter(|_| *contact != Contact::Reached),
                messages: relay.live,
                next_probe: relay.paused_until.map(|time| format!("{time:.0}")),
            }
        });
        let relays: Vec<RelayFlushed> = relays.collect();
        let overall = self.contact();
        let foremost = relays.iter().find(|relay| relay.relay == overall);
        let held_because = contacts.iter().find_map(|(place, _)| now.relays[*place].held_because.clone());
        Flushed {
            relay: overall,
            trouble: foremost.and_then(|relay| relay.trouble.clone()),
            before,
            messages: now.live,
            under_way: now.ready + now.under_way,
            deferred: now.deferred,
            held: now.held,
            on_hold: now.on_hold,
            held_because,
            dead: now.dead,
            newest_dead: None,
            next_probe: foremost.and_then(|relay| relay.next_probe.clone()),
            relays,
        }
    }
}

/// Returns the number of messages of a relay that are being tried, or still will be.
fn to_try(relay: &RelayStatus) -> usize {
    relay.ready + relay.under_way
}

/// Returns what happened at a relay since it was in the state `before`, as it is in the state `now` at the time `at`. It is
/// tried if it had any mail that is not dead: also what is deferred or held is. In a pause of delivery it is not.
fn contact(before: Option<&RelayStatus>, now: &RelayStatus, at: Timestamp) -> Contact {
    let (reached, troubles) = before.map_or((0, 0), |before| (before.reached, before.troubles));
    let is_needed = before.is_some_and(|before| to_try(before) + before.deferred + before.held > 0);
    let is_reached = now.reached > reached;
    let is_troubled = now.troubles > troubles;
    match now.paused_until {
        _ if now.halted_by.is_some() => Contact::Halted,
        Some(_) if is_troubled && is_reached => Contact::Paused,
        _ if is_troubled && !is_reached => Contact::NotReached,
        // It opened the connection, which does not end the pause; or the same messages have met the same trouble.
        Some(until) if is_reached && (until > at || to_try(now) == 0) => Contact::Paused,
        Some(_) if is_reached => Contact::Awaited,
        None if is_reached => Contact::Reached,
        _ if to_try(now) > 0 => Contact::Awaited,
        // What was tried went over a connection that was open already.
        _ if is_needed => Contact::Reached,
        _ => Contact::NotNeeded,
    }
}

#[cfg(test)]
mod tests;
