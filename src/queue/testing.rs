//! Envelopes, reports as a connection makes them, and the log, for tests of the queue.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

use crate::envelope::{Address, Envelope, Recipient, ReversePath, ReversePathKey, Submitter};
use crate::journal::testing::Captured;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Peer, Phase, RecipientReport, Report, Subject, Trouble, Verdict};
use crate::smtp::reply::Reply;
use crate::spool::{Entry, EntryState};
use crate::status::Status;

/// The end of a refusal after which the relay closes the connection before it has shown whose refusal it was.
pub(super) const AND_LEFT: &str = "(and left)";

/// Returns an envelope from `from` (empty: `<>`) to each of `to`.
pub(super) fn envelope(from: &str, to: &[&str]) -> Envelope {
    let mut envelope = Envelope::from(match from {
        "" => ReversePath::Null,
        from => ReversePath::Mailbox(Address::parse(from).unwrap()),
    });
    envelope.recipients = to.iter().map(|to| Recipient::plain(Address::parse(to).unwrap())).collect();
    envelope
}

/// Returns the entry of an active message that arrived in 1970.
pub(super) fn entry(raw: u64) -> Entry {
    Entry {
        id: QueueId::from_raw(raw),
        arrived: Timestamp::UNIX_EPOCH,
        submitter: Submitter::Loopback,
        lane: 1,
        from: ReversePathKey::of_text("app@example.org"),
        patience_mark: 0,
        patience_used: 0,
        marks: EntryState::Active.into(),
    }
}

pub(super) fn trouble(phase: Phase) -> Trouble {
    Trouble { phase, peer: None, cause: Cause::Other("told to".into()) }
}

pub(super) fn refused_login() -> Trouble {
    let said = "PLAIN: the relay said: 535 5.7.8 no".into();
    Trouble {
        phase: Phase::Auth,
        peer: None,
        cause: Cause::LoginRefused { said, for_good: true, reply: None, token: None, advice: None },
    }
}

/// Returns the log, which is kept until the second part is dropped.
pub(super) fn captured() -> (Captured, DefaultGuard) {
    // With only one subscriber, the first thread that comes to a line decides with its own subscriber, or with none,
    // whether the line is ever written.
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
    let log = Captured::default();
    let written = log.clone();
    let journal = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone());
    (log, tracing::subscriber::set_default(journal.finish()))
}

/// Returns a report in which the relay gives these replies at this phase, one to each recipient, and the last one to all
/// that are left; with none, the connection was lost.
pub(super) fn report_at(
    phase: Phase,
    id: QueueId,
    recipients: &[(usize, Recipient)],
    said: &[&str],
) -> Report {
    let told = |position: usize| said.get(position).or(said.last()).copied();
    Report {
        id,
        peer: Peer {
            name: "relay.example".into(),
            address: "192.0.2.1:587".parse().unwrap(),
            route: None,
            tls: Some("TLSv1.3"),
        },
        recipients: recipients
            .iter()
            .enumerate()
            .map(|(position, (index, _))| recipient_report(phase, *index, told(position)))
            .collect(),
        possible_duplicate: said.is_empty(),
        lost_at: said.is_empty().then_some(Phase::Dot),
        left_at: None,
        // What was refused had been sent with the parameters.
        dsn_passed_on: said.iter().copied().any(is_about_dsn),
        connecting: Duration::ZERO,
        transmitting: Duration::ZERO,
    }
}

/// Returns a report of a transaction about which nothing was said, for a reason that explains it.
pub(super) fn untold(id: QueueId, recipients: &[(usize, Recipient)]) -> Report {
    Report { possible_duplicate: false, lost_at: None, ..report_at(Phase::Dot, id, recipients, &[]) }
}

fn is_about_dsn(said: &str) -> bool {
    said.starts_with("555 5.5.4")
}

fn recipient_report(phase: Phase, index: usize, said: Option<&str>) -> RecipientReport {
    let said = said.filter(|said| !said.is_empty());
    let verdict = match said.map(|said| &said[..1]) {
        Some(_) if said.is_some_and(|said| said.starts_with("452 4.5.3")) => Verdict::TooMany,
        Some(_) if said.is_some_and(|said| said.contains("Multiple destination domains")) => {
            Verdict::TooManyDomains
        }
        Some(_) if said.is_some_and(is_about_dsn) => Verdict::WithoutParameters(Default::default()),
        Some("2") => Verdict::Sent,
        Some("4") => Verdict::Deferred,
        Some("5") if said.is_some_and(|said| said.ends_with(AND_LEFT)) => Verdict::Unproven,
        Some("5") => Verdict::Bounced,
        _ => Verdict::Untold,
    };
    let said = said.unwrap_or("connection lost");
    let status = Status::split_from(said.get(4..).unwrap_or_default());
    let status = status.map_or(Status::transient(4, 2), |(status, _)| status);
    let reply = Reply::parse(format!("{said}\r\n").as_bytes()).ok().flatten();
    let about = reply.map_or(Subject::Message, |(reply, _)| Subject::of(phase, &reply));
    RecipientReport { index, verdict, status, said: said.to_owned(), from_relay: true, phase, about }
}
