//! What the queue's tests stand on.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinHandle;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

use crate::envelope::{Address, Envelope, Recipient, ReversePath, Submitter};
use crate::journal::testing::Captured;
use crate::queue::clock::Clock;
use crate::queue::refusals::RefusalRule;
use crate::queue::schedule::RetryPolicy;
use crate::queue::{Connector, Queue, QueueLink, QueueStatus, Settings, Standing, queue};
use crate::queue_id::QueueId;
use crate::relay::{
    Cause, Peer, Phase, RecipientReport, Report, Subject, Transaction, Trouble, Unmarked, Verdict, Work,
};
use crate::smtp::reply::Reply;
use crate::spool::fs::sim::SimFs;
use crate::spool::fs::{Fs, RealFs};
use crate::spool::{CommitError, Options, Spool};
use crate::status::Status as EnhancedStatus;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A clock that stands still until it is told otherwise.
pub(super) struct TestClock {
    steady: watch::Sender<Timestamp>,
    /// How far the time of day has been set off from the steady time.
    set_off: Mutex<SignedDuration>,
    /// Whoever next sleeps for so long panics instead.
    panic_at: Mutex<Option<Duration>>,
}

impl TestClock {
    fn new() -> Self {
        let steady = watch::channel(Timestamp::from_second(1_800_000_000).unwrap()).0;
        TestClock { steady, set_off: Mutex::default(), panic_at: Mutex::default() }
    }

    /// Sets the host's clock: no time passes.
    pub(super) fn step(&self, by: SignedDuration) {
        *self.set_off.lock().unwrap() += by;
    }

    /// Has whoever next sleeps for `pause` panic instead.
    pub(super) fn panic_at(&self, pause: Duration) {
        *self.panic_at.lock().unwrap() = Some(pause);
    }

    pub(super) fn has_panicked(&self) -> bool {
        self.panic_at.lock().unwrap().is_none()
    }

    pub(super) fn advance(&self, by: Duration) {
        self.steady.send_modify(|now| *now += SignedDuration::try_from(by).unwrap());
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.steady() + *self.set_off.lock().unwrap()
    }

    fn steady(&self) -> Timestamp {
        *self.steady.borrow()
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let panics = self.panic_at.lock().unwrap().take_if(|at| *at == pause).is_some();
        assert!(!panics, "told to");
        let deadline = self.steady() + SignedDuration::try_from(pause).unwrap();
        let mut time = self.steady.subscribe();
        Box::pin(async move {
            // A clock that is gone ends no sleep.
            if time.wait_for(|now| *now >= deadline).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// What the relay does with the next connection or message.
#[derive(Clone, Debug)]
pub(super) enum Does {
    /// Says this to each recipient in turn; the last one to all that are left. Nothing at all to one
    /// whose reply is empty: the connection is lost there.
    Says(Vec<&'static str>),
    /// The same in reply to RCPT, where it refuses.
    SaysAtRcpt(Vec<&'static str>),
    /// Refuses every message with this at this phase.
    RefusesAt(Phase, &'static str),
    /// Says that it is going away, in place of the reply to MAIL.
    Leaves,
    /// Says this in the midst of the content, by which it takes leave of a connection that has served.
    Parts(&'static str),
    /// Takes the message; says so when the two have met here twice: to show that it has, and to be let to.
    Holds(Arc<Barrier>),
    /// Says this to each recipient of mail from `<>`, and takes all other.
    RefusesNull(&'static str),
    /// Says this to each recipient whose address begins with "odd", at RCPT where there is no other, and takes all other.
    RefusesOdd(&'static str),
    /// Cannot be reached.
    Refuses,
    /// Breaks the dialogue off at this phase of a transaction.
    Breaks(Phase, Cause),
    /// Is silent at this phase for so long.
    Stalls(Phase, Duration),
    /// Lets nobody in.
    RefusesLogin,
    /// Brings the connection's task down.
    Panics,
}

impl Does {
    /// Whether the relay has a copy for the recipient at `position`, where the final dot has been written.
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
pub(super) struct Seen {
    pub(super) id: QueueId,
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) content: String,
    pub(super) needs_smtputf8: bool,
    /// Seconds since the test began.
    pub(super) at: i64,
}

/// How long a relay takes: so much time passes there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) connecting: Duration,
    /// From when a message is taken to when its transaction begins.
    pub(super) behind: Duration,
    pub(super) transmitting: Duration,
}

/// A relay that does as it is told, then as it always does.
pub(super) struct TestRelay {
    script: Mutex<VecDeque<Does>>,
    habit: Mutex<Does>,
    /// What it does with single messages, always.
    with: Mutex<HashMap<QueueId, Does>>,
    /// What it does with the message that it is given next, always.
    with_next: Mutex<Option<Does>>,
    secret: Mutex<u64>,
    seen: Mutex<Vec<Seen>>,
    /// Who was given its final dot, and the recipients for whom the relay has a copy by that.
    dots: Mutex<Vec<(QueueId, Vec<usize>)>>,
    /// For whom it has asked that the final dot may be written.
    marks_asked: Mutex<Vec<QueueId>>,
    connections: Mutex<usize>,
    nodes: Mutex<Nodes>,
    /// How many connections it lets wait.
    stalled: Mutex<usize>,
    pace: Mutex<Pace>,
    clock: Arc<TestClock>,
    started: Timestamp,
}

/// The nodes behind the relay's name, of which each connection reaches one by chance; none: the relay is one.
#[derive(Default)]
struct Nodes {
    /// What each does with every message; `None`: as the relay does.
    each: Vec<Option<Does>>,
    chance: Rng,
}

impl TestRelay {
    pub(super) fn new() -> Arc<Self> {
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

    /// From now on, and until told otherwise.
    pub(super) fn always(&self, does: Does) {
        *self.habit.lock().unwrap() = does;
    }

    /// Once, before what it always does.
    pub(super) fn once(&self, does: Does) {
        self.script.lock().unwrap().push_back(does);
    }

    /// Nothing more, before what it always does.
    pub(super) fn forget_script(&self) {
        self.script.lock().unwrap().clear();
    }

    /// Is so many nodes from now on, the first of which do as told with every message; which of them a connection
    /// reaches is by the chance of this seed.
    pub(super) fn is_nodes(&self, count: usize, sick: usize, does: &Does, seed: u64) {
        let each = (0..count).map(|node| (node < sick).then(|| does.clone())).collect();
        *self.nodes.lock().unwrap() = Nodes { each, chance: Rng::with_seed(seed) };
    }

    /// What the node does that a new connection reaches.
    fn node(&self) -> Option<Does> {
        let Nodes { each, chance } = &mut *self.nodes.lock().unwrap();
        if each.is_empty() { None } else { each[chance.usize(..each.len())].clone() }
    }

    /// Takes its time from now on.
    pub(super) fn takes(&self, pace: Pace) {
        *self.pace.lock().unwrap() = pace;
    }

    /// With this message, whatever else it is told.
    pub(super) fn always_with(&self, id: QueueId, does: Does) {
        self.with.lock().unwrap().insert(id, does);
    }

    /// The same with the message that it is given next.
    pub(super) fn always_with_next(&self, does: Does) {
        *self.with_next.lock().unwrap() = Some(does);
    }

    /// It has nothing against single messages any more.
    pub(super) fn heal(&self) {
        self.with.lock().unwrap().clear();
    }

    /// Puts another secret where ours is read.
    pub(super) fn change_secret(&self) {
        *self.secret.lock().unwrap() += 1;
    }

    /// How often it was shown the content of a message.
    pub(super) fn times_seen(&self, id: QueueId) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.id == id).count()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often the final dot was written for a message, and how many copies one of its recipients has by that.
    pub(super) fn dots(&self, id: QueueId) -> (usize, usize) {
        let (mut dots, mut copies) = (0, HashMap::<usize, usize>::new());
        for (_, taken) in self.dots.lock().unwrap().iter().filter(|(other, _)| *other == id) {
            dots += 1;
            taken.iter().for_each(|recipient| *copies.entry(*recipient).or_default() += 1);
        }
        (dots, copies.into_values().max().unwrap_or_default())
    }

    /// How often it was asked whether the final dot may be written for a message.
    pub(super) fn marks_asked(&self, id: QueueId) -> usize {
        self.marks_asked.lock().unwrap().iter().filter(|other| **other == id).count()
    }

    /// How often a connection was tried.
    pub(super) fn connections(&self) -> usize {
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

    /// The dialogue ends at this phase of the transaction, with what it is told to meet there.
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

/// A connection that the relay lets wait, until this is dropped: also where its task is cut off.
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

fn trouble(phase: Phase) -> Trouble {
    Trouble { phase, peer: None, cause: Cause::Other("told to".into()) }
}

/// A report in which the relay says `said` at the final dot, one reply a recipient; with none, the connection was lost.
pub(super) fn report(id: QueueId, recipients: &[(usize, Recipient)], said: &[&str]) -> Report {
    report_at(Phase::Dot, id, recipients, said)
}

fn report_at(phase: Phase, id: QueueId, recipients: &[(usize, Recipient)], said: &[&str]) -> Report {
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
        // What was refused had been sent.
        dsn_passed_on: said.iter().copied().any(is_about_dsn),
        connecting: Duration::ZERO,
        transmitting: Duration::ZERO,
    }
}

/// How a refusal ends behind which the relay hangs up before it has shown whose that was.
pub(super) const AND_LEFT: &str = "(and left)";

/// What [`Does::RefusesOdd`] comes to with these recipients.
fn refusing_odd(said: &'static str, recipients: &[(usize, Recipient)]) -> Does {
    let is_odd = |(_, to): &(usize, Recipient)| to.address.to_string().starts_with("odd");
    if recipients.iter().all(is_odd) {
        return Does::SaysAtRcpt(vec![said]);
    }
    let told = |to: &(usize, Recipient)| if is_odd(to) { said } else { "250 2.0.0 ok" };
    Does::Says(recipients.iter().map(told).collect())
}

fn is_about_dsn(said: &str) -> bool {
    said.starts_with("555 5.5.4")
}

/// The same where the relay says `said` within the content.
fn parting(id: QueueId, recipients: &[(usize, Recipient)], said: &str, has_served: bool) -> Report {
    if has_served {
        let untold = report(id, recipients, &[]);
        return Report { possible_duplicate: false, lost_at: None, left_at: Some(Phase::Content), ..untold };
    }
    report_at(Phase::Content, id, recipients, &[said])
}

fn recipient_report(phase: Phase, index: usize, said: Option<&str>) -> RecipientReport {
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
    let status = EnhancedStatus::split_from(said.get(4..).unwrap_or_default());
    let status = status.map_or(EnhancedStatus::transient(4, 2), |(status, _)| status);
    let reply = Reply::parse(format!("{said}\r\n").as_bytes()).ok().flatten();
    let about = reply.map_or(Subject::Message, |(reply, _)| Subject::of(phase, &reply));
    RecipientReport { index, verdict, status, said: said.to_owned(), from_relay: true, phase, about }
}

/// A queue over a spool of its own.
pub(super) struct Bench {
    root: PathBuf,
    /// Where `root` is, on a real disk.
    _directory: TempDir,
    pub(super) spool: Spool,
    pub(super) queue: Queue,
    pub(super) clock: Arc<TestClock>,
    pub(super) relay: Arc<TestRelay>,
    task: JoinHandle<()>,
    settings: Settings,
    fs: Arc<dyn Fs>,
}

/// The log, until the second part is dropped.
pub(super) fn captured() -> (Captured, DefaultGuard) {
    // While one subscriber is all there is, whatever thread comes first to a line decides with its own, or with none,
    // whether anybody ever gets it.
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
    let log = Captured::default();
    let written = log.clone();
    let journal = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone());
    (log, tracing::subscriber::set_default(journal.finish()))
}

/// From `from`, the null reverse-path where that is empty, to each of `to`.
pub(super) fn envelope(from: &str, to: &[&str]) -> Envelope {
    let mut envelope = Envelope::from(match from {
        "" => ReversePath::Null,
        from => ReversePath::Mailbox(Address::parse(from).unwrap()),
    });
    envelope.recipients = to.iter().map(|to| Recipient::plain(Address::parse(to).unwrap())).collect();
    envelope
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path().to_owned();
        Self::on(Arc::new(RealFs), root, directory, TestRelay::new(), change)
    }

    /// A queue over a spool on a simulated disk.
    pub(super) fn simulated(fs: &SimFs) -> Self {
        Self::simulated_with(fs, TestRelay::new())
    }

    /// The same with a relay, and a clock, that there were before.
    pub(super) fn simulated_with(fs: &SimFs, relay: Arc<TestRelay>) -> Self {
        Self::on(Arc::new(fs.clone()), "/spool".into(), TempDir::new().unwrap(), relay, |_| {})
    }

    fn on(
        fs: Arc<dyn Fs>,
        root: PathBuf,
        directory: TempDir,
        relay: Arc<TestRelay>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let clock = relay.clock.clone();
        let mut settings = Settings {
            retry: RetryPolicy { shortest: MINUTE, longest: HOUR, lifetime: DAY * 5, delay_warning: None },
            postmaster: None,
            hostname: "host.example".into(),
            dsn_author: Address::parse("MAILER-DAEMON@host.example").unwrap(),
            null_sender: None,
            postmaster_sender: None,
            max_connections: NonZeroUsize::new(2).unwrap(),
            recipients_per_message: NonZeroUsize::new(50).unwrap(),
            connector: relay.clone(),
            refusals: RefusalRule { relay: "relay.example:587".into(), has_login: true, on_refusal: None },
        };
        change(&mut settings);
        let (spool, queue, task) = start(&root, &fs, &settings, &clock);
        Bench { root, _directory: directory, spool, queue, clock, relay, task, settings, fs }
    }

    /// Whether the queue's task has ended.
    pub(super) fn has_stopped(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends the queue and starts one anew from what the spool holds.
    pub(super) async fn restart(self) -> Self {
        let Bench { root, _directory, spool, queue, clock, relay, task, settings, fs } = self;
        queue.stop(MINUTE);
        task.await.unwrap();
        spool.close().await;
        drop(spool);
        let (spool, queue, task) = start(&root, &fs, &settings, &clock);
        Bench { root, _directory, spool, queue, clock, relay, task, settings, fs }
    }

    /// Gives the queue its settings anew, as a reload does.
    pub(super) fn reload(&self) {
        self.queue.reconfigure(self.settings.clone());
    }

    /// The same with other settings.
    pub(super) fn reload_with(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.reload();
    }

    /// Commits a message from `from` (empty: `<>`).
    pub(super) async fn submit(&self, from: &str, to: &[&str]) -> QueueId {
        self.submit_envelope(envelope(from, to)).await
    }

    pub(super) async fn submit_envelope(&self, envelope: Envelope) -> QueueId {
        self.try_submit(envelope, b"Subject: hello\r\n\r\nhello\r\n").await.unwrap()
    }

    pub(super) async fn try_submit(
        &self,
        envelope: Envelope,
        content: &[u8],
    ) -> Result<QueueId, CommitError> {
        let now = self.clock.now();
        let mut draft = self.spool.draft(now);
        draft.write(content).await?;
        Ok(self.spool.commit(draft, envelope, Submitter::Loopback, now).await?.id())
    }

    /// What the only message is doing.
    pub(super) async fn standing(&self) -> Standing {
        let listed = self.queue.standings(self.spool.following(None, 2)).await;
        assert_eq!(listed.len(), 1);
        listed[0].standing
    }

    /// Waits until the queue is at rest and its numbers are as asked; nothing but other tasks passes
    /// meanwhile.
    pub(super) async fn until(&self, what: impl Fn(&QueueStatus) -> bool) -> QueueStatus {
        let wait = async {
            let mut before = None;
            loop {
                let status = self.queue.status().await.expect("the queue runs");
                let is_at_rest = status.under_way == 0 && status.connections == 0;
                // Only the second answer is known to come after what the clock's last step has set off.
                if is_at_rest && what(&status) && before.as_ref() == Some(&status) {
                    return status;
                }
                before = Some(status);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the queue gets there")
    }

    /// Waits until nothing happens any more without time passing: all that is under way is what the relay lets wait.
    pub(super) async fn until_nothing_happens(&self) -> QueueStatus {
        let wait = async {
            let mut before = None;
            loop {
                let status = self.queue.status().await.expect("the queue runs");
                let stalled = *self.relay.stalled.lock().unwrap();
                let is_at_rest = (status.under_way, status.connections) == (stalled, stalled);
                // Only the second answer is known to come after what the clock's last step has set off.
                if is_at_rest && before.as_ref() == Some(&status) {
                    return status;
                }
                before = Some(status);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the queue comes to rest")
    }

    /// Waits until the relay is paused, whatever is under way.
    pub(super) async fn until_paused(&self) {
        self.until_told(|status| status.paused_until.is_some()).await;
    }

    /// Waits until the queue's numbers are as asked, whatever is under way.
    pub(super) async fn until_told(&self, what: impl Fn(&QueueStatus) -> bool) {
        let wait = async {
            while !what(&self.queue.status().await.expect("the queue runs")) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the queue gets there");
    }

    /// Waits until the queue is empty and the spool is too.
    pub(super) async fn until_empty(&self) {
        self.until(|status| status.live == 0).await;
        assert_eq!(self.spool.len(), 0);
    }

    /// Moves the clock on until nothing is left, however long the disk takes for it.
    pub(super) async fn pass_until_settled(&self) {
        let wait = async {
            while !self.spool.is_empty() {
                self.clock.advance(Duration::from_secs(1));
                self.queue.status().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the queue gets there");
        self.until_empty().await;
    }

    /// Moves the clock on in steps of `step`, letting the queue come to rest after each.
    pub(super) async fn pass(&self, time: Duration, step: Duration) {
        let steps = time.as_secs() / step.as_secs();
        for _ in 0..steps {
            self.clock.advance(step);
            self.until(|_| true).await;
        }
    }
}

fn start(
    directory: &Path,
    fs: &Arc<dyn Fs>,
    settings: &Settings,
    clock: &Arc<TestClock>,
) -> (Spool, Queue, JoinHandle<()>) {
    let (sender, arrivals) = tokio::sync::mpsc::unbounded_channel();
    let mut options = Options::at(directory);
    options.segment_size = 1 << 20;
    let (spool, recovery) = Spool::open(options, fs.clone(), sender).unwrap();
    let (queue, run) = queue(spool.clone(), recovery, arrivals, settings.clone(), clock.clone());
    (spool, queue, tokio::spawn(run))
}
