//! A relay that follows a script, and then does what it always does.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;

use crate::config::ReplyPhase;
use crate::envelope::{Recipient, ReversePath};
use crate::queue::attempt::Attempt;
use crate::queue::testing::{refused_login, report_at, trouble, untold};
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, ReplyConsequence, ReplyRules, Report, Trouble, Verdict};
use crate::smtp;

/// The relay's way with a connection or a message.
#[derive(Clone, Debug)]
pub(in crate::queue::reducer::tests) enum Does {
    /// Takes every message.
    Takes,
    /// Defers every message at its final dot.
    Defers,
    /// Gives these replies to the recipients in turn, at the final dot, and the last one to all that are left. An empty
    /// reply stands for none.
    Says(Vec<&'static str>),
    /// Does the same in reply to RCPT, if it refuses.
    SaysAtRcpt(Vec<&'static str>),
    /// Refuses every message with this reply at this phase.
    RefusesAt(Phase, &'static str),
    /// Gives this reply to each recipient of mail from `<>`, and takes all other mail.
    RefusesNull(&'static str),
    /// Refuses messages at the final dot, only those from `from` if there is one, with this reply, and the rules for the
    /// relay `host` read it.
    RefusesByRule { host: &'static str, from: Option<&'static str>, said: &'static str },
    /// Refuses the login with this reply, and the rules for the relay `host` read it.
    RefusesLoginByRule { host: &'static str, said: &'static str },
    /// Is not asked, since there is no access token for it, and an operator must act.
    HasNoSecret(&'static str),
    /// Gives this reply to each recipient whose address begins with "odd", at RCPT if there is no other recipient, and
    /// takes all others.
    RefusesOdd(&'static str),
    /// Gives this reply during the content, which ends a connection that has served.
    Parts(&'static str),
    /// Takes a message and is silent until the test says more.
    Holds,
    /// Ends the dialogue at this phase of a transaction, with this cause.
    Breaks(Phase, Cause),
    /// Is silent at this phase for this time.
    Stalls(Phase, Duration),
    /// Makes the connection's task panic behind the final dot.
    Panics,
    /// Cannot be reached.
    IsAway,
    /// Refuses the login.
    RefusesLogin,
    /// Refuses every second connection, and takes one message over each of the others.
    Flickers,
    /// Refuses a connection at its greeting beyond so many that are open, and takes one message over each of the others.
    TakesOne { places: usize },
    /// Takes a message in a tenth of a second. Defers it at MAIL if it has taken `each_connection` messages over this
    /// connection, or is taking `at_once` messages already.
    HasLimits { at_once: usize, each_connection: usize },
    /// Takes a message in a tenth of a second. If it has taken so many over this connection, it gives this reply at this
    /// phase, and the rules for any relay read it.
    FillsUp { after: usize, phase: Phase, said: &'static str },
    /// Takes a message in a tenth of a second. Refuses it at its final dot if it has taken so many in the last second.
    HasRate(usize),
}

/// The time in which a relay with limits takes a message.
pub(in crate::queue::reducer::tests) const TAKING: Duration = Duration::from_millis(100);

const OK: &str = "250 2.0.0 ok";

impl Does {
    /// Ends the dialogue at this phase, for no reason of the message.
    pub(in crate::queue::reducer::tests) fn breaks(phase: Phase) -> Does {
        Does::Breaks(phase, Cause::Other("told to".into()))
    }
}

/// The connection after a report.
#[derive(Debug)]
pub(super) enum Then {
    GoesOn,
    Ends(Option<Trouble>),
}

/// The relay's part of one transaction.
pub(super) struct Reply {
    pub(super) report: Report,
    pub(super) then: Then,
    /// The time that it takes.
    pub(super) after: Duration,
    /// The content was sent, at least in part.
    pub(super) has_content: bool,
    /// The final dot was written.
    pub(super) has_dot: bool,
}

/// The relay's load at the moment of a transaction.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// The number of messages that it is taking over other connections.
    pub(super) busy: usize,
    /// The number of messages before this one over the same connection.
    pub(super) carried: usize,
}

/// The time that the relay takes for its parts of a transaction.
#[derive(Clone, Copy, Default)]
pub(in crate::queue::reducer::tests) struct Pace {
    pub(in crate::queue::reducer::tests) connecting: Duration,
    /// The time from when a message is taken to when its transaction begins.
    pub(in crate::queue::reducer::tests) behind: Duration,
    pub(in crate::queue::reducer::tests) transmitting: Duration,
}

/// The relay.
pub(in crate::queue::reducer::tests) struct WorldRelay {
    pub(in crate::queue::reducer::tests) pace: Pace,
    /// It does this when it has no script.
    pub(super) habit: Does,
    script: VecDeque<Does>,
    /// It always does this with single messages.
    with: HashMap<QueueId, Does>,
    /// Each node behind its name does this with every message; with `None`, it does as the relay does.
    nodes: Vec<Option<Does>>,
    chance: Rng,
    /// The moments at which a relay with a rate took a message.
    taken_at: Vec<Timestamp>,
}

impl WorldRelay {
    pub(super) fn new() -> Self {
        WorldRelay {
            pace: Pace::default(),
            habit: Does::Takes,
            script: VecDeque::new(),
            with: HashMap::new(),
            nodes: Vec::new(),
            chance: Rng::with_seed(7),
            taken_at: Vec::new(),
        }
    }

    /// Does this once, before what it always does.
    pub(in crate::queue::reducer::tests) fn once(&mut self, does: Does) {
        self.script.push_back(does);
    }

    /// Does this with this message, whatever else it is told.
    pub(in crate::queue::reducer::tests) fn always_with(&mut self, id: QueueId, does: Does) {
        self.with.insert(id, does);
    }

    /// Treats all messages alike from now on.
    pub(in crate::queue::reducer::tests) fn heal(&mut self) {
        self.with.clear();
    }

    /// Is this number of nodes from now on. The first `sick` of them do this with every message; this seed decides
    /// which node a connection reaches.
    pub(in crate::queue::reducer::tests) fn is_nodes(
        &mut self,
        count: usize,
        sick: usize,
        does: &Does,
        seed: u64,
    ) {
        self.nodes = (0..count).map(|node| (node < sick).then(|| does.clone())).collect();
        self.chance = Rng::with_seed(seed);
    }

    /// Returns what the node does that a new connection reaches.
    pub(super) fn node(&mut self) -> Option<Does> {
        let count = self.nodes.len();
        if count == 0 { None } else { self.nodes[self.chance.usize(..count)].clone() }
    }

    /// Returns the trouble that connection number `number` meets before it can send a message.
    pub(super) fn refuses_connection(&mut self, number: usize, open: usize) -> Option<Trouble> {
        let does = match self.script.pop_front_if(|does| matches!(does, Does::IsAway)) {
            Some(away) => away,
            None if !self.script.is_empty() => return None,
            None => self.habit.clone(),
        };
        match does {
            Does::IsAway => Some(trouble(Phase::Connect)),
            Does::RefusesLogin => Some(refused_login()),
            Does::RefusesLoginByRule { host, said } => Some(refused_login_by(host, said)),
            Does::HasNoSecret(words) => {
                Some(Trouble { phase: Phase::Auth, peer: None, cause: Cause::NoSecret(words.into()) })
            }
            Does::Flickers if number.is_multiple_of(2) => Some(trouble(Phase::Greeting)),
            Does::TakesOne { places } if open > places => Some(trouble(Phase::Greeting)),
            _ => None,
        }
    }

    /// Returns what a relay with this rate does with a message at `now`.
    pub(super) fn by_rate(&mut self, rate: usize, now: Timestamp) -> Does {
        self.taken_at.retain(|taken| now.duration_since(*taken).as_millis() < 1000);
        if self.taken_at.len() >= rate {
            return Does::RefusesAt(
                Phase::Dot,
                "454 4.7.0 Throttling failure: Maximum sending rate exceeded.",
            );
        }
        self.taken_at.push(now);
        Does::HasLimits { at_once: usize::MAX, each_connection: usize::MAX }
    }

    /// Returns what it does with this message, over a connection to this node.
    pub(super) fn next(&mut self, id: QueueId, node: Option<Does>) -> Does {
        node.or_else(|| self.with.get(&id).cloned())
            .or_else(|| self.script.pop_front())
            .unwrap_or_else(|| self.habit.clone())
    }
}

impl Does {
    /// Returns the relay's part of a transaction; `None` if it is silent.
    pub(super) fn reply(
        self,
        attempt: &Attempt,
        recipients: &[(usize, Recipient)],
        has_served: bool,
        load: Load,
    ) -> Option<Reply> {
        let id = attempt.id;
        let said = |phase, said: &[&str]| Some(goes_on(phase, id, recipients, said));
        match self {
            Does::Takes => said(Phase::Dot, &[OK]),
            Does::Defers => said(Phase::Dot, &["450 4.2.1 busy"]),
            Does::Says(replies) => said(Phase::Dot, &replies),
            Does::SaysAtRcpt(replies) => said(Phase::Rcpt, &replies),
            Does::RefusesAt(phase, reply) => said(phase, &[reply]),
            Does::RefusesByRule { from: Some(from), .. } if attempt.told.to_string() != from => {
                said(Phase::Dot, &[OK])
            }
            Does::RefusesByRule { host, said, .. } => {
                Some(refused_by(host, Phase::Dot, id, recipients, said))
            }
            Does::RefusesNull(reply) if attempt.told == ReversePath::Null => said(Phase::Dot, &[reply]),
            Does::RefusesNull(_) => said(Phase::Dot, &[OK]),
            Does::RefusesOdd(reply) => {
                let is_odd = |to: &Recipient| to.address.to_string().starts_with("odd");
                if recipients.iter().all(|(_, to)| is_odd(to)) {
                    return said(Phase::Rcpt, &[reply]);
                }
                let told = recipients.iter().map(|(_, to)| if is_odd(to) { reply } else { OK });
                said(Phase::Dot, &told.collect::<Vec<_>>())
            }
            Does::Parts(reply) => Some(parts(id, recipients, reply, has_served)),
            Does::Holds | Does::Panics => None,
            Does::Breaks(phase, cause) => Some(breaks_off(id, recipients, phase, cause)),
            Does::Stalls(phase, limit) => {
                let reply = breaks_off(id, recipients, phase, Cause::TimedOut(limit));
                Some(Reply { after: limit, ..reply })
            }
            Does::Flickers | Does::TakesOne { .. } => {
                Some(Reply { then: Then::Ends(None), ..goes_on(Phase::Dot, id, recipients, &[OK]) })
            }
            Does::HasLimits { each_connection, .. } if load.carried >= each_connection => {
                said(Phase::Mail, &["450 4.7.0 too many messages in this session"])
            }
            Does::HasLimits { at_once, .. } if load.busy >= at_once => {
                said(Phase::Mail, &["432 4.3.2 concurrent connections limit exceeded"])
            }
            Does::FillsUp { after, phase, said } if load.carried >= after => {
                Some(refused_by("mail.hoster.example", phase, id, recipients, said))
            }
            Does::HasLimits { .. } | Does::FillsUp { .. } => {
                Some(Reply { after: TAKING, ..goes_on(Phase::Dot, id, recipients, &[OK]) })
            }
            Does::HasRate(_) => unreachable!("by_rate says what it does"),
            Does::IsAway | Does::RefusesLogin | Does::RefusesLoginByRule { .. } | Does::HasNoSecret(_) => {
                let then = Then::Ends(Some(trouble(Phase::Connect)));
                Some(Reply { then, ..Reply::ends(untold(id, recipients)) })
            }
        }
    }
}

impl Reply {
    /// The connection goes on after a report.
    pub(super) fn goes_on(report: Report) -> Self {
        Reply { report, then: Then::GoesOn, after: Duration::ZERO, has_content: true, has_dot: false }
    }

    /// The connection ends after a report.
    pub(super) fn ends(report: Report) -> Self {
        Reply { then: Then::Ends(None), has_content: false, ..Reply::goes_on(report) }
    }
}

fn goes_on(phase: Phase, id: QueueId, recipients: &[(usize, Recipient)], said: &[&str]) -> Reply {
    let has_dot = phase == Phase::Dot;
    Reply { has_dot, ..Reply::goes_on(report_at(phase, id, recipients, said)) }
}

fn refused_login_by(host: &str, said: &str) -> Trouble {
    let (reply, _) = smtp::reply::Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
    let for_good = said.starts_with('5');
    let cause = Cause::LoginRefused {
        said: said.into(),
        for_good,
        reply: Some(Box::new(reply)),
        token: None,
        advice: None,
    };
    ReplyRules::new(&[], host).read(Trouble { phase: Phase::Auth, peer: None, cause }, Timestamp::now())
}

fn refused_by(host: &str, phase: Phase, id: QueueId, recipients: &[(usize, Recipient)], said: &str) -> Reply {
    let mut reply = goes_on(phase, id, recipients, &[said]);
    let at = if phase == Phase::Rcpt { ReplyPhase::Rcpt } else { ReplyPhase::Dot };
    let explained = ReplyRules::new(&[], host).explain(at, said, Timestamp::now()).unwrap();
    let ReplyConsequence::Waits(reason) = explained.becomes else { panic!("{said}: {explained:?}") };
    reply.report.recipients.iter_mut().for_each(|told| told.verdict = Verdict::Waits(reason));
    reply
}

fn breaks_off(id: QueueId, recipients: &[(usize, Recipient)], phase: Phase, cause: Cause) -> Reply {
    let possible_duplicate = phase == Phase::Dot && !matches!(cause, Cause::Reply(_));
    Reply {
        report: Report { possible_duplicate, ..report_at(phase, id, recipients, &[]) },
        then: Then::Ends(Some(Trouble { phase, peer: None, cause })),
        after: Duration::ZERO,
        has_content: phase >= Phase::Content,
        has_dot: phase == Phase::Dot,
    }
}

/// The relay gives this reply during the content, and ends the connection.
fn parts(id: QueueId, recipients: &[(usize, Recipient)], said: &str, has_served: bool) -> Reply {
    let report = if has_served {
        Report { left_at: Some(Phase::Content), ..untold(id, recipients) }
    } else {
        report_at(Phase::Content, id, recipients, &[said])
    };
    Reply { has_content: true, ..Reply::ends(report) }
}
