//! Follows what becomes of messages, as it happens: each line about a recipient and an attempt is also told to those who follow.
//!
//! Promises: without a follower an attempt costs one look at their number. Nobody is waited for: a follower that does not keep up loses the
//! oldest of [`KEPT`] outcomes, and is told how many.
//!
//! Not here: who may follow which messages (`admin/follow.rs`).

use std::future::pending;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::envelope::{Address, Submitter};
use crate::log::DeliveryLine;
use crate::outcome::Outcome;
use crate::queue_id::QueueId;

/// The outcomes that are kept for those who have not heard them yet.
const KEPT: usize = 256;

/// What an attempt came to for one recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowedOutcome {
    /// The queue id of the message.
    pub id: QueueId,
    /// Who submitted the message.
    pub submitter: Submitter,
    /// The recipient that the relay got.
    pub to: Address,
    /// The relay, as the log names it; `None` if none was reached.
    pub relay: Option<String>,
    /// The name of the route by which it went.
    pub route: Option<String>,
    /// The seconds since the message was accepted.
    pub delay: f64,
    /// The enhanced status code.
    pub status: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The relay's reply, or our reason.
    pub said: String,
}

/// Those who follow.
#[derive(Clone)]
pub(super) struct Followers(Sender<Arc<FollowedOutcome>>);

/// What a follower hears.
#[derive(Debug)]
pub enum HeardOutcome {
    /// The outcome of an attempt for a recipient.
    Outcome(Arc<FollowedOutcome>),
    /// So many outcomes were missed.
    Missed(u64),
}

/// One who follows, from the moment at which this was made.
pub struct OutcomeFollower(Receiver<Arc<FollowedOutcome>>);

impl Default for Followers {
    fn default() -> Self {
        Followers(channel(KEPT).0)
    }
}

impl Followers {
    /// Tells what an attempt came to for the recipients of a message that `submitter` has handed in.
    pub(super) fn tell<'a>(&self, submitter: Submitter, lines: impl Iterator<Item = DeliveryLine<'a>>) {
        if self.0.receiver_count() == 0 {
            return;
        }
        for line in lines {
            // The last follower may just have gone.
            let _ = self.0.send(Arc::new(followed(submitter, &line)));
        }
    }

    /// Begins to follow.
    pub(super) fn follow(&self) -> OutcomeFollower {
        OutcomeFollower(self.0.subscribe())
    }
}

impl OutcomeFollower {
    /// Waits for what comes next. Cancel safe.
    pub async fn next(&mut self) -> HeardOutcome {
        match self.0.recv().await {
            Ok(outcome) => HeardOutcome::Outcome(outcome),
            Err(RecvError::Lagged(missed)) => HeardOutcome::Missed(missed),
            // The queue has stopped, and tells nothing more.
            Err(RecvError::Closed) => pending().await,
        }
    }
}

fn followed(submitter: Submitter, line: &DeliveryLine<'_>) -> FollowedOutcome {
    FollowedOutcome {
        id: line.id,
        submitter,
        to: line.to.clone(),
        relay: line.relay.map(|relay| relay.to_string()),
        route: line.route.map(str::to_owned),
        delay: line.delays.total().as_secs_f64(),
        status: line.status.to_string(),
        outcome: line.outcome,
        said: line.said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Delays;
    use crate::status::Status;

    fn tell(followers: &Followers, numbers: std::ops::Range<u64>) {
        let to = Address::parse("bob@example.net").unwrap();
        for number in numbers {
            let line = DeliveryLine {
                id: QueueId::from_raw(number),
                to: &to,
                orig_to: None,
                relay: None,
                route: Some("news"),
                delays: Delays::default(),
                status: Status::success(0, 0),
                outcome: Outcome::Sent,
                said: "250 ok",
            };
            followers.tell(Submitter::Uid(1000), std::iter::once(line));
        }
    }

    #[tokio::test]
    async fn a_follower_hears_what_comes_after_it_and_is_told_what_it_missed() {
        let followers = Followers::default();
        tell(&followers, 0..9);
        let mut following = followers.follow();
        let most = KEPT as u64;
        tell(&followers, 10..10 + most + 3);
        assert!(matches!(following.next().await, HeardOutcome::Missed(3)));
        for number in 13..10 + most + 3 {
            let HeardOutcome::Outcome(heard) = following.next().await else { panic!("{number} is missing") };
            assert_eq!(heard.id, QueueId::from_raw(number));
        }
    }
}
