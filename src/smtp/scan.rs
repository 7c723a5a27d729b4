//! Looking for an octet in a run of octets, as fast as content comes in.
//!
//! Not here: what is done with what was found (`dot.rs`, `session/line.rs`).

/// How many octets are looked at together: wide enough for any vector register of today.
const BLOCK_OCTETS: usize = 32;

/// Where the first octet stands that is `wanted`.
///
/// A block is looked at without leaving it early, so that the compiler can do it in a few wide
/// instructions; only the block that holds an octet wanted is searched one by one.
pub(super) fn find(octets: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, tail) = octets.as_chunks::<BLOCK_OCTETS>();
    for (index, block) in blocks.iter().enumerate() {
        if block.iter().fold(false, |found, octet| found | wanted(*octet)) {
            let within = block.iter().position(|octet| wanted(*octet))?;
            return Some(index * BLOCK_OCTETS + within);
        }
    }
    let within = tail.iter().position(|octet| wanted(*octet))?;
    Some(blocks.len() * BLOCK_OCTETS + within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_is_found_wherever_it_stands() {
        for len in 0..100 {
            let mut octets = vec![b'x'; len];
            assert_eq!(find(&octets, |octet| octet == b'\n'), None, "{len}");
            for at in (0..len).rev() {
                octets[at] = b'\n';
                assert_eq!(find(&octets, |octet| octet == b'\n'), Some(at), "{at} of {len}");
            }
        }
    }
}
