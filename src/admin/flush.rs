//! `nullmta flush` in the daemon: probes the relay, tries every deferred message, and reports the result.
//!
//! Not here: ETRN, which every user may ask for, within a limit (`queue/`). This request is for those who may do
//! anything.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::protocol::{Contact, Flushed};
use crate::queue::{Queue, QueueStatus};
use crate::queue_id::QueueId;

/// Time for which the relay is awaited.
const RELAY_PATIENCE: Duration = Duration::from_secs(10);
/// Time for which the messages are awaited once the relay was reached.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);
/// The interval between two queries of the queue.
const LOOK: Duration = Duration::from_millis(50);

/// Tries everything now, and waits a few seconds. Returns the result and the id of the newest dead message, which the
/// caller reads; `None` if the queue has stopped.
pub(super) async fn flush(queue: &Queue) -> Option<(Flushed, Option<QueueId>)> {
    let before = queue.status().await?;
    queue.probe_now();
    let mut deadline = Instant::now() + RELAY_PATIENCE;
    let mut is_reached = false;
    loop {
        let status = queue.status().await?;
        let contact = contact(&before, &status);
        if contact == Contact::Reached && !is_reached {
            is_reached = true;
            deadline = deadline.min(Instant::now() + DRAIN_PATIENCE);
        }
        let is_settled = match contact {
            Contact::NotNeeded | Contact::NotReached => true,
            Contact::Reached => status.ready + status.under_way == 0,
            Contact::Awaited => false,
        };
        if is_settled || Instant::now() >= deadline {
            return Some((flushed(contact, &before, &status), status.newest_dead));
        }
        sleep(LOOK).await;
    }
}

/// Returns what happened at the relay between the two states of the queue.
fn contact(before: &QueueStatus, now: &QueueStatus) -> Contact {
    if now.reached() > before.reached() {
        Contact::Reached
    } else if now.troubles() > before.troubles() {
        Contact::NotReached
    } else if now.ready + now.under_way == 0 {
        Contact::NotNeeded
    } else {
        Contact::Awaited
    }
}

fn flushed(relay: Contact, before: &QueueStatus, now: &QueueStatus) -> Flushed {
    let foremost = now.foremost();
    Flushed {
        relay,
        trouble: foremost.trouble.clone().filter(|_| relay != Contact::Reached),
        before: before.live,
        messages: now.live,
        under_way: now.ready + now.under_way,
        deferred: now.deferred,
        held: now.held,
        held_because: foremost.held_because.clone(),
        dead: now.dead,
        newest_dead: None,
        next_probe: foremost.paused_until.map(|time| time.to_string()),
    }
}
