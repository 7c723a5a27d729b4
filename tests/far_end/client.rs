//! A client that says what a test wants said, and hears replies.

use std::io;
use std::net::Ipv4Addr;
use std::panic::Location;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Stream, block_on};

/// The commands with which a client sends one small message, before the content.
pub const TO_DATA: &str = "EHLO c\r\nMAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\nDATA\r\n";

/// Time for which a client waits for a reply: longer than any test means to wait. On a paused clock it is no time at all.
const PATIENCE: Duration = Duration::from_secs(1000);

/// The octets that a client gets where a reply is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The lines of a reply, without their ends.
    Reply(Vec<String>),
    /// Something else, or a part of a reply and the end of the connection.
    Garbage(Vec<u8>),
    /// The end of the connection.
    Closed,
    /// Nothing.
    Silence,
}

impl Heard {
    /// Returns the code of the reply, or a word for what was heard instead.
    pub fn code(&self) -> String {
        match self {
            Heard::Reply(lines) => lines[0][..3].to_owned(),
            Heard::Garbage(_) => "garbage".into(),
            Heard::Closed => "closed".into(),
            Heard::Silence => "silence".into(),
        }
    }

    /// Returns what the lines of the reply say behind the code; it must be a reply.
    pub fn texts(&self) -> Vec<&str> {
        let Heard::Reply(lines) = self else { panic!("no reply: {self:?}") };
        lines.iter().map(|line| line.get(4..).unwrap_or_default()).collect()
    }
}

/// The client's end of one connection.
pub struct Client(BufReader<Box<dyn Stream>>);

impl Client {
    /// Returns a client over `stream`, with the greeting still to come.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Client(BufReader::new(Box::new(stream)))
    }

    /// Returns a client over `stream`, greeted.
    pub async fn greeted(stream: impl Stream + 'static) -> Self {
        let mut client = Client::over(stream);
        client.expect("220 ").await;
        client
    }

    /// Connects to `port` of 127.0.0.1, and is greeted.
    pub async fn connected(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::greeted(stream).await
    }

    /// Returns the same client under TLS with a server called `name`, behind the reply to STARTTLS or before any.
    pub async fn secured(self, connector: &TlsConnector, name: &'static str) -> io::Result<Self> {
        assert!(self.0.buffer().is_empty(), "something was said before the handshake");
        let name = ServerName::try_from(name).unwrap();
        Ok(Client::over(connector.connect(name, self.0.into_inner()).await?))
    }

    /// Sends `octets` as they are; that the other side is gone shows in the reply.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let _ = self.0.write_all(octets.as_ref()).await;
    }

    /// Returns the octets that come where a reply is due.
    pub async fn hear(&mut self) -> Heard {
        timeout(PATIENCE, self.next_reply()).await.unwrap_or(Heard::Silence)
    }

    async fn next_reply(&mut self) -> Heard {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let mut line = Vec::new();
            match self.0.read_until(b'\n', &mut line).await {
                Ok(octets) if octets > 0 => {}
                _ if lines.is_empty() => return Heard::Closed,
                _ => return Heard::Garbage(lines.concat().into()),
            }
            let Some(text) = reply_line(&line).filter(|text| lines.iter().all(|line| line[..3] == text[..3]))
            else {
                return Heard::Garbage(line);
            };
            let is_last = text.as_bytes().get(3) != Some(&b'-');
            lines.push(text.to_owned());
            if is_last {
                return Heard::Reply(lines);
            }
        }
    }

    /// Sends `octets`, and returns the octets that come then.
    pub async fn ask(&mut self, octets: impl AsRef<[u8]>) -> Heard {
        self.send(octets).await;
        self.hear().await
    }

    /// Returns the lines of the next reply, none when the connection is closed.
    pub async fn reply(&mut self) -> Vec<String> {
        match self.hear().await {
            Heard::Reply(lines) => lines,
            Heard::Closed => Vec::new(),
            other => panic!("no reply: {other:?}"),
        }
    }

    async fn expect_behind(&mut self, said: &str, start: &str, caller: &Location<'_>) {
        let lines = self.reply().await;
        let fits = lines.last().is_some_and(|line| line.starts_with(start));
        assert!(fits, "{said}expected {start:?}, got {lines:?} at {caller}");
    }

    /// Expects a reply whose last line starts with `start`.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> impl Future<Output = ()> + Send {
        self.expect_behind("", start, Location::caller())
    }

    /// Expects one reply for each of `starts`, in order.
    #[track_caller]
    pub fn expect_all(&mut self, starts: &[&str]) -> impl Future<Output = ()> + Send {
        let caller = Location::caller();
        async move {
            for start in starts {
                self.expect_behind(&format!("of {starts:?}: "), start, caller).await;
            }
        }
    }

    /// Sends `octets`, and expects so many replies with 2xx or 3xx.
    #[track_caller]
    pub fn reach(&mut self, octets: &str, replies: usize) -> impl Future<Output = ()> + Send {
        let caller = Location::caller();
        async move {
            self.send(octets).await;
            for _ in 0..replies {
                let lines = self.reply().await;
                let is_positive = lines.last().is_some_and(|line| line.starts_with(['2', '3']));
                assert!(is_positive, "{octets:?}: got {lines:?} at {caller}");
            }
        }
    }

    /// Sends a line and expects a reply.
    #[track_caller]
    pub fn say(&mut self, line: &str, start: &str) -> impl Future<Output = ()> + Send {
        let caller = Location::caller();
        async move {
            self.send(format!("{line}\r\n")).await;
            self.expect_behind(&format!("{line}: "), start, caller).await;
        }
    }

    /// Says everything up to the content of a small message.
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
        let caller = Location::caller();
        async move {
            let mut rest = Vec::new();
            let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("never closed");
            assert!(rest.is_empty(), "{:?} at {caller}", String::from_utf8_lossy(&rest));
        }
    }
}

/// Returns a line of a reply without its CRLF, or `None` if it is none.
fn reply_line(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let is_code = text.len() >= 3 && text.as_bytes()[..3].iter().all(u8::is_ascii_digit);
    (is_code && matches!(text.as_bytes().get(3), None | Some(b' ' | b'-'))).then_some(text)
}

/// Says each of `pieces` with CRLF to the server at `port`, the next one behind the reply to the one before; returns
/// the replies behind the greeting. For tests that have no runtime.
pub fn converse(port: u16, pieces: &[impl AsRef<[u8]>]) -> Vec<Vec<String>> {
    block_on(async {
        let mut client = Client::connected(port).await;
        let mut replies = Vec::new();
        for piece in pieces {
            client.send([piece.as_ref(), b"\r\n"].concat()).await;
            replies.push(client.reply().await);
        }
        replies
    })
}
