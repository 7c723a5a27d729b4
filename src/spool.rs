//! The durable spool: a message that is committed here survives kill -9 and loss of power.
//!
//! Promises
//! 1. When [`Spool::commit`] returns a [`Committed`], the message is on stable storage: content, envelope
//!    and every directory entry on the way to it are synced.
//! 2. A message is there until it is removed with a [`Settled`], or with the [`DeletionOrder`] of an operator; until then
//!    it comes back at every start, whole, once, with the outcomes recorded of it. After the removal has returned it is
//!    gone.
//! 3. A bounce and its effect on the original are one record: no crash comes between them.
//! 4. What was refused is not delivered, except that a crash before anything else is written may bring
//!    it back, whole.
//! 5. Damage to the disk costs the records it hit, is reported, and is kept in `corrupt/`.
//! 6. Queue ids are never given twice in the life of a spool.
//!
//! Fails: [`CommitError::Full`] is 452, [`CommitError::Trouble`] is 451; nothing was queued then. The
//! spool goes on, and takes mail again by itself when the fault is gone. [`CommitError::Astray`] is 451, too: the spool was
//! removed or moved under the daemon.
//!
//! # What is on the disk
//!
//! Every row is held by the tests that cite it (`tests/`). "Synced" is fdatasync for a file and fsync for
//! its directory.
//!
//! | | thing | comes | goes | a crash may leave | who cleans up |
//! |---|---|---|---|---|---|
//! | D1 | directories | at start, parent synced | never | some missing | the next start makes them |
//! | D2 | `lock` | at start, flock | never; the lock ends with its holder | an unlocked file | nobody needs to |
//! | D3 | segment made ready, or a part of one | stock: zeros in pieces, each synced; the first one of a start is reserved as a whole; directory synced | becomes active | a short file, a whole one that is mostly unwritten, or none | the next start takes it over under the next number, or removes it: no header, no record (`stock/reuse.rs`) |
//! | D4 | active segment | header synced | next one begun | a torn batch at its end | recovery passes it by; a new segment is begun at every start (on a full disk in what the ones before have left, cut off) |
//! | D5 | closed segment | the next one's header says how far to believe it | nothing lives in it, none is older, and it is not the newest | it is still there | recovery finds it dead and lets it go |
//! | D6 | reused segment | dead one, synced, renamed to the next number, over what there was of D3 | as D3 | old name or new name | by its name: an old, dead segment, or as D3: nothing in it parses under the new number |
//! | D7 | large file | draft grows; synced before its record is queued | with its message | a file that no record names | recovery unlinks it |
//! | D8 | large file of a refused message | as D7 | after the next sync, when its record cannot come back | as D7, or with its message | recovery |
//! | D9 | `corrupt/` copy | recovery or cleaner finds damage | never | a `.part` file | the next attempt |
//! | D10 | file in `drop/` | `.tmp`, synced, then `.bsmtp` (`drop.rs`) | `.claimed`, committed (or its bounce is, then it is in `corrupt/`), unlinked, each synced | any of the three names, or two | the pick-up (`listener/pickup.rs`) |
//! | D11 | `relays` | a relay takes its first message: `relays.part`, synced, renamed, directory synced | never | `relays.part`, or the list without that relay | the next list that is written; `relays.rs` |
//! | D12 | `rates` | a part of a relay's rate is used: `rates.part`, synced, renamed, directory synced | never | `rates.part`, or the notes before | the next notes that are written; `rates.rs` |
//! | D13 | `standing-orders` | an operator makes or lifts a hold rule or a pause: `standing-orders.part`, synced, renamed, directory synced | never | the orders before, or these | nobody needs to; `standing.rs` |
//! | D14 | `standing-orders.part` | behind D13, and at a start that finds it with orders: zeros, synced, the room for the next orders on a full disk | becomes D13 | any octets, or none | the next orders are written over it |
//!
//! # The life of a message
//!
//! | | state | on disk | leaves it by | a crash here |
//! |---|---|---|---|---|
//! | M1 | draft | nothing, or D7 | commit; or dropped | it is gone; nobody was told otherwise |
//! | M2 | queued for the writer | as M1 | batch written and synced; or refused | gone, or there whole |
//! | M3 | committed: at the instant the sync returns | Message record | outcomes, removal | it is there |
//! | M4 | in flight | InFlight, written, not synced | outcome or deferral, or InFlight again, which says how it ended | there; marked after kill -9: the next attempt may be a duplicate; that there may be a copy stays known to the end |
//! | M5 | deferred | Note, written, not synced | next attempt | there; what its recipients were told may be missing |
//! | M6 | partly closed | Outcome, synced | more outcomes | there, with those recipients closed; one not synced yet is tried again |
//! | M7 | closed by its bounce | the DSN's Message record closes it | removal | both the DSN and the closing, or neither |
//! | M8 | warned of | the DSN's Message record says so | | both, or neither: no second warning |
//! | M9 | held, on hold by somebody, dead | State, synced | State | the state before, or this |
//! | M15 | assigned to a route, in whatever state | State, synced | another one | without, or so |
//! | M10 | all closed, not removed | outcomes | removal | there; its ledger settles at once |
//! | M11 | moved by the cleaner | Moved, synced | as before | at one place or at both: the later one counts |
//! | M12 | settled, or deleted by an operator: at the instant the sync returns | Settled record | D5 | gone |
//! | M13 | dead no more: its dead recipients are open again, or bounced after all | State, synced; or the DSN's Message record, as M7 | as M5; as M10 | dead, or this |
//! | M14 | on hold from the first, by a hold rule or a limit | Message record, which says so, and who holds it | State | as M3, and on hold |
//!
//! The order in which segments go keeps M12 true: a Settled record stands in the same segment as the message
//! or in a later one, and segments go oldest first, each durably before the next.
//!
//! Not here: when to retry (`queue/schedule.rs`), the replies to the client (`listener/`), the octets (`format.rs`,
//! `payload.rs`).
//!
//! The parts: `writer.rs` and `request.rs` (group commit), `segment.rs` and `stock.rs` (segments), `space.rs` (who may take
//! space), `recover.rs`, `scan.rs` and `identify.rs` (start), `index.rs` and `marks.rs` (the place and the marks of every
//! message), `clean.rs`, `draft.rs` and `unfinished.rs` (content that is not whole), `room.rs`, `drop.rs`, `read.rs`, `glance.rs`,
//! `relays.rs`, `rates.rs` and `standing.rs` (small files, written by `lines.rs`), `commit_gate.rs` (whoever changes the orders waits for the commits before), `presence.rs` and `writer/rescue.rs` (a spool that is removed under the daemon), `inspect.rs` (`nullmta
//! spool`), and `fs.rs`, through which every disk call goes, those of the pick-up too.

mod change;
mod clean;
mod commit_gate;
mod draft;
pub mod drop;
mod entry;
mod format;
pub mod fs;
mod glance;
mod handle;
mod identify;
mod index;
pub mod inspect;
pub mod ledger;
mod lines;
mod log_key;
mod marks;
mod octets;
mod order;
#[cfg(any(test, feature = "fuzz"))]
pub mod parse;
mod paths;
mod payload;
mod presence;
mod rates;
mod read;
mod recover;
mod relays;
mod replies;
mod request;
mod room;
mod salvage;
mod scan;
mod segment;
mod shared;
mod space;
mod standing;
mod start;
mod stock;
mod unfinished;
mod users;
mod writer;

#[cfg(test)]
mod tests;

use crate::queue_id::QueueId;
use crate::smtp::session::Durable;

pub use draft::Draft;
pub use entry::{
    CommitError, ContentInMemory, Entry, GlancedEnvelope, IndexedMessage, OpenError, Options, ReadError,
    Recovery, SpoolSpace, Stored, StoredContent,
};
pub use handle::Spool;
pub use ledger::{Fate, Ledger, MustReport, Settled};
pub use log_key::LogKey;
pub use marks::{EntryState, Flight, Mark, Marks};
pub use order::{DeletionOrder, Operator, OperatorOrder, OperatorVerb, OrderRight, Removal};
pub use paths::PARTS;
pub use replies::Replies;
pub use space::SHARE_IN_WORDS;
pub use standing::OrdersUnwritten;

/// The proof that a message is on stable storage. Only the spool makes it, after the sync.
#[derive(Debug)]
pub struct Committed {
    id: QueueId,
    on_hold: Option<String>,
}

impl Committed {
    /// Returns the queue id of the message.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Returns why the message is on hold; `None` if it is not.
    pub fn on_hold(&self) -> Option<&str> {
        self.on_hold.as_deref()
    }
}

impl Durable for Committed {
    fn queue_id(&self) -> String {
        self.id.to_string()
    }
}
