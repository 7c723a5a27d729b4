//! The set-up of the queue's tests: a queue over a spool of its own, with a relay and a clock that do as they are told.

mod clock;
mod relay;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::envelope::{Address, Envelope, Submitter};
use crate::message::dsn::Overseers;
use crate::queue::clock::Clock;
use crate::queue::refusals::RefusalRule;
use crate::queue::schedule::RetryPolicy;
use crate::queue::testing::envelope;
use crate::queue::{Queue, QueueStatus, RelaySettings, Settings, queue};
use crate::queue_id::QueueId;
use crate::routing::Routes;
use crate::spool::fs::sim::SimFs;
use crate::spool::fs::{Fs, RealFs};
use crate::spool::{CommitError, Options, Spool};
use clock::TestClock;
pub(super) use relay::{Does, TestRelay};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A queue over a spool of its own.
pub(super) struct Bench {
    root: PathBuf,
    /// The directory of `root` on a real disk.
    _directory: TempDir,
    pub(super) spool: Spool,
    pub(super) queue: Queue,
    pub(super) clock: Arc<TestClock>,
    pub(super) relay: Arc<TestRelay>,
    task: JoinHandle<()>,
    settings: Settings,
    fs: Arc<dyn Fs>,
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

    /// Returns a queue over a spool on a simulated disk.
    pub(super) fn simulated(fs: &SimFs) -> Self {
        Self::simulated_with(fs, TestRelay::new())
    }

    /// Does the same with a relay, and its clock, that were there before.
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
            overseers: Overseers::default(),
            hostname: "host.example".into(),
            dsn_author: Address::parse("MAILER-DAEMON@host.example").unwrap(),
            null_sender: None,
            bounce_sender: None,
            postmaster_sender: None,
            routes: Routes::default(),
            relays: vec![RelaySettings {
                route: None,
                max_connections: NonZeroUsize::new(2).unwrap(),
                recipients_per_message: NonZeroUsize::new(50).unwrap(),
                domains_per_message: None,
                rates: Vec::new(),
                connector: relay.clone(),
                refusals: RefusalRule {
                    relay: "relay.example:587".into(),
                    has_login: true,
                    on_refusal: None,
                },
            }],
        };
        change(&mut settings);
        let (spool, queue, task) = start(&root, &fs, &settings, &clock);
        Bench { root, _directory: directory, spool, queue, clock, relay, task, settings, fs }
    }

    /// Returns whether the queue's task has ended.
    pub(super) fn has_stopped(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends the queue, and starts another one from what the spool holds.
    pub(super) async fn restart(self) -> Self {
        let Bench { root, _directory, spool, queue, clock, relay, task, settings, fs } = self;
        queue.stop(MINUTE);
        task.await.unwrap();
        spool.close().await;
        drop(spool);
        let (spool, queue, task) = start(&root, &fs, &settings, &clock);
        Bench { root, _directory, spool, queue, clock, relay, task, settings, fs }
    }

    /// Gives the queue changed settings, as a reload does.
    pub(super) fn reload_with(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.queue.reconfigure(self.settings.clone());
    }

    /// Commits a message from `from` (empty: `<>`).
    pub(super) async fn submit(&self, from: &str, to: &[&str]) -> QueueId {
        self.try_submit(envelope(from, to), b"Subject: hello\r\n\r\nhello\r\n").await.unwrap()
    }

    pub(super) async fn try_submit(
        &self,
        envelope: Envelope,
        content: &[u8],
    ) -> Result<QueueId, CommitError> {
        self.try_submit_as(Submitter::Loopback, envelope, content).await
    }

    pub(super) async fn try_submit_as(
        &self,
        submitter: Submitter,
        envelope: Envelope,
        content: &[u8],
    ) -> Result<QueueId, CommitError> {
        let now = self.clock.now();
        let mut draft = self.spool.draft(now);
        draft.write(content).await?;
        Ok(self.spool.commit(draft, envelope, submitter, now).await?.id())
    }

    /// Waits until the queue is at rest and its figures are as asked, while only other tasks go on and no time passes.
    pub(super) async fn until(&self, what: impl Fn(&QueueStatus) -> bool) -> QueueStatus {
        let wait = async {
            let mut before = None;
            loop {
                let status = self.queue.status().await.expect("the queue runs");
                let is_at_rest = status.under_way == 0 && status.connections() == 0;
                // Only the second answer surely comes after everything that the last step of the clock has set off.
                if is_at_rest && what(&status) && before.as_ref() == Some(&status) {
                    return status;
                }
                before = Some(status);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the queue gets there")
    }

    /// Waits until nothing happens any more without time passing: what is under way is only what the relay lets wait.
    pub(super) async fn until_nothing_happens(&self) -> QueueStatus {
        let wait = async {
            let mut before = None;
            loop {
                let status = self.queue.status().await.expect("the queue runs");
                let stalled = *self.relay.stalled.lock().unwrap();
                let is_at_rest = (status.under_way, status.connections()) == (stalled, stalled);
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

    /// Waits until the queue's figures are as asked, whatever is under way.
    pub(super) async fn until_told(&self, what: impl Fn(&QueueStatus) -> bool) {
        let wait = async {
            while !what(&self.queue.status().await.expect("the queue runs")) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the queue gets there");
    }

    /// Waits until the queue and the spool are empty.
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

    /// Moves the clock on in steps of `step`, and lets the queue come to rest after each.
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
