//! The lines about files in the drop directory.

use std::fmt;

use tracing::{error, info, warn};

use super::text::Foreign;
use crate::queue_id::QueueId;

/// Logs that a message which `sendmail` left in the drop directory is on the spool.
pub fn picked_up(id: QueueId, file: &dyn fmt::Display, uid: u32) {
    info!(queue_id = %id, "{id}: picked up from {file} of uid {uid}");
}

/// Logs that a dropped file is kept for later, since its message was refused for now.
pub fn not_picked_up(file: &dyn fmt::Display, why: &str) {
    info!("{file}: not picked up yet: {}", Foreign(why));
}

/// Logs that a dropped file which is no message was moved aside.
pub fn set_aside(file: &dyn fmt::Display, why: &str, to: &dyn fmt::Display) {
    warn!("{file}: not picked up: {}; it is now {to}", Foreign(why));
}

/// Logs that a dropped message was refused for good, its sender gets a DSN, and its file was moved aside.
pub fn bounced_at_pick_up(
    id: QueueId,
    dsn: QueueId,
    file: &dyn fmt::Display,
    why: &str,
    to: &dyn fmt::Display,
) {
    let why = Foreign(why);
    warn!(
        queue_id = %id, notification = %dsn,
        "{id}: not picked up from {file}: {why}; sender non-delivery notification: {dsn}; it is now {to}"
    );
}

/// Logs that a dropped message was refused for good, nobody gets a DSN, and its file was moved aside.
pub fn dead_at_pick_up(file: &dyn fmt::Display, why: &str, to: &dyn fmt::Display) {
    warn!("{file}: dead, not picked up: {}; it can be reported to nobody; it is now {to}", Foreign(why));
}

/// Logs that the task that picks up dropped messages panicked.
pub fn pickup_failed(why: &dyn fmt::Display) {
    error!("picking up dropped messages failed, and begins anew: {why}");
}

/// Logs that a dropped file, or the drop directory, cannot be processed; called once for each.
pub fn drop_trouble(file: &dyn fmt::Display, why: &str) {
    warn!("{file}: {why}; will try again");
}
