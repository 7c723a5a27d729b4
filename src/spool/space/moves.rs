//! The second table of `space.rs`: what the cleaner moves.

use super::*;

/// Decides by the second table what the cleaner does; returns `None` if there is nothing to do.
pub fn clean_now(sums: &Sums, next: Readiness, target: Target, segment_size: u64) -> Option<Clean> {
    let oldest = sums.oldest?;
    let spared = target.room.saturating_sub(target.capacity / LEFT_TO_OUTCOMES);
    let is_wanted = is_too_long(sums, segment_size);
    let room = match next {
        Readiness::Impossible => return moves_at_once(sums, oldest, target),
        Readiness::Possible => spared,
        Readiness::Ready => u32::MAX,
    };
    (is_wanted && room > 0).then_some(Clean::Move(oldest.sequence, room))
}

/// Returns whether the closed segments take more than they may. The room that the move itself takes for a while counts,
/// too: that is no more than one segment, and no more than what lives.
fn is_too_long(sums: &Sums, segment_size: u64) -> bool {
    sums.closed + sums.live.min(segment_size) > TIMES_LIVE * sums.live
}

/// Returns the step by which the oldest segment can go at once; `None` if it cannot. On a full disk the room is worth more
/// than the copying.
fn moves_at_once(sums: &Sums, oldest: Oldest, target: Target) -> Option<Clean> {
    if !oldest.frees_room() {
        return None;
    }
    let here = room_for_moves(target, sums.active_moved) as u32;
    match needed_of_next(oldest, target, sums.active_moved) {
        0 => Some(Clean::Move(oldest.sequence, target.room)),
        needed if needed > target.next => None,
        _ if here > 0 => Some(Clean::Move(oldest.sequence, here)),
        _ => Some(Clean::Begin),
    }
}

/// Returns the number of octets that must be made of the next segment before all that lives in the oldest one is moved on a
/// full disk; 0 if it fits into the active segment. A move of all that lives in the active one would take `active_moved`
/// octets; if that is 0, anything that fits is moved.
pub fn needed_of_next(oldest: Oldest, target: Target, active_moved: u64) -> u64 {
    let leaves_room = active_moved == 0 || active_moved + oldest.moved <= most_for_moves(target);
    if oldest.moved <= u64::from(target.room) && leaves_room {
        return 0;
    }
    // No record is in two segments, so some room may be left at the end of the active one.
    let all = oldest.moved + oldest.freed_at_least();
    let there = all.saturating_sub(room_for_moves(target, active_moved));
    u64::from(FIRST_RECORD) + there.div_ceil(LEFT_BY_MOVES - 1) * LEFT_BY_MOVES
}

/// Returns the number of octets that may be moved into the active segment, if the rest goes to the next one.
fn room_for_moves(target: Target, active_moved: u64) -> u64 {
    let left = target.room.saturating_sub(target.capacity / LEFT_BY_MOVES as u32);
    u64::from(left).min(most_for_moves(target).saturating_sub(active_moved))
}

/// Returns the number of octets that may live in the active segment after moves into it.
fn most_for_moves(target: Target) -> u64 {
    u64::from(target.holds) / LEFT_BY_MOVES * (LEFT_BY_MOVES - 1)
}
