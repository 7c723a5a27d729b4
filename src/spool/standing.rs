//! The file of the standing orders: `<spool>/standing-orders`, UTF-8, two lines: the orders as a JSON object, and the CRC32C
//! of that line, its end included, in eight hexadecimal digits.
//!
//! Promises
//! 1. An order is on stable storage when [`StandingFile::change`] has returned Ok, and has no effect before; a crash leaves
//!    the file as it was or as it is to be.
//! 2. After an error the orders are as before, in memory and on stable storage. If the disk does not let that be made sure, the
//!    error says so ([`OrdersUnwritten::is_doubtful`]), and in memory everything waits that waits by one or the other.
//! 3. A file that is damaged, or cannot be read, is never taken for one without orders: which mail was to wait is not known then,
//!    so delivery is paused ([`StandingOrders::unknown`]) until an operator has looked, and the start says so at ERROR
//!    ([`StandingFile::mend`]). A damaged file itself goes to `corrupt/`; a crash in between finds the damage again. One that cannot
//!    be read may be whole, so it is left alone, and nothing is written in its place before it could be read.
//! 4. On a full disk an order can still be lifted: room for the next orders, twice as long as these, lies ready beside the file
//!    (D14). It is taken behind each change, and at a start that finds orders, where the disk has it; what the file had before is free then.
//!
//! Not here: what an order means (`standing_orders.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crc32c::crc32c;
use jiff::Timestamp;

use super::fs::{Fs, read_full_at};
use super::lines::{make_spare, put_in_place, write_over_spare};
use super::paths::SpoolPaths;
use crate::standing_orders::{OrdersUnknown, StandingOrders};

/// A longer file was not written by nullmta.
const LARGEST: u64 = 8 << 20;

/// A file system gives out its room in blocks of so many octets, or fewer.
const BLOCK: usize = 4096;

/// The most damaged files that are kept under names for the same checksum.
const MOST_ALIKE: u32 = 100;

/// The standing orders, as they are in memory.
pub(super) struct StandingFile {
    orders: Mutex<Arc<StandingOrders>>,
    /// The number of messages that each rule has held since the start.
    held: Mutex<BTreeMap<u32, u64>>,
    /// What is wrong with the file, as long as nothing may be written in its place. Locked while the file is changed.
    fault: Mutex<Option<OrdersFault>>,
}

/// What is wrong with a file of standing orders.
#[derive(Clone)]
enum OrdersFault {
    /// It cannot be read now.
    Unread { why: String },
    /// It says nothing that may be believed; `sum` is that of its octets.
    Damaged { why: String, sum: u32 },
}

impl OrdersFault {
    fn cause(&self) -> OrdersUnknown {
        match self {
            OrdersFault::Unread { .. } => OrdersUnknown::Unread,
            OrdersFault::Damaged { .. } => OrdersUnknown::Damaged,
        }
    }
}

/// The reason why changed orders were not written.
#[derive(Debug)]
pub struct OrdersUnwritten {
    /// The error of the disk.
    pub why: io::Error,
    /// True if the next start may find the changed orders all the same.
    pub is_doubtful: bool,
}

impl From<io::Error> for OrdersUnwritten {
    fn from(why: io::Error) -> Self {
        OrdersUnwritten { why, is_doubtful: false }
    }
}

impl fmt::Display for OrdersUnwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_doubtful {
            false => f.write_str("the order cannot be kept over a restart, so it is not in force"),
            true => f.write_str(
                "the disk failed in the middle, so it is not known which orders the next start will find; until then, what \
                 waits by the orders before or after this one waits; mend the disk, and give the order again",
            ),
        }?;
        write!(f, ": {}", self.why)
    }
}

impl std::error::Error for OrdersUnwritten {}

impl StandingFile {
    /// Reads the orders.
    pub fn read(fs: &dyn Fs, paths: &SpoolPaths) -> StandingFile {
        let (orders, fault) = match read(fs, paths) {
            Ok(orders) => (orders, None),
            Err(fault) => (StandingOrders::unknown(fault.cause(), Timestamp::now()), Some(fault)),
        };
        StandingFile {
            orders: Mutex::new(Arc::new(orders)),
            held: Mutex::default(),
            fault: Mutex::new(fault),
        }
    }

    /// Takes room on the disk for the next orders, where there is some. This blocks.
    pub fn make_room(&self, fs: &dyn Fs, paths: &SpoolPaths) {
        let length = serde_json::to_string(&*self.orders()).map_or(0, |line| line.len());
        // Without it, a full disk takes no orders.
        let _ = make_spare(fs, &paths.standing_orders, (2 * length).next_multiple_of(BLOCK).max(2 * BLOCK));
    }

    /// Keeps a damaged file, and writes the orders that stand in its place. Returns the lines that report what was wrong. This
    /// blocks.
    pub fn mend(&self, fs: &dyn Fs, paths: &SpoolPaths) -> Vec<String> {
        let mut fault = locked(&self.fault);
        let said = match fault.clone() {
            None => return Vec::new(),
            Some(OrdersFault::Unread { why }) => format!("cannot be read: {why}; it stays as it is"),
            Some(OrdersFault::Damaged { why, sum }) => {
                let kept = match self.replace(fs, paths, sum, &mut fault) {
                    Ok(kept) => format!("it is now {kept}"),
                    Err(error) => format!("it could not be replaced: {error}"),
                };
                format!("is not to be believed: {why}; {kept}")
            }
        };
        vec![format!(
            "the file of hold rules and pauses, {}, {said}; which mail was to wait is not known, so delivery is paused: see \
             nullmta status",
            paths.standing_orders.display()
        )]
    }

    /// Keeps a damaged file of this sum, and writes the orders that are in force in its place. Returns where it is kept.
    fn replace(
        &self,
        fs: &dyn Fs,
        paths: &SpoolPaths,
        sum: u32,
        fault: &mut Option<OrdersFault>,
    ) -> io::Result<String> {
        let kept = keep(fs, paths, sum)?;
        *fault = None;
        self.write(fs, paths, (*self.orders()).clone()).map_err(|unwritten| unwritten.why)?;
        Ok(kept)
    }

    /// Returns the orders.
    pub fn orders(&self) -> Arc<StandingOrders> {
        Arc::clone(&locked(&self.orders))
    }

    /// Changes the orders, and writes them. This blocks.
    pub fn change<T>(
        &self,
        fs: &dyn Fs,
        paths: &SpoolPaths,
        change: impl FnOnce(&mut StandingOrders) -> T,
    ) -> Result<T, OrdersUnwritten> {
        let mut fault = locked(&self.fault);
        if fault.is_some() {
            self.save_what_is_there(fs, paths)?;
            *fault = None;
        }
        let mut orders = (*self.orders()).clone();
        let changed = change(&mut orders);
        self.write(fs, paths, orders)?;
        Ok(changed)
    }

    /// Reads the file again that was at fault: whole orders hold from now on, beside those in force; damaged ones are kept.
    fn save_what_is_there(&self, fs: &dyn Fs, paths: &SpoolPaths) -> io::Result<()> {
        match read(fs, paths) {
            Ok(found) => {
                let mut orders = locked(&self.orders);
                *orders = Arc::new(orders.with_all_of(&found));
                Ok(())
            }
            Err(OrdersFault::Damaged { sum, .. }) => keep(fs, paths, sum).map(drop),
            Err(OrdersFault::Unread { why }) => Err(io::Error::other(format!(
                "{} cannot be read, and is not written over, since it may say which mail is to wait; mend that, or move it \
                 away: {why}",
                paths.standing_orders.display()
            ))),
        }
    }

    /// Writes these orders, and puts them into force.
    fn write(&self, fs: &dyn Fs, paths: &SpoolPaths, orders: StandingOrders) -> Result<(), OrdersUnwritten> {
        let part = write_orders(fs, paths, &orders)?;
        let placed = put_in_place(fs, paths, &part, &paths.standing_orders);
        let Err(why) = placed else {
            *locked(&self.orders) = Arc::new(orders);
            self.make_room(fs, paths);
            return Ok(());
        };
        let before = self.orders();
        let back = write_orders(fs, paths, &before)
            .and_then(|part| put_in_place(fs, paths, &part, &paths.standing_orders));
        let is_doubtful = back.is_err();
        if is_doubtful {
            *locked(&self.orders) = Arc::new(before.with_all_of(&orders));
        }
        Err(OrdersUnwritten { why, is_doubtful })
    }

    /// Counts a message that the rule of this number has held.
    pub fn count_held(&self, rule: u32) {
        *locked(&self.held).entry(rule).or_default() += 1;
    }

    /// Returns the number of messages that the rule of this number has held since the start.
    pub fn held_by(&self, rule: u32) -> u64 {
        locked(&self.held).get(&rule).copied().unwrap_or_default()
    }
}

/// Writes these orders beside the file. Returns where.
fn write_orders(fs: &dyn Fs, paths: &SpoolPaths, orders: &StandingOrders) -> io::Result<PathBuf> {
    let line = serde_json::to_string(orders)?;
    let sum = sum_of(&line);
    write_over_spare(fs, &paths.standing_orders, [&*line, &*sum].into_iter())
}

fn read(fs: &dyn Fs, paths: &SpoolPaths) -> Result<StandingOrders, OrdersFault> {
    let octets = match read_octets(fs, paths) {
        Ok(octets) => octets,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(StandingOrders::default()),
        Err(error) => return Err(OrdersFault::Unread { why: error.to_string() }),
    };
    parse(&octets).map_err(|why| OrdersFault::Damaged { why, sum: crc32c(&octets) })
}

fn read_octets(fs: &dyn Fs, paths: &SpoolPaths) -> io::Result<Vec<u8>> {
    let file = fs.open(&paths.standing_orders)?;
    let mut octets = vec![0; file.length()?.min(LARGEST) as usize];
    let read = read_full_at(&*file, &mut octets, 0)?;
    octets.truncate(read);
    Ok(octets)
}

fn parse(octets: &[u8]) -> Result<StandingOrders, String> {
    let lines = str::from_utf8(octets).ok().and_then(|text| text.strip_suffix('\n')?.split_once('\n'));
    let (line, sum) = lines.ok_or("it is not two lines of text")?;
    if sum != sum_of(line) {
        return Err("its checksum does not fit".into());
    }
    serde_json::from_str(line).map_err(|error| format!("it is of another version: {error}"))
}

fn sum_of(line: &str) -> String {
    format!("{:08X}", crc32c(format!("{line}\n").as_bytes()))
}

/// Gives a damaged file of this sum a name in `corrupt/`, which it has before anything takes its place. Returns the name.
fn keep(fs: &dyn Fs, paths: &SpoolPaths, sum: u32) -> io::Result<String> {
    let damaged = fs.facts(&paths.standing_orders)?;
    for number in 1..=MOST_ALIKE {
        let name = if number == 1 {
            format!("standing-orders-{sum:08X}")
        } else {
            format!("standing-orders-{sum:08X}-{number}")
        };
        let kept = paths.corrupt.join(name);
        match fs.link_to_new(&paths.standing_orders, &kept) {
            // A start before this one has kept this file, and did not come to replace it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if fs.facts(&kept)?.inode != damaged.inode {
                    continue;
                }
            }
            linked => linked?,
        }
        fs.sync_dir(&paths.corrupt)?;
        return Ok(kept.display().to_string());
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Locks a mutex: for a look-up or a change in memory that cannot panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::super::fs::sim::{DiskFault, SimFs};
    use super::super::fs::write_all_at;
    use super::super::lines::write_lines;
    use super::*;
    use crate::standing_orders::{HoldConditions, OrderTerms};

    fn with_one_rule() -> (SimFs, SpoolPaths, StandingFile) {
        let (fs, paths) = (SimFs::new(), SpoolPaths::under(Path::new("/spool")));
        for directory in [paths.root(), &paths.corrupt] {
            fs.create_dir(directory, 0o711).unwrap();
        }
        fs.sync_dir(Path::new("/")).unwrap();
        fs.sync_dir(paths.root()).unwrap();
        let file = StandingFile::read(&fs, &paths);
        assert_eq!(rules(&file), Vec::<u32>::new());
        add(&file, &fs, &paths).unwrap();
        (fs, paths, file)
    }

    fn add(file: &StandingFile, fs: &SimFs, paths: &SpoolPaths) -> Result<(), OrdersUnwritten> {
        let conditions = HoldConditions { uid: vec![33], ..HoldConditions::default() };
        let terms =
            OrderTerms { by: "uid 0 (root)".into(), since: Timestamp::UNIX_EPOCH, until: None, reason: None };
        file.change(fs, paths, |orders| drop(orders.add_rule(conditions, terms).unwrap()))
    }

    fn rules(file: &StandingFile) -> Vec<u32> {
        file.orders().rules(Timestamp::UNIX_EPOCH).map(|rule| rule.number).collect()
    }

    /// D13: whatever a crash leaves, the orders are those before or those after.
    #[test]
    fn a_crash_leaves_the_orders_before_or_the_orders_after() {
        let (fs, paths, file) = with_one_rule();
        let images = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&images);
        fs.watch(move |disk| list.lock().unwrap().extend((0..8).map(|seed| disk.image(seed))));
        add(&file, &fs, &paths).unwrap();
        fs.unwatch();
        let during = std::mem::take(&mut *images.lock().unwrap());
        assert!(during.len() >= 5 * 8, "{}", during.len());
        for image in during {
            let found = rules(&StandingFile::read(&image, &paths));
            assert!(found == [1] || found == [1, 2], "{found:?}");
        }
        for seed in 0..8 {
            assert_eq!(rules(&StandingFile::read(&fs.image(seed), &paths)), [1, 2]);
        }
    }

    /// Promise 2: a restart finds the orders as before, also where the disk fails once the name was changed.
    #[test]
    fn a_call_that_fails_leaves_the_orders_as_they_were() {
        for call in 1.. {
            let (fs, paths, file) = with_one_rule();
            fs.set_fault(Some(DiskFault { call, error: ErrorKind::StorageFull, for_ever: false }));
            let added = add(&file, &fs, &paths);
            fs.set_fault(None);
            let Err(error) = added else {
                assert!(call > 5, "{call}");
                break;
            };
            assert!(!error.is_doubtful, "{call}");
            assert_eq!(rules(&file), [1], "{call}");
            for seed in 0..64 {
                assert_eq!(rules(&StandingFile::read(&fs.image(seed), &paths)), [1], "{call} {seed}");
            }
            add(&file, &fs, &paths).unwrap();
            assert_eq!(rules(&StandingFile::read(&fs.image(1), &paths)), [1, 2], "{call}");
        }
    }

    /// Promise 4: a pause on a full disk could not be lifted, so that nothing was sent which would have made room.
    #[test]
    fn on_a_full_disk_an_order_is_lifted_and_given() {
        let (fs, paths, file) = with_one_rule();
        (0..40).for_each(|_| add(&file, &fs, &paths).unwrap());
        fs.set_capacity(Some(fs.used()));
        for number in 1..41 {
            file.change(&fs, &paths, |orders| drop(orders.lift_rule(number))).unwrap();
            assert_eq!(rules(&StandingFile::read(&fs.image(1), &paths)).len(), 41 - number as usize);
        }
        add(&file, &fs, &paths).unwrap();
        fs.set_capacity(None);
    }

    /// Promise 2: of an order that was not lifted, and one that was not given, each waits or is said to be in doubt.
    #[test]
    fn a_disk_that_fails_for_ever_leaves_the_stricter_orders_and_says_which_are_in_doubt() {
        let mut doubtful = 0;
        for call in 1.. {
            for is_lifted in [true, false] {
                let (fs, paths, file) = with_one_rule();
                fs.set_fault(Some(DiskFault { call, error: ErrorKind::Other, for_ever: true }));
                let changed = match is_lifted {
                    true => file.change(&fs, &paths, |orders| drop(orders.lift_rule(1))),
                    false => add(&file, &fs, &paths),
                };
                fs.set_fault(None);
                let Err(error) = changed else {
                    assert!(doubtful > 0, "{call}");
                    return;
                };
                doubtful += u32::from(error.is_doubtful);
                assert!(rules(&file).contains(&1), "{call}");
                let is_as_before = |seed| rules(&StandingFile::read(&fs.image(seed), &paths)) == [1];
                assert!(error.is_doubtful || (0..64).all(is_as_before), "{call}");
                assert!(error.is_doubtful || rules(&file) == [1], "{call}");
                file.change(&fs, &paths, |_| ()).unwrap();
                for seed in 0..8 {
                    assert_eq!(rules(&StandingFile::read(&fs.image(seed), &paths)), rules(&file), "{call}");
                }
            }
        }
    }

    /// Promise 3: a disk that does not answer at the start costs no order.
    #[test]
    fn what_could_not_be_read_at_the_start_is_left_alone_and_holds_when_it_can_be_read() {
        let (fs, paths, _) = with_one_rule();
        let whole = fs.content(&paths.standing_orders).unwrap();
        for call in 0..2 {
            fs.set_fault(Some(DiskFault { call, error: ErrorKind::Other, for_ever: true }));
            let file = StandingFile::read(&fs, &paths);
            assert!(pauses_all(&file));
            assert!(
                file.change(&fs, &paths, |_| ()).unwrap_err().to_string().contains("is not written over")
            );
            fs.set_fault(None);
            let reports = file.mend(&fs, &paths);
            assert!(reports[0].contains("it stays as it is"), "{reports:?}");
            assert_eq!(fs.content(&paths.standing_orders).unwrap(), whole);
            assert_eq!((fs.names(&paths.corrupt).unwrap().count(), rules(&file)), (0, Vec::new()));
            assert_eq!(rules(&StandingFile::read(&fs, &paths)), [1], "the next start finds it");
            file.change(&fs, &paths, |_| ()).unwrap();
            assert!(pauses_all(&file) && rules(&file) == [1], "the pause ends by an order alone");
            fs.damage(&paths.standing_orders, |octets| *octets = whole.clone());
        }
    }

    /// Promise 3: nothing is forgotten of a damaged file before it is kept.
    #[test]
    fn a_damaged_file_is_kept_before_an_order_is_written_over_it() {
        for call in 0.. {
            let (fs, paths, _) = with_one_rule();
            fs.damage(&paths.standing_orders, |octets| octets[5] ^= 1);
            let damaged = fs.content(&paths.standing_orders).unwrap();
            let file = StandingFile::read(&fs, &paths);
            fs.set_fault(Some(DiskFault { call, error: ErrorKind::StorageFull, for_ever: false }));
            let reports = file.mend(&fs, &paths);
            fs.set_fault(None);
            add(&file, &fs, &paths).unwrap();
            assert!(pauses_all(&file));
            let after = fs.image(0);
            let kept: Vec<_> = after.list(&paths.corrupt).unwrap();
            assert_eq!(kept.len(), 1, "{call}");
            assert_eq!(after.content(&paths.corrupt.join(&kept[0])).unwrap(), damaged, "{call}");
            if reports[0].contains("it is now") {
                assert!(call > 5, "{call}");
                break;
            }
        }
    }

    /// Promise 3: every single octet that is wrong is noticed, and a crash at any moment of mending loses nothing.
    #[test]
    fn damage_is_never_taken_for_the_absence_of_orders() {
        let (fs, paths, _) = with_one_rule();
        let whole = fs.content(&paths.standing_orders).unwrap();
        for at in 0..whole.len() {
            let file = fs.open(&paths.standing_orders).unwrap();
            write_all_at(&*file, &[whole[at] ^ 1], at as u64).unwrap();
            file.sync_data().unwrap();
            let images = Arc::new(Mutex::new(Vec::new()));
            let list = Arc::clone(&images);
            fs.watch(move |disk| list.lock().unwrap().extend((0..2).map(|seed| disk.image(seed))));
            let damaged = StandingFile::read(&fs, &paths);
            assert!(pauses_all(&damaged), "{at}");
            let reports = damaged.mend(&fs, &paths);
            fs.unwatch();
            assert!(reports[0].contains("it is now /spool/corrupt/standing-orders-"), "{reports:?}");
            for image in std::mem::take(&mut *images.lock().unwrap()) {
                assert!(pauses_all(&StandingFile::read(&image, &paths)), "{at}");
            }
            let next = StandingFile::read(&fs.image(at as u64), &paths);
            assert!(pauses_all(&next) && next.mend(&fs, &paths).is_empty(), "said once");
            write_lines(&fs, &paths, &paths.standing_orders, str::from_utf8(&whole).unwrap().lines())
                .unwrap();
        }
    }

    #[test]
    fn what_cannot_be_read_or_replaced_pauses_delivery_too() {
        let directory = tempfile::tempdir().unwrap();
        let paths = SpoolPaths::under(directory.path());
        std::fs::create_dir(&paths.standing_orders).unwrap();
        let file = StandingFile::read(&super::super::fs::RealFs, &paths);
        assert!(pauses_all(&file));
        let reports = file.mend(&super::super::fs::RealFs, &paths);
        assert!(reports[0].contains("it stays as it is"), "{reports:?}");
        assert!(pauses_all(&file));
    }

    fn pauses_all(file: &StandingFile) -> bool {
        file.orders().delivery_pause(Timestamp::now()).is_some()
    }
}
