//! How many messages are in each state.
//!
//! Pure. Not here: which ones they are (`roster.rs`).

use std::ops::AddAssign;

use super::member::Standing;

/// The number of messages in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandingCounts {
    /// The number of ready messages, with losses or without.
    pub ready: usize,
    /// The number of messages that are under way.
    pub under_way: usize,
    /// The number of deferred messages.
    pub deferred: usize,
    /// The number of messages that another relay has.
    pub elsewhere: usize,
    /// The number of held messages.
    pub held: usize,
    /// The number of messages that an operator has put on hold.
    pub on_hold: usize,
    /// The number of dead messages.
    pub dead: usize,
}

impl StandingCounts {
    /// Counts one message more in this state.
    pub fn more(&mut self, standing: Standing) {
        *self.of(standing) += 1;
    }

    /// Counts one message less in this state.
    pub fn less(&mut self, standing: Standing) {
        *self.of(standing) -= 1;
    }

    fn of(&mut self, standing: Standing) -> &mut usize {
        match standing {
            Standing::Ready => &mut self.ready,
            Standing::UnderWay => &mut self.under_way,
            Standing::Waiting(_) => &mut self.deferred,
            Standing::Elsewhere(_) => &mut self.elsewhere,
            Standing::Held => &mut self.held,
            Standing::OnHold => &mut self.on_hold,
            Standing::Dead => &mut self.dead,
        }
    }
}

impl AddAssign for StandingCounts {
    fn add_assign(&mut self, other: Self) {
        self.ready += other.ready;
        self.under_way += other.under_way;
        self.deferred += other.deferred;
        self.elsewhere += other.elsewhere;
        self.held += other.held;
        self.on_hold += other.on_hold;
        self.dead += other.dead;
    }
}
