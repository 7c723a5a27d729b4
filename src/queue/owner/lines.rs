//! The log lines that the queue's state asks for. Their words are in `log/queue.rs` and `log/relay.rs`.

use super::super::orders::OrderResult;
use super::super::reducer::LogLine;
use crate::log::{self, HeldBack};
use crate::spool::OperatorVerb;

impl LogLine {
    /// Writes the line to the log; `route` leads to the relay that it is about, if it is about one.
    pub(super) fn write(&self, route: Option<&str>) {
        match self {
            LogLine::RelayPaused { trouble, live, probe_in, is_new } => {
                log::relay_paused(route, trouble, *live, *probe_in, *is_new);
            }
            LogLine::RelayTrouble(trouble) => log::relay_trouble(route, trouble),
            LogLine::RelaySlowed { trouble, connections } => log::relay_slowed(route, trouble, *connections),
            LogLine::RelayTakesFewer { relay, learned } => {
                if let Some(recipients) = learned.recipients {
                    log::relay_takes_fewer(route, relay, recipients);
                }
                if learned.domains.is_some() {
                    log::relay_takes_one_domain(route, relay);
                }
            }
            LogLine::RelayResumed { live } => log::relay_resumed(route, *live),
            LogLine::RelayFlickered { times, live } => log::relay_flickered(route, *times, *live),
            LogLine::RefusalHeld { said, until, has_null_sender } => {
                let (until, has_null_sender) = (*until, *has_null_sender);
                log::refusal_held(route, &HeldBack { said, until, has_null_sender });
            }
            LogLine::SenderHeld { sender, news } if news.is_stopped => {
                log::sender_stopped(route, &sender.from, &sender.said, news.probe_in);
            }
            LogLine::SenderHeld { sender, news } => {
                log::sender_held(route, &sender.from, &sender.said, sender.hint.as_deref(), news.probe_in);
            }
            LogLine::SenderTaken { from, held } => log::sender_taken(route, from, *held),
            LogLine::OrderDone { id, verb, by, came_to } => {
                log::ordered(*id, done(*verb, *came_to), by.uid, by)
            }
            LogLine::OrderMarked { id, verb, by } => log::order_marked(*id, to_be(*verb), by.uid, by),
            LogLine::OrderLate { id, verb, by } => log::order_late(*id, to_be(*verb), by.uid, by),
            LogLine::SendingStopped { why, live } => log::sending_stopped(why, *live),
            LogLine::SendingResumed { live } => log::sending_resumed(*live),
        }
    }
}

/// Returns what an operator has done with a message.
fn done(verb: OperatorVerb, came_to: OrderResult) -> &'static str {
    match (verb, came_to) {
        (OperatorVerb::Hold, _) => "put on hold",
        (OperatorVerb::Release, _) => "released",
        (OperatorVerb::Retry, _) => "to be tried now, as ordered",
        (OperatorVerb::Expire, OrderResult::Dead) => "given up, and kept as dead, since nobody can be told,",
        (OperatorVerb::Expire, OrderResult::Unreported) => {
            "given up without a report, as its sender wanted (NOTIFY=NEVER),"
        }
        (OperatorVerb::Expire, _) => "returned",
        (OperatorVerb::Route, _) => "routed",
        (OperatorVerb::Delete, _) => "deleted",
    }
}

/// Returns what is to be done with a message that is under way.
fn to_be(verb: OperatorVerb) -> &'static str {
    match verb {
        OperatorVerb::Hold => "put on hold",
        OperatorVerb::Release => "released",
        OperatorVerb::Retry => "tried again",
        OperatorVerb::Expire => "returned",
        OperatorVerb::Route => "sent by another route",
        OperatorVerb::Delete => "deleted",
    }
}
