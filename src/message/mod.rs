//! What is done to a message's content, and the messages nullmta writes itself.
//!
//! ```text
//!  session ─ content ─▶ fixup ─▶ spool           dsn ─ content and envelope ─▶ spool
//!                       │   ├ received           │ └ received
//!                       │   └ rewrite ─ address  │
//!                       └ header                 └ header
//! ```
//!
//! Everything that is done to a message on its way in is called from `fixup.rs`, and is in the file for its kind:
//!
//! | what is done | where |
//! |---|---|
//! | a broken header section is mended, before it is read | `mend.rs`, `reading.rs`, `header/`; refused where a Bcc would be read: `bare_cr.rs`, `hidden_bcc.rs` |
//! | a field is dropped, or added where it is missing | `rewrite/missing.rs` |
//! | an author's name gets its quotes; a list of recipients gets its commas | `author_name.rs`; `forgotten_comma.rs` |
//! | an address becomes another one; a further From goes | `rewrite/` (its header has the order) |
//! | a line that is too long is folded | `long_lines.rs` |
//!
//! What a fix-up did is noted in `rewrite/change.rs`, so that `nullmta rewrite --explain` shows it.
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
