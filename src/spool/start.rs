//! Opens a spool: directories, lock, recovery, a fresh segment, the two threads.
//!
//! The order matters. Nothing is read before the lock is held; nothing is written before the whole log has
//! been read; the first segment is begun before anybody can commit. A full disk is no reason not to
//! start: a small segment is begun then, in the room that the last one did not use, so that what is queued is
//! delivered; what is submitted is refused until there is room.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedSender};

use super::entry::{CommitError, Entry, OpenError, Options, Recovery};
use super::format::{Previous, SECTOR, SpoolId};
use super::fs::Fs;
use super::place::Places;
use super::recover::{self, Survey};
use super::request::Order;
use super::shared::{Shared, Start};
use super::stock::Size;
use super::writer::Writer;
use crate::queue_id::{QueueId, QueueIds};

/// Orders that may wait for the writer; who sends more waits for room.
const ORDERS: usize = 1024;

/// An open spool.
pub(super) struct Opened {
    pub shared: Arc<Shared>,
    pub orders: Sender<Order>,
    /// The writer's and the stock's, in the order in which they end.
    pub threads: [JoinHandle<()>; 2],
    pub recovery: Recovery,
}

/// See [`super::Spool::open`].
pub(super) fn open(
    options: Options,
    fs: Arc<dyn Fs>,
    arrivals: UnboundedSender<Entry>,
) -> Result<Opened, OpenError> {
    let options = options.in_range();
    let places = Places::under(&options.directory);
    make_directories(&*fs, &places)?;
    let lock = take_lock(&*fs, &places)?;
    let mut survey = recover::survey(&*fs, &places)?;
    let damaged = recover::tidy(&*fs, &places, &mut survey)?;
    let recovery = Recovery {
        entries: survey.take_entries(),
        damaged,
        torn: survey.torn,
        relay_clock: survey.relay_clock,
        unclean: survey.spool.is_some() && !survey.clean,
    };
    let previous = survey.last;
    let shared = Arc::new(share(options, fs, places, survey)?);
    let stock = spawn("spool-stock", &shared, |shared| shared.stock.work())?;
    let (orders, received) = mpsc::channel(ORDERS);
    let writer = Writer::new(Arc::clone(&shared), arrivals, previous, lock);
    match start_writer(&shared, previous, writer, received) {
        Ok(writer) => Ok(Opened { shared, orders, threads: [writer, stock], recovery }),
        Err(error) => {
            shared.stock.close();
            // The start has failed already; a panic there was reported.
            let _ = stock.join();
            Err(error)
        }
    }
}

/// On a full disk, gives back what the last segment has behind its last record: nothing is written there any more.
/// `None` when there is nothing, or it cannot be done.
fn give_back(shared: &Shared, last: Option<Previous>) -> Option<()> {
    let last = last?;
    let end = u64::from(last.end.next_multiple_of(SECTOR));
    let file = shared.fs.open(&shared.places.segment(last.sequence)).ok()?;
    if file.length().ok()? <= end {
        return None;
    }
    file.truncate(end).and_then(|()| file.sync_data()).ok()?;
    shared.index().begin_segment(last.sequence, end);
    Some(())
}

fn start_writer(
    shared: &Arc<Shared>,
    previous: Option<Previous>,
    mut writer: Writer,
    orders: Receiver<Order>,
) -> Result<JoinHandle<()>, OpenError> {
    let mut begun = writer.begin_segment(Size::Any);
    if begun == Err(CommitError::Full) && give_back(shared, previous).is_some() {
        begun = writer.begin_segment(Size::Any);
    }
    match begun {
        Ok(()) | Err(CommitError::Full) => spawn("spool-writer", shared, move |_| writer.run(orders)),
        Err(_) => {
            let kind = shared.stock.trouble().unwrap_or(ErrorKind::Other);
            Err(failed("begin a segment in", &shared.places.log, kind.into()))
        }
    }
}

fn make_directories(fs: &dyn Fs, places: &Places) -> Result<(), OpenError> {
    for (path, mode) in places.directories() {
        match fs.create_dir(path, mode) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => other.map_err(|e| failed("make", path, e))?,
        }
        match fs.list(path) {
            Err(e) if e.kind() == ErrorKind::NotADirectory => {
                return Err(OpenError::NotADirectory { path: path.into() });
            }
            // Mode 3733 of another owner's drop/ may not be listed; whoever reads it says so.
            Err(e) if path != places.drop => return Err(failed("list", path, e)),
            _ => {}
        }
    }
    // Also when they were there before: the start that made them may not have come to this.
    let parent = places.root().parent().filter(|parent| !parent.as_os_str().is_empty());
    for directory in [places.root()].into_iter().chain(parent) {
        match fs.sync_dir(directory) {
            // A parent that may be passed but not read was there before the spool was.
            Err(e) if Some(directory) == parent && e.kind() == ErrorKind::PermissionDenied => {}
            other => other.map_err(|e| failed("sync", directory, e))?,
        }
    }
    Ok(())
}

fn take_lock(fs: &dyn Fs, places: &Places) -> Result<Box<dyn Send>, OpenError> {
    fs.lock(&places.lock).map_err(|e| match e.kind() {
        ErrorKind::WouldBlock => OpenError::Locked { path: places.lock.clone() },
        _ => failed("lock", &places.lock, e),
    })
}

/// A spool as the survey found it.
pub(super) fn share(
    options: Options,
    fs: Arc<dyn Fs>,
    places: Places,
    survey: Survey,
) -> Result<Shared, OpenError> {
    let spool = match survey.spool {
        Some(known) => known,
        None => SpoolId(fs.random().map_err(|e| failed("name", places.root(), e))?),
    };
    let ids = QueueIds::above(QueueId::from_raw(survey.high_water));
    let (relay_clock, next_segment) = (survey.relay_clock, survey.highest + 1);
    Ok(Shared::new(Start { fs, places, options, spool, ids, relay_clock, index: survey.index, next_segment }))
}

fn spawn(
    name: &'static str,
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let root = shared.places.root().to_owned();
    let shared = Arc::clone(shared);
    let spawned = thread::Builder::new().name(name.into()).spawn(move || work(&shared));
    spawned.map_err(|e| failed("start a thread for", &root, e))
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io { operation, path: path.into(), source }
}
