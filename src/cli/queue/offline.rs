//! What the commands that read the queue do while no daemon answers: they read the spool, and say so.
//!
//! Promise: who may not read the spool is told so (77), and never that the queue is empty. A daemon that is there and does not
//! answer is no daemon that is down: then nothing is read.
//!
//! Not here: reading the spool (`admin/from_spool.rs`).

use std::io::ErrorKind;
use std::path::Path;

use super::super::control_client::ClientError;
use super::super::exit::{Exit, Failure};
use crate::admin::from_spool::QueueOnSpool;
use crate::filter::QueueFilter;
use crate::log::counted;
use crate::spool::OpenError;

/// Reads the spool in this directory, since the daemon cannot be asked for this reason; says so on standard error.
pub(super) fn open(spool: &Path, why: &ClientError) -> Result<QueueOnSpool, Failure> {
    let queue = QueueOnSpool::read(spool).map_err(|error| failure(why, &error))?;
    let dropped = match queue.dropped() {
        Ok(0) | Err(_) => String::new(),
        Ok(files) => {
            format!("; {} of sendmail in drop/ will be taken up when it starts", counted(files, "file"))
        }
    };
    eprintln!("nullmta: {why} This is read from the spool {}{dropped}", spool.display());
    Ok(queue)
}

fn failure(why: &ClientError, error: &OpenError) -> Failure {
    match error {
        OpenError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => Failure::new(
            Exit::NoPermission,
            format!("{why} While it is not, only root and its own user may read the queue from the spool"),
        ),
        error => Failure::new(Exit::Unavailable, format!("{why} The spool cannot be read either: {error}")),
    }
}

/// Fails if the filter asks for the routes, which only a daemon knows, or the command does.
pub(super) fn check(filter: &QueueFilter, asks_for_routes: bool) -> Result<(), Failure> {
    if filter.route.is_empty() && !asks_for_routes {
        return Ok(());
    }
    let why =
        "which route mail takes is known to a running daemon alone: ask without routes, or start nullmta";
    Err(Failure::new(Exit::Unavailable, why))
}
