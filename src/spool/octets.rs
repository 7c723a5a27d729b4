//! Writes and reads numbers and texts as octets: little-endian, with every length checked.
//!
//! Promises: reading never panics, never reads past the end and never allocates more than what was
//! there to read. Not here: what the octets mean (`format.rs`, `payload.rs`).

/// An error: octets are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedOctets;

/// Takes values off the front of a slice.
pub(super) struct OctetReader<'a> {
    rest: &'a [u8],
}

impl<'a> OctetReader<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        OctetReader { rest: octets }
    }

    /// Takes the next `count` octets.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], MalformedOctets> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(MalformedOctets)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedOctets> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(MalformedOctets)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, MalformedOctets> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, MalformedOctets> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, MalformedOctets> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, MalformedOctets> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, MalformedOctets> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, MalformedOctets> {
        self.array().map(i64::from_le_bytes)
    }

    /// Takes a text that [`put_text`] has written.
    pub fn text(&mut self) -> Result<&'a str, MalformedOctets> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| MalformedOctets)
    }

    /// Returns the number of octets that are left, which bounds any count that was read.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Takes all that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading; an error if something is left.
    pub fn end(self) -> Result<(), MalformedOctets> {
        if self.rest.is_empty() { Ok(()) } else { Err(MalformedOctets) }
    }
}

pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Adds a text: its length in two octets, then its octets. A text that is too long is cut between two characters.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = cut(text, usize::from(u16::MAX));
    // `cut` leaves at most u16::MAX octets, so the length always fits.
    put_u16(out, text.len() as u16);
    out.extend_from_slice(text.as_bytes());
}

/// Returns the beginning of `text`: whole characters in at most `limit` octets.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// Returns the value that `read` reads, if a flag said that it is `there`; `None` otherwise.
pub(super) fn optional<T>(
    there: bool,
    read: impl FnOnce() -> Result<T, MalformedOctets>,
) -> Result<Option<T>, MalformedOctets> {
    there.then(read).transpose()
}

/// Returns an octet with these flags as its bits, the first one lowest.
pub(super) fn pack<const N: usize>(flags: [bool; N]) -> u8 {
    flags.iter().enumerate().fold(0, |octet, (bit, set)| octet | u8::from(*set) << bit)
}

/// Returns the bits of an octet, the lowest first.
pub(super) fn unpack(octet: u8) -> [bool; 8] {
    std::array::from_fn(|bit| octet >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_at_the_end_and_consumes_nothing_there() {
        let mut reader = OctetReader::new(&[1, 2, 0, 3]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u32(), Err(MalformedOctets));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!((reader.left(), reader.take(2)), (1, Err(MalformedOctets)));
        assert_eq!(reader.u8(), Ok(3));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn texts_are_bounded_by_their_length_and_must_be_utf8() {
        let mut out = Vec::new();
        put_text(&mut out, "grüß");
        assert_eq!(OctetReader::new(&out).text(), Ok("grüß"));
        assert_eq!(OctetReader::new(&out[..out.len() - 1]).text(), Err(MalformedOctets));
        assert_eq!(OctetReader::new(&[1, 0, 0xFF]).text(), Err(MalformedOctets));
        assert_eq!(OctetReader::new(&[0xFF, 0xFF, b'a']).text(), Err(MalformedOctets));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("aü", 2), "a");
        let mut out = Vec::new();
        put_text(&mut out, &"ü".repeat(40_000));
        assert_eq!(OctetReader::new(&out).text().map(str::len), Ok(65_534));
    }
}
