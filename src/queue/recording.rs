//! The state of the spool as a delivery sees it: it records the mark before the final dot and the result of an attempt,
//! or it does not.
//!
//! Promises: from the first refusal on, no message is given out. The spool is asked again after 1 s, 2 s … 10 s, with
//! nothing sent for it, and mail goes on at once when it answers. The beginning and the end are logged once each.
//!
//! Pure. Not here: what stops and goes on (`reducer/outcomes.rs`), the results themselves (`settlement.rs`).

use std::collections::HashSet;
use std::time::Duration;

use crate::queue_id::QueueId;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest time for which mail waits for a spool that records again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The pauses between the questions to a spool that does not record.
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Pauses(FIRST_PAUSE)
    }
}

impl Pauses {
    /// Returns the next pause.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// The records that the spool does not take at present.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// The messages whose result it does not record.
    unrecorded: HashSet<QueueId>,
    /// True if the spool has refused a mark, and has recorded nothing since.
    refuses_marks: bool,
}

impl Recording {
    /// Returns whether it records everything.
    pub(super) fn works(&self) -> bool {
        self.unrecorded.is_empty() && !self.refuses_marks
    }

    /// Returns the number of messages whose result it does not record.
    pub(super) fn unrecorded(&self) -> usize {
        self.unrecorded.len()
    }

    /// Notes that the result of `id` is not recorded.
    pub(super) fn refuses_outcome(&mut self, id: QueueId) {
        self.unrecorded.insert(id);
    }

    /// Notes that a mark is not recorded. Returns whether somebody has to find out when one is.
    pub(super) fn refuses_mark(&mut self) -> bool {
        !std::mem::replace(&mut self.refuses_marks, true)
    }

    /// Notes that the result of `id` is on the spool, or is given up.
    pub(super) fn took_outcome(&mut self, id: QueueId) {
        self.unrecorded.remove(&id);
    }

    /// Notes that marks are recorded again.
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
