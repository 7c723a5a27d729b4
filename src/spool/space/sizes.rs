//! The sizes that `space.rs` gives: of segments, of their pieces, and of one user's share. Its constants are there.

use super::*;

/// Returns the size, in octets, of the segment that follows one of `capacity` octets (0: there is none), while the records of
/// all messages that live take `live` octets.
pub fn size_of_next(live: u64, capacity: u64, sizes: Sizes) -> u64 {
    let size = TIMES_LIVE.saturating_mul(live).saturating_add(GROWTH * capacity);
    whole_blocks(size.clamp(sizes.first, sizes.largest))
}

/// Returns the number of octets of the next segment, which is to have `size`, that must be made by the time at which the
/// active one is filled up to `used` of its `capacity` octets. Less is due while the cleaner works: then an old segment
/// is likely to be let go and reused.
pub fn due(used: u64, capacity: u32, size: u64, cleaner_works: bool) -> u64 {
    let spared = if cleaner_works { capacity / USED_BEFORE_ANOTHER } else { FIRST_RECORD };
    let (used, all) =
        (used.saturating_sub(spared.into()), (capacity / WITHOUT_THE_NEXT).saturating_sub(spared));
    // Both are below 4 GiB, so that their product fits.
    (used * size.min(u32::MAX.into()) / u64::from(all.max(1))).min(size)
}

/// Returns the size of one piece, in octets, of a segment that is to have `size`.
pub fn piece(size: u64) -> u64 {
    whole_blocks((size / PIECES).clamp(SMALLEST, LARGEST_PIECE))
}

/// Returns the lengths to try of a piece of `octets` on a disk with `free` octets, where a part of a segment serves. They
/// become shorter; the first one for which the disk has room is taken. No segment begins with less than [`SMALLEST`], and
/// no piece is shorter than one of [`SHORTEST_PIECE`] parts of a whole one.
pub fn parts_of_piece(octets: u64, is_first: bool, free: u64) -> impl Iterator<Item = u64> {
    let most = whole_blocks(octets.min(free - free / FOR_THE_FILE_SYSTEM));
    let least = if is_first { SMALLEST } else { octets / SHORTEST_PIECE }.clamp(BLOCK, octets.max(BLOCK));
    let shorter = |octets: &u64| Some(whole_blocks(octets / SHORTER_PIECE));
    std::iter::successors(Some(most), shorter).take_while(move |octets| *octets >= least)
}

/// Returns whether `ahead` octets of zeros behind the records are enough for now, where a piece has `piece` octets.
pub fn is_far_enough_ahead(ahead: u32, piece: u32) -> bool {
    ahead >= piece / ENOUGH_AHEAD
}

/// Returns the number of octets, of `usable` ones, that the unfinished messages of one user may take together.
pub fn share_of_one_user(usable: u64) -> u64 {
    usable / SHARE_OF_ONE_USER
}

/// Returns as many of `octets` as fill whole blocks.
pub fn whole_blocks(octets: u64) -> u64 {
    octets & !(BLOCK - 1)
}

/// Returns the size to which a start shortens a closed segment of `size` octets, of which `used` are used; `None` where it
/// stays as it is. A quarter of the new size is left behind what is used, as in a segment that mail has filled, so that a
/// full disk drains as well as otherwise.
pub fn shortened_at_start(size: u64, used: u64) -> Option<u64> {
    let left = u64::from(LEFT_TO_OUTCOMES);
    let shortened = (used * left).div_ceil(left - 1).next_multiple_of(BLOCK);
    (shortened < size).then_some(shortened)
}
