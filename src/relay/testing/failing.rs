//! A relay's voice that fails at one octet of all that it says.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// What a relay does in place of the octet at which it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It closes the connection.
    Closes,
    /// It says nothing more, and keeps the connection.
    Stalls,
    /// It says a line that is no SMTP, and goes on.
    Garbles,
}

impl Failure {
    pub(crate) const ALL: [Failure; 3] = [Failure::Closes, Failure::Stalls, Failure::Garbles];
}

/// The relay's end of a connection.
pub(crate) struct FailingVoice {
    stream: BufReader<DuplexStream>,
    /// The number of octets that are said before the failure.
    left: usize,
    failure: Failure,
    /// The number of octets that were said, without those of the failure.
    pub(crate) said: usize,
    /// All that the client has said.
    pub(crate) heard: Vec<u8>,
}

impl FailingVoice {
    pub(crate) fn new(stream: DuplexStream, fails_at: usize, failure: Failure) -> Self {
        FailingVoice { stream: BufReader::new(stream), left: fails_at, failure, said: 0, heard: Vec::new() }
    }

    /// Returns the next line without its CRLF; `None` if there is no whole one any more.
    pub(crate) async fn hear(&mut self) -> Option<String> {
        let begin = self.heard.len();
        self.stream.read_until(b'\n', &mut self.heard).await.ok()?;
        let line = String::from_utf8_lossy(&self.heard[begin..]).into_owned();
        line.strip_suffix("\r\n").map(String::from)
    }

    /// Says `words`, as far as the relay does not fail. Returns whether the connection goes on.
    pub(crate) async fn say(&mut self, words: &str) -> bool {
        let (whole, rest) = words.split_at(self.left.min(words.len()));
        self.left -= whole.len();
        self.said += whole.len();
        // A client that has hung up is found out by the next line.
        let _ = self.stream.write_all(whole.as_bytes()).await;
        if rest.is_empty() {
            return true;
        }
        match self.failure {
            Failure::Closes => {
                let _ = self.stream.shutdown().await;
            }
            Failure::Stalls => {}
            Failure::Garbles => {
                self.left = usize::MAX;
                let garbage = format!("\u{16}\u{3}\u{1} no SMTP\r\n{rest}");
                let _ = self.stream.write_all(garbage.as_bytes()).await;
                return true;
            }
        }
        let _ = self.stream.read_to_end(&mut self.heard).await;
        false
    }
}
