//! Every log line, in one place: a file for each area. Names and order are those of Postfix, so that people and parsers
//! know them.
//!
//! Promises:
//! 1. The end of each recipient is one line; foreign octets are escaped; no secret is in a line.
//! 2. The text is the same in both formats; the JSON format has parts of it as fields, too. Lines and fields are an
//!    interface: `config/log.md` lists all but those of DEBUG, and the tests hold them.
//! 3. A function here returns when its line was written to standard error (`journal.rs`): no line waits in memory. So the
//!    line about an accepted message is out before the client gets its 250, and a crash loses no line about mail that was
//!    acknowledged. In turn, a reader of standard error that is slow makes the mail slow.
//!
//! Levels: INFO tells what happens to the mail; WARN asks an operator to look; ERROR says that mail is at risk; DEBUG
//! shows the dialogues, without secrets.
//!
//! To add a line, write a function in the file of its area, and add the line to `config/log.md`: `log/tests.rs` fails
//! until it is there. All functions are called as `log::name`.
//!
//! Not here: where lines are written, how a line is framed, and that addresses are hidden if they are to be (`journal.rs`).

mod alarm;
mod daemon;
mod delivery;
mod listener;
mod pickup;
mod queue;
mod redaction;
mod relay;
mod spool;
mod standing;
mod text;

pub use alarm::*;
pub use daemon::*;
pub use delivery::*;
pub use listener::*;
pub use pickup::*;
pub use queue::*;
pub use redaction::Redactor;
pub use relay::*;
pub use spool::*;
pub use standing::*;
pub use text::{Foreign, age_in_words, capitalized, counted, is_harmful, visible_json};

#[cfg(test)]
mod tests;
