//! The answer to a client of the control socket, frame by frame.
//!
//! Promises: a client that does not read is left after [`CLIENT_PATIENCE`]; one that is told of every step of a search
//! ([`ClientOutput::step`]) hears something every few seconds, so that it does not take the daemon for one that hangs.

use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::timeout;

use super::protocol::Frame;

/// Time that a client may take to send its request, or to read a line of the answer.
pub(super) const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// Time after which a client hears that a search goes on.
const SILENCE: Duration = Duration::from_secs(5);

/// The stream on which frames are written to the client.
pub(super) struct ClientOutput {
    output: BufWriter<OwnedWriteHalf>,
    /// When the client was sent something last that does not wait in the buffer.
    heard: Instant,
}

impl ClientOutput {
    /// Returns the stream over this half of the connection.
    pub fn new(output: OwnedWriteHalf) -> Self {
        ClientOutput { output: BufWriter::new(output), heard: Instant::now() }
    }

    /// Sends one item of the answer.
    pub async fn item(&mut self, item: &impl Serialize) -> io::Result<()> {
        self.send(&Frame::Item(serde_json::to_value(item)?)).await
    }

    /// Sends one item, which does not wait in the buffer for those that follow.
    pub async fn item_now(&mut self, item: &impl Serialize) -> io::Result<()> {
        self.item(item).await?;
        self.flush().await
    }

    /// Sends these items of the answer.
    pub async fn items(&mut self, items: &[impl Serialize]) -> io::Result<()> {
        for item in items {
            self.item(item).await?;
        }
        Ok(())
    }

    /// Sends the items that a request came to, or why it came to nothing, and ends the answer.
    pub async fn came_to<T: Serialize>(
        &mut self,
        came_to: Result<Vec<T>, impl Into<Frame>>,
    ) -> io::Result<()> {
        match came_to {
            Ok(items) => {
                self.items(&items).await?;
                self.end(&Frame::Done).await
            }
            Err(failure) => self.end(&failure.into()).await,
        }
    }

    /// Sends the only item of an answer; without one, an error that the daemon is stopping.
    pub async fn answer(&mut self, item: Option<&impl Serialize>) -> io::Result<()> {
        match item {
            Some(item) => self.item(item).await,
            None => self.send(&Frame::Error("the daemon is stopping".into())).await,
        }
    }

    /// Sends one frame.
    pub async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let mut line = serde_json::to_vec(frame)?;
        line.push(b'\n');
        timeout(CLIENT_PATIENCE, self.output.write_all(&line)).await?
    }

    /// Says that a search goes on, if the client has heard nothing for a while.
    pub async fn step(&mut self) -> io::Result<()> {
        if self.heard.elapsed() < SILENCE {
            return Ok(());
        }
        self.send(&Frame::Working).await?;
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        timeout(CLIENT_PATIENCE, self.output.flush()).await??;
        self.heard = Instant::now();
        Ok(())
    }

    /// Sends the last frame.
    pub async fn end(&mut self, frame: &Frame) -> io::Result<()> {
        self.send(frame).await?;
        timeout(CLIENT_PATIENCE, self.output.shutdown()).await?
    }
}
