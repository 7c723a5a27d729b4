//! Follows messages by the control socket, on a thread of its own.
//!
//! Promise: once [`Follower::start`] has returned, nothing of a message that is handed in afterwards is missed without a word.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::super::ConfigFile;
use super::super::exit::{Exit, Failure};
use super::super::queue::ask;
use crate::admin::follow::{FollowPart, ToldOutcome};
use crate::admin::protocol::ControlRequest;
use crate::queue_id::QueueId;

/// One who follows.
pub(super) struct Follower(Receiver<ToldNews>);

/// What the daemon tells.
pub(super) enum ToldNews {
    Outcome(Box<ToldOutcome>),
    /// Nothing in this time.
    Nothing,
    /// It tells no more, for this reason.
    Lost(String),
}

impl Follower {
    /// Begins to follow. Fails if the daemon does not answer.
    pub(super) fn start(config: &ConfigFile) -> Result<Follower, Failure> {
        let (parts, told) = channel();
        let (begun, answered) = channel();
        let config = ConfigFile { config: config.config.clone() };
        // It ends with the process, which has no reason to wait for it.
        thread::spawn(move || follow(&config, &parts, &begun));
        match answered.recv() {
            Ok(Ok(())) => Ok(Follower(told)),
            Ok(Err(failure)) => {
                Err(Failure::new(failure.exit(), format!("{failure}; nothing was handed in")))
            }
            Err(_) => Err(Failure::new(Exit::Software, "the thread that follows the message has failed")),
        }
    }

    /// Returns what is told next, within `patience`.
    pub(super) fn next(&self, patience: Duration) -> ToldNews {
        match self.0.recv_timeout(patience) {
            Ok(told) => told,
            Err(RecvTimeoutError::Timeout) => ToldNews::Nothing,
            Err(RecvTimeoutError::Disconnected) => ToldNews::Lost("the daemon tells no more".into()),
        }
    }

    /// Returns what was told already of the message `id`, which has left the queue.
    pub(super) fn next_of(&self, id: QueueId) -> Option<Box<ToldOutcome>> {
        // Told before it left, and read by the other thread soon after.
        let soon = Duration::from_secs(1);
        loop {
            match self.next(soon) {
                ToldNews::Outcome(outcome) if outcome.id == id => return Some(outcome),
                ToldNews::Outcome(_) => {}
                ToldNews::Nothing | ToldNews::Lost(_) => return None,
            }
        }
    }
}

/// Hears what the daemon tells, until it ends. Says to `begun` whether it has begun.
fn follow(config: &ConfigFile, parts: &Sender<ToldNews>, begun: &Sender<Result<(), Failure>>) {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let ended = ask(config, &ControlRequest::Follow, &mut |part: FollowPart| match part {
        FollowPart::Ready => begun.send(Ok(())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe)),
        FollowPart::Outcome(outcome) => parts.send(ToldNews::Outcome(outcome)).map_err(gone),
        FollowPart::Missed(missed) => {
            let why = format!("so much other mail was sent that {missed} outcomes were not told");
            parts.send(ToldNews::Lost(why)).map_err(gone)
        }
    });
    if let Err(failure) = ended {
        // Whoever is not there any more needs no reason.
        let _ = parts.send(ToldNews::Lost(failure.to_string()));
        let _ = begun.send(Err(failure));
    }
}
