//! A relay for tests of the queue, which does as it is told.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::sync::Barrier;

use super::clock::TestClock;
use crate::envelope::Recipient;
use crate::queue::clock::Clock;
use crate::queue::testing::{refused_login, report_at, trouble, untold};
use crate::queue::{Connector, QueueLink};
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, Report, Transaction, Trouble, Unmarked, Work};

/// The relay's way with a connection or a message.
#[derive(Clone, Debug)]
pub(in crate::queue::tests) enum Does {
    /// Gives these replies to the recipients in turn, and the last one to all that are left. An empty reply stands for
    /// none: the connection is lost there.
    Says(Vec<&'static str>),
    /// Does the same in reply to RCPT, if it refuses.
    SaysAtRcpt(Vec<&'static str>),
    /// Says that it is going away, in place of the reply to MAIL.
    Leaves,
    /// Takes the message, and replies when a test has met it twice at this barrier: once to see that it has the
    /// message, once to let it reply.
    Holds(Arc<Barrier>),
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
            Does::SaysAtRcpt(_) | Does::Leaves => false,
            Does::Holds(_) | Does::Refuses => true,
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
    /// The seconds since the test began.
    pub(in crate::queue::tests) at: i64,
}

/// A relay that follows a script, and then does what it always does.
pub(in crate::queue::tests) struct TestRelay {
    script: Mutex<VecDeque<Does>>,
    habit: Mutex<Does>,
    /// It always does this with single messages.
    with: Mutex<HashMap<QueueId, Does>>,
    has_another_secret: Mutex<bool>,
    seen: Mutex<Vec<Seen>>,
    /// The messages whose final dot was written, and the recipients for whom the relay has a copy by that.
    dots: Mutex<Vec<(QueueId, Vec<usize>)>>,
    /// The messages for which it asked that the final dot may be written.
    marks_asked: Mutex<Vec<QueueId>>,
    connections: Mutex<usize>,
    /// The number of connections that it lets wait.
    pub(super) stalled: Mutex<usize>,
    pub(super) clock: Arc<TestClock>,
    started: Timestamp,
}

impl TestRelay {
    pub(in crate::queue::tests) fn new() -> Arc<Self> {
        let clock = Arc::new(TestClock::new());
        Arc::new(TestRelay {
            script: Mutex::default(),
            habit: Mutex::new(Does::Says(vec!["250 2.0.0 ok"])),
            with: Mutex::default(),
            has_another_secret: Mutex::default(),
            seen: Mutex::default(),
            dots: Mutex::default(),
            marks_asked: Mutex::default(),
            connections: Mutex::new(0),
            stalled: Mutex::default(),
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

    /// Does this with this message, whatever else it is told.
    pub(in crate::queue::tests) fn always_with(&self, id: QueueId, does: Does) {
        self.with.lock().unwrap().insert(id, does);
    }

    /// Treats all messages alike from now on.
    pub(in crate::queue::tests) fn heal(&self) {
        self.with.lock().unwrap().clear();
    }

    /// Puts another secret where ours is read.
    pub(in crate::queue::tests) fn change_secret(&self) {
        *self.has_another_secret.lock().unwrap() = true;
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
            return Err(refused_login());
        }
        while let Some(transaction) = link.next(Duration::ZERO).await {
            let (id, recipients) = (transaction.id, transaction.recipients.clone());
            let does = match self.next(id) {
                Does::Leaves => Does::Breaks(Phase::Mail, Cause::Other("told to".into())),
                other => other,
            };
            if let Does::Breaks(phase, _) | Does::Stalls(phase, _) = does {
                return Err(self.break_off(transaction, phase, does, &mut link).await);
            }
            self.see(transaction).await;
            let phase = if let Does::SaysAtRcpt(_) = does { Phase::Rcpt } else { Phase::Dot };
            if phase == Phase::Dot {
                if self.ask_for_mark(id, &mut link).await.is_err() {
                    link.report(untold(id, &recipients)).await;
                    return Ok(());
                }
                self.meets_dot(id, &recipients, &does);
            }
            let said = self.reply(does).await;
            link.report(report_at(phase, id, &recipients, &said)).await;
            if said.is_empty() {
                return Err(trouble(Phase::Dot));
            }
        }
        Ok(())
    }

    /// Returns the replies to the recipients.
    async fn reply(&self, does: Does) -> Vec<&'static str> {
        match does {
            Does::Says(said) | Does::SaysAtRcpt(said) => said,
            Does::Holds(release) => {
                release.wait().await;
                release.wait().await;
                vec!["250 2.0.0 ok"]
            }
            Does::Panics => panic!("told to"),
            _ => vec![],
        }
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
        link.report(Report { possible_duplicate, ..report_at(phase, id, &recipients, &[]) }).await;
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

    fn has_another_secret(self: Arc<Self>) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(async move { *self.has_another_secret.lock().unwrap() })
    }
}
