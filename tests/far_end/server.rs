//! A server that says what a test wants said, and keeps what it hears.
//!
//! Three ways, from the strictest: [`Server::play`] follows a script of both sides, and a client that says anything else
//! fails the test; [`Server::answer`] asks a function for the answer to each line, such as [`in_turn`], which is a list
//! of replies, or [`accepting`]; [`Server::hear`] and [`Server::say`] leave it to the test.
//!
//! A script is lines: `C:` what the client must say, `S:` what the server says; `!close` hangs up, under TLS without a
//! close_notify, `!cut WORDS` does so behind words without a line end, `!stall` says nothing for ever, `!until LINE` reads
//! client lines up to and with `LINE`, `!tls` leaves the stream for a handshake. The order is what is checked: only a client that pipelines gets through a group of `C:` lines before their `S:` lines.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::JoinHandle;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Stream, block_on};

/// An answer that hangs up.
pub const CLOSE: &str = "!close";

/// An answer that never comes: the server reads until the client has had enough.
pub const STALL: &str = "!stall";

/// An answer within the content: the server reads on until memory does not hold what the client has said, says what
/// follows here if that is anything, and hangs up.
const WITHIN: &str = "!within ";

/// Size of content, in octets, that memory does not hold.
const WITHIN_OCTETS: u64 = 2 << 20;

/// The event that a server answers.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// Nothing yet: the answer is the greeting.
    Connected,
    /// A command, without its CRLF.
    Command(&'a str),
    /// A line of the content, without its CRLF; the answer is empty, as a rule.
    Content(&'a str),
    /// The final dot.
    EndOfData,
}

/// The server's end of one connection.
pub struct Server<S> {
    stream: BufReader<S>,
    /// All that the client has said.
    pub said: String,
}

impl<S: Stream> Server<S> {
    /// Returns a server that has said nothing yet.
    pub fn over(stream: S) -> Self {
        Server { stream: BufReader::new(stream), said: String::new() }
    }

    /// Returns the next line without its CRLF, or `None` if there is no whole one any more.
    pub async fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.ok()?;
        self.said += &line;
        line.strip_suffix("\r\n").map(str::to_owned)
    }

    /// Returns the next line; the client must not have hung up.
    pub async fn line(&mut self) -> String {
        self.hear().await.expect("the client hung up")
    }

    /// Sends `reply` and CRLF. A client that has hung up is found out by the next line, or by what it tells.
    pub async fn say(&mut self, reply: &str) {
        let _ = self.stream.write_all(format!("{reply}\r\n").as_bytes()).await;
        let _ = self.stream.flush().await;
    }

    /// Reads so many octets, and keeps none of them.
    pub async fn pass_over(&mut self, octets: usize) {
        let mut content = (&mut self.stream).take(octets as u64);
        let read = tokio::io::copy(&mut content, &mut tokio::io::sink()).await.unwrap();
        assert_eq!(read, octets as u64);
    }

    /// Plays the server's part of `script`, and returns what the client said behind it, up to its end; nothing behind
    /// `!close` and `!tls`.
    pub async fn play(&mut self, script: &str) -> String {
        for (number, line) in script.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
            let (kind, words) = line.split_once(' ').unwrap_or((line, ""));
            match kind {
                "C:" => assert_eq!(self.line().await, words, "script line {}: {line}", number + 1),
                "S:" => self.say(words).await,
                "!until" => while self.line().await != words {},
                STALL => std::future::pending().await,
                "!cut" => {
                    let _ = self.stream.write_all(words.as_bytes()).await;
                    let _ = self.stream.flush().await;
                    return String::new();
                }
                CLOSE | "!tls" => return String::new(),
                _ => panic!("script line {}: {line}", number + 1),
            }
        }
        self.rest().await
    }

    /// Gives each thing said the answer that `answer` has for it, nothing where that is empty, until either side hangs
    /// up. Content is what follows a 354.
    pub async fn answer<R: AsRef<str>>(&mut self, mut answer: impl FnMut(Said<'_>) -> R) {
        let (mut reply, mut in_content) = (answer(Said::Connected), false);
        loop {
            match reply.as_ref() {
                "" => {}
                CLOSE => return,
                STALL => return drop(self.rest().await),
                within if within.starts_with(WITHIN) => return self.break_off(&within[WITHIN.len()..]).await,
                words => {
                    in_content = words.starts_with("354");
                    self.say(words).await;
                }
            }
            let Some(line) = self.hear().await else { return };
            reply = answer(match &*line {
                "." if in_content => Said::EndOfData,
                line if in_content => Said::Content(line),
                line => Said::Command(line),
            });
        }
    }

    async fn break_off(&mut self, words: &str) {
        (&mut self.stream).take(WITHIN_OCTETS).read_to_string(&mut self.said).await.unwrap();
        if !words.is_empty() {
            self.say(words).await;
        }
    }

    /// Returns what the client says from here to its end.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        let rest = String::from_utf8(rest).unwrap();
        self.said += &rest;
        rest
    }
}

/// Plays the server's part of `script` on `stream`, as [`Server::play`] does.
pub async fn play(stream: impl Stream, script: &str) -> String {
    Server::over(stream).play(script).await
}

/// Answers by a list: the first is the greeting, each further one the reply to a command, and the one behind a 354 that
/// to the content. Behind the last it hangs up.
pub fn in_turn(replies: &'static [&'static str]) -> impl FnMut(Said<'_>) -> &'static str + Send {
    let mut replies = replies.iter().peekable();
    move |said| match said {
        Said::Content(_) if !replies.peek().is_some_and(|reply| reply.starts_with(WITHIN)) => "",
        _ => replies.next().unwrap_or(&CLOSE),
    }
}

/// Answers as a server without extensions that takes everything.
pub fn accepting(said: Said<'_>) -> &'static str {
    match said {
        Said::Connected => "220 h",
        Said::Command("DATA") => "354 go on",
        Said::Command("QUIT") => "221 bye",
        Said::Content(_) => "",
        Said::Command(_) | Said::EndOfData => "250 ok",
    }
}

/// A socket at which a server without a runtime waits for its clients.
pub trait Listener: Send + 'static {
    /// Blocks until a client comes.
    fn next_client(&self) -> impl Stream;
}

impl Listener for UnixListener {
    fn next_client(&self) -> impl Stream {
        let (stream, _) = self.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        tokio::net::UnixStream::from_std(stream).unwrap()
    }
}

impl Listener for TcpListener {
    fn next_client(&self) -> impl Stream {
        let (stream, _) = self.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        tokio::net::TcpStream::from_std(stream).unwrap()
    }
}

/// Serves one client for each of `answers`, one after the other, on a thread of its own; yields what they said.
pub fn on_thread<A, R>(listener: impl Listener, answers: Vec<A>) -> JoinHandle<String>
where
    A: FnMut(Said<'_>) -> R + Send + 'static,
    R: AsRef<str>,
{
    let serving = async move || {
        let mut said = String::new();
        for answer in answers {
            let mut server = Server::over(listener.next_client());
            server.answer(answer).await;
            said += &server.said;
        }
        said
    };
    std::thread::spawn(move || block_on(serving()))
}

/// Serves one client at `socket` by a list of replies, as [`in_turn`] does; yields what the client said.
pub fn daemon(socket: &Path, replies: &'static [&'static str]) -> JoinHandle<String> {
    daemon_of_several(socket, vec![replies])
}

/// Serves one client by each list, one after the other.
pub fn daemon_of_several(socket: &Path, lists: Vec<&'static [&'static str]>) -> JoinHandle<String> {
    on_thread(UnixListener::bind(socket).unwrap(), lists.into_iter().map(in_turn).collect())
}
