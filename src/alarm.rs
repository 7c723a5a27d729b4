//! Alarms: what an operator wants to be told of without asking, and when an alarm begins and ends.
//!
//! ```text
//!  facts about the mail ──▶ condition: met? ──▶ episode: began │ goes on │ ended ──▶ log, status, command or post
//! ```
//!
//! Promises:
//! 1. An episode begins at the first look that meets its condition, and is told once, and again only after the time that is
//!    configured for that. It ends when the condition has not been met for [`QUIET_FOR`], so that a value which wavers about
//!    its bound makes one episode, and the end is told once.
//! 2. Each is told in words: what is so, and since when.
//!
//! Pure: facts and time are arguments. Not here: how an alarm is written in the file (`config/alarm.rs`), where the facts come
//! from and who is told (`admin/alarms.rs`).

mod condition;
mod episode;
mod facts;

pub use condition::{AlarmCondition, AlarmTest, FreeBound};
pub use episode::{AlarmEpisodes, AlarmNews, AlarmState, OngoingAlarm, QUIET_FOR};
pub use facts::{AlarmFacts, AlarmRelay, FactExpiry, FreeSpace, RelayObstacle};
