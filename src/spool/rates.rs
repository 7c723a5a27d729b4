//! The notes of how much of each relay's rates and of each `[[limit]]` is used, and until when a relay is paused:
//! `<spool>/rates`, UTF-8, one relay or limit a line, its note before its name.
//!
//! Promises: a note is known to this run at once ([`RateNotes::set`]), and on stable storage when [`RateNotes::write`]
//! has returned Ok; a crash leaves the file as it was or as it is to be. Of two calls at a time, neither writes older
//! notes over newer ones. A file that is missing or cannot be read has no notes: mail goes on, and what was used before
//! counts once more; a pause costs one try.
//!
//! Not here: what a note says (`queue/rate.rs`, `queue/noted_pause.rs`, `listener/client_limits.rs`).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fs::Fs;
use super::lines::{on_one_line, read_lines, write_lines};
use super::paths::SpoolPaths;

/// The notes, as they are in memory.
pub(super) struct RateNotes {
    of: Mutex<BTreeMap<String, String>>,
    /// Held while the file is written.
    writing: Mutex<()>,
}

impl RateNotes {
    /// Reads the notes.
    pub fn read(fs: &dyn Fs, paths: &SpoolPaths) -> RateNotes {
        let lines = read_lines(fs, &paths.rates);
        let notes = lines.iter().filter_map(|line| line.split_once('\t'));
        let of = notes.map(|(note, name)| (name.to_owned(), note.to_owned())).collect();
        RateNotes { of: Mutex::new(of), writing: Mutex::new(()) }
    }

    /// Returns the note about the relay of that name; an empty one if there is none.
    pub fn about(&self, name: &str) -> String {
        self.notes().get(&on_one_line(name)).cloned().unwrap_or_default()
    }

    /// Replaces the note under that name, in memory. An empty one is forgotten.
    pub fn set(&self, name: &str, note: &str) {
        let (name, note) = (on_one_line(name), on_one_line(note));
        let mut notes = self.notes();
        if note.is_empty() { drop(notes.remove(&name)) } else { drop(notes.insert(name, note)) }
    }

    /// Writes all notes. This blocks.
    pub fn write(&self, fs: &dyn Fs, paths: &SpoolPaths) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = self.notes().iter().map(|(name, note)| format!("{note}\t{name}")).collect();
        write_lines(fs, paths, &paths.rates, lines.iter().map(String::as_str))
    }

    /// Locks the notes: for a look-up or a change, never across a disk call.
    fn notes(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;
    use std::sync::Arc;

    use super::super::fs::sim::{DiskFault, SimFs};
    use super::*;

    fn with_one_note() -> (SimFs, SpoolPaths, RateNotes) {
        let (fs, paths) = (SimFs::new(), SpoolPaths::under(Path::new("/spool")));
        fs.create_dir(paths.root(), 0o711).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        let notes = RateNotes::read(&fs, &paths);
        assert_eq!(notes.about("one"), "");
        notes.set("one", "day=1");
        notes.write(&fs, &paths).unwrap();
        (fs, paths, notes)
    }

    /// D12: whatever a crash leaves, the note is the one before or the one after.
    #[test]
    fn a_crash_leaves_the_note_before_or_the_note_after() {
        let (fs, paths, notes) = with_one_note();
        let images = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&images);
        fs.watch(move |disk| list.lock().unwrap().extend((0..8).map(|seed| disk.image(seed))));
        notes.set("one", "day=2");
        notes.set("two as \"a\\tb\"\n", "s=3");
        assert_eq!(notes.about("one"), "day=2", "known before it is written");
        notes.write(&fs, &paths).unwrap();
        fs.unwatch();
        let during = std::mem::take(&mut *images.lock().unwrap());
        assert!(during.len() >= 5 * 8, "{}", during.len());
        for image in during {
            let notes = RateNotes::read(&image, &paths);
            assert!(["day=1", "day=2"].contains(&notes.about("one").as_str()));
            notes.write(&image, &paths).unwrap();
        }
        for seed in 0..8 {
            let notes = RateNotes::read(&fs.image(seed), &paths);
            assert_eq!(notes.about("one"), "day=2");
            assert_eq!(notes.about("two as \"a\\tb\"\n"), "s=3");
        }
    }

    #[test]
    fn a_call_that_fails_costs_no_more_than_the_new_note() {
        for call in 1.. {
            let (fs, paths, notes) = with_one_note();
            notes.set("one", "day=2");
            fs.set_fault(Some(DiskFault { call, error: ErrorKind::StorageFull, for_ever: false }));
            let written = notes.write(&fs, &paths);
            fs.set_fault(None);
            assert!(
                ["day=1", "day=2"].contains(&RateNotes::read(&fs, &paths).about("one").as_str()),
                "{call}"
            );
            if written.is_ok() {
                assert!(call > 5, "{call}");
                break;
            }
            notes.write(&fs, &paths).unwrap();
            assert_eq!(RateNotes::read(&fs.image(1), &paths).about("one"), "day=2", "{call}");
        }
    }

    #[test]
    fn nonsense_in_the_file_is_no_note() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("rates"), b"\xff\n\n\t\nday=1\tone\nday=2").unwrap();
        let notes = RateNotes::read(&super::super::fs::RealFs, &SpoolPaths::under(directory.path()));
        assert_eq!((notes.about("one"), notes.about("two")), ("day=1".into(), String::new()));
    }
}
