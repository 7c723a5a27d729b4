//! Makes one piece of the next segment: zeros, written and synced where the disk has room for them.
//!
//! Promises
//! 1. A piece counts only when it is synced, with the length of the file, and with its name if it is the first piece.
//! 2. The first segment of a start is whole when its first piece is made, where the file system can reserve the room for
//!    the rest: so a start writes little, however much lives, and nobody else can take that room.
//! 3. A piece that fails leaves what there was before it, if it failed for want of room, and nothing else.
//!
//! Not here: when a piece is due (`space.rs`, `stock/supply.rs`).

use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::Stock;
use super::supply::{PieceTerms, SegmentPiece};
use crate::spool::entry::CommitError;
use crate::spool::fs::{File, unlink_if_there, write_all_at};
use crate::spool::presence::leads_to;
use crate::spool::segment::{ReadySegment, ZEROS};
use crate::spool::space;

impl Stock {
    /// Makes a piece, and adds it to what there is of the next segment.
    pub(super) fn make(&self, piece: &SegmentPiece) -> io::Result<()> {
        let octets = self.room_for(piece)?;
        let path = self.paths.segment(piece.sequence);
        let file = match &piece.file {
            Some(file) => Arc::clone(file),
            None => {
                // Left there by a rename or an attempt whose directory sync failed; nobody was given it.
                unlink_if_there(&*self.fs, &path)?;
                self.fs.create(&path)?
            }
        };
        write_all_at(&*file, &ZEROS[..octets as usize], piece.from)?;
        let written = piece.from + octets;
        let length = match piece.terms {
            PieceTerms::AndReserveTheRest => reserve(&*file, written, piece.size),
            PieceTerms::IfAllFits | PieceTerms::AsMuchAsFits => written,
        };
        file.sync_data()?;
        if piece.file.is_none() {
            self.fs.sync_dir(&self.paths.segments)?;
        }
        // Made in a directory that is being removed.
        if !leads_to(&*self.fs, &path, &*file)? {
            return Err(ErrorKind::NotFound.into());
        }
        self.shelf().known_room.uses(length - piece.from);
        self.put(ReadySegment { sequence: piece.sequence, file, length, written });
        Ok(())
    }

    /// Returns the number of octets that this piece is to have; an error if the disk has no room for it on its terms.
    fn room_for(&self, piece: &SegmentPiece) -> io::Result<u64> {
        let rest = piece.size - piece.from;
        let octets = rest.min(space::piece(piece.size));
        let free = self.fs.free_space(&self.paths.segments)?;
        if piece.terms == PieceTerms::AsMuchAsFits {
            return self.room_for_any(octets, piece.from == 0, free);
        }
        let is_known_to_fit = || self.known_room(rest) == Some(true);
        if free < rest || !is_known_to_fit() && !self.ask_for_room(rest)? {
            return Err(ErrorKind::StorageFull.into());
        }
        self.step(|shelf| shelf.supply.found_room());
        Ok(octets)
    }

    /// Returns the number of octets of the piece for which there is room, where a part of the segment serves.
    fn room_for_any(&self, octets: u64, is_first: bool, free: u64) -> io::Result<u64> {
        for octets in space::parts_of_piece(octets, is_first, free) {
            if self.fs.has_room(&self.paths.segments, octets)? {
                return Ok(octets);
            }
        }
        Err(ErrorKind::StorageFull.into())
    }

    /// Gives back what a failed attempt has taken, and returns whether the pieces before it can still be used. After any
    /// failure but one for want of room none of them is trusted any more.
    pub(super) fn withdraw(&self, piece: &SegmentPiece, error: &io::Error) -> bool {
        let is_full = CommitError::from(error.kind()) == CommitError::Full;
        match &piece.file {
            // If it cannot be cut off, the next attempt writes over it.
            Some(file) if is_full => drop(file.truncate(piece.from)),
            // If it cannot be unlinked, the next attempt will.
            _ => drop(self.fs.unlink(&self.paths.segment(piece.sequence))),
        }
        is_full && piece.file.is_some()
    }
}

/// Reserves the room of a file of `written` octets up to `size`, if that can be done; returns the file's length.
fn reserve(file: &dyn File, written: u64, size: u64) -> u64 {
    if size > written && file.reserve(size).is_ok() {
        return size;
    }
    // Should it be longer now, the next piece is written over what there is.
    let _ = file.truncate(written);
    written
}
