//! Whether the spool records what a delivery needs: the mark before the final dot, and what became of it.
//!
//! Promises: from the first refusal on nothing is given out; the spool is asked again after 1 s, 2 s … 10 s, with
//! nothing sent for it, and mail goes on at once when it answers. Beginning and end are logged, once.
//!
//! Not here: who stops and goes on (`owner.rs`), the outcomes themselves (`settlement.rs`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Command;
use super::courier::Desk;
use crate::log;
use crate::queue_id::QueueId;
use crate::spool::CommitError;

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

    /// What became of `id` is not taken; `live` messages are in the queue.
    pub(super) fn refuses_outcome(&mut self, id: QueueId, why: CommitError, live: usize) {
        self.refuses(why, live);
        self.unrecorded.insert(id);
    }

    /// A mark is not taken. True: somebody has to find out when one is.
    pub(super) fn refuses_mark(&mut self, why: CommitError, live: usize) -> bool {
        self.refuses(why, live);
        !std::mem::replace(&mut self.refuses_marks, true)
    }

    /// What became of `id` is on the spool, or is given up.
    pub(super) fn took_outcome(&mut self, id: QueueId, live: usize) {
        if self.unrecorded.remove(&id) {
            self.takes_more(live);
        }
    }

    /// Marks are taken again.
    pub(super) fn takes_marks(&mut self, live: usize) {
        self.refuses_marks = false;
        self.takes_more(live);
    }

    fn refuses(&self, why: CommitError, live: usize) {
        if self.works() {
            log::sending_stopped(&why, live);
        }
    }

    fn takes_more(&self, live: usize) {
        if self.works() {
            log::sending_resumed(live);
        }
    }
}

/// Tells the owner when the spool takes what it did not take of `id`.
pub(super) async fn await_recording(desk: Arc<Desk>, id: QueueId) {
    let mut pauses = Pauses::default();
    loop {
        desk.clock.sleep(pauses.next()).await;
        match desk.spool.try_recording(id).await {
            Ok(()) => return desk.queue.tell(Command::Recordable),
            // It will take nothing any more.
            Err(CommitError::Closed) => return,
            Err(CommitError::Full | CommitError::Trouble | CommitError::Astray) => {}
        }
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
