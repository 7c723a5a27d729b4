//! The power goes at every call that changes the disk.
//!
//! A history is played once. Before each call that changes the disk, images are taken of what a crash
//! may leave there, with what the history had been promised by then. Each image is recovered and must
//! keep every promise; some of these recoveries are crashed in the same way.
//!
//! The histories here are the same in every run; any others are in `crash/history.rs`, with a switch
//! for longer runs.

mod history;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use super::*;
use crate::filter::{HolderKind, MailHolder};
use crate::spool::fs::sim::Choice;

/// The answers that the submitter and the queue have had so far.
#[derive(Clone, Default)]
pub(super) struct Told {
    /// The content of every message that may be on the disk.
    offered: HashMap<QueueId, Vec<u8>>,
    committed: HashSet<QueueId>,
    /// The messages whose removal was asked for.
    removing: HashSet<QueueId>,
    /// Those of which that was answered.
    removed: HashSet<QueueId>,
    /// The recipients whose outcome is recorded.
    closed: HashSet<(QueueId, usize)>,
    /// Each DSN with the message that it bounces.
    bounces: Vec<(QueueId, QueueId)>,
    /// The state of each message that was given one, if nobody has asked for another one since.
    states: HashMap<QueueId, EntryState>,
    /// Who holds each message that was put on hold, if nobody has asked for another state since.
    holders: HashMap<QueueId, MailHolder>,
    /// The route that each message was assigned to, if nobody has asked for another one since.
    routes: HashMap<QueueId, String>,
    /// The recipients that are open again, if nobody has buried them since.
    reopened: HashSet<(QueueId, usize)>,
}

type SharedTold = Arc<Mutex<Told>>;

/// Plays a history and notes what is told.
pub(super) struct Teller {
    pub rig: Rig,
    pub told: SharedTold,
    choice: Choice,
    counter: usize,
}

impl Teller {
    pub fn new(rig: Rig, told: SharedTold, seed: u64) -> Self {
        Teller { rig, told, choice: Choice(seed), counter: 0 }
    }

    fn tell<T>(&self, note: impl FnOnce(&mut Told) -> T) {
        note(&mut self.told.lock().unwrap());
    }

    async fn offer(&mut self, length: usize) -> Option<Draft> {
        self.counter += 1;
        let octets = content(self.counter, length);
        let draft = self.rig.draft(&octets).await.ok()?;
        self.tell(|told| {
            told.offered.insert(draft.id(), octets);
            // This clock stands still: after a restart a refused draft's id, which nobody was told, is given
            // again, and what was to be a DSN under it never was one.
            told.bounces.retain(|(dsn, _)| *dsn != draft.id());
            told.states.remove(&draft.id());
            told.holders.remove(&draft.id());
            told.routes.remove(&draft.id());
        });
        Some(draft)
    }

    fn answered(&self, id: QueueId, result: Result<Committed, CommitError>) -> Option<QueueId> {
        if result.is_ok() {
            self.tell(|told| told.committed.insert(id));
        }
        result.ok().map(|committed| committed.id())
    }

    pub async fn commit(&mut self, length: usize) -> Option<QueueId> {
        let mut draft = self.offer(length).await?;
        let id = draft.id();
        if self.choice.between((0, 2)) == 0 {
            draft.hold("hold rule 1");
            // Promised at once: it must never be found without.
            self.tell(|told| {
                told.states.insert(id, EntryState::OnHold);
                told.holders.insert(id, MailHolder::of(HolderKind::Limit));
            });
        }
        let result = self.rig.spool.commit(draft, envelope(2), Submitter::Loopback, now()).await;
        self.answered(id, result)
    }

    /// Commits several messages at once, in one batch or two.
    async fn commit_together(&mut self, lengths: [usize; 3]) {
        let mut drafts = Vec::new();
        for length in lengths {
            drafts.extend(self.offer(length).await);
        }
        let mut commits = tokio::task::JoinSet::new();
        for draft in drafts {
            let (spool, id) = (self.rig.spool.clone(), draft.id());
            commits
                .spawn(async move { (id, spool.commit(draft, envelope(2), Submitter::Uid(1), now()).await) });
        }
        for (id, result) in commits.join_all().await {
            self.answered(id, result);
        }
    }

    pub async fn remove(&mut self, id: QueueId) {
        self.tell(|told| told.removing.insert(id));
        let removed = match self.choice.between((0, 1)) {
            0 => self.rig.settle(id).await,
            _ => self.rig.spool.remove(deletion(id)).await,
        };
        if removed.is_ok() {
            self.tell(|told| told.removed.insert(id));
        }
    }

    async fn close_first_recipient(&mut self, id: QueueId) {
        let Ok(stored) = self.rig.spool.peek(id) else { return };
        let mut ledger = stored.ledger;
        ledger.sent(0);
        if self.rig.spool.record(&mut ledger).await.is_ok() {
            self.tell(|told| told.closed.insert((id, 0)));
        }
    }

    async fn bounce_second_recipient(&mut self, of: QueueId) {
        let Ok(stored) = self.rig.spool.peek(of) else { return };
        let mut ledger = stored.ledger;
        let Some(draft) = self.offer(500).await else { return };
        let dsn = draft.id();
        self.tell(|told| told.bounces.push((dsn, of)));
        let result = self.rig.spool.commit_bounce(draft, envelope(2), &mut ledger, &[1], now()).await;
        self.answered(dsn, result);
    }

    async fn set_state(&mut self, id: QueueId) {
        match self.choice.between((0, 3)) {
            0 => self.is_to_be(id, EntryState::Held).await,
            3 => self.assign_route(id).await,
            1 => self.put_on_hold(id).await,
            _ => self.bury_and_reopen(id).await,
        }
    }

    async fn is_to_be(&mut self, id: QueueId, state: EntryState) {
        self.tell(|told| (told.states.remove(&id), told.holders.remove(&id)));
        if self.rig.spool.set_state(id, state).await.is_ok() {
            self.tell(|told| told.states.insert(id, state));
        }
    }

    async fn assign_route(&mut self, id: QueueId) {
        let route = ["", "one", "two"][self.choice.between((0, 2))].to_owned();
        self.tell(|told| told.routes.remove(&id));
        if self.rig.spool.assign_route(id, &route).await.is_ok() {
            self.tell(|told| told.routes.insert(id, route));
        }
    }

    async fn put_on_hold(&mut self, id: QueueId) {
        let by = MailHolder::user(HolderKind::Operator, self.choice.between((0, 2)) as u32, Some("root"));
        self.tell(|told| (told.states.remove(&id), told.holders.remove(&id)));
        if self.rig.spool.hold(id, &by).await.is_ok() {
            self.tell(|told| (told.states.insert(id, EntryState::OnHold), told.holders.insert(id, by)));
        }
    }

    /// The second recipient is dead, and open again.
    async fn bury_and_reopen(&mut self, id: QueueId) {
        let Ok(Stored { mut ledger, .. }) = self.rig.spool.peek(id) else { return };
        self.tell(|told| (told.states.remove(&id), told.holders.remove(&id), told.reopened.remove(&(id, 1))));
        ledger.dead(1);
        if self.rig.spool.record(&mut ledger).await.is_ok() && self.rig.spool.reopen(id).await.is_ok() {
            self.tell(|told| (told.states.insert(id, EntryState::Held), told.reopened.insert((id, 1))));
        }
    }

    fn some_committed(&mut self) -> Option<QueueId> {
        let told = self.told.lock().unwrap();
        let mut here: Vec<_> = told.committed.difference(&told.removing).copied().collect();
        here.sort();
        // Not the first two: one that stays for ever is what the cleaner is for.
        let last = here.len().checked_sub(3)?;
        Some(here[2 + self.choice.between((0, last))])
    }

    /// Does one more thing that may happen to a spool.
    pub async fn step(&mut self) {
        let length = self.choice.between((0, 3500));
        let deed = self.choice.between((0, 11));
        let Some(id) = self.some_committed() else {
            self.commit(length).await;
            return;
        };
        match deed {
            0..=2 => drop(self.commit(length).await),
            3 => self.commit_together([length, 30, 900]).await,
            4 => drop(self.commit(4000 + length).await),
            5 => self.close_first_recipient(id).await,
            6 => self.bounce_second_recipient(id).await,
            7 => self.set_state(id).await,
            8 => {
                let _ = self.rig.spool.mark_in_flight(id).await;
                self.rig.spool.note_replies(id, &replies("450 4.2.0 later")).await;
            }
            _ => self.remove(id).await,
        }
    }
}

/// Fails if a promise is not kept that was made.
pub(super) fn check(rig: &Rig, told: &Told, what: &str) {
    let found: HashSet<QueueId> = rig.ids().into_iter().collect();
    assert_eq!(found.len(), rig.recovery.entries.len(), "{what}: once each");
    assert!(rig.recovery.damaged.is_empty(), "{what}: {:?}", rig.recovery.damaged);
    for id in told.committed.difference(&told.removing) {
        assert!(found.contains(id), "{what}: {id} was committed and is lost");
    }
    for id in &told.removed {
        assert!(!found.contains(id), "{what}: {id} was removed and is back");
    }
    for id in &found {
        let stored = rig.spool.read(*id).unwrap_or_else(|e| panic!("{what}: {id}: {e}"));
        let offered = told.offered.get(id).unwrap_or_else(|| panic!("{what}: {id} from nowhere"));
        assert!(octets(stored.content) == *offered, "{what}: {id} is not what was sent");
    }
    let fate = |id: QueueId, index: usize| rig.spool.peek(id).unwrap().ledger.fates()[index];
    for (id, index) in told.closed.iter().filter(|(id, _)| found.contains(id)) {
        assert_eq!(fate(*id, *index), Fate::Sent, "{what}: an outcome of {id} is lost");
    }
    // M7: a DSN may be delivered and gone before its original is; the other way round, both are there.
    for (dsn, of) in told.bounces.iter().filter(|(_, of)| found.contains(of)) {
        let several = told.bounces.iter().filter(|(_, other)| other == of).count() > 1;
        let closed = fate(*of, 1) == Fate::Bounced;
        assert!(!found.contains(dsn) || closed, "{what}: {dsn} bounces {of}, which is open");
        assert!(
            !closed || several || found.contains(dsn) || told.removing.contains(dsn),
            "{what}: {of} is closed by {dsn}, which is lost"
        );
    }
    for (id, state) in told.states.iter().filter(|(id, _)| found.contains(id)) {
        assert_eq!(rig.entry(*id).marks.state(), *state, "{what}: {id}");
    }
    for (id, route) in told.routes.iter().filter(|(id, _)| found.contains(id)) {
        assert_eq!(rig.spool.peek(*id).unwrap().assigned_route.as_ref(), Some(route), "{what}: {id}");
    }
    for (id, holder) in told.holders.iter().filter(|(id, _)| found.contains(id)) {
        assert_eq!(rig.spool.peek(*id).unwrap().held_by.as_ref(), Some(holder), "{what}: {id}");
    }
    for (id, index) in told.reopened.iter().filter(|(id, _)| found.contains(id)) {
        assert_ne!(fate(*id, *index), Fate::Dead, "{what}: {id} is dead again");
    }
}

type Images = Arc<Mutex<Vec<(SimFs, Told, u64)>>>;

/// Takes `each` images before every change of `fs`.
fn take_images(fs: &SimFs, told: &SharedTold, each: u64) -> Images {
    let images = Images::default();
    let (list, told, mut change) = (Arc::clone(&images), Arc::clone(told), 0);
    fs.watch(move |disk| {
        change += 1;
        let told = told.lock().unwrap().clone();
        for seed in 0..each {
            let seed = if seed < 2 { seed } else { change * 1000 + seed };
            list.lock().unwrap().push((disk.image(seed), told.clone(), seed));
        }
    });
    images
}

async fn play(seed: u64, steps: usize, each: u64) -> Vec<(SimFs, Told, u64)> {
    let fs = SimFs::new();
    let told = SharedTold::default();
    let images = take_images(&fs, &told, each);
    let mut teller = Teller::new(open(&fs), Arc::clone(&told), seed);
    for step in 0..steps {
        teller.step().await;
        if step == steps * 3 / 4 {
            // In order once, so that there is a start after a clean end, too.
            teller.rig.spool.close().await;
            teller.rig = open(&fs);
        }
    }
    drop(teller);
    fs.unwatch();
    Arc::try_unwrap(images).ok().unwrap().into_inner().unwrap()
}

/// Promises 1 to 4; D1, D3, D4, D5, D6, D7, D8; M1, M2, M3, M6, M7, M9, M10, M11, M12, M13, M14; and recover.rs 1, 2,
/// 4, 5.
#[tokio::test]
async fn nothing_promised_is_lost_wherever_the_power_goes() {
    for seed in 2..6 {
        let images = play(seed, 80, 4).await;
        assert!(images.len() > 500, "{} images", images.len());
        for (number, (fs, told, chosen)) in images.iter().enumerate() {
            let what = format!("history {seed}, image {number} ({chosen})");
            check(&open(fs), told, &what);
        }
    }
}

/// A crash during recovery is harmless.
#[tokio::test]
async fn recovery_can_be_cut_off_and_done_again() {
    let images = play(11, 60, 3).await;
    for (number, (fs, told, chosen)) in images.iter().enumerate().skip(40).step_by(17) {
        let again = take_images(fs, &Arc::new(Mutex::new(told.clone())), 3);
        drop(open(fs));
        fs.unwatch();
        for (fs, told, second) in again.lock().unwrap().iter() {
            check(&open(fs), told, &format!("image {number} ({chosen}), then ({second})"));
        }
    }
}

/// A message that comes after a recovery is as safe as one that came before it.
#[tokio::test]
async fn a_recovered_spool_goes_on() {
    let images = play(12, 40, 3).await;
    for (number, (fs, told, chosen)) in images.into_iter().enumerate().skip(30).step_by(37) {
        let told = Arc::new(Mutex::new(told));
        let mut teller = Teller::new(open(&fs), Arc::clone(&told), number as u64 + 2);
        for _ in 0..15 {
            teller.step().await;
        }
        let told = told.lock().unwrap().clone();
        for seed in [0, 1, 77] {
            check(&open(&fs.image(seed)), &told, &format!("image {number} ({chosen}), later ({seed})"));
        }
    }
}
