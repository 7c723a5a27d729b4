//! The questions that a test can ask of a world: about the queue, about what the relay has seen, and about the log.

use std::time::Duration;

use jiff::Timestamp;

use super::super::super::{Event, LogLine, QueueAnswer};
use super::super::assert_figures;
use super::{World, start};
use crate::queue::{MessageStanding, QueueStatus, Standing};
use crate::queue_id::QueueId;

impl World {
    /// Somebody asks this. Returns the answer.
    pub(in crate::queue::reducer::tests) fn ask(&mut self, event: Event) -> QueueAnswer {
        self.tell(event);
        self.answer.take().expect("it is answered")
    }

    /// Throws an answer away that nobody looks at.
    pub(in crate::queue::reducer::tests) fn answered(&mut self) {
        self.answer = None;
    }

    /// Returns the figures of the queue. They agree with what is listed, and with what is on the spool.
    pub(in crate::queue::reducer::tests) fn status(&mut self) -> QueueStatus {
        match self.ask(Event::Status) {
            QueueAnswer::Status(status) => {
                assert_figures(&status, &self.standings());
                assert_eq!(status.live, self.spool.len());
                *status
            }
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::queue::reducer::tests) fn standings(&mut self) -> Vec<MessageStanding> {
        match self.ask(Event::Standings(self.spool.ids())) {
            QueueAnswer::Standings(listed) => listed,
            other => panic!("{other:?}"),
        }
    }

    /// Returns what the only message is doing.
    pub(in crate::queue::reducer::tests) fn standing(&mut self) -> Standing {
        let listed = self.standings();
        assert_eq!(listed.len(), 1);
        listed[0].standing
    }

    pub(in crate::queue::reducer::tests) fn is_paused(&mut self) -> bool {
        self.status().foremost().paused_until.is_some()
    }

    /// Returns how often the relay has seen the content of a message.
    pub(in crate::queue::reducer::tests) fn times_seen(&self, id: QueueId) -> usize {
        self.seen.iter().filter(|seen| seen.id == id).count()
    }

    /// Returns the number of lines in the log that contain these words.
    pub(in crate::queue::reducer::tests) fn logged(&self, words: &str) -> usize {
        self.log.iter().filter(|line| line.contains(words)).count()
    }

    /// Returns the number of lines that say that the relay is paused, and was not before.
    pub(in crate::queue::reducer::tests) fn pauses_logged(&self) -> usize {
        let is_new = |line: &&LogLine| matches!(line, LogLine::RelayPaused { is_new: true, .. });
        self.lines.iter().filter(is_new).count()
    }

    pub(in crate::queue::reducer::tests) fn time_of_day(&self) -> Timestamp {
        self.now.time_of_day
    }

    /// Returns the seconds since the test began.
    pub(in crate::queue::reducer::tests) fn seconds(&self) -> i64 {
        self.now.steady.duration_since(start().steady).as_secs()
    }

    /// Returns whether all may be left behind if there are this many settlements.
    pub(in crate::queue::reducer::tests) fn may_end(&self, settlements: usize) -> bool {
        self.reducer.may_end(self.now, settlements)
    }

    /// Returns how long nothing will change by itself.
    pub(in crate::queue::reducer::tests) fn until_next_change(&self) -> Duration {
        self.reducer.until_next_change(self.now)
    }
}
