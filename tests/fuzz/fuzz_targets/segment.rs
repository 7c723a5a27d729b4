//! Any octets as one segment of the spool, and as the records of one.
#![no_main]

use nullmta::spool::parse::{self, FIRST_RECORD};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    parse::segment(octets);
    // Behind a header that is none: so much before the first record is more than a fuzzer gets past.
    parse::segment(&[&[0; FIRST_RECORD as usize], octets].concat());
});
