//! The work of the writer when the spool was removed or moved under the daemon: what it refuses, what it saves, and how it
//! begins anew.
//!
//! A spool is *astray* from the moment its path is seen not to lead to it, by the look behind a sync or by the
//! one that the daemon asks for each second, until its path leads to a whole spool again.
//!
//! Promises
//! 1. While it is astray nothing that is submitted is taken. Deliveries go on, and what is recorded of them goes to
//!    the segment that is open, as long as that has room: where it was removed nothing better can be done, and where it
//!    was moved that is the truth in the place it was moved to.
//! 2. Where it was removed, it is made anew at its path, as soon as that can be done, and every live message is
//!    written to it again, with all that was recorded of it: the open files still have the octets. Only messages
//!    of segments beyond those kept open (`shared.rs`), and removed large files, are lost; each is named in the log.
//! 3. What has another name now is not copied: it would be delivered from both. Then the writer waits for an operator.
//!    So it does where another spool has been put in its place: of that nothing is touched.

use super::*;
use crate::spool::clean::moving;
use crate::spool::marks::Mark;
use crate::spool::presence::leads_to;
use crate::spool::start::make_directories;

/// Counts what became of the messages of removed segments.
#[derive(Default)]
struct Saved {
    messages: u64,
    lost: u64,
}

impl SpoolWriter {
    /// Looks whether everything is where it was, and whether there is room.
    pub(super) fn look(&mut self) {
        self.look_for_removal();
        self.shared.room.look(self.shared.index().len());
        let next = self.shared.stock.made();
        if next.is_ready() || self.shared.stock.has_room(next.rest()) {
            self.shared.room.note_segment();
        }
    }

    fn look_for_removal(&mut self) {
        let SharedSpool { fs, paths, .. } = &*self.shared;
        let is_active_there = self.active.as_ref().is_none_or(|active| {
            leads_to(&**fs, &paths.segment(active.sequence()), active.file()).unwrap_or(true)
        });
        if !is_active_there || !self.presence.is_intact(&**fs, paths) || !self.removed_segments().is_empty() {
            self.go_astray();
        }
    }

    /// Notes that the spool is astray, and says so in the log.
    pub(super) fn go_astray(&mut self) {
        if !self.shared.set_astray(true) {
            log::spool_astray(self.shared.paths.root(), self.shared.index().len());
        }
    }

    /// Tries to make the spool whole at its path; the log says once why that cannot be done.
    pub(super) fn come_home(&mut self) {
        if !self.shared.is_astray() {
            return;
        }
        let (root, live) = (self.shared.paths.root().to_owned(), self.shared.index().len());
        match self.try_to_come_home() {
            Ok(saved) => {
                self.homeless = None;
                log::spool_home(&root, saved.messages, saved.lost);
            }
            Err(why) => {
                self.shared.set_astray(true);
                if self.homeless.as_ref() != Some(&why) {
                    log::spool_homeless(&root, &why, live);
                }
                self.homeless = Some(why);
            }
        }
    }

    /// Tries it for the last time, since the writer ends.
    pub(super) fn leave(&mut self) {
        self.look_for_removal();
        self.come_home();
        if self.shared.is_astray() {
            log::spool_left_behind(self.shared.paths.root(), self.shared.index().len());
        }
    }

    fn try_to_come_home(&mut self) -> Result<Saved, String> {
        let shared = Arc::clone(&self.shared);
        let SharedSpool { fs, paths, .. } = &*shared;
        if let Some(segment) = self.moved_segment() {
            return Err(format!(
                "segment {segment:08X} has another name now: what was moved must be moved back, what is mounted \
                 over it unmounted"
            ));
        }
        if !self.presence.is_intact(&**fs, paths) {
            make_directories(&**fs, paths).map_err(|e| e.to_string())?;
            self.presence.renew(&**fs, paths).map_err(|e| e.to_string())?;
        }
        shared.set_astray(false);
        shared.stock.start_anew();
        let removed = self.removed_segments();
        if self.active.as_ref().is_none_or(|active| removed.contains(&active.sequence())) {
            // No header is to name what is not there.
            (self.active, self.previous) = (None, None);
            self.begin_segment(SegmentSize::Any)
                .map_err(|e| format!("no segment can be begun there: {e}"))?;
        }
        let saved = self.save(&removed);
        if shared.is_astray() { Err("it is being removed".into()) } else { Ok(saved) }
    }

    /// Returns the number of a segment that has another name now, if there is one.
    fn moved_segment(&self) -> Option<u32> {
        let SharedSpool { fs, paths, .. } = &*self.shared;
        self.shared.held_segments().into_iter().find_map(|(sequence, file)| {
            let is_named = file.facts().map_or(true, |facts| facts.links > 0);
            let is_there = || leads_to(&**fs, &paths.segment(sequence), &*file).unwrap_or(true);
            (is_named && !is_there()).then_some(sequence)
        })
    }

    /// Returns the numbers of the segments whose files have no name any more, oldest first.
    fn removed_segments(&self) -> Vec<u32> {
        let SharedSpool { fs, paths, .. } = &*self.shared;
        let held = self.shared.held_segments();
        let is_there = |sequence: u32| match held.iter().find(|(of, _)| *of == sequence) {
            Some((_, file)) => file.facts().map_or(true, |facts| facts.links > 0),
            None => !matches!(fs.facts(&paths.segment(sequence)), Err(e) if e.kind() == ErrorKind::NotFound),
        };
        self.shared.index().segments().into_iter().filter(|sequence| !is_there(*sequence)).collect()
    }

    /// Writes all messages again that live in `removed` segments; returns how many.
    fn save(&mut self, removed: &[u32]) -> Saved {
        let mut saved = Saved::default();
        for sequence in removed {
            let (ids, _) = self.shared.index().live_in(*sequence, None, usize::MAX);
            for id in ids {
                let Some(read) = moving(&self.shared, id, *sequence) else { continue };
                match read {
                    Ok(request) => self.put(request),
                    Err(why) => {
                        log::message_lost(id, &why);
                        self.shared.index().remove(id);
                        saved.lost += 1;
                        continue;
                    }
                }
                saved.messages += 1;
                if self.batch.octets.len() >= BATCH {
                    self.flush();
                }
            }
        }
        self.flush();
        self.let_dead_segments_go();
        let without_content = self.without_content();
        without_content.iter().for_each(|id| log::message_lost(*id, &"its large file was removed"));
        saved.lost += without_content.len() as u64;
        saved.messages = saved.messages.saturating_sub(without_content.len() as u64);
        saved
    }

    /// Returns the messages whose large file is gone.
    fn without_content(&self) -> Vec<QueueId> {
        let SharedSpool { fs, paths, .. } = &*self.shared;
        let large = self.shared.index().with_mark(Mark::Large);
        let is_gone =
            |id: &QueueId| matches!(fs.facts(&paths.large(*id)), Err(e) if e.kind() == ErrorKind::NotFound);
        large.into_iter().filter(is_gone).collect()
    }
}
