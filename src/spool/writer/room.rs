//! Makes room for the next record: it carries out what `space.rs` decides, and begins segments.

use super::*;

impl SpoolWriter {
    /// Makes room for a record of `length` octets behind the batch, as `space.rs` decides.
    pub(super) fn make_room(&mut self, length: u32, claim: SpaceClaim) -> Result<(), CommitError> {
        loop {
            match self.decide(length, claim) {
                Decision::Here => return Ok(()),
                Decision::Refuse => return Err(CommitError::Full),
                Decision::Wait => {
                    // Nobody else is to wait for the stock.
                    self.flush();
                    self.shared.stock.wait_for_piece()?;
                }
                // A fault there may begin a segment already: so it is decided again.
                Decision::NextSegment(_) if !self.batch.requests.is_empty() => self.flush(),
                Decision::NextSegment(size) => return self.begin_segment(size),
            }
        }
    }

    /// Asks `space.rs` what becomes of a record of `length` octets.
    fn decide(&self, length: u32, claim: SpaceClaim) -> Decision {
        let SharedSpool { stock, options, .. } = &*self.shared;
        let fill = self.active.as_ref().map(|active| Fill {
            sequence: active.sequence(),
            end: self.end_with(active, length) as u64,
            capacity: active.capacity(),
            is_first: active.is_empty() && self.batch.octets.is_empty(),
        });
        let next = stock.made();
        space::decide(claim, fill, next, self.cleaner_works, || {
            let index = self.shared.index();
            let (oldest, live) = (index.oldest(), index.live_octets());
            let active_moved = self.active.as_ref().map_or(0, |active| {
                let more = self.end_with(active, length) - active.end() as usize;
                index.moved_with(active.sequence(), self.batch.requests.len() as u64 + 1, more as u64)
            });
            drop(index);
            let following = space::size_of_next(live, next.octets, options.sizes());
            let another = stock.has_room(if next.is_ready() { following } else { next.rest() });
            SpareRoom { another, oldest, active_moved }
        })
    }

    /// Returns the offset at which the active segment would end with the batch and `length` octets more.
    fn end_with(&self, active: &ActiveSegment, length: u32) -> usize {
        let end = active.position(&self.batch.octets) as usize + length as usize;
        end.next_multiple_of(SECTOR as usize)
    }

    /// Begins the next segment. The one before it is synced first; where that fails, its end is void.
    pub(in crate::spool) fn begin_segment(&mut self, size: SegmentSize) -> Result<(), CommitError> {
        let begun = self.try_to_begin(size);
        self.shared.set_failing(begun == Err(CommitError::Trouble));
        begun
    }

    fn try_to_begin(&mut self, size: SegmentSize) -> Result<(), CommitError> {
        if self.shared.is_astray() {
            return Err(CommitError::Astray);
        }
        let ready = self.shared.stock.take(size)?;
        if let Some(mut active) = self.active.take() {
            if !active.is_durable()
                && let Err(e) = active.sync()
            {
                log::spool_sync(active.sequence(), &e);
            }
            // From here on nothing is written to it: a header that could not be synced completely might
            // still appear after a crash and make void what was written later.
            self.previous = Some(active.sealed());
        }
        let header = SegmentHeader {
            version: FORMAT_VERSION,
            spool: self.shared.spool,
            sequence: ready.sequence,
            high_water: self.shared.ids.high_water(),
            relay_clock: self.shared.relay_clock.load(Ordering::Relaxed),
            previous: self.previous,
        };
        match ActiveSegment::activate(&ready, &header) {
            Ok(active) if !self.is_there(&active).unwrap_or(true) => {
                self.go_astray();
                Err(CommitError::Astray)
            }
            Ok(active) => {
                self.shared.index().begin_segment(ready.sequence, ready.length);
                self.shared.hold_segment(ready.sequence, ready.file);
                self.active = Some(active);
                self.size_the_next(ready.length);
                self.unlink_doubtful();
                Ok(())
            }
            Err(e) => {
                log::spool_begin(ready.sequence, &e);
                self.shared.let_segment_go(ready.sequence);
                Err(CommitError::from(e.kind()))
            }
        }
    }

    /// Sets the size of the segment that follows one of `capacity` octets.
    fn size_the_next(&self, capacity: u64) {
        let live = self.shared.index().live_octets();
        self.shared.stock.set_size(space::size_of_next(live, capacity, self.shared.options.sizes()));
    }
}
