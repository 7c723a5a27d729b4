//! The next segment, on its way from being wanted to being ready.
//!
//! ```text
//! Empty ── want, ask ──▶ Wanted ── begin ──▶ Making ── put ──▶ Ready ── take ──▶ Empty
//!                          ▲  ▲                │ fail
//!                          │  └── outdated ────┤
//!                          └── ask ── Failed ◀─┘
//! ```
//! A segment that is let go may be put under the next name in any state but Ready.
//!
//! Pure. Not here: files (`stock.rs`), who may take the segment (`space.rs`).

use std::io;

use crate::spool::segment::Ready;
use crate::spool::space::Size;

/// Where the next segment stands.
enum Stage {
    /// Nobody wants it yet.
    Empty,
    /// It is to be made, when none is let go.
    Wanted(Size),
    /// It is being made.
    Making {
        /// As whoever asked last wants it.
        size: Size,
        /// Somebody has asked, or something was let go, since the attempt began: should it fail, another is worth while.
        is_outdated: bool,
    },
    /// It is there.
    Ready(Ready),
    /// The last attempt to make it failed; none is made until somebody asks.
    Failed(io::Error),
}

/// How soon the next piece of it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Haste {
    /// Most of the time is left to others.
    None,
    /// At once for one piece: mail has come since the last one.
    OnePiece,
    /// At once for all of them: somebody waits.
    Awaited,
}

/// See the module.
pub(super) struct Supply {
    stage: Stage,
    haste: Haste,
    /// The name of the next segment.
    next: u32,
    /// The log has been told that none can be made, and none has been made since.
    is_told: bool,
}

impl Supply {
    /// Nothing, of which the first segment is to be `next`.
    pub fn new(next: u32) -> Self {
        Supply { stage: Stage::Empty, haste: Haste::None, next, is_told: false }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready(_))
    }

    pub fn is_making(&self) -> bool {
        matches!(self.stage, Stage::Making { .. })
    }

    /// Why the last attempt failed, if nobody has asked since.
    pub fn trouble(&self) -> Option<&io::Error> {
        match &self.stage {
            Stage::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The size that is wanted.
    pub fn size(&self) -> Size {
        match self.stage {
            Stage::Wanted(size) | Stage::Making { size, .. } => size,
            _ => Size::Usual,
        }
    }

    /// Whether whoever waits has to go on waiting.
    pub fn is_undecided(&self) -> bool {
        matches!(self.stage, Stage::Empty | Stage::Wanted(_) | Stage::Making { .. })
    }

    /// Has one made where none was wanted, and returns whether that is so; a failed attempt is not repeated for it.
    pub fn want(&mut self) -> bool {
        let is_empty = matches!(self.stage, Stage::Empty);
        if is_empty {
            self.stage = Stage::Wanted(Size::Usual);
        }
        is_empty
    }

    /// Has one made where none is ready, by an attempt that begins from now on.
    pub fn ask(&mut self, size: Size) {
        match &mut self.stage {
            Stage::Ready(_) => {}
            Stage::Making { size: wanted, is_outdated } => (*wanted, *is_outdated) = (size, true),
            Stage::Empty | Stage::Wanted(_) | Stage::Failed(_) => self.stage = Stage::Wanted(size),
        }
    }

    /// What fails for want of room may succeed from now on.
    pub fn gains_room(&mut self) {
        if let Stage::Making { is_outdated, .. } = &mut self.stage {
            *is_outdated = true;
        }
    }

    /// The name of the one to make now, which is being made from then on, if one is wanted.
    pub fn begin(&mut self) -> Option<u32> {
        let Stage::Wanted(size) = self.stage else { return None };
        self.stage = Stage::Making { size, is_outdated: false };
        Some(self.next)
    }

    /// The name under which a segment let go is of use.
    pub fn reusable_as(&self) -> Option<u32> {
        (!self.is_ready()).then_some(self.next)
    }

    /// The segment is ready.
    pub fn put(&mut self, ready: Ready) {
        (self.next, self.is_told) = (ready.sequence + 1, false);
        self.stage = Stage::Ready(ready);
    }

    /// The attempt failed with this error; whether that is news for the log.
    pub fn fail(&mut self, error: io::Error) -> bool {
        match self.stage {
            Stage::Making { size, is_outdated: true } => {
                self.stage = Stage::Wanted(size);
                false
            }
            _ => {
                self.stage = Stage::Failed(error);
                !std::mem::replace(&mut self.is_told, true)
            }
        }
    }

    /// Hands the segment out, if it is ready.
    pub fn take(&mut self) -> Option<Ready> {
        match std::mem::replace(&mut self.stage, Stage::Empty) {
            Stage::Ready(ready) => Some(ready),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Hands out why the last attempt failed; from then on it is not known any more.
    pub fn take_trouble(&mut self) -> Option<io::Error> {
        match std::mem::replace(&mut self.stage, Stage::Empty) {
            Stage::Failed(error) => Some(error),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Forgets what was made ready, whose number is returned, and why nothing could be.
    pub fn start_anew(&mut self) -> Option<u32> {
        self.is_told = false;
        match &mut self.stage {
            Stage::Failed(_) => self.stage = Stage::Wanted(Size::Usual),
            Stage::Making { is_outdated, .. } => *is_outdated = true,
            Stage::Empty | Stage::Wanted(_) | Stage::Ready(_) => {}
        }
        self.take().map(|ready| ready.sequence)
    }

    /// Somebody waits for it from now on, or does no longer.
    pub fn set_awaited(&mut self, is_awaited: bool) {
        self.haste = if is_awaited { Haste::Awaited } else { Haste::None };
    }

    /// Mail has come.
    pub fn hurry(&mut self) {
        if self.haste == Haste::None {
            self.haste = Haste::OnePiece;
        }
    }

    /// Whether the next piece is wanted at once.
    pub fn takes_haste(&mut self) -> bool {
        let haste = self.haste;
        if haste == Haste::OnePiece {
            self.haste = Haste::None;
        }
        haste != Haste::None
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::*;
    use crate::spool::fs::Fs as _;
    use crate::spool::fs::sim::SimFs;

    fn ready(sequence: u32) -> Ready {
        let file = SimFs::new().create(Path::new("/segment")).unwrap();
        Ready { sequence, file, length: 1 << 15 }
    }

    fn full() -> io::Error {
        ErrorKind::StorageFull.into()
    }

    #[test]
    fn one_is_made_when_it_is_wanted_and_handed_out_once() {
        let mut supply = Supply::new(7);
        assert_eq!(supply.begin(), None, "nobody wants one");
        assert!(supply.want() && !supply.want());
        assert_eq!((supply.begin(), supply.begin()), (Some(7), None));
        assert!(supply.is_making() && supply.is_undecided());
        supply.put(ready(7));
        assert!(!supply.want());
        assert_eq!((supply.begin(), supply.reusable_as()), (None, None), "it is ready");
        assert_eq!(supply.take().map(|ready| ready.sequence), Some(7));
        assert!(supply.take().is_none());
        assert_eq!((supply.begin(), supply.reusable_as()), (None, Some(8)));
    }

    #[test]
    fn what_failed_is_tried_again_for_whoever_asks() {
        let mut supply = Supply::new(1);
        supply.want();
        supply.begin();
        assert!(supply.fail(full()), "the log is told");
        assert!(!supply.want());
        supply.gains_room();
        assert_eq!(supply.begin(), None);
        assert!(supply.trouble().is_some() && !supply.is_undecided());
        supply.ask(Size::Any);
        assert_eq!((supply.size(), supply.begin()), (Size::Any, Some(1)));
        assert!(!supply.fail(full()), "it was told");
        supply.put(ready(1));
        assert!(supply.trouble().is_none(), "one that was let go serves as well");
        supply.take();
        supply.ask(Size::Usual);
        supply.begin();
        assert!(supply.fail(full()), "told anew, since one was made meanwhile");
    }

    /// An attempt that was on its way when somebody asked, or when something was let go, is no answer.
    #[test]
    fn an_attempt_that_is_outdated_is_repeated() {
        let changes: [fn(&mut Supply); 3] = [
            |supply| supply.ask(Size::Any),
            Supply::gains_room,
            |supply| assert_eq!(supply.start_anew(), None),
        ];
        for change in changes {
            let mut supply = Supply::new(1);
            supply.want();
            supply.begin();
            change(&mut supply);
            assert!(!supply.fail(full()) && supply.trouble().is_none());
            assert_eq!(supply.begin(), Some(1));
            assert!(supply.fail(full()) && supply.trouble().is_some());
        }
    }

    #[test]
    fn mail_hurries_one_piece_and_a_wait_all() {
        let mut supply = Supply::new(1);
        assert!(!supply.takes_haste());
        supply.hurry();
        assert!(supply.takes_haste() && !supply.takes_haste());
        supply.set_awaited(true);
        supply.hurry();
        assert!(supply.takes_haste() && supply.takes_haste());
        supply.set_awaited(false);
        assert!(!supply.takes_haste());
    }
}
