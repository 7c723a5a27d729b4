//! The answer to a client of the control socket, frame by frame.
//!
//! Promise: a client that does not read is left after [`CLIENT_PATIENCE`].

use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::timeout;

use super::protocol::Frame;

/// Time that a client may take to send its request, or to read a line of the answer.
pub(super) const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// The stream on which frames are written to the client.
pub(super) struct ClientOutput(BufWriter<OwnedWriteHalf>);

impl ClientOutput {
    /// Returns the stream over this half of the connection.
    pub fn new(output: OwnedWriteHalf) -> Self {
        ClientOutput(BufWriter::new(output))
    }

    /// Sends one item of the answer.
    pub async fn item(&mut self, item: &impl Serialize) -> io::Result<()> {
        self.send(&Frame::Item(serde_json::to_value(item)?)).await
    }

    /// Sends these items of the answer.
    pub async fn items(&mut self, items: &[impl Serialize]) -> io::Result<()> {
        for item in items {
            self.item(item).await?;
        }
        Ok(())
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
        timeout(CLIENT_PATIENCE, self.0.write_all(&line)).await?
    }

    /// Sends the last frame.
    pub async fn end(&mut self, frame: &Frame) -> io::Result<()> {
        self.send(frame).await?;
        timeout(CLIENT_PATIENCE, self.0.shutdown()).await?
    }
}
