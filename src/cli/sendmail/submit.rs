//! Submits one message, by the first way that accepts it.
//!
//! ```text
//!  unix socket ─▶ 127.0.0.1:25 ─▶ [::1]:25 ─▶ spool/drop/
//! ```
//! Promises:
//! 1. `Ok` means that the message is durably queued: 250 to the end of data, or a file in the drop directory whose name is
//!    synced.
//! 2. Another way is tried only if the one before certainly queued nothing, and while the message can still be sent from
//!    its start. If no daemon answers on a socket, the next socket is tried. If the daemon refuses the message for now (too
//!    many sessions or recipients, a limit on messages, a full disk), or is silent for two seconds, the message is left in
//!    the drop directory. If that is not possible either, as in a container that has only the socket, a daemon that is
//!    busy or restarts is tried again for some seconds.
//! 3. If the daemon refuses the message for good, or since a `[[limit]]` is used up or an operator has paused the intake, no other way is
//!    tried: a program that runs away must not fill the drop directory in place of the spool. The limits of the daemon also apply to messages in the drop
//!    directory, when it picks them up.
//! 4. After a failure nothing was queued, except when the failure says `possible duplicate`; its exit code differs from
//!    those after which a caller can safely try again.
//!
//! | exit | reason |
//! |---|---|
//! | 65 | an address or parameter is malformed |
//! | 67 | a recipient was refused |
//! | 69 | the message was refused for good |
//! | 74 | standard input cannot be read; or no reply to the final dot came, and the message may be queued |
//! | 75 | no way accepted the message for now, a limit is used up, or the intake is paused |
//!
//! Not here: the dialogue (`client.rs`), the drop directory (`spool/drop.rs`).

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::client::{DaemonClient, NotSubmitted, SubmitPhase};
use super::connection::AnswerLimits;
use super::content::RewindableContent;
use super::message::unreadable;
use super::ways::{Way, Ways};
use crate::cli::exit::{Exit, Failure};
use crate::envelope::{Envelope, Recipient};
use crate::smtp::reply::Reply;
use crate::smtp::session::Durable;
use crate::spool::drop::{DropError, DropFile};
use crate::spool::fs::RealFs;
use crate::status::Status;

/// Submits a message. The dialogue is written to `transcript`.
pub(super) fn submit<R: Read>(
    ways: &Ways,
    limits: AnswerLimits,
    envelope: &Envelope,
    content: &mut RewindableContent<R>,
    transcript: &mut dyn Write,
) -> Result<(), Failure> {
    let (mut waits, mut was_busy, begun) = (limits.busy.iter(), false, Instant::now());
    loop {
        let (failure, found) = match submit_once(ways, limits, envelope, content, transcript) {
            Ok(()) => return Ok(()),
            Err(NotNow::Final(failure)) => return Err(failure),
            Err(NotNow::NoPlace(failure, found)) => (failure, found),
        };
        was_busy |= matches!(found, DaemonFound::Busy | DaemonFound::Silent);
        let is_worth_it = match found {
            DaemonFound::Nobody | DaemonFound::Busy => was_busy,
            DaemonFound::Silent => begun.elapsed() < limits.silent,
            DaemonFound::Unwilling => false,
        };
        match waits.next() {
            // The factor spreads out callers that were refused at the same moment.
            Some(wait) if is_worth_it && content.rewind() => {
                std::thread::sleep(wait.mul_f64(0.5 + fastrand::f64()));
            }
            _ => return Err(failure),
        }
    }
}

/// Submits a message to a daemon that answers, in one round and never by the drop directory. Returns the daemon's reply to the end of
/// data.
pub(super) fn to_running<R: Read>(
    ways: &Ways,
    limits: AnswerLimits,
    envelope: &Envelope,
    content: &mut RewindableContent<R>,
) -> Result<Reply, Failure> {
    let mut reasons = Vec::new();
    for way in &ways.to_daemon {
        let found = match to_daemon(way, limits, envelope, content, &mut std::io::sink()) {
            Ok(reply) => return Ok(reply),
            Err(undone) => passed_by(way, undone, &mut reasons)?,
        };
        if found != DaemonFound::Nobody || !content.rewind() {
            break;
        }
    }
    Err(not_now(&reasons))
}

/// The failure of one round through all ways.
enum NotNow {
    /// Another round would fail, too, or would not be safe.
    Final(Failure),
    /// No way accepted the message for now, and it could not be left in the drop directory. Holds the state of the daemon
    /// on the last way.
    NoPlace(Failure, DaemonFound),
}

impl From<Failure> for NotNow {
    fn from(failure: Failure) -> Self {
        NotNow::Final(failure)
    }
}

/// Tries each way once.
fn submit_once<R: Read>(
    ways: &Ways,
    limits: AnswerLimits,
    envelope: &Envelope,
    content: &mut RewindableContent<R>,
    transcript: &mut dyn Write,
) -> Result<(), NotNow> {
    let (mut reasons, mut found) = (Vec::new(), DaemonFound::Nobody);
    for way in &ways.to_daemon {
        found = match to_daemon(way, limits, envelope, content, transcript) {
            Ok(_) => return Ok(()),
            Err(undone) => passed_by(way, undone, &mut reasons)?,
        };
        if !content.rewind() {
            return Err(not_now(&reasons).into());
        }
        if found != DaemonFound::Nobody {
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

/// The state of the daemon, as a failed attempt shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DaemonFound {
    /// No daemon answers there.
    Nobody,
    /// The daemon may accept the message in a moment.
    Busy,
    /// The daemon does not answer.
    Silent,
    /// The daemon refuses the message for now, and will still do so in a few seconds.
    Unwilling,
}

/// Adds the reason why `way` did not accept the message to `reasons`. Returns the state of the daemon; fails if no other
/// way may be tried.
pub(super) fn passed_by(
    way: &Way,
    undone: NotSubmitted,
    reasons: &mut Vec<String>,
) -> Result<DaemonFound, Failure> {
    let (why, found) = match undone {
        NotSubmitted::Absent(why) => (why, DaemonFound::Nobody),
        NotSubmitted::Silent(why) => (why, DaemonFound::Silent),
        NotSubmitted::Busy(why) => (why, DaemonFound::Busy),
        NotSubmitted::TooMany(why) => (why, DaemonFound::Unwilling),
        NotSubmitted::Deferred(_, reply) if is_of_a_limit(&reply) || is_of_a_pause(&reply) => {
            return Err(limited(&reply));
        }
        NotSubmitted::Deferred(phase, reply) => {
            (format!("{phase} not taken now: {reply}"), DaemonFound::Unwilling)
        }
        NotSubmitted::Refused(phase, reply) => return Err(refused(&phase, &reply)),
        NotSubmitted::TooLarge(most) => return Err(too_large(most)),
        NotSubmitted::InDoubt(why) => return Err(in_doubt(way, &why)),
        NotSubmitted::Input(error) => return Err(unreadable(&error)),
    };
    reasons.push(format!("{way}: {why}"));
    Ok(found)
}

/// Returns whether a reply says that a `[[limit]]` is used up.
fn is_of_a_limit(reply: &Reply) -> bool {
    reply.code() == 450 && reply.status() == Some(Status::transient(7, 1))
}

/// Returns whether a reply says that an operator has paused the intake.
fn is_of_a_pause(reply: &Reply) -> bool {
    reply.code() == 451 && reply.status() == Some(Status::transient(3, 2))
}

fn limited(reply: &Reply) -> Failure {
    Failure::new(Exit::TempFail, format!("nothing was queued, try again later: {reply}"))
}

/// Writes what would be done to `out`: the reply of the daemon to each address. Queues nothing.
pub(super) fn verify(
    ways: &Ways,
    limits: AnswerLimits,
    envelope: &Envelope,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut reasons = Vec::new();
    for way in &ways.to_daemon {
        let mut said = Vec::new();
        let verified = verify_over(way, limits, envelope, &mut said);
        if !matches!(
            verified,
            Err(NotSubmitted::Absent(_)
                | NotSubmitted::Silent(_)
                | NotSubmitted::Busy(_)
                | NotSubmitted::TooMany(_))
        ) {
            // An error here means that nobody reads the output.
            let _ = said.iter().try_for_each(|line| writeln!(out, "{line} (by way of {way})"));
        }
        let Err(undone) = verified else { return Ok(()) };
        if passed_by(way, undone, &mut reasons)? != DaemonFound::Nobody {
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
    limits: AnswerLimits,
    envelope: &Envelope,
    said: &mut Vec<String>,
) -> Result<(), NotSubmitted> {
    let mut silent = std::io::sink();
    let (mut client, _) = DaemonClient::connect(way, limits, &mut silent)?;
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

/// Asks the daemon to try its queue now (ETRN, which every user may send). If the daemon has just done so, its answer, with
/// the time of the next try, is printed on standard error. This is no failure, as in Postfix.
pub(super) fn flush(ways: &Ways, limits: AnswerLimits, transcript: &mut dyn Write) -> Result<(), Failure> {
    let mut reasons = Vec::new();
    for way in &ways.to_daemon {
        let asked = DaemonClient::connect(way, limits, transcript).and_then(|(mut client, _)| {
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
            Err(NotSubmitted::Absent(why) | NotSubmitted::Silent(why) | NotSubmitted::Busy(why)) => {
                reasons.push(format!("{way}: {why}"))
            }
            Err(_) => {}
        }
    }
    Err(Failure::new(Exit::Unavailable, format!("the queue was not run: {}", reasons.join("; "))))
}

fn to_daemon<R: Read>(
    way: &Way,
    limits: AnswerLimits,
    envelope: &Envelope,
    content: &mut RewindableContent<R>,
    transcript: &mut dyn Write,
) -> Result<Reply, NotSubmitted> {
    let (mut client, _) = DaemonClient::connect(way, limits, transcript)?;
    let reply = client.submit(envelope, content)?;
    client.quit();
    Ok(reply)
}

/// Leaves the message in the drop directory, since the daemon is down or does not accept it now.
fn leave<R: Read>(
    directory: &Path,
    max_size: u64,
    envelope: &Envelope,
    content: &mut RewindableContent<R>,
    mut reasons: Vec<String>,
    transcript: &mut dyn Write,
) -> Result<(), Failure> {
    match write_drop_file(directory, max_size, envelope, content) {
        Ok(name) => {
            // If the transcript cannot be written, the mail is still left.
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
    content: &mut RewindableContent<R>,
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

fn refused(phase: &SubmitPhase, reply: &Reply) -> Failure {
    let exit = match (phase, reply.code()) {
        (SubmitPhase::Mail | SubmitPhase::Rcpt(_), 501 | 555) | (SubmitPhase::Mail, 553) => Exit::DataErr,
        (SubmitPhase::Rcpt(_), _) => Exit::NoUser,
        (SubmitPhase::Mail | SubmitPhase::Content, _) => Exit::Unavailable,
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
