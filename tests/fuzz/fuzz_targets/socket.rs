//! Any octets as the kernel's table of TCP sockets, and as its answer about one.
//!
//! Promises: nothing panics; a user is told of a socket only if the addresses of both its ends stand in the octets, in one line
//! of the table, behind which its line ends; that a table goes on behind that changes nothing.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nullmta::listener::owner::parse::{FourTuple, in_answer, in_table};

/// The number of the query to which the octets are an answer.
const QUERY: u32 = 7;

/// Both ends of a connection, as the seeds have them, with their forms in the tables of a machine like this one.
static TUPLES: LazyLock<[(FourTuple, [String; 2]); 2]> = LazyLock::new(|| {
    let word = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
    let zeros = word([0; 4]);
    let loopback = word([127, 0, 0, 1]);
    let mapped = format!("{zeros}{zeros}{}{loopback}", word([0, 0, 255, 255]));
    let v6 = format!("{zeros}{zeros}{zeros}{}", word([0, 0, 0, 1]));
    let tuple = |client: &str, ours: &str| FourTuple::of(client.parse().unwrap(), ours.parse().unwrap());
    [
        (tuple("127.0.0.1:50000", "127.0.0.1:25"), [loopback, mapped]),
        (tuple("[::1]:50000", "[::1]:25"), [v6.clone(), v6]),
    ]
});

/// Returns whether a whole line names both ends, each in one of these forms.
fn has_line(octets: &[u8], forms: &[String; 2]) -> bool {
    octets.split_inclusive(|octet| *octet == b'\n').filter(|line| line.ends_with(b"\n")).any(|line| {
        let line = String::from_utf8_lossy(line).to_uppercase();
        let names = |port: &str| forms.iter().any(|form| line.contains(&format!("{form}:{port}")));
        names("C350") && names("0019")
    })
}

fuzz_target!(|octets: &[u8]| {
    for (tuple, forms) in &*TUPLES {
        let owner = in_table(octets, *tuple);
        if owner.is_some() {
            assert!(has_line(octets, forms));
            let more = [octets, b"\nand more"].concat();
            assert_eq!(in_table(&more, *tuple), owner);
        }
        if in_answer(octets, QUERY, *tuple).is_some() {
            // A header, and the description of a socket, with the ports in it.
            assert!(octets.len() >= 88 && octets[20..24] == [0xC3, 0x50, 0, 25]);
        }
    }
});
