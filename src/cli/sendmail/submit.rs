//! Submission: one message, by the first way that takes it.
//!
//! ```text
//!  unix socket ─▶ 127.0.0.1:25 ─▶ [::1]:25 ─▶ spool/drop/
//! ```
//! Promises:
//! 1. `Ok` only when the message is durably queued: 250 to the end of data, or a file in the drop directory
//!    whose name is synced.
//! 2. The next way is tried only when the one before certainly queued nothing, and only while the message can
//!    still be sent from its start: where no daemon is, the next one; where a daemon is and will not have it for
//!    now (no place for the session, or for so many recipients in one; a limit on messages; a full disk), or
//!    says nothing for two seconds, the drop directory, so that no mail of cron's is lost and the daemon knows whose
//!    it is; and if nothing can be left there (a container has but the socket), a daemon that is busy, or stops and
//!    comes back, is tried again, for some seconds.
//!    What the daemon refuses for good is refused. Its limits hold: it takes dropped messages within them, too.
//! 3. On every failure but the doubtful one nothing was queued; that one says `possible duplicate`, and has not
//!    the exit code of those after which another try is safe.
//!
//! | exit | why |
//! |---|---|
//! | 65 | an address or parameter is malformed |
//! | 67 | a recipient was refused |
//! | 69 | the message was refused, for good |
//! | 74 | standard input cannot be read; or the daemon went silent behind the final dot, and may have it |
//! | 75 | no way took it for now |
//!
//! Not here: the dialogue (`client.rs`), the drop directory (`spool/drop.rs`).

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::client::{Client, Phase, Undone};
use super::connection::Patience;
use super::content::Content;
use super::message::unreadable;
use super::ways::{Way, Ways};
use crate::cli::exit::{Exit, Failure};
use crate::envelope::{Envelope, Recipient};
use crate::smtp::reply::Reply;
use crate::smtp::session::Durable;
use crate::spool::drop::{DropError, DropFile};
use crate::spool::fs::RealFs;

/// Submits a message; the dialogue is shown on `transcript`.
pub(super) fn submit<R: Read>(
    ways: &Ways,
    patience: Patience,
    envelope: &Envelope,
    content: &mut Content<R>,
    transcript: &mut dyn Write,
) -> Result<(), Failure> {
    let (mut waits, mut was_busy, begun) = (patience.busy.iter(), false, Instant::now());
    loop {
        let (failure, found) = match submit_once(ways, patience, envelope, content, transcript) {
            Ok(()) => return Ok(()),
            Err(NotNow::Final(failure)) => return Err(failure),
            Err(NotNow::NoPlace(failure, found)) => (failure, found),
        };
        was_busy |= matches!(found, Found::Busy | Found::Silent);
        let is_worth_it = match found {
            Found::Nobody | Found::Busy => was_busy,
            Found::Silent => begun.elapsed() < patience.silent,
            Found::Unwilling => false,
        };
        match waits.next() {
            // Those who were turned away together do not come back together.
            Some(wait) if is_worth_it && content.rewind() => {
                std::thread::sleep(wait.mul_f64(0.5 + fastrand::f64()));
            }
            _ => return Err(failure),
        }
    }
}

/// Whether another try may be worth the wait.
enum NotNow {
    Final(Failure),
    /// Nobody took it, and nothing could be left; whom the last way led to.
    NoPlace(Failure, Found),
}

impl From<Failure> for NotNow {
    fn from(failure: Failure) -> Self {
        NotNow::Final(failure)
    }
}

fn submit_once<R: Read>(
    ways: &Ways,
    patience: Patience,
    envelope: &Envelope,
    content: &mut Content<R>,
    transcript: &mut dyn Write,
) -> Result<(), NotNow> {
    let (mut reasons, mut found) = (Vec::new(), Found::Nobody);
    for way in &ways.to_daemon {
        found = match to_daemon(way, patience, envelope, content, transcript) {
            Ok(()) => return Ok(()),
            Err(undone) => passed_by(way, undone, &mut reasons)?,
        };
        if !content.rewind() {
            return Err(not_now(&reasons).into());
        }
        if found != Found::Nobody {
            break;
        }
    }
    let left = match &ways.drop_directory {
        Some(directory) => leave(directory, ways.max_message_size, envelope, content, reasons, transcript),
        None => Err(not_now(&reasons)),
    };
    left.map_err(|failure| match failure.exit() {
        Exit::TempFail => NotNow::NoPlace(failure, found),
        _ => NotNow::Final(failure),
    })
}

/// Whom a way that was passed by led to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// No daemon.
    Nobody,
    /// One that may take the message at another moment.
    Busy,
    /// One that says nothing.
    Silent,
    /// One that will not have the message, however soon it is asked again.
    Unwilling,
}

/// Notes why another way is to be tried, and whom this one led to; fails where no other may be.
pub(super) fn passed_by(way: &Way, undone: Undone, reasons: &mut Vec<String>) -> Result<Found, Failure> {
    let (why, found) = match undone {
        Undone::Absent(why) => (why, Found::Nobody),
        Undone::Silent(why) => (why, Found::Silent),
        Undone::Busy(why) => (why, Found::Busy),
        Undone::TooMany(why) => (why, Found::Unwilling),
        Undone::Deferred(phase, reply) => (format!("{phase} not taken now: {reply}"), Found::Unwilling),
        Undone::Refused(phase, reply) => return Err(refused(&phase, &reply)),
        Undone::TooLarge(most) => return Err(too_large(most)),
        Undone::InDoubt(why) => return Err(in_doubt(way, &why)),
        Undone::Input(error) => return Err(unreadable(&error)),
    };
    reasons.push(format!("{way}: {why}"));
    Ok(found)
}

/// Says what would be done: the daemon's word on each address, and nothing is queued.
pub(super) fn verify(
    ways: &Ways,
    patience: Patience,
    envelope: &Envelope,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut reasons = Vec::new();
    for way in &ways.to_daemon {
        let mut said = Vec::new();
        let verified = verify_over(way, patience, envelope, &mut said);
        if !matches!(
            verified,
            Err(Undone::Absent(_) | Undone::Silent(_) | Undone::Busy(_) | Undone::TooMany(_))
        ) {
            // Output that nobody reads leaves nobody to tell.
            let _ = said.iter().try_for_each(|line| writeln!(out, "{line} (by way of {way})"));
        }
        let Err(undone) = verified else { return Ok(()) };
        if passed_by(way, undone, &mut reasons)? != Found::Nobody {
            break;
        }
    }
    let directory = ways.drop_directory.as_deref().ok_or_else(|| not_now(&reasons))?;
    let (directory, reasons) = (directory.display(), reasons.join("; "));
    for Recipient { address, .. } in &envelope.recipients {
        let _ = writeln!(out, "{address}... would be left in {directory}: {reasons}");
    }
    Ok(())
}

fn verify_over(
    way: &Way,
    patience: Patience,
    envelope: &Envelope,
    said: &mut Vec<String>,
) -> Result<(), Undone> {
    let mut silent = std::io::sink();
    let (mut client, _) = Client::connect(way, patience, &mut silent)?;
    let offered = client.hello()?;
    client.mail(envelope, &offered)?;
    for recipient in &envelope.recipients {
        let reply = client.rcpt(recipient, &offered)?;
        said.push(format!("{}... {reply}", recipient.address));
    }
    client.ask("RSET")?;
    client.quit();
    Ok(())
}

/// Has the daemon try its queue now (ETRN, which any user may). One that has just done so says when, and when it does
/// again, on standard error; with exit code 0, as Postfix has it.
pub(super) fn flush(ways: &Ways, patience: Patience, transcript: &mut dyn Write) -> Result<(), Failure> {
    let mut reasons = Vec::new();
    for way in &ways.to_daemon {
        let asked = Client::connect(way, patience, transcript).and_then(|(mut client, _)| {
            client.hello()?;
            let reply = client.ask("ETRN localhost")?;
            client.quit();
            Ok(reply)
        });
        match asked {
            Ok(reply) if reply.code() < 300 => {
                if let Some(why) = reply.lines().iter().find(|line| line.starts_with("not started")) {
                    eprintln!("sendmail: {why}");
                }
                return Ok(());
            }
            Ok(reply) => reasons.push(format!("{way}: {reply}")),
            Err(Undone::Absent(why) | Undone::Silent(why) | Undone::Busy(why)) => {
                reasons.push(format!("{way}: {why}"))
            }
            Err(_) => {}
        }
    }
    Err(Failure::new(Exit::Unavailable, format!("the queue was not run: {}", reasons.join("; "))))
}

fn to_daemon<R: Read>(
    way: &Way,
    patience: Patience,
    envelope: &Envelope,
    content: &mut Content<R>,
    transcript: &mut dyn Write,
) -> Result<(), Undone> {
    let (mut client, _) = Client::connect(way, patience, transcript)?;
    client.submit(envelope, content)?;
    client.quit();
    Ok(())
}

/// Leaves the message for a daemon that is down, or does not take it now.
fn leave<R: Read>(
    directory: &Path,
    max_size: u64,
    envelope: &Envelope,
    content: &mut Content<R>,
    mut reasons: Vec<String>,
    transcript: &mut dyn Write,
) -> Result<(), Failure> {
    match write_drop_file(directory, max_size, envelope, content) {
        Ok(name) => {
            // Nobody to show it to is no reason to lose the mail.
            let _ = writeln!(transcript, "left in {} as {name}: {}", directory.display(), reasons.join("; "));
            Ok(())
        }
        Err(LeaveError::Disk(DropError::InDoubt { path, source })) => {
            Err(in_doubt(&path.display(), &source.to_string()))
        }
        Err(LeaveError::Disk(error)) => {
            reasons.push(error.to_string());
            Err(not_now(&reasons))
        }
        Err(LeaveError::Input(error)) => Err(unreadable(&error)),
        Err(LeaveError::TooLarge) => Err(too_large(max_size)),
    }
}

enum LeaveError {
    Disk(DropError),
    Input(std::io::Error),
    TooLarge,
}

fn write_drop_file<R: Read>(
    directory: &Path,
    max_size: u64,
    envelope: &Envelope,
    content: &mut Content<R>,
) -> Result<String, LeaveError> {
    let created = DropFile::create(Arc::new(RealFs), directory, envelope, Timestamp::now());
    let (mut file, mut size) = (created.map_err(LeaveError::Disk)?, 0);
    content.keep_no_more();
    while let Some(piece) = content.piece().map_err(LeaveError::Input)? {
        size += piece.len() as u64;
        if size > max_size {
            return Err(LeaveError::TooLarge);
        }
        file.write(piece).map_err(LeaveError::Disk)?;
    }
    Ok(file.commit().map_err(LeaveError::Disk)?.queue_id())
}

fn refused(phase: &Phase, reply: &Reply) -> Failure {
    let exit = match (phase, reply.code()) {
        (Phase::Mail | Phase::Rcpt(_), 501 | 555) | (Phase::Mail, 553) => Exit::DataErr,
        (Phase::Rcpt(_), _) => Exit::NoUser,
        (Phase::Mail | Phase::Content, _) => Exit::Unavailable,
    };
    Failure::new(exit, format!("{phase} refused: {reply}; nothing was queued"))
}

fn too_large(most: u64) -> Failure {
    Failure::new(Exit::Unavailable, format!("message larger than {most} octets; nothing was queued"))
}

pub(super) fn not_now(reasons: &[String]) -> Failure {
    Failure::new(Exit::TempFail, format!("nothing was queued, try again later: {}", reasons.join("; ")))
}

fn in_doubt(place: &dyn std::fmt::Display, why: &str) -> Failure {
    let message = format!(
        "{place}: {why} behind the end of the message: it may be queued; another try is a possible duplicate"
    );
    Failure::new(Exit::IoError, message)
}

#[cfg(test)]
mod tests;
