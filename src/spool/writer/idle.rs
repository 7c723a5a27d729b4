//! The work of the writer between the batches: it cleans, requests pieces of the next segment, and writes zeros ahead.

use super::*;

impl SpoolWriter {
    /// Lets the oldest segments go in which no message lives.
    pub(in crate::spool) fn let_dead_segments_go(&mut self) {
        if self.shared.is_astray() {
            return;
        }
        let dead = self.shared.index().take_dead_segments();
        dead.into_iter().for_each(|sequence| self.shared.let_segment_go(sequence));
    }

    /// Takes one small step of cleaning, if that is wanted, and has as much of the next segment made as is due by now.
    /// Returns false when there was nothing to clean, or it failed.
    pub(super) fn clean(&mut self) -> bool {
        if self.shared.is_astray() {
            return false;
        }
        self.write_ahead();
        self.cleaner_works = self.move_some();
        let stock = &self.shared.stock;
        let due = self.active.as_ref().map_or(0, |active| {
            space::due(active.end().into(), active.capacity(), stock.made().size, self.cleaner_works)
        });
        stock.replenish(due);
        self.cleaner_works
    }

    /// Writes zeros ahead of the records where the room of the active segment is only reserved.
    fn write_ahead(&mut self) {
        let Some(active) = &mut self.active else { return };
        if let Err(e) = active.write_ahead() {
            log::spool_sync(active.sequence(), &e);
            self.seal();
        }
    }

    /// Takes the step of cleaning; returns whether it did something.
    fn move_some(&mut self) -> bool {
        let Some(active) = &self.active else { return false };
        let moves = match self.cleaner.step(&self.shared, active, self.batch_octets) {
            Some(CleanerStep::Move(moves)) => moves,
            Some(CleanerStep::Begin) => return self.begin_segment(SegmentSize::Any).is_ok(),
            None => return false,
        };
        let (answer, mut refused) = oneshot::channel();
        let mut answer = Some(answer);
        for mut request in moves {
            if let Some(answer) = answer.take() {
                request.answer = Acknowledgement::Durable(answer);
            }
            self.put(request);
        }
        self.flush();
        self.let_dead_segments_go();
        !matches!(refused.try_recv(), Ok(Err(_)))
    }
}
