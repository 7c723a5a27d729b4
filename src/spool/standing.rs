//! The file of the standing orders: `<spool>/standing-orders`, UTF-8, two lines: the orders as a JSON object, and the CRC32C
//! of that line, its end included, in eight hexadecimal digits.
//!
//! Promises
//! 1. An order is on stable storage when [`StandingFile::change`] has returned Ok, and has no effect before; a crash leaves
//!    the file as it was or as it is to be.
//! 2. A file that is damaged, or cannot be read, is never taken for one without orders: which mail was to wait is not known then,
//!    so delivery is paused ([`StandingOrders::unknown`]) until an operator has looked. The damaged octets are copied to
//!    `corrupt/`, and the start says so at ERROR ([`StandingFile::mend`]). A crash in between finds the damage again.
//!
//! Not here: what an order means (`standing_orders.rs`).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crc32c::crc32c;
use jiff::Timestamp;

use super::fs::{Fs, read_full_at, write_all_at};
use super::lines::write_lines;
use super::paths::SpoolPaths;
use crate::standing_orders::StandingOrders;

/// A longer file was not written by nullmta.
const LARGEST: u64 = 8 << 20;

/// The standing orders, as they are in memory.
pub(super) struct StandingFile {
    orders: Mutex<Arc<StandingOrders>>,
    /// The number of messages that each rule has held since the start.
    held: Mutex<BTreeMap<u32, u64>>,
    /// Held while the file is changed.
    changing: Mutex<()>,
    /// What is wrong with the file that was found, and the octets of it that could be read.
    damage: Mutex<Option<DamagedOrders>>,
}

/// A file of standing orders that is none.
struct DamagedOrders {
    why: String,
    octets: Vec<u8>,
}

impl StandingFile {
    /// Reads the orders.
    pub fn read(fs: &dyn Fs, paths: &SpoolPaths) -> StandingFile {
        let (orders, damage) = match read(fs, paths) {
            Ok(orders) => (orders, None),
            Err(damage) => (StandingOrders::unknown(Timestamp::now()), Some(damage)),
        };
        StandingFile {
            orders: Mutex::new(Arc::new(orders)),
            held: Mutex::default(),
            changing: Mutex::default(),
            damage: Mutex::new(damage),
        }
    }

    /// Keeps a copy of a damaged file, and writes the orders that stand in its place. Returns the lines that report it. This
    /// blocks.
    pub fn mend(&self, fs: &dyn Fs, paths: &SpoolPaths) -> Vec<String> {
        let Some(DamagedOrders { why, octets }) = locked(&self.damage).take() else { return Vec::new() };
        let mended = keep(fs, paths, &octets).and_then(|copy| {
            self.change(fs, paths, |_| ())?;
            Ok(copy)
        });
        let kept = match mended {
            Ok(copy) => format!("it is now {copy}"),
            Err(error) => format!("it could not be replaced: {error}"),
        };
        vec![format!(
            "the file of hold rules and pauses, {}, is not to be believed: {why}; {kept}; which mail was to wait is not known, \
             so delivery is paused: see nullmta status",
            paths.standing_orders.display()
        )]
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
    ) -> io::Result<T> {
        let _changing = locked(&self.changing);
        let mut orders = (*self.orders()).clone();
        let changed = change(&mut orders);
        let line = serde_json::to_string(&orders)?;
        let sum = sum_of(&line);
        write_lines(fs, paths, &paths.standing_orders, [&*line, &*sum].into_iter())?;
        *locked(&self.orders) = Arc::new(orders);
        Ok(changed)
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

fn read(fs: &dyn Fs, paths: &SpoolPaths) -> Result<StandingOrders, DamagedOrders> {
    let octets = match read_octets(fs, paths) {
        Ok(octets) => octets,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(StandingOrders::default()),
        Err(error) => return Err(DamagedOrders { why: error.to_string(), octets: Vec::new() }),
    };
    parse(&octets).map_err(|why| DamagedOrders { why, octets })
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

/// Copies what a damaged file holds to `corrupt/`. Returns the path of the copy.
fn keep(fs: &dyn Fs, paths: &SpoolPaths, octets: &[u8]) -> io::Result<String> {
    let copy = paths.corrupt.join(format!("standing-orders-{:08X}", crc32c(octets)));
    match fs.create(&copy) {
        // A start before this one has kept it, or was about to: what it wrote may not be whole.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs.open(&copy),
        other => other,
    }
    .and_then(|file| {
        write_all_at(&*file, octets, 0)?;
        file.sync_data()
    })?;
    fs.sync_dir(&paths.corrupt)?;
    Ok(copy.display().to_string())
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

    fn add(file: &StandingFile, fs: &SimFs, paths: &SpoolPaths) -> io::Result<()> {
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

    /// Promise 1: what is not on the disk has no effect, since a restart would end it.
    #[test]
    fn a_call_that_fails_leaves_the_orders_as_they_were() {
        for call in 1.. {
            let (fs, paths, file) = with_one_rule();
            fs.set_fault(Some(DiskFault { call, error: ErrorKind::StorageFull, for_ever: false }));
            let added = add(&file, &fs, &paths);
            fs.set_fault(None);
            if added.is_ok() {
                assert!(call > 5, "{call}");
                break;
            }
            assert_eq!(rules(&file), [1], "{call}");
            add(&file, &fs, &paths).unwrap();
            assert_eq!(rules(&StandingFile::read(&fs.image(1), &paths)), [1, 2], "{call}");
        }
    }

    /// Promise 2: every single octet that is wrong is noticed, and a crash at any moment of mending loses nothing.
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
        assert!(reports[0].contains("it could not be replaced"), "{reports:?}");
        assert!(pauses_all(&file));
    }

    fn pauses_all(file: &StandingFile) -> bool {
        file.orders().delivery_pause(Timestamp::now()).is_some()
    }
}
