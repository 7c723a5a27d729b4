//! Counts the content that is not whole yet and stands on the disk already, and bounds how much of it each user may have.
//!
//! Promises
//! 1. What one user has begun and not finished takes no more than their share of the disk's usable room (`space.rs`),
//!    unless it is one message alone. Before a user is refused for that, their largest message gives way of which
//!    nothing has come for [`IDLE`].
//! 2. Where room is missing for others, the largest idle ones give way, whosever they are.
//! 3. What gives way frees its room at once, and is a message that nobody was told is safe: its session is told 452.
//!    What is whole is none of this, and never gives way.
//!
//! Time is an argument. Not here: the files (`draft.rs`), when room is missing (`room.rs`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::entry::CommitError;
use super::fs::File;
use super::space;
use crate::envelope::Submitter;
use crate::queue_id::QueueId;

/// Time after which a message may be removed to make room, if none of its content has come meanwhile.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// All messages that have been begun and are not whole.
#[derive(Default)]
pub(super) struct Unfinished(Mutex<HashMap<QueueId, UnfinishedFile>>);

/// A message that has been begun and is not whole.
struct UnfinishedFile {
    whose: Submitter,
    octets: u64,
    /// The moment at which the last content came.
    touched: Instant,
    file: Arc<dyn File>,
    given_up: Arc<AtomicBool>,
}

/// The place of one message among the unfinished ones. When this is dropped it is not among them any more.
pub(super) struct UnfinishedMessage {
    among: Arc<Unfinished>,
    id: QueueId,
    given_up: Arc<AtomicBool>,
}

impl Unfinished {
    /// Notes that a message of `whose` has content in `file` from now on.
    pub fn begin(
        self: &Arc<Self>,
        id: QueueId,
        whose: Submitter,
        file: Arc<dyn File>,
        now: Instant,
    ) -> UnfinishedMessage {
        let given_up = Arc::new(AtomicBool::new(false));
        let begun = UnfinishedFile { whose, octets: 0, touched: now, file, given_up: Arc::clone(&given_up) };
        self.all().insert(id, begun);
        UnfinishedMessage { among: Arc::clone(self), id, given_up }
    }

    /// Makes the largest idle messages give way until `missing` octets are free, or none is idle.
    pub fn give_up_idle(&self, missing: u64, now: Instant) {
        let mut all = self.all();
        let mut freed = 0;
        while freed < missing
            && let Some(id) = largest_idle(&all, now, |_| true)
        {
            freed += give_up(&mut all, id);
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<QueueId, UnfinishedFile>> {
        // Each change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnfinishedMessage {
    /// Notes that `more` octets are to be written, while `free` octets are usable. Fails if they may not be written: with
    /// `GaveWay` if this message has given way, with `OverShare` if its user has used up their share, with `Full` if there
    /// is no room for anybody.
    pub fn grow(&self, more: u64, free: u64, now: Instant) -> Result<(), CommitError> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(CommitError::GaveWay);
        }
        let mut all = self.among.all();
        let Some(mine) = all.get_mut(&self.id) else { return Ok(()) };
        (mine.octets, mine.touched) = (mine.octets + more, now);
        let whose = mine.whose;
        let taken: u64 = all.values().map(|begun| begun.octets).sum();
        let share = space::share_of_one_user(free.saturating_add(taken));
        let is_theirs = |begun: &UnfinishedFile| begun.whose.shares_with(whose);
        loop {
            let theirs = all.values().filter(|begun| is_theirs(begun));
            let (count, octets) = theirs.fold((0, 0), |(count, sum), begun| (count + 1, sum + begun.octets));
            if count == 1 || octets <= share {
                return Ok(());
            }
            let Some(idle) = largest_idle(&all, now, is_theirs) else {
                return Err(if free < more { CommitError::Full } else { CommitError::OverShare });
            };
            give_up(&mut all, idle);
        }
    }
}

impl Drop for UnfinishedMessage {
    fn drop(&mut self) {
        self.among.all().remove(&self.id);
    }
}

/// Returns the largest message of which nothing has come for a while, among those that may go.
fn largest_idle(
    all: &HashMap<QueueId, UnfinishedFile>,
    now: Instant,
    may_go: impl Fn(&UnfinishedFile) -> bool,
) -> Option<QueueId> {
    let is_idle = |begun: &UnfinishedFile| now.saturating_duration_since(begun.touched) >= IDLE;
    let idle = all.iter().filter(|(_, begun)| is_idle(begun) && may_go(begun));
    idle.max_by_key(|(_, begun)| begun.octets).map(|(id, _)| *id)
}

/// Removes the content of a message; returns the number of octets that this frees.
fn give_up(all: &mut HashMap<QueueId, UnfinishedFile>, id: QueueId) -> u64 {
    let Some(UnfinishedFile { octets, file, given_up, .. }) = all.remove(&id) else { return 0 };
    given_up.store(true, Ordering::Relaxed);
    // Its name goes when its session learns of it; the octets go now. A disk that refuses this loses nothing.
    let cut = move || drop(file.truncate(0));
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(cut)),
        Err(_) => cut(),
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::fs::{Fs, sim::SimFs};
    use crate::spool::space::SHARE_IN_WORDS;
    use std::path::{Path, PathBuf};

    const MIB: u64 = 1 << 20;

    struct Rig {
        all: Arc<Unfinished>,
        fs: SimFs,
        begun: u64,
        start: Instant,
    }

    impl Rig {
        fn new() -> Rig {
            Rig { all: Arc::default(), fs: SimFs::new(), begun: 0, start: Instant::now() }
        }

        fn after(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn path(number: u64) -> PathBuf {
            PathBuf::from(format!("/{number}"))
        }

        fn begin(&mut self, whose: Submitter, at: u64) -> UnfinishedMessage {
            self.begun += 1;
            let file = self.fs.create(&Self::path(self.begun)).unwrap();
            file.write_at(b"content", 0).unwrap();
            self.all.begin(QueueId::from_raw(self.begun), whose, file, self.after(at))
        }

        fn is_cut(&self, number: u64) -> bool {
            self.fs.content(&Self::path(number)).unwrap().is_empty()
        }
    }

    /// Thirty unfinished messages of 40 MB each once filled a disk, and everybody else got 452 for a day.
    #[test]
    fn one_user_s_unfinished_messages_leave_the_disk_to_others() {
        let mut rig = Rig::new();
        let (mut free, mut places, mut refused) = (400 * MIB, Vec::new(), 0);
        for number in 0..30 {
            let place = rig.begin(Submitter::Uid(1000), number);
            match place.grow(40 * MIB, free, rig.after(number)) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, CommitError::OverShare);
                    refused += 1;
                    continue;
                }
            }
            places.push(place);
            // The room of the messages that gave way is free again.
            free = 400 * MIB - rig.all.all().values().map(|begun| begun.octets).sum::<u64>();
            assert!(free >= 300 * MIB, "{free} after {number}");
        }
        assert!(refused > 0 && rig.is_cut(1));
        assert_eq!(
            places[0].grow(1, free, rig.after(99)),
            Err(CommitError::GaveWay),
            "what gave way is refused"
        );
        let other = rig.begin(Submitter::Uid(1001), 30);
        assert_eq!(other.grow(40 * MIB, free, rig.after(30)), Ok(()));
    }

    /// Whoever used TCP beside the socket had two shares, and all users of TCP together had one.
    #[test]
    fn a_user_has_one_share_over_the_socket_and_over_tcp() {
        for (over_tcp, expected) in [(1000, Err(CommitError::OverShare)), (1001, Ok(()))] {
            let mut rig = Rig::new();
            let _over_tcp = rig.begin(Submitter::LoopbackUid(over_tcp), 0);
            let over_socket = rig.begin(Submitter::Uid(1000), 0);
            assert_eq!(over_socket.grow(MIB, 2 * MIB, rig.after(0)), expected, "{over_tcp}");
        }
    }

    /// The share stands in the documentation, too: when it changes, all texts do.
    #[test]
    fn all_texts_name_the_share_that_there_is() {
        assert_eq!((space::share_of_one_user(400), SHARE_IN_WORDS), (100, "a quarter"));
        for (name, words) in [
            ("config/log.md", "fill SHARE of that already"),
            ("config/mail.md", "at most SHARE of the disk space"),
            ("config/nullmta.toml", "at most SHARE of the space"),
        ] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            let text = std::fs::read_to_string(path).unwrap().replace("\n#", "\n");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(&words.replace("SHARE", SHARE_IN_WORDS)), "{name}");
        }
    }

    /// A user was told of their share where the disk was full.
    #[test]
    fn a_full_disk_is_no_matter_of_shares() {
        let mut rig = Rig::new();
        let places = [0, 1].map(|_| rig.begin(Submitter::Uid(1000), 0));
        assert_eq!(places[0].grow(MIB, 2 * MIB, rig.after(0)), Err(CommitError::OverShare));
        assert_eq!(places[1].grow(MIB, MIB - 1, rig.after(0)), Err(CommitError::Full));
    }

    #[test]
    fn one_message_alone_may_take_what_there_is() {
        let mut rig = Rig::new();
        let place = rig.begin(Submitter::Uid(1000), 0);
        for _ in 0..50 {
            assert_eq!(place.grow(MIB, 10 * MIB, rig.after(0)), Ok(()));
        }
    }

    #[test]
    fn the_largest_idle_one_gives_way_first_and_a_busy_one_never() {
        let mut rig = Rig::new();
        let sizes = [(1, 0), (9, 0), (5, 0), (20, 95)];
        let whose = [1000, 1001, 1002, 1003].map(Submitter::Uid);
        let places: Vec<_> = (0..4).map(|at| rig.begin(whose[at], 0)).collect();
        for (place, (octets, touched)) in places.iter().zip(sizes) {
            place.grow(octets, 1000, rig.after(touched)).unwrap();
        }
        let cut = |missing| {
            rig.all.give_up_idle(missing, rig.after(100));
            (1..=4).map(|number| rig.is_cut(number)).collect::<Vec<_>>()
        };
        assert_eq!(cut(0), [false; 4]);
        assert_eq!(cut(3), [false, true, false, false]);
        assert_eq!(cut(6), [true, true, true, false]);
        assert_eq!(cut(99), [true, true, true, false]);
    }

    #[test]
    fn what_is_whole_or_dropped_is_forgotten() {
        let mut rig = Rig::new();
        drop(rig.begin(Submitter::Uid(1000), 0));
        rig.all.give_up_idle(1, rig.after(1000));
        assert!(!rig.is_cut(1) && rig.all.all().is_empty());
    }
}
