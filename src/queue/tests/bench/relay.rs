//! A relay for tests of the queue, which does as it is told.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::sync::Barrier;

use super::clock::TestClock;
use super::reports::{parting, refusing_odd, report, report_at, trouble};
use crate::envelope::{Recipient, ReversePath};
use crate::queue::clock::Clock;
use crate::queue::{Connector, QueueLink};
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, Report, Transaction, Trouble, Unmarked, Work};

/// What the relay does with the next connection or message.
#[derive(Clone, Debug)]
pub(in crate::queue::tests) enum Does {
    /// Gives these replies to the recipients in turn, and the last one to all that are left. An empty reply stands for
    /// none: the connection is lost there.
    Says(Vec<&'static str>),
    /// Does the same in reply to RCPT, if it refuses.
    SaysAtRcpt(Vec<&'static str>),
    /// Refuses every message with this reply at this phase.
    RefusesAt(Phase, &'static str),
    /// Says that it is going away, in place of the reply to MAIL.
    Leaves,
    /// Gives this reply during the content, which ends a connection that has served.
    Parts(&'static str),
    /// Takes the message, and replies when a test has met it twice at this barrier: once to see that it has the
    /// message, once to let it reply.
    Holds(Arc<Barrier>),
    /// Gives this reply to each recipient of mail from `<>`, and takes all other mail.
    RefusesNull(&'static str),
    /// Gives this reply to each recipient whose address begins with "odd", at RCPT if there is no other recipient, and
    /// takes all others.
    RefusesOdd(&'static str),
    /// Cannot be reached.
    Refuses,
    /// Ends the dialogue at this phase of a transaction, with this cause.
    Breaks(Phase, Cause),
    /// Is silent at this phase for this time.
    Stalls(Phase, Duration),
    /// Refuses the login.
    RefusesLogin,
    /// Makes the connection's task panic.
    Panics,
}

impl Does {
    /// Returns whether the relay has a copy for the recipient at `position`, if the final dot has been written.
    fn takes(&self, position: usize) -> bool {
        match self {
            Does::Says(said) => {
                let said = said.get(position).or(said.last()).copied().unwrap_or_default();
                said.is_empty() || said.starts_with('2')
            }
            Does::Breaks(_, cause) => !matches!(cause, Cause::Reply(_)),
            Does::SaysAtRcpt(_) | Does::RefusesAt(..) | Does::RefusesOdd(_) => false,
            Does::Leaves | Does::Parts(_) => false,
            Does::Holds(_) | Does::RefusesNull(_) | Does::Refuses => true,
            Does::Stalls(..) | Does::RefusesLogin | Does::Panics => true,
        }
    }
}

/// One transaction as the relay saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::queue::tests) struct Seen {
    pub(in crate::queue::tests) id: QueueId,
    pub(in crate::queue::tests) from: String,
    pub(in crate::queue::tests) to: Vec<String>,
    pub(in crate::queue::tests) content: String,
    pub(in crate::queue::tests) needs_smtputf8: bool,
    /// The seconds since the test began.
    pub(in crate::queue::tests) at: i64,
}

/// The time that the relay takes for its parts of a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::queue::tests) struct Pace {
    pub(in crate::queue::tests) connecting: Duration,
    /// The time from when a message is taken to when its transaction begins.
    pub(in crate::queue::tests) behind: Duration,
    pub(in crate::queue::tests) transmitting: Duration,
}

/// A relay that follows a script, and then does what it always does.
pub(in crate::queue::tests) struct TestRelay {
    script: Mutex<VecDeque<Does>>,
    habit: Mutex<Does>,
    /// What it always does with single messages.
    with: Mutex<HashMap<QueueId, Does>>,
    /// What it always does with the message that it gets next.
    with_next: Mutex<Option<Does>>,
    secret: Mutex<u64>,
    seen: Mutex<Vec<Seen>>,
    /// The messages whose final dot was written, and the recipients for whom the relay has a copy by that.
    dots: Mutex<Vec<(QueueId, Vec<usize>)>>,
    /// The messages for which it asked that the final dot may be written.
    marks_asked: Mutex<Vec<QueueId>>,
    connections: Mutex<usize>,
    nodes: Mutex<Nodes>,
    /// The number of connections that it lets wait.
    pub(super) stalled: Mutex<usize>,
    pace: Mutex<Pace>,
    pub(super) clock: Arc<TestClock>,
    started: Timestamp,
}

/// The nodes behind the relay's name, one of which each connection reaches by chance; if there are none, the relay is
/// one.
#[derive(Default)]
struct Nodes {
    /// What each node does with every message; `None`: what the relay does.
    each: Vec<Option<Does>>,
    chance: Rng,
}

impl TestRelay {
    pub(in crate::queue::tests) fn new() -> Arc<Self> {
        let clock = Arc::new(TestClock::new());
        Arc::new(TestRelay {
            script: Mutex::default(),
            habit: Mutex::new(Does::Says(vec!["250 2.0.0 ok"])),
            with: Mutex::default(),
            with_next: Mutex::default(),
            secret: Mutex::default(),
            seen: Mutex::default(),
            dots: Mutex::default(),
            marks_asked: Mutex::default(),
            connections: Mutex::new(0),
            nodes: Mutex::default(),
            stalled: Mutex::default(),
            pace: Mutex::default(),
            started: clock.now(),
            clock,
        })
    }

    /// Does this from now on, until told otherwise.
    pub(in crate::queue::tests) fn always(&self, does: Does) {
        *self.habit.lock().unwrap() = does;
    }

    /// Does this once, before what it always does.
    pub(in crate::queue::tests) fn once(&self, does: Does) {
        self.script.lock().unwrap().push_back(does);
    }

    /// Forgets the script: only what it always does is left.
    pub(in crate::queue::tests) fn forget_script(&self) {
        self.script.lock().unwrap().clear();
    }

    /// Is this number of nodes from now on. The first `sick` of them do this with every message; this seed decides
    /// which node a connection reaches.
    pub(in crate::queue::tests) fn is_nodes(&self, count: usize, sick: usize, does: &Does, seed: u64) {
        let each = (0..count).map(|node| (node < sick).then(|| does.clone())).collect();
        *self.nodes.lock().unwrap() = Nodes { each, chance: Rng::with_seed(seed) };
    }

    /// Returns what the node does that a new connection reaches.
    fn node(&self) -> Option<Does> {
        let Nodes { each, chance } = &mut *self.nodes.lock().unwrap();
        if each.is_empty() { None } else { each[chance.usize(..each.len())].clone() }
    }

    /// Takes this time from now on.
    pub(in crate::queue::tests) fn takes(&self, pace: Pace) {
        *self.pace.lock().unwrap() = pace;
    }

    /// Does this with this message, whatever else it is told.
    pub(in crate::queue::tests) fn always_with(&self, id: QueueId, does: Does) {
        self.with.lock().unwrap().insert(id, does);
    }

    /// Does this with the message that it gets next, always.
    pub(in crate::queue::tests) fn always_with_next(&self, does: Does) {
        *self.with_next.lock().unwrap() = Some(does);
    }

    /// Treats all messages alike from now on.
    pub(in crate::queue::tests) fn heal(&self) {
        self.with.lock().unwrap().clear();
    }

    /// Puts another secret where ours is read.
    pub(in crate::queue::tests) fn change_secret(&self) {
        *self.secret.lock().unwrap() += 1;
    }

    /// Returns how often it saw the content of a message.
    pub(in crate::queue::tests) fn times_seen(&self, id: QueueId) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.id == id).count()
    }

    pub(in crate::queue::tests) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns how often the final dot was written for a message, and the number of copies that one of its recipients
    /// has by that.
    pub(in crate::queue::tests) fn dots(&self, id: QueueId) -> (usize, usize) {
        let (mut dots, mut copies) = (0, HashMap::<usize, usize>::new());
        for (_, taken) in self.dots.lock().unwrap().iter().filter(|(other, _)| *other == id) {
            dots += 1;
            taken.iter().for_each(|recipient| *copies.entry(*recipient).or_default() += 1);
        }
        (dots, copies.into_values().max().unwrap_or_default())
    }

    /// Returns how often it asked whether the final dot may be written for a message.
    pub(in crate::queue::tests) fn marks_asked(&self, id: QueueId) -> usize {
        self.marks_asked.lock().unwrap().iter().filter(|other| **other == id).count()
    }

    /// Returns the number of connections so far.
    pub(in crate::queue::tests) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    fn next(&self, id: QueueId) -> Does {
        if let Some(does) = self.with_next.lock().unwrap().take() {
            self.always_with(id, does);
        }
        if let Some(does) = self.with.lock().unwrap().get(&id) {
            return does.clone();
        }
        let scripted = self.script.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| self.habit.lock().unwrap().clone())
    }

    fn refuses(&self) -> bool {
        let mut script = self.script.lock().unwrap();
        match script.front() {
            Some(Does::Refuses) => {
                script.pop_front();
                true
            }
            Some(_) => false,
            None => matches!(*self.habit.lock().unwrap(), Does::Refuses),
        }
    }

    async fn serve(&self, mut link: QueueLink) -> Result<(), Trouble> {
        *self.connections.lock().unwrap() += 1;
        if self.refuses() {
            return Err(trouble(Phase::Connect));
        }
        if let Does::RefusesLogin = *self.habit.lock().unwrap() {
            let said = "PLAIN: the relay said: 535 5.7.8 no".into();
            let cause = Cause::LoginRefused { said, for_good: true };
            return Err(Trouble { phase: Phase::Auth, peer: None, cause });
        }
        let Pace { mut connecting, behind, transmitting } = *self.pace.lock().unwrap();
        self.clock.advance(connecting);
        let node = self.node();
        let mut has_served = false;
        while let Some(transaction) = link.next(Duration::ZERO).await {
            self.clock.advance(behind);
            let (id, recipients) = (transaction.id, transaction.recipients.clone());
            let does = match node.clone().unwrap_or_else(|| self.next(id)) {
                Does::Leaves => Does::Breaks(Phase::Mail, Cause::Other("told to".into())),
                Does::RefusesOdd(said) => refusing_odd(said, &recipients),
                other => other,
            };
            if let Does::Breaks(phase, _) | Does::Stalls(phase, _) = does {
                return Err(self.break_off(transaction, phase, does, &mut link).await);
            }
            let is_from_null = transaction.reverse_path == ReversePath::Null;
            self.see(transaction).await;
            if let Does::Parts(said) = does {
                link.report(parting(id, &recipients, said, has_served)).await;
                return Ok(());
            }
            has_served = true;
            let phase = match does {
                Does::SaysAtRcpt(_) => Phase::Rcpt,
                Does::RefusesAt(phase, _) => phase,
                _ => Phase::Dot,
            };
            let has_dot = phase == Phase::Dot;
            if has_dot && self.ask_for_mark(id, &mut link).await.is_err() {
                let unmarked =
                    Report { possible_duplicate: false, lost_at: None, ..report(id, &recipients, &[]) };
                link.report(unmarked).await;
                return Ok(());
            }
            if has_dot {
                self.meets_dot(id, &recipients, &does);
            }
            let said = match does {
                Does::Says(said) | Does::SaysAtRcpt(said) => said,
                Does::RefusesAt(_, said) => vec![said],
                Does::RefusesNull(said) if is_from_null => vec![said],
                Does::RefusesNull(_) => vec!["250 2.0.0 ok"],
                Does::Holds(release) => {
                    release.wait().await;
                    release.wait().await;
                    vec!["250 2.0.0 ok"]
                }
                Does::Panics => panic!("told to"),
                _ => vec![],
            };
            self.clock.advance(transmitting);
            let connecting = std::mem::take(&mut connecting);
            let report = report_at(phase, id, &recipients, &said);
            link.report(Report { connecting, transmitting, ..report }).await;
            if said.is_empty() {
                return Err(trouble(Phase::Dot));
            }
        }
        Ok(())
    }

    /// Ends the dialogue at this phase of the transaction.
    async fn break_off(
        &self,
        transaction: Transaction,
        phase: Phase,
        does: Does,
        link: &mut QueueLink,
    ) -> Trouble {
        let (id, recipients) = (transaction.id, transaction.recipients.clone());
        if phase >= Phase::Content {
            self.see(transaction).await;
        }
        if phase == Phase::Dot {
            self.ask_for_mark(id, link).await.expect("the spool takes the mark");
            self.meets_dot(id, &recipients, &does);
        }
        let cause = match does {
            Does::Breaks(_, cause) => cause,
            Does::Stalls(_, limit) => {
                let _stalled = Stalled::at(&self.stalled);
                self.clock.sleep(limit).await;
                Cause::TimedOut(limit)
            }
            other => panic!("{other:?} breaks nothing off"),
        };
        let possible_duplicate = phase == Phase::Dot && !matches!(cause, Cause::Reply(_));
        link.report(Report { possible_duplicate, ..report(id, &recipients, &[]) }).await;
        Trouble { phase, peer: None, cause }
    }

    async fn ask_for_mark(&self, id: QueueId, link: &mut QueueLink) -> Result<(), Unmarked> {
        self.marks_asked.lock().unwrap().push(id);
        link.before_dot(id).await
    }

    fn meets_dot(&self, id: QueueId, recipients: &[(usize, Recipient)], does: &Does) {
        let taken = recipients.iter().enumerate().filter(|(position, _)| does.takes(*position));
        self.dots.lock().unwrap().push((id, taken.map(|(_, (index, _))| *index).collect()));
    }

    async fn see(&self, mut transaction: Transaction) {
        let mut content = Vec::new();
        transaction.content.read_to_end(&mut content).await.unwrap();
        self.seen.lock().unwrap().push(Seen {
            id: transaction.id,
            from: transaction.reverse_path.to_string(),
            to: transaction.recipients.iter().map(|(_, recipient)| recipient.address.to_string()).collect(),
            content: String::from_utf8(content).unwrap(),
            needs_smtputf8: transaction.needs_smtputf8,
            at: self.clock.now().duration_since(self.started).as_secs(),
        });
    }
}

/// A connection that the relay lets wait, until this is dropped, even if its task is cut off.
struct Stalled<'a>(&'a Mutex<usize>);

impl<'a> Stalled<'a> {
    fn at(count: &'a Mutex<usize>) -> Self {
        *count.lock().unwrap() += 1;
        Stalled(count)
    }
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap() -= 1;
    }
}

impl Connector for TestRelay {
    fn run_connection(
        self: Arc<Self>,
        link: QueueLink,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>> {
        Box::pin(async move { self.serve(link).await })
    }

    fn secret_print(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Option<u64>> + Send>> {
        Box::pin(async move { Some(*self.secret.lock().unwrap()) })
    }
}
