//! Histories that nobody wrote: any deeds in any order, the power going at any of them.
//!
//! `cargo test` plays a few, always the same, some thousand images. For other ones, and more:
//! `NULLMTA_CRASH_CASES=2000 cargo test --lib spool::tests::crash::history`.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// Number of histories that are played when nobody asks for more.
const CASES: u32 = 24;

/// An event in the life of a spool. Numbers choose among the messages there are, and among the images.
#[derive(Clone, Debug)]
enum Deed {
    Commit(usize),
    CommitTogether([usize; 3]),
    CloseRecipient(usize),
    Bounce(usize),
    SetState(usize),
    Attempt(usize),
    Remove(usize),
    DiskFull,
    DiskHasRoom,
    Restart,
    PowerLoss(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let length = || 0usize..3500;
    let which = || 0usize..1000;
    prop_oneof![
        6 => length().prop_map(Deed::Commit),
        2 => [length(), 0usize..50, 4000usize..9000].prop_map(Deed::CommitTogether),
        2 => which().prop_map(Deed::CloseRecipient),
        2 => which().prop_map(Deed::Bounce),
        1 => which().prop_map(Deed::SetState),
        2 => which().prop_map(Deed::Attempt),
        5 => which().prop_map(Deed::Remove),
        1 => Just(Deed::DiskFull),
        1 => Just(Deed::DiskHasRoom),
        1 => Just(Deed::Restart),
        1 => (0u64..1000).prop_map(Deed::PowerLoss),
    ]
}

/// A history while it is played, and the images that were taken of it.
struct Play {
    teller: Teller,
    options: Options,
    seed: u64,
    taken: Images,
    images: Vec<(SimFs, Told, u64)>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let (fs, told) = (SimFs::new(), SharedTold::default());
        let taken = sample_images(&fs, &told, seed);
        // Segments all of one size, or growing.
        let options = Options { first_segment: [SEGMENT, SEGMENT / 3][seed as usize % 2], ..options() };
        let rig = open_with(&fs, options.clone()).unwrap();
        Play { teller: Teller::new(rig, told, seed), options, seed, taken, images: Vec::new() }
    }

    async fn act(&mut self, deed: &Deed) {
        let teller = &mut self.teller;
        let fs = teller.rig.fs.clone();
        match deed {
            Deed::Commit(length) => drop(teller.commit(*length).await),
            Deed::CommitTogether(lengths) => teller.commit_together(*lengths).await,
            Deed::DiskFull => fs.set_capacity(Some(fs.used())),
            Deed::DiskHasRoom => fs.set_capacity(None),
            Deed::Restart => {
                teller.rig.spool.close().await;
                teller.rig = open_with(&fs, self.options.clone()).unwrap();
            }
            Deed::PowerLoss(image) => self.lose_power(*image),
            Deed::CloseRecipient(which)
            | Deed::Bounce(which)
            | Deed::SetState(which)
            | Deed::Attempt(which)
            | Deed::Remove(which) => {
                if let Some(id) = teller.committed(*which) {
                    teller.act_on(id, deed).await;
                }
            }
        }
    }

    fn lose_power(&mut self, image: u64) {
        let before = &self.teller.rig.fs;
        let after = before.image(image);
        self.collect();
        self.seed += 1;
        self.taken = sample_images(&after, &self.teller.told, self.seed);
        self.teller.rig = open_with(&after, self.options.clone()).unwrap();
    }

    fn collect(&mut self) {
        self.teller.rig.fs.unwatch();
        self.images.append(&mut self.taken.lock().unwrap());
    }
}

impl Teller {
    fn committed(&self, which: usize) -> Option<QueueId> {
        let told = self.told.lock().unwrap();
        let mut here: Vec<_> = told.committed.difference(&told.removing).copied().collect();
        here.sort();
        (!here.is_empty()).then(|| here[which % here.len()])
    }

    async fn act_on(&mut self, id: QueueId, deed: &Deed) {
        match deed {
            Deed::CloseRecipient(_) => self.close_first_recipient(id).await,
            Deed::Bounce(_) => self.bounce_second_recipient(id).await,
            Deed::SetState(_) => self.set_state(id).await,
            Deed::Remove(_) => self.remove(id).await,
            _ => {
                // A mark that cannot be written is none: the history goes on without.
                let _ = self.rig.spool.mark_in_flight(id).await;
                self.rig.spool.note_replies(id, &replies("450 4.2.0 later")).await;
            }
        }
    }
}

/// Takes one image before every change of `fs`: every fifth without, every fifth with all that was not
/// synced, and the others with anything of it.
fn sample_images(fs: &SimFs, told: &SharedTold, seed: u64) -> Images {
    let images = Images::default();
    let (list, told) = (Arc::clone(&images), Arc::clone(told));
    let mut choice = Choice(seed);
    fs.watch(move |disk| {
        let kind = choice.between((0, 4)) as u64;
        let seed = if kind < 2 { kind } else { choice.between((2, 1 << 40)) as u64 };
        let told = told.lock().unwrap().clone();
        list.lock().unwrap().push((disk.image(seed), told, seed));
    });
    images
}

/// Plays it, and recovers every image; some recoveries are cut off and done again. Returns how many images.
async fn play(deeds: &[Deed], seed: u64) -> usize {
    let mut play = Play::new(seed);
    for deed in deeds {
        play.act(deed).await;
    }
    play.teller.rig.fs.set_capacity(None);
    let mut served = None;
    for _ in 0..3 {
        served = served.or(play.teller.commit(100).await);
    }
    assert!(served.is_some(), "service has not returned");
    play.collect();
    let mut checked = play.images.len();
    for (number, (fs, told, chosen)) in play.images.iter().enumerate() {
        let what = format!("image {number} ({chosen})");
        let again = (number % 8 == 0).then(|| sample_images(fs, &Arc::new(Mutex::new(told.clone())), seed));
        check(&open(fs), told, &what);
        fs.unwatch();
        for (fs, told, second) in again.iter().flat_map(|again| std::mem::take(&mut *again.lock().unwrap())) {
            check(&open(&fs), &told, &format!("{what}, then ({second})"));
            checked += 1;
        }
    }
    checked
}

/// Returns what plays other histories each time when somebody asks for some, and the same ones in every other test run.
fn runner(config: Config, is_asked: bool) -> TestRunner {
    if is_asked {
        return TestRunner::new(config);
    }
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// Promises 1 to 4, 6; D3, D4, D5, D6, D7, D8; M1, M2, M3, M6, M7, M9, M10, M11, M12.
#[test]
fn any_history_keeps_every_promise() {
    let asked = std::env::var("NULLMTA_CRASH_CASES").ok();
    let is_asked = asked.is_some();
    let cases = asked.map_or(CASES, |cases| cases.parse().expect("NULLMTA_CRASH_CASES is a number"));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    let images = AtomicUsize::new(0);
    let histories = (vec(deed(), 10..50), 2u64..1 << 40);
    let played = runner(config, is_asked).run(&histories, |(deeds, seed)| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        images.fetch_add(runtime.block_on(play(&deeds, seed)), Ordering::Relaxed);
        Ok(())
    });
    played.unwrap_or_else(|e| panic!("{e}"));
    assert!(images.into_inner() > cases as usize * 50, "too few images to prove anything");
}
