//! `nullmta flush` in the daemon: the relay is probed and every deferred message tried, and whoever asked is told what
//! came of it.
//!
//! Not here: the limit on what any user may ask for (ETRN, `queue/owner.rs`); this is for those who may do all.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::protocol::{Contact, Flushed};
use crate::queue::{Queue, Status};
use crate::queue_id::QueueId;

/// How long the relay is waited for.
const RELAY_PATIENCE: Duration = Duration::from_secs(10);
/// How long the messages are waited for, once the relay has been reached.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Tries everything now, and waits for some seconds: what came of it, and the newest dead message, which is still to
/// be read. `None` where the queue has stopped.
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

/// What the queue has seen of the relay since it was as `before`.
fn contact(before: &Status, now: &Status) -> Contact {
    if now.reached > before.reached {
        Contact::Reached
    } else if now.troubles > before.troubles {
        Contact::NotReached
    } else if now.ready + now.under_way == 0 {
        Contact::NotNeeded
    } else {
        Contact::Awaited
    }
}

fn flushed(relay: Contact, before: &Status, now: &Status) -> Flushed {
    Flushed {
        relay,
        trouble: now.trouble.clone().filter(|_| relay != Contact::Reached),
        before: before.live,
        messages: now.live,
        under_way: now.ready + now.under_way,
        deferred: now.deferred,
        held: now.held,
        held_because: now.held_because.clone(),
        dead: now.dead,
        newest_dead: None,
        next_probe: now.paused_until.map(|time| time.to_string()),
    }
}
