//! What is done to a message's content, and the messages nullmta writes itself.
//!
//! ```text
//!  session ─ content ─▶ fixup ─▶ spool           dsn ─ content and envelope ─▶ spool
//!                       │   ├ received           │ └ received
//!                       │   └ rewrite ─ address  │
//!                       └ header                 └ header
//! ```
//!
//! Promises: octets that need no change are not changed, in the header section as in the body, so
//! that signatures survive; whatever a client or a relay said, it cannot end a field, a header
//! section or a MIME part that we write.
//!
//! Pure: no disk, no socket, no clock; the time is an argument.
//!
//! Not here: normalising line ends and dot-stuffing (`smtp/dot.rs`), who is told of a failure
//! (`queue/`).

pub mod address;
pub mod address_list;
pub mod author_name;
pub mod bare_cr;
pub mod display_name;
pub mod dsn;
pub mod fixup;
pub mod forgotten_comma;
pub mod header;
pub mod hidden_bcc;
pub mod long_lines;
pub mod mend;
pub mod received;
pub mod rewrite;
pub mod unacceptable;

mod date;
mod fold;
mod reading;
