//! The list of the relays that have ever taken a message: `<spool>/relays`, UTF-8, one name a line.
//!
//! Promises: a name is on stable storage when [`KnownRelays::add`] has returned Ok; a crash leaves the file as it was or
//! as it is to be. A file that is missing or cannot be read says that no relay has taken a message, which costs
//! no more than care that would not be needed any more (`queue/refusals.rs`).
//!
//! Not here: what a name is made of, and what follows from it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fs::Fs;
use super::lines::{on_one_line, read_lines, write_lines};
use super::paths::SpoolPaths;

/// The list, as it is in memory.
pub(super) struct KnownRelays(Mutex<BTreeSet<String>>);

impl KnownRelays {
    /// Reads the list.
    pub fn read(fs: &dyn Fs, paths: &SpoolPaths) -> KnownRelays {
        KnownRelays(Mutex::new(read_lines(fs, &paths.relays).into_iter().collect()))
    }

    /// Returns whether the relay of that name has taken a message.
    pub fn contain(&self, name: &str) -> bool {
        self.names().contains(&on_one_line(name))
    }

    /// Adds a relay to the list, and writes it. This blocks.
    pub fn add(&self, fs: &dyn Fs, paths: &SpoolPaths, name: &str) -> io::Result<()> {
        let mut names = self.names().clone();
        if names.insert(on_one_line(name)) {
            write_lines(fs, paths, &paths.relays, names.iter().map(String::as_str))?;
            *self.names() = names;
        }
        Ok(())
    }

    /// Locks the names: for a look-up or a change, never across a disk call.
    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;
    use std::sync::Arc;

    use super::super::fs::RealFs;
    use super::super::fs::sim::{DiskFault, SimFs};
    use super::*;

    #[test]
    fn a_relay_is_remembered_by_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let paths = SpoolPaths::under(directory.path());
        let relays = KnownRelays::read(&RealFs, &paths);
        assert!(!relays.contain("mx.example:587 as \"app\""));
        std::fs::write(directory.path().join("relays.part"), "left by a crash").unwrap();
        for name in
            ["mx.example:587 as \"app\"", "mx.example:587 as \"two\nlines\"", "mx.example:587 as \"app\""]
        {
            relays.add(&RealFs, &paths, name).unwrap();
        }
        let next = KnownRelays::read(&RealFs, &paths);
        for relays in [&relays, &next] {
            assert!(relays.contain("mx.example:587 as \"app\""));
            assert!(relays.contain("mx.example:587 as \"two\nlines\""));
            assert!(!relays.contain("mx.example:587"));
        }
        assert_eq!(std::fs::read_to_string(directory.path().join("relays")).unwrap().lines().count(), 2);
        assert!(!directory.path().join("relays.part").exists());
    }

    fn with_one_relay() -> (SimFs, SpoolPaths, KnownRelays) {
        let (fs, paths) = (SimFs::new(), SpoolPaths::under(Path::new("/spool")));
        fs.create_dir(paths.root(), 0o711).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        let relays = KnownRelays::read(&fs, &paths);
        relays.add(&fs, &paths, "one").unwrap();
        (fs, paths, relays)
    }

    /// D11: whatever a crash leaves, what was there before is there; what was added is when `add` has said so.
    #[test]
    fn a_crash_leaves_the_list_before_or_the_list_after() {
        let (fs, paths, relays) = with_one_relay();
        let images = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&images);
        fs.watch(move |disk| list.lock().unwrap().extend((0..8).map(|seed| disk.image(seed))));
        relays.add(&fs, &paths, "two").unwrap();
        fs.unwatch();
        let during = std::mem::take(&mut *images.lock().unwrap());
        assert!(during.len() >= 5 * 8, "{}", during.len());
        for image in during {
            let relays = KnownRelays::read(&image, &paths);
            assert!(relays.contain("one"));
            relays.add(&image, &paths, "three").unwrap();
        }
        for seed in 0..8 {
            assert!(KnownRelays::read(&fs.image(seed), &paths).contain("two"));
        }
    }

    #[test]
    fn a_call_that_fails_costs_no_more_than_the_new_name() {
        for call in 1.. {
            let (fs, paths, relays) = with_one_relay();
            fs.set_fault(Some(DiskFault { call, error: ErrorKind::StorageFull, for_ever: false }));
            let added = relays.add(&fs, &paths, "two");
            fs.set_fault(None);
            assert!(KnownRelays::read(&fs, &paths).contain("one"), "{call}");
            if added.is_ok() {
                assert!(call > 5, "{call}");
                break;
            }
            relays.add(&fs, &paths, "two").unwrap();
            assert!(KnownRelays::read(&fs.image(1), &paths).contain("two"), "{call}");
        }
    }

    #[test]
    fn a_file_that_is_none_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("relays")).unwrap();
        assert!(!KnownRelays::read(&RealFs, &SpoolPaths::under(directory.path())).contain("mx.example"));
    }
}
