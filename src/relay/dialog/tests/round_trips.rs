//! The number of round trips that mail costs, counted and not measured.
//!
//! The relay answers only when the client has nothing more to say, as one that is far away: whatever is written before its
//! answer is one flight. With a round trip of 50 ms, a thousand messages on one connection take a thousand times as long
//! as the flights of one.

use tokio::io::DuplexStream;

use super::super::super::testing::wire_of;
use super::*;
use crate::envelope::Ret;

const ROUND_TRIP: Duration = Duration::from_millis(50);
const MESSAGES: u64 = 1000;

/// What the relay expects next.
enum Expects {
    Command,
    Content,
}

/// A relay that refuses `nobody…`, takes everybody else, and takes any parameter.
struct FarRelay {
    stream: DuplexStream,
    expects: Expects,
    /// The number of recipients that it has taken in this transaction.
    taken: usize,
    /// The messages that it has taken.
    messages: u64,
    /// The number of times that the client has waited for it.
    flights: u64,
}

impl FarRelay {
    /// Serves until the client closes the connection.
    async fn serve(mut self) -> Self {
        let mut heard = Vec::new();
        let mut octets = vec![0; 1 << 16];
        loop {
            match timeout(ROUND_TRIP, self.stream.read(&mut octets)).await {
                Ok(Ok(0) | Err(_)) => return self,
                Ok(Ok(read)) => heard.extend_from_slice(&octets[..read]),
                Err(_) if heard.is_empty() => {}
                Err(_) => {
                    self.flights += 1;
                    let replies = self.answer(&mut heard);
                    assert!(heard.is_empty(), "half a command: {}", String::from_utf8_lossy(&heard));
                    self.stream.write_all(replies.as_bytes()).await.unwrap();
                }
            }
        }
    }

    /// Takes in all lines that were heard, and returns the replies to them.
    fn answer(&mut self, heard: &mut Vec<u8>) -> String {
        let mut replies = String::new();
        while let Some(end) = heard.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = heard.drain(..end + 2).collect();
            let line = String::from_utf8(line).unwrap();
            if let Some(reply) = self.answer_line(line.trim_end()) {
                replies += reply;
                replies += "\r\n";
            }
        }
        replies
    }

    fn answer_line(&mut self, line: &str) -> Option<&'static str> {
        if let Expects::Content = self.expects {
            if line != "." {
                return None;
            }
            self.expects = Expects::Command;
            self.messages += 1;
            return Some("250 2.0.0 taken");
        }
        match line.split([' ', ':']).next().unwrap() {
            "MAIL" => {
                self.taken = 0;
                Some("250 2.1.0 ok")
            }
            "RCPT" if line.contains("<nobody") => Some("550 5.1.1 no such user"),
            "RCPT" => {
                self.taken += 1;
                Some("250 2.1.5 ok")
            }
            "DATA" if self.taken == 0 => Some("554 5.5.1 no valid recipients"),
            "DATA" => {
                self.expects = Expects::Content;
                Some("354 go on")
            }
            "RSET" => Some("250 2.0.0 ok"),
            "QUIT" => Some("221 2.0.0 bye"),
            other => panic!("{other}"),
        }
    }
}

/// Sends a thousand messages to `to` on one connection. Returns the flights that they took, and the messages taken.
async fn flights(pipelining: Pipelining, wants_dsn: bool, to: &[&str]) -> (u64, u64) {
    let messages_per_connection = NonZeroUsize::new(MESSAGES as usize).unwrap();
    let settings = config::RelayConfig { pipelining, messages_per_connection, ..settings() };
    let offered = Capabilities { pipelining: true, dsn: true, ..Capabilities::default() };
    let messages = (1..=MESSAGES).map(|id| {
        let mut message = transaction(id, "ann@example.org", to, "Subject: hello\r\n\r\nhello\r\n");
        if wants_dsn {
            (message.ret, message.envid) = (Some(Ret::Headers), Some("e1".into()));
            for (_, recipient) in &mut message.recipients {
                recipient.notify = Notify::On { success: true, failure: true, delay: false };
            }
        }
        message
    });
    let mut given = Given::new(messages);
    let (near, far) = wire_of(1 << 20, "192.0.2.5:587");
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let connection =
        Connection::new(channel, offered, &settings).at_pace(Arc::new(RelayPace::new(pipelining)));
    let relay = FarRelay { stream: far, expects: Expects::Command, taken: 0, messages: 0, flights: 0 };
    let (ended, relay) = tokio::join!(connection.run(&mut given), relay.serve());
    ended.unwrap();
    let told = given.told();
    assert_eq!(told.len(), MESSAGES as usize * to.len());
    for line in &told {
        assert!(line.contains(" sent ") || line.ends_with("no such user"), "{line}");
    }
    (relay.flights, relay.messages)
}

/// Returns the addresses of so many recipients.
fn crowd(number: usize) -> Vec<String> {
    (0..number).map(|place| format!("user{place}@example.net")).collect()
}

/// By default the commands of a message are one flight, and its content is another; a flight more is that of QUIT. Across
/// messages, the commands of the next one go behind the final dot.
#[tokio::test(start_paused = true)]
async fn a_message_costs_two_round_trips_and_one_across_messages() {
    for (pipelining, each) in [(Pipelining::Group, 2), (Pipelining::Across, 1), (Pipelining::Off, 4)] {
        let (flights, taken) = flights(pipelining, false, &["ben@example.net"]).await;
        assert_eq!(taken, MESSAGES);
        let most = each * MESSAGES + 2;
        assert!((each * MESSAGES..=most).contains(&flights), "{pipelining:?}: {flights}");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_dsn_nor_many_recipients_nor_refused_ones_cost_more() {
    let crowd = crowd(50);
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let cases: [(&str, bool, Vec<&str>); 3] = [
        ("DSN", true, vec!["ben@example.net"]),
        ("many", true, crowd),
        ("some refused", false, vec!["nobody1@example.net", "ben@example.net", "nobody2@example.net"]),
    ];
    for (name, wants_dsn, to) in cases {
        for (pipelining, each) in [(Pipelining::Group, 2), (Pipelining::Across, 1)] {
            let (flights, taken) = flights(pipelining, wants_dsn, &to).await;
            assert_eq!(taken, MESSAGES, "{name}");
            let most = each * MESSAGES + 2;
            assert!((each * MESSAGES..=most).contains(&flights), "{name}, {pipelining:?}: {flights}");
        }
    }
}

/// In place of its content, RSET is said.
#[tokio::test(start_paused = true)]
async fn a_message_without_a_valid_recipient_costs_no_more() {
    for pipelining in [Pipelining::Group, Pipelining::Across] {
        let (flights, taken) = flights(pipelining, false, &["nobody@example.net"]).await;
        assert_eq!(taken, 0);
        assert!((MESSAGES..=2 * MESSAGES + 2).contains(&flights), "{pipelining:?}: {flights}");
    }
}
