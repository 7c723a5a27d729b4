//! A fast search for an octet, for content and lines.

/// The number of octets that are compared together: enough for the vector registers of current processors.
const BLOCK_OCTETS: usize = 32;

/// Returns the position of the first octet that is `wanted`.
///
/// All octets of a block are compared without an early exit, so that the compiler can use a few wide instructions. Only a
/// block that contains a wanted octet is searched one by one.
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
