//! The words for what a live message waits for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The state of a live message, named the same in every listing and count of the daemon and of `nullmta spool`.
/// A message has exactly one state, so the six counts add up to the number of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    /// It goes out on the next free connection.
    Ready,
    /// It is being delivered, or the result is being recorded. The spool alone cannot tell this state.
    Active,
    /// It waits for its next attempt, whose time depends on its age.
    Deferred,
    /// It is held after a refusal, and not tried.
    Held,
    /// An operator has put it on hold, and only an operator has it tried again.
    OnHold,
    /// It failed and this cannot be reported to anybody, or it is damaged.
    Dead,
}

impl MessageState {
    /// Every state.
    pub const ALL: [MessageState; 6] = [
        MessageState::Ready,
        MessageState::Active,
        MessageState::Deferred,
        MessageState::Held,
        MessageState::OnHold,
        MessageState::Dead,
    ];

    fn word(self) -> &'static str {
        match self {
            MessageState::Ready => "ready",
            MessageState::Active => "active",
            MessageState::Deferred => "deferred",
            MessageState::Held => "held",
            MessageState::OnHold => "on-hold",
            MessageState::Dead => "dead",
        }
    }
}

impl fmt::Display for MessageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The error for a word that is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessageState;

impl fmt::Display for BadMessageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the states are {}", MessageState::ALL.map(MessageState::word).join(", "))
    }
}

impl std::error::Error for BadMessageState {}

impl FromStr for MessageState {
    type Err = BadMessageState;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        MessageState::ALL.into_iter().find(|state| state.word() == word).ok_or(BadMessageState)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `queue list` said `ready` where `spool stat` and `spool export` said `active`, and `status` counted four of the
    /// five states.
    #[test]
    fn a_state_has_one_word() {
        for state in MessageState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!("Held".parse::<MessageState>(), Err(BadMessageState));
        assert_eq!(
            BadMessageState.to_string(),
            "the states are ready, active, deferred, held, on-hold, dead"
        );
    }
}
