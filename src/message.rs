//! Changes to the content of messages that arrive, and the messages that nullmta writes itself.
//!
//! ```text
//!  session ─ content ─▶ fixup ─▶ spool           dsn ─ content and envelope ─▶ spool
//!                       │   ├ received           │ └ received
//!                       │   └ rewrite ─ address  │
//!                       └ header                 └ header
//! ```
//!
//! All changes to an arriving message are made by `fixup.rs`. It, and `rewrite.rs` for what concerns single fields, calls the
//! file for each:
//!
//! | change | file |
//! |---|---|
//! | a broken header section is mended before it is read | `mend.rs`, `reading.rs`, `header/`; it is refused if a Bcc would become public: `bare_cr.rs`, `hidden_bcc.rs` |
//! | a message is refused for an author as whom its client may not send | `authorship.rs` |
//! | a field is dropped, or added if it is missing | `rewrite/missing.rs` |
//! | an author's name gets its quotes; a list of recipients gets its commas | `author_name.rs`; `forgotten_comma.rs` |
//! | an address is replaced; a second From is moved | `rewrite/` (its header gives the order) |
//! | a line that is too long is folded | `long_lines.rs` |
//!
//! A body may be encoded on the way to the relay, if the relay does not take it as it is (`recode.rs`).
//!
//! The changes of `rewrite/` are noted in `rewrite/change.rs`, and `nullmta rewrite --explain` shows them; how a header was
//! mended or folded is seen in its result.
//!
//! Promises: octets that need no change stay as they are, in the header section and in the body, so that signatures
//! stay valid. Text from a client or a relay cannot end a field, a header section or a MIME part that we write.
//!
//! Nothing here uses a disk, a socket or a clock; the time is an argument.
//!
//! Not here: normalising line ends and dot-stuffing (`smtp/dot.rs`), who is told about a failure (`queue/`).

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
pub mod recode;
pub mod rewrite;
pub mod unacceptable;

mod authorship;
mod date;
mod encoded_word;
mod fold;
mod reading;
