//! A relay that closes, falls silent or says nonsense at any octet of its side of the dialogue.

use std::collections::BTreeSet;

use super::*;
use crate::relay::testing::failing::{FailingVoice, Failure};

/// A relay that takes ben and refuses no@example.net.
struct OctetRelay {
    voice: FailingVoice,
    /// The messages whose final dot it has read.
    taken: BTreeSet<u64>,
    /// True if it has taken a recipient of the transaction at hand.
    has_recipient: bool,
}

impl OctetRelay {
    async fn serve(&mut self) {
        while let Some(line) = self.voice.hear().await {
            self.has_recipient &= !line.starts_with("MAIL");
            self.has_recipient |= line.starts_with("RCPT TO:<ben@");
            let goes_on = match line.split([' ', ':']).next().unwrap() {
                "MAIL" => self.voice.say("250 2.1.0 sender ok\r\n").await,
                "RCPT" if line.contains("no@") => self.voice.say("550 5.1.1 no such user\r\n").await,
                "RCPT" => self.voice.say("250-2.1.5 this one\r\n250 2.1.5 recipient ok\r\n").await,
                "DATA" if !self.has_recipient => self.voice.say("554 5.5.1 no recipients\r\n").await,
                "DATA" => self.voice.say("354 go on\r\n").await && self.content().await,
                "RSET" => self.voice.say("250 2.0.0 reset\r\n").await,
                _ => {
                    self.voice.say("221 2.0.0 bye\r\n").await;
                    false
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn content(&mut self) -> bool {
        let Some(name) = self.voice.hear().await else { return false };
        while let Some(line) = self.voice.hear().await {
            if line == "." {
                self.taken.insert(name.parse().unwrap());
                return self.voice.say("250 2.0.0 taken as 4711\r\n").await;
            }
        }
        false
    }
}

/// Returns the reports, what is left in the queue, and the relay after its dialogue.
async fn played(pipelining: Pipelining, fails_at: usize, failure: Failure) -> (Given, OctetRelay) {
    let (near, far) = wire("192.0.2.5:587");
    let settings = settings();
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let offered = Capabilities { pipelining: true, ..Capabilities::default() };
    let pace = Arc::new(RelayPace::new(pipelining));
    let connection = Connection::new(channel, offered, &settings).at_pace(pace);
    let message =
        |id: u64, to: &[&str]| transaction(id, "ann@example.org", to, &format!("{id}\r\ncontent\r\n"));
    let (ben, no) = ("ben@example.net", "no@example.net");
    let mut given = Given::new([message(1, &[ben, no]), message(2, &[ben]), message(3, &[no])]);
    let mut relay = OctetRelay {
        voice: FailingVoice::new(far, fails_at, failure),
        taken: BTreeSet::new(),
        has_recipient: false,
    };
    let _ = tokio::join!(connection.run(&mut given), relay.serve());
    (given, relay)
}

/// Returns what is untrue or missing of what was reported.
fn faults(given: &Given, relay: &OctetRelay) -> Vec<String> {
    let mut faults = Vec::new();
    let known = given.reports.iter().map(|report| report.id).chain(given.messages.iter().map(|m| m.id));
    if known.map(|id| id.raw()).collect::<Vec<_>>() != [1, 2, 3] {
        faults.push("a message is lost, or reported twice".into());
    }
    for report in &given.reports {
        let is_taken = relay.taken.contains(&report.id.raw());
        for told in &report.recipients {
            let is_no = report.id.raw() == 3 || told.index == 1;
            let is_true = match told.verdict {
                Verdict::Sent => is_taken && !is_no,
                Verdict::Bounced | Verdict::Unproven => is_no,
                // A copy that nobody knows of is announced.
                _ => is_no || !is_taken || report.possible_duplicate,
            };
            if !is_true {
                faults.push(format!(
                    "{}/{}: {:?} ({})",
                    report.id.raw(),
                    told.index,
                    told.verdict,
                    told.said
                ));
            }
        }
    }
    faults
}

#[test]
fn nothing_is_lost_or_falsely_told_at_whatever_octet_a_relay_fails() {
    let run = |pipelining, fails_at, failure| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(played(pipelining, fails_at, failure))
    };
    for pipelining in [Pipelining::Off, Pipelining::Group, Pipelining::Across] {
        let (given, relay) = run(pipelining, usize::MAX, Failure::Closes);
        assert_eq!(faults(&given, &relay), [""; 0], "{pipelining:?}");
        let verdicts = given.reports.iter().flat_map(|report| &report.recipients).map(|told| told.verdict);
        let expected = [Verdict::Sent, Verdict::Bounced, Verdict::Sent, Verdict::Bounced];
        assert_eq!(verdicts.collect::<Vec<_>>(), expected, "{pipelining:?}");
        for fails_at in 0..relay.voice.said {
            for failure in Failure::ALL {
                let (given, relay) = run(pipelining, fails_at, failure);
                let faults = faults(&given, &relay);
                assert!(faults.is_empty(), "{pipelining:?} {fails_at} {failure:?}: {faults:?}");
            }
        }
    }
}
