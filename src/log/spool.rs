//! The lines about the spool: room on its disk, faults of the disk, a spool that was removed or moved, and the last
//! end.

use std::fmt;
use std::io;
use std::path::Path;

use tracing::{error, info, warn};

use super::text::counted;
use crate::queue_id::QueueId;

/// Logs that octets of the spool which were acknowledged are no valid record any more, and what was done about it.
pub fn spool_damaged(report: &str) {
    error!("spool damaged: {report}");
}

/// Logs that a segment could not be prepared or removed; it is tried again.
pub fn spool_stock(log: &Path, why: &io::Error) {
    warn!("spool: cannot prepare or remove a segment in {}: {why}; will try again", log.display());
}

/// Logs that the content of a large message could not be written; its client gets a 4xx reply.
pub fn spool_large(path: &Path, why: &io::Error) {
    error!("spool: cannot write {}: {why}; the message is refused", path.display());
}

/// Logs that a batch of records could not be written; the clients that waited for it get a 4xx reply.
pub fn spool_write(segment: u32, why: &io::Error) {
    error!("spool: cannot write to segment {segment:08X}: {why}; mail is being refused");
}

/// Logs that a sync failed; the clients that waited for it get a 4xx reply.
pub fn spool_sync(segment: u32, why: &io::Error) {
    error!("spool: cannot sync segment {segment:08X}: {why}; it is not used any more");
}

/// Logs that a new segment could not be begun.
pub fn spool_begin(segment: u32, why: &io::Error) {
    error!("spool: cannot begin segment {segment:08X}: {why}; mail is being refused");
}

/// Logs that there is no room for mail from now on; called once until there is room.
pub fn spool_full(root: &Path, why: &dyn fmt::Display) {
    warn!(
        "spool full: {}: {why}; mail is refused with 452 until there is room, deliveries go on",
        root.display()
    );
}

/// Logs that there is room for mail again.
pub fn spool_has_room(root: &Path) {
    info!("spool has room again: {}; mail is taken again", root.display());
}

/// Logs that the path of the spool does not lead to the open spool any more.
pub fn spool_astray(root: &Path, live: u64) {
    let root = root.display();
    error!("spool: {root} was removed or moved under the daemon; mail is refused; {live} in the queue");
}

/// Logs that a removed spool cannot be made anew; called once for each reason.
pub fn spool_homeless(root: &Path, why: &str, live: u64) {
    let root = root.display();
    error!(
        "spool: cannot go on in {root}: {why}; mail is refused, deliveries go on; do not stop the daemon: \
         it alone has the {live} in the queue; it tries again each second"
    );
}

/// Logs that a spool which was removed or moved is whole again: at ERROR if messages had to be saved from open files.
pub fn spool_home(root: &Path, saved: u64, lost: u64) {
    let root = root.display();
    if saved + lost > 0 {
        error!(
            "spool: {root} is made anew: {} saved from open files, {lost} lost; mail is taken again",
            counted(saved, "message")
        );
    } else {
        info!("spool: {root} is whole again; mail is taken again");
    }
}

/// Logs that a message of a removed spool could not be saved.
pub fn message_lost(id: QueueId, why: &dyn fmt::Display) {
    error!(queue_id = %id, "{id}: lost with the removed spool: {why}");
}

/// Logs that the daemon ends while its spool is not at its path.
pub fn spool_left_behind(root: &Path, live: u64) {
    let root = root.display();
    error!(
        "spool: {root} is still not there at the stop: the {live} in the queue are lost, unless it was moved"
    );
}

/// Logs that the last run did not stop in good order (a crash, a kill or a power cut). `torn` is the number of
/// writes that were cut off and had not been acknowledged.
pub fn unclean_end(torn: u64) {
    warn!(
        torn,
        "the last run ended without stopping: what the relay took in that moment may be sent again \
         (possible duplicate); {torn} unacknowledged writes dropped"
    );
}
