//! Any octets as one segment of the spool.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    nullmta::spool::parse::segment(octets);
});
