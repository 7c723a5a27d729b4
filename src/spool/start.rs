//! Opens a spool: directories, lock, recovery, a fresh segment, the two threads.
//!
//! The order matters. Nothing is read before the lock is held; nothing is written before all segments have
//! been read; the first segment is begun before anybody can commit. A full disk is no reason not to
//! start: what the segments of before did not use is given back, one segment after the other until the first one can be
//! whole, and else one as large as there is room for is begun, so that what is queued is delivered; what is submitted is
//! refused until there is room.
//!
//! A start writes little: what the run before had made of its next segment is taken over, and of a larger segment than
//! the smallest the room is reserved, and written as it is used.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedSender};
use tokio::sync::watch;

use super::entry::{CommitError, Entry, OpenError, Options, Recovery};
use super::format::{SECTOR, SpoolId};
use super::fs::Fs;
use super::paths::SpoolPaths;
use super::presence::Presence;
use super::recover::{self, Survey};
use super::request::Order;
use super::shared::{SharedSpool, SpoolParts};
use super::space::{self, SegmentSize};
use super::writer::SpoolWriter;
use crate::queue_id::{QueueId, QueueIds};

/// Number of orders that may wait for the writer; a sender of one more waits.
const ORDERS: usize = 1024;

/// An open spool with its threads, as a start hands it to the handle.
pub(super) struct OpenedSpool {
    pub shared: Arc<SharedSpool>,
    pub orders: Sender<Order>,
    /// Closed when the stock's thread has ended.
    pub stock_runs: watch::Receiver<()>,
    /// The threads of the writer and of the stock, in the order in which they end.
    pub threads: [JoinHandle<()>; 2],
    pub recovery: Recovery,
}

/// Opens a spool, as [`super::Spool::open`] describes.
pub(super) fn open(
    options: Options,
    fs: Arc<dyn Fs>,
    arrivals: UnboundedSender<Entry>,
) -> Result<OpenedSpool, OpenError> {
    let options = options.in_range();
    let paths = SpoolPaths::under(&options.directory);
    make_directories(&*fs, &paths)?;
    let presence = Presence::take(&*fs, &paths)?;
    let mut survey = recover::survey(&*fs, &paths)?;
    let made_before = survey.take_next_segment();
    let damaged = recover::tidy(&*fs, &paths, &mut survey)?;
    let mut recovery = Recovery {
        entries: survey.take_entries(),
        damaged,
        torn: survey.torn,
        relay_clock: survey.relay_clock,
        unclean: survey.spool.is_some() && !survey.clean,
    };
    let (previous, unused) = (survey.last, Unused::of(&survey));
    let shared = Arc::new(share(options, fs, paths, survey)?);
    recovery.damaged.extend(shared.standing.mend(&*shared.fs, &shared.paths));
    if !shared.standing.orders().is_empty() {
        shared.standing.make_room(&*shared.fs, &shared.paths);
    }
    if let Some(left) = made_before {
        shared.stock.take_over(left).map_err(|e| failed("clear", &shared.paths.segments, e))?;
    }
    shared.hold_segments();
    let (runs, stock_runs) = watch::channel(());
    let stock = spawn("spool-stock", &shared, move |shared| {
        // Dropped when the thread ends, by a panic even.
        let _runs = runs;
        shared.stock.work();
    })?;
    let (orders, received) = mpsc::channel(ORDERS);
    let writer = SpoolWriter::new(Arc::clone(&shared), arrivals, previous, presence);
    match start_writer(&shared, &unused, writer, received) {
        Ok(writer) => Ok(OpenedSpool { shared, orders, stock_runs, threads: [writer, stock], recovery }),
        Err(error) => {
            shared.stock.close();
            // The start has failed already; a panic there was reported.
            let _ = stock.join();
            Err(error)
        }
    }
}

/// The room that the segments of the runs before have behind their last records. Nothing is written there any more.
struct Unused {
    /// The number of each segment, with the number of its octets that are of use.
    used: Vec<(u32, u64)>,
}

impl Unused {
    fn of(survey: &Survey) -> Self {
        // Cut off where a batch is torn, it would look like damage.
        let segments = survey.figures.iter().filter(|figure| !figure.is_blank && figure.torn == 0);
        let used = segments.map(|figure| (figure.sequence, u64::from(figure.used.next_multiple_of(SECTOR))));
        Unused { used: used.collect() }
    }

    /// Gives most of it back on a disk with room: otherwise the cleaner would move all that lives, to free what was never
    /// used. What cannot be given back stays.
    fn shorten(&self, shared: &SharedSpool) {
        for (sequence, used) in &self.used {
            let size = shared.index().tally(*sequence).size;
            if let Some(shortened) = space::shortened_at_start(size, *used)
                && cut_off(shared, *sequence, shortened).is_ok()
            {
                shared.index().begin_segment(*sequence, shortened);
            }
        }
    }

    /// Gives it back to a full disk, one segment at each step, the newest first, and returns the number of octets of
    /// each step. What cannot be given back stays.
    fn give_back<'a>(&'a self, shared: &'a SharedSpool) -> impl Iterator<Item = u64> + 'a {
        self.used.iter().rev().filter_map(|(sequence, used)| {
            let given = cut_off(shared, *sequence, *used).ok().filter(|octets| *octets > 0)?;
            shared.index().begin_segment(*sequence, *used);
            Some(given)
        })
    }
}

/// Cuts a segment off behind the octets that are of use; returns the number of octets that were cut off.
fn cut_off(shared: &SharedSpool, sequence: u32, used: u64) -> io::Result<u64> {
    let file = shared.fs.open(&shared.paths.segment(sequence))?;
    let unused = file.length()?.saturating_sub(used);
    if unused > 0 {
        file.truncate(used)?;
        file.sync_data()?;
    }
    Ok(unused)
}

/// Begins the first segment, and the thread of the writer.
fn start_writer(
    shared: &Arc<SharedSpool>,
    unused: &Unused,
    mut writer: SpoolWriter,
    orders: Receiver<Order>,
) -> Result<JoinHandle<()>, OpenError> {
    // A segment that is dead already becomes the first one.
    writer.let_dead_segments_go();
    let stock = &shared.stock;
    let much_lives = stock.made().size > shared.options.first_segment;
    if much_lives {
        stock.reserve_next();
    }
    let mut begun = writer.begin_segment(SegmentSize::Whole);
    if begun == Ok(()) && much_lives {
        unused.shorten(shared);
    }
    let mut given_back = unused.give_back(shared);
    while begun == Err(CommitError::Full)
        && let Some(given) = given_back.next()
    {
        begun = writer.begin_segment(SegmentSize::Whole);
        if begun != Err(CommitError::Trouble) {
            stock.claim(given);
        }
    }
    if begun == Err(CommitError::Full) {
        begun = writer.begin_segment(SegmentSize::Any);
    }
    match begun {
        Ok(()) | Err(CommitError::Full) => spawn("spool-writer", shared, move |_| writer.run(orders)),
        Err(_) => {
            // A failure after the segment was made is in the log already.
            let why = shared.stock.take_trouble().unwrap_or_else(|| io::Error::other("the disk failed"));
            Err(failed("begin a segment in", &shared.paths.segments, why))
        }
    }
}

/// Makes what is missing of the spool's directories, durably.
pub(super) fn make_directories(fs: &dyn Fs, paths: &SpoolPaths) -> Result<(), OpenError> {
    for (path, mode) in paths.directories() {
        match fs.create_dir(path, mode) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => other.map_err(|e| failed("make", path, e))?,
        }
        match fs.list(path) {
            Err(e) if e.kind() == ErrorKind::NotADirectory => {
                return Err(OpenError::NotADirectory { path: path.into() });
            }
            // Mode 3733 of another owner's drop/ may not be listed; whoever reads it says so.
            Err(e) if path != paths.drop => return Err(failed("list", path, e)),
            _ => {}
        }
    }
    // They are synced even if they were there before: the start that made them may not have come to this.
    let parent = paths.root().parent().filter(|parent| !parent.as_os_str().is_empty());
    for directory in [paths.root()].into_iter().chain(parent) {
        match fs.sync_dir(directory) {
            // A parent that may be passed but not read was there before the spool was.
            Err(e) if Some(directory) == parent && e.kind() == ErrorKind::PermissionDenied => {}
            other => other.map_err(|e| failed("sync", directory, e))?,
        }
    }
    Ok(())
}

/// Returns the shared state of a spool that a survey has read.
pub(super) fn share(
    options: Options,
    fs: Arc<dyn Fs>,
    paths: SpoolPaths,
    survey: Survey,
) -> Result<SharedSpool, OpenError> {
    let spool = match survey.spool {
        Some(known) => known,
        None => SpoolId(fs.random().map_err(|e| failed("name", paths.root(), e))?),
    };
    let ids = QueueIds::above(QueueId::from_raw(survey.high_water));
    let (relay_clock, next_segment) = (survey.relay_clock, survey.highest + 1);
    Ok(SharedSpool::new(SpoolParts {
        fs,
        paths,
        options,
        spool,
        ids,
        relay_clock,
        index: survey.index,
        next_segment,
    }))
}

/// Begins a thread of this name.
fn spawn(
    name: &'static str,
    shared: &Arc<SharedSpool>,
    work: impl FnOnce(&SharedSpool) + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let root = shared.paths.root().to_owned();
    let shared = Arc::clone(shared);
    #[cfg(test)]
    let seat = shared.fs.turns().map(|turns| turns.seat());
    let spawned = thread::Builder::new().name(name.into()).spawn(move || {
        #[cfg(test)]
        let _seat = seat.map(crate::spool::fs::sim::Seat::take);
        work(&shared);
    });
    spawned.map_err(|e| failed("start a thread for", &root, e))
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io { operation, path: path.into(), source }
}
