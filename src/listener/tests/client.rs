//! The client's side of a session, in the words of a transcript.

use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::listener::backend::{BoxStream, Stream};
use crate::listener::certificate::tests::connector_trusting;

/// What a client says to send one small message, before the content.
pub const TO_DATA: &str = "EHLO c\r\nMAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\nDATA\r\n";

/// Longer than any test means to wait; on a paused clock that is no time at all.
const PATIENCE: Duration = Duration::from_secs(1000);

/// A client that has connected.
pub struct Client(BufReader<BoxStream>);

impl Client {
    /// Over `stream`, with the greeting still to come.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Client(BufReader::new(Box::new(stream)))
    }

    /// Over `stream`, greeted.
    pub async fn greeted(stream: impl Stream + 'static) -> Self {
        let mut client = Client::over(stream);
        client.expect("220 ").await;
        client
    }

    /// The same client under TLS, after the 220; it trusts the certificate in `pem`, if that is for `name`.
    pub async fn secured(self, pem: &str, name: &'static str) -> io::Result<Self> {
        assert!(self.0.buffer().is_empty(), "something was said behind the 220");
        let name = ServerName::try_from(name).unwrap();
        let secured = connector_trusting(pem).connect(name, self.0.into_inner()).await?;
        Ok(Client::over(secured))
    }

    /// Sends `octets` as they are; that the other side is gone shows in the reply.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let _ = self.0.write_all(octets.as_ref()).await;
    }

    /// The next reply, its lines without their ends; empty when the connection is closed.
    pub async fn reply(&mut self) -> Vec<String> {
        timeout(PATIENCE, self.read_reply()).await.expect("no reply ever came")
    }

    async fn read_reply(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match self.0.read_line(&mut line).await {
                Ok(octets) if octets > 0 => {}
                _ => return lines,
            }
            assert!(line.ends_with("\r\n"), "{line:?}");
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line.trim_end().to_owned());
            if is_last {
                return lines;
            }
        }
    }

    /// The next reply, whose last line starts with `start`.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let lines = self.reply().await;
            let fits = lines.last().is_some_and(|line| line.starts_with(start));
            assert!(fits, "expected {start:?}, got {lines:?} at {caller}");
        }
    }

    /// One reply for each of `starts`, in order.
    #[track_caller]
    pub fn expect_all(&mut self, starts: &[&str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            for start in starts {
                let lines = self.reply().await;
                let fits = lines.last().is_some_and(|line| line.starts_with(start));
                assert!(fits, "expected {start:?} of {starts:?}, got {lines:?} at {caller}");
            }
        }
    }

    /// Sends a line and expects a reply.
    #[track_caller]
    pub fn say(&mut self, line: &str, start: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.send(format!("{line}\r\n")).await;
            let lines = self.reply().await;
            let fits = lines.last().is_some_and(|line| line.starts_with(start));
            assert!(fits, "{line}: expected {start:?}, got {lines:?} at {caller}");
        }
    }

    /// Everything up to the content of a small message.
    pub async fn begin_data(&mut self) {
        self.send(TO_DATA).await;
        self.expect_all(&["250 ", "250 ", "250 ", "354 "]).await;
    }

    /// Sends a whole message and expects `start` at its end.
    pub async fn send_message(&mut self, content: &str, start: &str) {
        self.begin_data().await;
        self.send(content).await;
        self.say(".", start).await;
    }

    /// Expects the connection to be closed, with nothing said before.
    #[track_caller]
    pub fn expect_close(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let mut rest = Vec::new();
            let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("never closed");
            assert!(rest.is_empty(), "{:?} at {caller}", String::from_utf8_lossy(&rest));
        }
    }
}
