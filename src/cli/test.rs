//! `nullmta test ADDRESS`: hands a real message to the daemon, as `sendmail` does, and follows it until the relay has said what it
//! thinks of it, or until it is known why the message waits.
//!
//! Promises
//! 1. Nothing is handed in unless the daemon answers, and then to the daemon alone: never into the drop directory.
//! 2. It follows from before the message is handed in, so that even the fastest reply is not missed (`test/follower.rs`).
//! 3. An ordinary user may do it: of a message of theirs they hear everything.
//! 4. It ends, and its exit code says how: 0 sent, 1 refused for good, 75 still waiting, 69 not handed in.
//!
//! Not here: trying the relay without a message (`probe.rs`), what the words of a reply mean (`relay_reply.rs`).

mod follower;
mod report;

use std::time::{Duration, Instant};

use clap::Args;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::{print_line, printed};
use super::queue::{ask, print_json};
use super::sendmail;
use super::values::time;
use crate::admin::protocol::{ControlRequest, MessageState, QueuedMessage};
use crate::envelope::{Address, Envelope, Recipient, ReversePath};
use crate::filter::QueueFilter;
use crate::queue_id::QueueId;
use follower::{Follower, ToldNews};
use report::{TestEnd, TestReport};

/// How often the queue is asked what keeps the message.
const LOOK: Duration = Duration::from_secs(1);

/// Send a real message through the daemon, and follow it to the relay's final reply
#[derive(Args)]
pub(super) struct TestCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// The address to which the message goes
    #[arg(value_name = "ADDRESS", value_parser = address)]
    to: Address,
    /// The address from which it comes: in the envelope and in From; by default the login name, as sendmail has it
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    from: Option<Address>,
    /// Wait so long for the relay's reply
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "60s")]
    timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Reads an address, for clap.
fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

impl TestCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let from = self.from.clone().unwrap_or_else(sendmail::login);
        let follower = Follower::start(&self.config)?;
        let id = self.hand_in(&from)?;
        let report = TestReport { id, from: &from, to: &self.to, end: self.follow(id, &follower)? };
        match self.json {
            true => printed(print_json(&report.json()))?,
            false => print_line(format_args!("{report}"))?,
        }
        report.exit().map_or(Ok(()), |exit| Err(Failure::said(exit)))
    }

    /// Hands the message in. Returns its queue id.
    fn hand_in(&self, from: &Address) -> Result<QueueId, Failure> {
        let mut envelope = Envelope::from(ReversePath::Mailbox(from.clone()));
        envelope.recipients.push(Recipient::plain(self.to.clone()));
        envelope.smtputf8 = envelope.needs_smtputf8();
        sendmail::hand_in(&self.config.config, &envelope, content(from, &self.to)).map_err(|failure| {
            match failure.exit() {
                // 75 says that the message waits, and there is none.
                Exit::TempFail => Failure::new(Exit::Unavailable, failure),
                _ => failure,
            }
        })
    }

    /// Follows the message to its end, or until the time is over.
    fn follow(&self, id: QueueId, follower: &Follower) -> Result<TestEnd, Failure> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let told = follower.next(left.min(LOOK));
            let message = match told {
                ToldNews::Outcome(outcome) if outcome.id != id => continue,
                ToldNews::Outcome(outcome) => {
                    return Ok(TestEnd::Answered { next_attempt: self.next_attempt(id), outcome });
                }
                ToldNews::Nothing => self.look(id)?,
                ToldNews::Lost(why) => return Ok(TestEnd::Lost(why)),
            };
            let Some(message) = message else {
                // What became of it is told before it leaves the queue.
                match follower.next_of(id) {
                    Some(outcome) => return Ok(TestEnd::Answered { next_attempt: None, outcome }),
                    None => return Ok(TestEnd::Gone),
                }
            };
            if deadline <= Instant::now() || is_kept(message.state) {
                return Ok(TestEnd::Waits(Box::new(message)));
            }
        }
    }

    /// Returns the message as the queue has it; `None` if it has left.
    fn look(&self, id: QueueId) -> Result<Option<QueuedMessage>, Failure> {
        let filter = QueueFilter { ids: vec![id], ..QueueFilter::default() };
        let mut found = None;
        ask(&self.config, &ControlRequest::QueueList { filter, limit: None }, &mut |message| {
            found = Some(message);
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns when the message is tried again, if the queue still has it.
    fn next_attempt(&self, id: QueueId) -> Option<String> {
        // What the relay has said is known; when it is tried again only adds to that.
        self.look(id).ok().flatten()?.next_attempt
    }
}

/// Returns whether a message in this state goes nowhere before somebody acts.
fn is_kept(state: MessageState) -> bool {
    matches!(state, MessageState::OnHold | MessageState::Held | MessageState::Dead)
}

/// Returns the message. The daemon adds Date and Message-ID.
fn content(from: &Address, to: &Address) -> Vec<u8> {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: Test message of nullmta\r\nAuto-Submitted: auto-generated\r\n\r\n\
         Somebody has run \"nullmta test\" on this host, to see whether its mail arrives.\r\nIt does, if you read this.\r\n"
    )
    .into_bytes()
}
