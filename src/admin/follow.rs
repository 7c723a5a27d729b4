//! The answer to [`super::protocol::ControlRequest::Follow`]: what becomes of messages, as it happens.
//!
//! Promises: a client hears of the messages that it may see, and of no others. It hears of all that comes after [`FollowPart::Ready`], so
//! that a message which it hands in then is not missed; what it is too slow for it is told in numbers. It ends after [`LONGEST`], or when
//! the client goes.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::output::ClientOutput;
use super::protocol::Frame;
use super::rights::Rights;
use crate::queue::{FollowedOutcome, HeardOutcome, Queue};
use crate::queue_id::QueueId;

/// The longest time for which a client follows.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The time after which it is looked whether the client is still there.
const BEAT: Duration = Duration::from_secs(5);

/// A part of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FollowPart {
    /// From now on everything is told.
    Ready,
    /// What an attempt came to for one recipient.
    Outcome(Box<ToldOutcome>),
    /// So many outcomes were not told, of any messages.
    Missed(u64),
}

/// What an attempt came to for one recipient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ToldOutcome {
    /// The queue id of the message.
    pub id: QueueId,
    /// The recipient that the relay got.
    pub to: String,
    /// The outcome in the word of the log: `sent`, `deferred`, `held`, `bounced` or `expired`.
    pub outcome: String,
    /// The enhanced status code.
    pub status: String,
    /// The relay's reply, or our reason.
    pub said: String,
    /// The relay, as the log names it; `None` if none was reached.
    pub relay: Option<String>,
    /// The name of the route by which it went.
    pub route: Option<String>,
    /// The seconds since the message was accepted.
    pub delay: f64,
}

impl From<&FollowedOutcome> for ToldOutcome {
    fn from(outcome: &FollowedOutcome) -> Self {
        let FollowedOutcome { id, to, relay, route, delay, status, outcome, said, submitter: _ } = outcome;
        ToldOutcome {
            id: *id,
            to: to.to_string(),
            outcome: outcome.to_string(),
            status: status.clone(),
            said: said.clone(),
            relay: relay.clone(),
            route: route.clone(),
            delay: *delay,
        }
    }
}

/// Tells a client with these rights what becomes of the messages that it may see.
pub(super) async fn follow(queue: &Queue, rights: Rights, output: &mut ClientOutput) -> io::Result<()> {
    let mut following = queue.follow();
    output.item_now(&FollowPart::Ready).await?;
    let end = Instant::now() + LONGEST;
    while Instant::now() < end {
        match timeout(BEAT, following.next()).await {
            Ok(HeardOutcome::Outcome(outcome)) if rights.include(outcome.submitter) => {
                output.item_now(&FollowPart::Outcome(Box::new((&*outcome).into()))).await?;
            }
            Ok(HeardOutcome::Missed(missed)) => output.item_now(&FollowPart::Missed(missed)).await?,
            Ok(HeardOutcome::Outcome(_)) | Err(_) => output.step().await?,
        }
    }
    output.end(&Frame::Done).await
}
