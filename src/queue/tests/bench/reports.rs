//! Reports as a connection makes them, where the relay says this or that.

use std::time::Duration;

use super::relay::Does;
use crate::envelope::Recipient;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Peer, Phase, RecipientReport, Report, Subject, Trouble, Verdict};
use crate::smtp::reply::Reply;
use crate::status::Status;

pub(super) fn trouble(phase: Phase) -> Trouble {
    Trouble { phase, peer: None, cause: Cause::Other("told to".into()) }
}

/// Returns a report in which the relay gives these replies at the final dot, one to each recipient; with none, the
/// connection was lost.
pub(super) fn report(id: QueueId, recipients: &[(usize, Recipient)], said: &[&str]) -> Report {
    report_at(Phase::Dot, id, recipients, said)
}

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

/// The end of a refusal after which the relay closes the connection before it has shown whose refusal it was.
pub(in crate::queue::tests) const AND_LEFT: &str = "(and left)";

/// Returns what [`Does::RefusesOdd`] means for these recipients.
pub(super) fn refusing_odd(said: &'static str, recipients: &[(usize, Recipient)]) -> Does {
    let is_odd = |(_, to): &(usize, Recipient)| to.address.to_string().starts_with("odd");
    if recipients.iter().all(is_odd) {
        return Does::SaysAtRcpt(vec![said]);
    }
    let told = |to: &(usize, Recipient)| if is_odd(to) { said } else { "250 2.0.0 ok" };
    Does::Says(recipients.iter().map(told).collect())
}

pub(super) fn is_about_dsn(said: &str) -> bool {
    said.starts_with("555 5.5.4")
}

/// Returns a report in which the relay gives this reply during the content.
pub(super) fn parting(
    id: QueueId,
    recipients: &[(usize, Recipient)],
    said: &str,
    has_served: bool,
) -> Report {
    if has_served {
        let untold = report(id, recipients, &[]);
        return Report { possible_duplicate: false, lost_at: None, left_at: Some(Phase::Content), ..untold };
    }
    report_at(Phase::Content, id, recipients, &[said])
}

pub(super) fn recipient_report(phase: Phase, index: usize, said: Option<&str>) -> RecipientReport {
    let said = said.filter(|said| !said.is_empty());
    let verdict = match said.map(|said| &said[..1]) {
        Some(_) if said.is_some_and(|said| said.starts_with("452 4.5.3")) => Verdict::TooMany,
        Some(_) if said.is_some_and(is_about_dsn) => Verdict::WithoutDsn,
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
