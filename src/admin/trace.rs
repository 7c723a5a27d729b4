//! The answer to [`super::protocol::ControlRequest::Trace`]: dialogues with relays and clients, as they happen.
//!
//! Promise: it ends by itself, after the time that was asked for and [`LONGEST`] at most, or when the client goes; a client that does not
//! read is left like any other, and meanwhile loses lines, which is told.
//!
//! Not here: what is in a line (`trace.rs`).

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::output::ClientOutput;
use super::protocol::Frame;
use crate::trace::{Traced, TracedLine, TracedSide, Tracer};

/// The longest time for which a client traces.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The time after which it is looked whether the client is still there.
const BEAT: Duration = Duration::from_secs(5);

/// A part of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TracePart {
    /// A line of a dialogue.
    Line(Box<TracedLine>),
    /// So many lines were not told, of any dialogues.
    Missed(u64),
}

/// Tells the lines of this side, or of both, for a time. `granted` is told for how many seconds, before the first one.
pub(super) async fn trace(
    side: Option<TracedSide>,
    seconds: u64,
    granted: impl FnOnce(u64),
    output: &mut ClientOutput,
) -> io::Result<()> {
    let Some(mut tracer) = Tracer::begin() else {
        return output.end(&Frame::Error("too many traces at once, try again later".into())).await;
    };
    let time = Duration::from_secs(seconds).min(LONGEST);
    granted(time.as_secs());
    let end = Instant::now() + time;
    while Instant::now() < end {
        match timeout_at(end.min(Instant::now() + BEAT), tracer.next()).await {
            Ok(Traced::Line(line)) if side.is_none_or(|side| side == line.dialogue) => {
                output.item_now(&TracePart::Line(Box::new((*line).clone()))).await?;
            }
            Ok(Traced::Missed(missed)) => output.item_now(&TracePart::Missed(missed)).await?,
            Ok(Traced::Line(_)) | Err(_) => output.step().await?,
        }
    }
    output.end(&Frame::Done).await
}
