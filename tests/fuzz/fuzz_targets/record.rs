//! Any octets as one record of the spool: head, and the payload of every kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    nullmta::spool::parse::record(octets);
});
