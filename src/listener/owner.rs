//! Whose a loopback TCP connection is, by the kernel's table of sockets.
//!
//! Promises: what is not found, cannot be read or belongs to nobody any more is absent, and never the wrong user.
//! The table is read off the async threads, by few at a time, and never more than [`MOST`] octets of it.
//!
//! Not here: what follows from it (`limits.rs`). proc(5), `/proc/net/tcp`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::sync::Semaphore;

/// Octets of a table that are read; some 50,000 sockets.
const MOST: u64 = 8 << 20;

/// Tables are read by so many at a time.
static READERS: Semaphore = Semaphore::const_new(2);

/// The uid of the process that connected from `from` to `to`.
pub(super) async fn owner_of(from: SocketAddr, to: SocketAddr) -> Option<u32> {
    let _reader = READERS.acquire().await.ok()?;
    tokio::task::spawn_blocking(move || look_up(from, to)).await.ok().flatten()
}

fn look_up(from: SocketAddr, to: SocketAddr) -> Option<u32> {
    let table = |name| Some(BufReader::new(File::open(name).ok()?.take(MOST)));
    let (from, to) = (canonical(from), canonical(to));
    let short = || find(table("/proc/self/net/tcp")?, &short_name(from)?, &short_name(to)?);
    // An IPv6 socket may have connected to an IPv4 address.
    let long = || find(table("/proc/self/net/tcp6")?, &long_name(from), &long_name(to));
    short().or_else(long)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// As the table of IPv4 writes it: words as they lie in memory.
fn short_name(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
}

/// As the table of IPv6 writes it.
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

/// The uid in the line of the socket whose own address is `local`.
fn find(table: impl BufRead, local: &str, remote: &str) -> Option<u32> {
    table.lines().map_while(Result::ok).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, of, to, _state, _queues, _timer, _retransmits, uid, _timeout, inode, ..] = fields[..] else {
            return None;
        };
        // A socket that nobody has open any more is listed as root's.
        (of == local && to == remote && inode != "0").then(|| uid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0000000000000000 100 0 0 10 0
   1: 0100007F:C350 0100007F:0019 01 00000000:00000000 00:00000000 00000000  1000        0 21 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:0019 0100007F:C350 01 00000000:00000000 00:00000000 00000000    33        0 22 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:C351 0100007F:0019 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0000000000000000
   4: 0100007F:C352 0100007F:0019 01 short
   5: 0100007F:C353 0100007F:0019 01 00000000:00000000 00:00000000 00000000  -1        0 21 1
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
        ];
        for (local, remote, expected) in cases {
            assert_eq!(find(TABLE.as_bytes(), local, remote), expected, "{local} {remote}");
        }
    }

    #[test]
    fn the_kernel_says_whose_a_connection_is() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (ours, from) = listener.accept().unwrap();
            let to = ours.local_addr().unwrap();
            assert_eq!(look_up(from, to), Some(rustix::process::geteuid().as_raw()), "{address}");
            drop(client);
            assert_eq!(look_up(from, to), None, "nobody has it open any more");
        }
    }

    #[test]
    fn an_ipv6_socket_with_an_ipv4_address_has_a_long_name() {
        let name = long_name("127.0.0.1:25".parse().unwrap());
        let mapped = if cfg!(target_endian = "little") { "FFFF00000100007F" } else { "0000FFFF7F000001" };
        assert_eq!(name, format!("0000000000000000{mapped}:0019"));
    }
}
