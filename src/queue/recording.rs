//! Whether the spool records what a delivery needs: the mark before the final dot, and what became of it.
//!
//! Promises: from the first refusal on nothing is given out; the spool is asked again after 1 s, 2 s … 10 s, with
//! nothing sent for it, and mail goes on at once when it answers. Beginning and end are logged, once.
//!
//! Pure. Not here: who stops and goes on (`reducer/outcomes.rs`), the outcomes themselves (`settlement.rs`).

use std::collections::HashSet;
use std::time::Duration;

use crate::queue_id::QueueId;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Mail waits no longer than this for a spool that records again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The pauses between two questions to a spool that does not record.
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Pauses(FIRST_PAUSE)
    }
}

impl Pauses {
    /// The next one.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// What the spool does not take.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// Messages of which it does not take what became of them.
    unrecorded: HashSet<QueueId>,
    /// It did not take a mark, and takes nothing since.
    refuses_marks: bool,
}

impl Recording {
    /// Whether it takes everything.
    pub(super) fn works(&self) -> bool {
        self.unrecorded.is_empty() && !self.refuses_marks
    }

    /// How many messages there are of which it does not take what became of them.
    pub(super) fn unrecorded(&self) -> usize {
        self.unrecorded.len()
    }

    /// What became of `id` is not taken.
    pub(super) fn refuses_outcome(&mut self, id: QueueId) {
        self.unrecorded.insert(id);
    }

    /// A mark is not taken. True: somebody has to find out when one is.
    pub(super) fn refuses_mark(&mut self) -> bool {
        !std::mem::replace(&mut self.refuses_marks, true)
    }

    /// What became of `id` is on the spool, or is given up.
    pub(super) fn took_outcome(&mut self, id: QueueId) {
        self.unrecorded.remove(&id);
    }

    /// Marks are taken again.
    pub(super) fn takes_marks(&mut self) {
        self.refuses_marks = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_second_to_ten() {
        let mut pauses = Pauses::default();
        assert_eq!([(); 6].map(|()| pauses.next().as_secs()), [1, 2, 4, 8, 10, 10]);
    }
}
