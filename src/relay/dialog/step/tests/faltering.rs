//! A relay that says replies too many, or too early, or hangs up, and remembers what it truly did.
//!
//! It is a model of a server and not a script (`tests/far_end/server.rs`): what it answers depends on what it is told,
//! which is what these tests leave open.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// One reply more than there should be.
#[derive(Clone, Debug)]
pub(super) struct Surplus {
    /// At which reply or line of content, counted from the first.
    pub(super) at: usize,
    /// It comes before the reply that belongs there, else behind it.
    pub(super) is_early: bool,
    pub(super) code: u16,
}

/// The way in which a relay replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Speech {
    /// At once, and in the same words to everything.
    #[default]
    Terse,
    /// Each reply some time after what it answers, and each in its own words.
    Slow,
}

/// The faults of a relay: replies and closes that should not be.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) surplus: Vec<Surplus>,
    /// At which reply or line of content it hangs up instead, counted from the first.
    pub(super) hangs_up_at: Option<usize>,
    /// Before it does it says what comes too early there.
    pub(super) says_last: bool,
    pub(super) speech: Speech,
}

/// The recipients that the relay truly took and refused, by their addresses, whatever it said.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) taken: HashSet<String>,
    pub(super) refused: HashSet<String>,
}

/// A relay that refuses reverse-paths and recipients that begin with `no`, and content with a line `no`.
pub(super) struct FalteringRelay<'a> {
    pub(super) stream: BufReader<DuplexStream>,
    pub(super) faults: &'a Faults,
    pub(super) events: usize,
    pub(super) truth: &'a Mutex<Truth>,
}

impl FalteringRelay<'_> {
    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await.ok()?;
        Some(String::from_utf8(line).ok()?.strip_suffix("\r\n")?.to_owned())
    }

    /// Says `reply`, and what is too much at this place, in one breath; or hangs up.
    async fn say(&mut self, reply: &str) {
        let (all, at) = (&self.faults.surplus, self.events);
        let surplus = |is_early| {
            let here = all.iter().filter(move |s| s.at == at && s.is_early == is_early);
            here.map(|s| format!("{} surplus\r\n", s.code)).collect::<String>()
        };
        if let Some(end) = self.faults.hangs_up_at.filter(|end| at >= *end) {
            if at == end && self.faults.says_last {
                let _ = self.stream.write_all(surplus(true).as_bytes()).await;
            }
            let _ = self.stream.shutdown().await;
            return;
        }
        let reply = match (reply, self.faults.speech) {
            ("", _) => String::new(),
            (reply, Speech::Terse) => format!("{}\r\n", reply.split(',').next().unwrap_or_default()),
            (reply, Speech::Slow) => format!("{reply}\r\n"),
        };
        let words = surplus(true) + &reply + &surplus(false);
        if self.faults.speech == Speech::Slow && !words.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.events += 1;
        // A client that has hung up is found out by the next line.
        let _ = self.stream.write_all(words.as_bytes()).await;
    }

    /// Returns whether it says a permanent refusal more than it should at this place.
    fn refuses_here(&self) -> bool {
        let at = self.events;
        self.faults.surplus.iter().any(|surplus| surplus.at == at && surplus.code >= 500)
    }

    pub(super) async fn serve(mut self) {
        let mut mail = None;
        let (mut named, mut taken) = (Vec::new(), Vec::new());
        while let Some(line) = self.line().await {
            if let Some(path) = line.strip_prefix("MAIL FROM:<") {
                mail = Some(!path.starts_with("no"));
                (named, taken) = (vec![], vec![]);
                self.say(if path.starts_with("no") { "550 no, sender" } else { "250 ok, sender" }).await;
            } else if let Some(path) = line.strip_prefix("RCPT TO:<") {
                let address = path.trim_end_matches('>').to_owned();
                let is_taken = mail == Some(true) && !address.starts_with("no");
                named.push(address.clone());
                if is_taken {
                    taken.push(address)
                } else {
                    self.refuse([address])
                }
                self.say(if is_taken { "250 ok, recipient" } else { "550 no, recipient" }).await;
            } else if line == "DATA" && !taken.is_empty() {
                self.say("354 go on").await;
                self.content(std::mem::take(&mut taken)).await;
            } else {
                taken.clear();
                self.say(match line.as_str() {
                    "RSET" => "250 ok, reset",
                    "QUIT" => "221 bye",
                    _ => "554 no",
                })
                .await;
            }
        }
    }

    async fn content(&mut self, taken: Vec<String>) {
        let mut is_refused = false;
        while let Some(line) = self.line().await {
            is_refused |= line == "no";
            if line != "." {
                // A refusal within the content is one of it, whatever follows.
                if self.refuses_here() {
                    self.refuse(taken.iter().cloned());
                }
                self.say("").await;
                continue;
            }
            if is_refused {
                self.refuse(taken);
            } else {
                self.truth.lock().unwrap().taken.extend(taken);
            }
            return self.say(if is_refused { "550 no, content" } else { "250 ok, taken" }).await;
        }
    }

    fn refuse(&self, addresses: impl IntoIterator<Item = String>) {
        self.truth.lock().unwrap().refused.extend(addresses);
    }
}
