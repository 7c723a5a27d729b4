//! Connections to the relay, which carry messages by the same rules as in a daemon (`attempt.rs`, `hearing.rs`).

use std::rc::Rc;
use std::time::Duration;

use super::relay::{Does, Load, Pace, Reply, Then};
use super::{Happening, ReplyWay, Seen, TakenCopy, World};
use crate::envelope::Recipient;
use crate::queue::attempt::{Attempt, AttemptResult, Progress, UnconfirmedCopy};
use crate::queue::hearing::{Hearing, Hears, breaks_off};
use crate::queue::null_sender::NullSender;
use crate::queue::reducer::{Event, QueueAnswer};
use crate::queue::settlement::Settling;
use crate::queue::testing::{report_at, trouble, untold};
use crate::queue::{ConnectionId, RelayPlace, Taken};
use crate::relay::{Phase, Report, Trouble, Verdict};
use crate::routing::Routes;
use crate::spool::{CommitError, Flight};

/// A connection to the relay.
pub(super) struct Dialogue {
    relay: RelayPlace,
    /// The routes when it was begun, by which it reads messages.
    routes: Routes,
    null_sender: Rc<NullSender>,
    /// The name of the route that leads to the relay.
    route: Option<String>,
    /// The message that it carries.
    attempt: Option<Attempt>,
    /// The recipients of the transaction at hand.
    part: Vec<(usize, Recipient)>,
    /// The way of the node that it reached, if that is another one than the relay's.
    node: Option<Does>,
    /// The number of messages that it was given.
    carried: usize,
    has_served: bool,
    is_busy: bool,
    /// The time that it took to open it, until a report says so.
    connecting: Duration,
}

impl World {
    pub(super) fn connect(&mut self, connection: ConnectionId, relay: RelayPlace) {
        self.begun.push(self.seconds());
        let route = self.set_up.policy.relays[relay.0].route.clone();
        let is_away = self.away.contains(&route);
        let dialogue = Dialogue {
            relay,
            routes: self.set_up.policy.routes.clone(),
            null_sender: self.null_senders[relay.0].clone(),
            route,
            attempt: None,
            part: Vec::new(),
            node: self.relay.node(),
            carried: 0,
            has_served: false,
            is_busy: false,
            connecting: self.relay.pace.connecting,
        };
        let connecting = dialogue.connecting;
        self.dialogues.insert(connection, dialogue);
        self.most_open = self.most_open.max(self.dialogues.len());
        match self.relay.refuses_connection(self.begun.len(), self.dialogues.len()) {
            _ if is_away => self.end(connection, Some(trouble(Phase::Connect))),
            Some(trouble) => self.end(connection, Some(trouble)),
            None => self.happens_in(connecting, Happening::Event(Event::Wanted { connection, wait: false })),
        }
    }

    fn end(&mut self, connection: ConnectionId, trouble: Option<Trouble>) {
        self.happens_next(Event::Ended { connection, trouble });
    }

    /// The task of a connection ends without a report.
    pub(super) fn cut_off(&mut self, connection: ConnectionId) {
        self.give_back(connection);
        self.end(connection, None);
    }

    pub(super) fn is_given(&mut self, connection: ConnectionId, taken: Option<Taken>) {
        let Some(taken) = taken else { return self.end(connection, None) };
        let id = taken.id;
        self.given.push((connection, id));
        let Some(Dialogue { relay, routes, null_sender, .. }) = self.dialogues.get(&connection) else {
            // It has given up waiting.
            return self.happens_next(Event::Missed(id));
        };
        let message = self.spool.read(id, *relay, routes);
        let told = null_sender.told(id, &message.envelope);
        let attempt = Attempt::new(taken, message, told, self.now);
        if attempt.rest.is_empty() {
            self.settle(Settling::of_finished(attempt));
            return self.happens_next(Event::Wanted { connection, wait: false });
        }
        let dialogue = self.dialogues.get_mut(&connection).expect("it asked");
        dialogue.attempt = Some(attempt);
        dialogue.carried += 1;
        self.transact(connection);
    }

    /// Begins the next transaction of the message that the connection carries.
    pub(super) fn transact(&mut self, connection: ConnectionId) {
        let at = self.seconds();
        let busy = self.dialogues.values().filter(|dialogue| dialogue.is_busy).count();
        let dialogue = self.dialogues.get_mut(&connection).expect("it is open");
        let attempt = dialogue.attempt.as_mut().expect("it carries a message");
        let part = attempt.next_part();
        dialogue.part = part.recipients.clone();
        let of_route = self.by_route.get(&dialogue.route).filter(|_| !self.poison.contains(&attempt.id));
        let node = of_route.cloned().or_else(|| dialogue.node.clone());
        let does = match self.relay.next(attempt.id, node) {
            Does::HasRate(rate) => self.relay.by_rate(rate, self.now.steady),
            does => does,
        };
        let load = Load { busy, carried: dialogue.carried - 1 };
        let panics = matches!(does, Does::Panics);
        let mut reply = does.reply(attempt, &part.recipients, dialogue.has_served, load);
        dialogue.has_served = true;
        if let Some(Reply { report, after, .. }) = &mut reply {
            report.peer.route = dialogue.route.as_deref().map(Into::into);
            let Pace { behind, transmitting, .. } = self.relay.pace;
            *after += behind + transmitting;
            report.connecting = std::mem::take(&mut dialogue.connecting);
            report.transmitting = transmitting;
        }
        dialogue.is_busy = reply.as_ref().is_some_and(|reply| !reply.after.is_zero());
        if reply.as_ref().is_none_or(|reply| reply.has_content) {
            let seen = Seen::new(attempt, &part, &self.spool, at);
            let to = seen.to.clone();
            self.via.push((dialogue.route.clone(), to));
            self.seen.push(seen);
        }
        let has_dot = reply.as_ref().is_none_or(|reply| reply.has_dot);
        if has_dot && !self.mark(connection) {
            let id = self.given.last().expect("one was given").1;
            return self.reports(connection, Reply::ends(untold(id, &part.recipients)));
        }
        if panics {
            self.give_back(connection);
            return self.end(connection, Some(trouble(Phase::Connect)));
        }
        if let Some(reply) = reply {
            self.notes_copies(connection, &reply.report, &part.recipients);
            self.reports(connection, reply);
        }
    }

    /// Notes for whom the relay takes the message. At worst it does so at once, and its reply is on the way for long.
    fn notes_copies(&mut self, connection: ConnectionId, report: &Report, to: &[(usize, Recipient)]) {
        for (told, (_, to)) in report.recipients.iter().zip(to) {
            if told.verdict == Verdict::Sent {
                let (to, reply) = (to.address.to_string(), ReplyWay::Awaited(connection));
                self.copies.push(TakenCopy { id: report.id, to, reply });
            }
        }
    }

    /// A connection has this report, now or after the time that the relay takes.
    fn reports(&mut self, connection: ConnectionId, reply: Reply) {
        self.happens_in(reply.after, Happening::Reported(connection, reply));
    }

    /// The final dot is about to be written. Returns whether it may be.
    fn mark(&mut self, connection: ConnectionId) -> bool {
        let dialogue = self.dialogues.get_mut(&connection).expect("it is open");
        let mut attempt = dialogue.attempt.take().expect("it carries a message");
        let id = attempt.id;
        let is_marked = self.spool.takes_record();
        if is_marked {
            self.tell_hidden_duplicate(&mut attempt);
            self.spool.set_flight(id, Flight::Begun);
            attempt.progress = Progress::PastContent;
        } else {
            self.happens_next(Event::Unmarked { id, why: CommitError::Full });
        }
        self.dialogues.get_mut(&connection).expect("it is open").attempt = Some(attempt);
        is_marked
    }

    /// The relay takes the message that it holds.
    pub(in crate::queue::reducer::tests) fn release(&mut self, connection: ConnectionId) {
        let Dialogue { attempt, part, .. } = &self.dialogues[&connection];
        let id = attempt.as_ref().expect("it holds one").id;
        let reply = Reply::goes_on(report_at(Phase::Dot, id, part, &["250 2.0.0 ok"]));
        self.reports(connection, reply);
        self.come_to_rest();
    }

    /// A connection has a report, and goes on or ends.
    pub(super) fn reported(&mut self, connection: ConnectionId, reply: Reply) {
        let Some(dialogue) = self.dialogues.get_mut(&connection) else { return };
        let Some(attempt) = dialogue.attempt.take() else { return };
        dialogue.is_busy = false;
        self.replies_go(|over| over == connection, ReplyWay::Heard);
        self.is_heard(connection, attempt, reply.report);
        match reply.then {
            Then::GoesOn if self.dialogues[&connection].attempt.is_some() => self.goes_on(connection),
            Then::GoesOn => self.happens_next(Event::Wanted { connection, wait: false }),
            Then::Ends(trouble) => {
                self.give_back(connection);
                self.end(connection, trouble);
            }
        }
    }

    /// The connection has a further transaction to send of the message that it carries.
    fn goes_on(&mut self, connection: ConnectionId) {
        self.on(Event::GoesOn(connection));
        match self.answer.take() {
            Some(QueueAnswer::GoesOnIn(Some(pause))) => self.happens_in(pause, Happening::GoesOn(connection)),
            Some(QueueAnswer::GoesOnIn(None)) => {
                let dialogue = self.dialogues.get_mut(&connection).expect("it is open");
                let attempt = dialogue.attempt.take().expect("it carries a message");
                self.settle(Settling::of_parts(attempt));
                self.happens_next(Event::Wanted { connection, wait: false });
            }
            other => panic!("{other:?}"),
        }
    }

    fn is_heard(&mut self, connection: ConnectionId, mut attempt: Attempt, report: Report) {
        let null_sender = self.dialogues.get(&connection).expect("it is open").null_sender.clone();
        let mut hearing = Hearing::new(connection, &attempt, report, &null_sender);
        while let Some(hears) = hearing.next() {
            match hears {
                Hears::Told(event) => self.on(event),
                Hears::Asked(event) => {
                    self.on(event);
                    hearing.answered(self.answer.take());
                }
            }
        }
        let (mut report, ruling) = hearing.end();
        let breaks_off = breaks_off(&report, ruling);
        if let Some(limits) = attempt.put_back(&mut report) {
            self.on(Event::ShownLimits { connection, limits });
        }
        let said = AttemptResult::of(&attempt, report, ruling, &self.terms());
        if said.copy == UnconfirmedCopy::OfThisAttempt {
            self.log.push(format!("{}: possible duplicate", attempt.id));
        }
        self.log.extend(said.lines(&attempt).map(|line| line.to_string()));
        if breaks_off || attempt.rest.is_empty() {
            return self.settle(Settling::of_result(attempt, said));
        }
        attempt.take_in(said);
        self.tell_hidden_duplicate(&mut attempt);
        if !self.spool.takes_record() {
            return self.settle(Settling::of_parts(attempt));
        }
        self.spool.record(&attempt.ledger);
        self.dialogues.get_mut(&connection).expect("it is open").attempt = Some(attempt);
    }

    /// The connection gives back its message, if it has one.
    fn give_back(&mut self, connection: ConnectionId) {
        self.replies_go(|over| over == connection, ReplyWay::Lost);
        let Some(dialogue) = self.dialogues.get_mut(&connection) else { return };
        let Some(attempt) = dialogue.attempt.take() else { return };
        let (id, in_doubt) = (attempt.id, attempt.progress == Progress::PastContent);
        if in_doubt {
            self.log.push(format!("{id}: possible duplicate"));
        }
        let is_between = attempt.earlier.is_some() && !in_doubt;
        if !is_between {
            self.happens_next(Event::Lost { connection, id, in_doubt });
        }
        self.settle(Settling::of_unreported(attempt));
    }
}
