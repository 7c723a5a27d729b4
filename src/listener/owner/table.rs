//! The kernel's table of all TCP sockets: proc(5), `/proc/net/tcp`.
//!
//! Promises: at most [`MOST`] octets of a table are read. A line gives no user if it cannot be parsed, or is about a
//! socket that is not established or not open in any process.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The octets of a table that are read: about 50,000 sockets.
const MOST: u64 = 8 << 20;

/// The state `TCP_ESTABLISHED`, as the table writes it.
const ESTABLISHED: &str = "01";

/// Returns the user who owns the socket that connected from `from` to `to`.
pub(super) fn owner_of(from: SocketAddr, to: SocketAddr) -> Option<u32> {
    let table = |name| Some(BufReader::new(File::open(name).ok()?.take(MOST)));
    let short = || find(table("/proc/self/net/tcp")?, &short_name(from)?, &short_name(to)?);
    // An IPv6 socket may have connected to an IPv4 address.
    let long = || find(table("/proc/self/net/tcp6")?, &long_name(from), &long_name(to));
    short().or_else(long)
}

/// Returns an address in the form of the IPv4 table, in which words have the byte order of memory.
fn short_name(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
}

/// Returns an address in the form of the IPv6 table.
fn long_name(address: SocketAddr) -> String {
    let ip: Ipv6Addr = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let octets = ip.octets();
    let (words, _) = octets.as_chunks::<4>();
    let words: String = words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect();
    format!("{words}:{:04X}", address.port())
}

/// Returns the uid in the line of the socket that has the address `local` and the peer `remote`.
fn find(table: impl BufRead, local: &str, remote: &str) -> Option<u32> {
    table.lines().map_while(Result::ok).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, of, to, state, _queues, _timer, _retransmits, uid, _timeout, inode, ..] = fields[..] else {
            return None;
        };
        // A socket that no process has open any more is listed as owned by root, with inode 0.
        let is_it = of == local && to == remote && state == ESTABLISHED;
        (is_it && inode != "0").then(|| uid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0000000000000000 100 0 0 10 0
   1: 0100007F:C350 0100007F:0019 01 00000000:00000000 00:00000000 00000000  1000        0 21 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:0019 0100007F:C350 01 00000000:00000000 00:00000000 00000000    33        0 22 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:C351 0100007F:0019 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0000000000000000
   4: 0100007F:C352 0100007F:0019 01 short
   5: 0100007F:C353 0100007F:0019 01 00000000:00000000 00:00000000 00000000  -1        0 21 1
   6: 0100007F:C355 0100007F:0019 05 00000000:00000000 00:00000000 00000000  1001        0 21 1
   7: 0100007F:C355 0100007F:0019 02 00000000:00000000 00:00000000 00000000  1002        0 21 1
";

    #[test]
    fn a_user_is_found_by_both_addresses_or_not_at_all() {
        let cases = [
            ("0100007F:C350", "0100007F:0019", Some(1000)),
            ("0100007F:C350", "0100007F:001A", None),
            ("0100007F:C351", "0100007F:0019", None),
            ("0100007F:C352", "0100007F:0019", None),
            ("0100007F:C353", "0100007F:0019", None),
            ("0100007F:C354", "0100007F:0019", None),
            // The first socket is closing, and the second one is not connected yet.
            ("0100007F:C355", "0100007F:0019", None),
        ];
        for (local, remote, expected) in cases {
            assert_eq!(find(TABLE.as_bytes(), local, remote), expected, "{local} {remote}");
        }
    }

    #[test]
    fn an_ipv6_socket_with_an_ipv4_address_has_a_long_name() {
        let name = long_name("127.0.0.1:25".parse().unwrap());
        let mapped = if cfg!(target_endian = "little") { "FFFF00000100007F" } else { "0000FFFF7F000001" };
        assert_eq!(name, format!("0000000000000000{mapped}:0019"));
    }
}
