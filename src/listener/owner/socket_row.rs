//! A TCP socket as the kernel describes it, in an answer of its own (`diag.rs`) or in a line of its table (`table.rs`).
//!
//! Promises: the rule by which such a description gives a user is here alone, for both. A line that is cut off, or is
//! none, describes no socket; nothing panics.
//!
//! Pure. proc(5), `/proc/net/tcp`; net/tcp_states.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The highest 32-bit number, which is no user's uid: setuid(2) takes it for "unchanged".
const NO_UID: u32 = u32::MAX;

/// The addresses and ports of both ends of a connection, as one of them sees it. IPv4 addresses are never written in the
/// form of IPv6 (`::ffff:127.0.0.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FourTuple {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl FourTuple {
    /// Returns the addresses of a socket that has `local` and is connected to `remote`.
    pub fn of(local: SocketAddr, remote: SocketAddr) -> Self {
        FourTuple { local: canonical(local), remote: canonical(remote) }
    }

    /// Returns the same as the other end sees it.
    pub fn reversed(self) -> Self {
        FourTuple { local: self.remote, remote: self.local }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A state in which a client's socket may own a connection whose other end we have not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwningState {
    Established,
    /// The client has ended its direction, and may still read: FIN_WAIT1 or FIN_WAIT2.
    HalfClosed,
}

impl OwningState {
    /// Returns the state with this number in net/tcp_states.h; `None` for each other one.
    pub fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(OwningState::Established),
            4 | 5 => Some(OwningState::HalfClosed),
            // Its handshake is not over (2, 3), it is closed or closing on both sides (6 to 9, 11), or it listens (10).
            _ => None,
        }
    }
}

/// A description of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketRow {
    pub tuple: FourTuple,
    /// The state; `None` for one in which no client of ours is.
    pub state: Option<OwningState>,
    pub uid: u32,
    /// The inode; 0 if no process has the socket open any more. It is then listed as owned by root.
    pub inode: u64,
}

impl SocketRow {
    /// Returns the user who owns the socket; `None` if it is in no state for that, or nobody has it open.
    pub fn owner(&self) -> Option<u32> {
        (self.state.is_some() && self.inode != 0 && self.uid != NO_UID).then_some(self.uid)
    }

    /// Parses a whole line of the table, with its line end.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n")?;
        let mut fields = line.split(|octet| *octet == b' ').filter(|field| !field.is_empty());
        let (_number, local, remote, state) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        // Between them are the queues, the timer and the number of retransmissions; then how long it has been probed.
        let (uid, inode) = (fields.nth(3)?, fields.nth(1)?);
        Some(SocketRow {
            tuple: FourTuple::of(address(local)?, address(remote)?),
            state: OwningState::of(u8::try_from(hexadecimal(state, 2)?).ok()?),
            uid: u32::try_from(decimal(uid)?).ok()?,
            inode: decimal(inode)?,
        })
    }
}

/// Parses `0100007F:0019`, or the same with four words. The octets of a word have the order of this machine's memory.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let colon = text.iter().position(|octet| *octet == b':')?;
    let (ip, port) = (&text[..colon], &text[colon + 1..]);
    let port = u16::try_from(hexadecimal(port, 4)?).ok()?;
    let (words, rest) = ip.as_chunks::<8>();
    let mut octets = [0; 16];
    if !rest.is_empty() || words.len() > 4 {
        return None;
    }
    for (word, place) in words.iter().zip(octets.chunks_exact_mut(4)) {
        place.copy_from_slice(&hexadecimal(word, 8)?.to_ne_bytes());
    }
    let ip = match words.len() {
        1 => IpAddr::from(Ipv4Addr::from([octets[0], octets[1], octets[2], octets[3]])),
        4 => IpAddr::from(Ipv6Addr::from(octets)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Parses exactly so many hexadecimal digits, of which there are at most eight.
fn hexadecimal(text: &[u8], digits: usize) -> Option<u32> {
    let is_number = text.len() == digits && text.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    u32::from_str_radix(text, 16).ok()
}

fn decimal(text: &[u8]) -> Option<u64> {
    // A sign is no digit.
    let text =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the table's form of these octets of an address.
    fn words(octets: &[u8]) -> String {
        let (words, _) = octets.as_chunks::<4>();
        words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
    }

    fn line(client: &str, ours: &str, state: &str, uid: &str, inode: &str) -> String {
        let name = |address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            let ip = match address.ip() {
                IpAddr::V4(ip) => words(&ip.octets()),
                IpAddr::V6(ip) => words(&ip.octets()),
            };
            format!("{ip}:{:04X}", address.port())
        };
        let (client, ours) = (name(client), name(ours));
        format!(
            "   1: {client} {ours} {state} 00000000:00000000 00:00000000 00000000 {uid:>5}        0 {inode} 1 \
             0000000000000000 20 4 30 10 -1\n"
        )
    }

    fn owner(line: &str) -> Option<u32> {
        SocketRow::parse(line.as_bytes()).and_then(|row| row.owner())
    }

    #[test]
    fn a_line_of_the_kernel_is_read() {
        if cfg!(target_endian = "big") {
            return;
        }
        let line = b"   1: 0100007F:C350 0100007F:0019 01 00000000:00000000 00:00000000 00000000  1000        0 21 1 \
                     0000000000000000 20 4 30 10 -1\n";
        let row = SocketRow::parse(line).unwrap();
        let expected = FourTuple::of("127.0.0.1:50000".parse().unwrap(), "127.0.0.1:25".parse().unwrap());
        assert_eq!((row.tuple, row.owner()), (expected, Some(1000)));
        let longer = b"   0: 00000000000000000000000001000000:C350 0000000000000000FFFF00000100007F:0019 01 \
                       00000000:00000000 00:00000000 00000000     0        0 21 1 0000000000000000 20 4 30 10 -1\n";
        let row = SocketRow::parse(longer).unwrap();
        let expected = FourTuple::of("[::1]:50000".parse().unwrap(), "127.0.0.1:25".parse().unwrap());
        assert_eq!((row.tuple, row.owner()), (expected, Some(0)));
    }

    #[test]
    fn a_socket_has_an_owner_while_it_is_connected_and_open() {
        let with = |state: &str, uid: &str, inode: &str| {
            owner(&line("127.0.0.1:50000", "127.0.0.1:25", state, uid, inode))
        };
        for (state, expected) in [
            ("01", Some(33)), // ESTABLISHED
            ("02", None),     // SYN_SENT: another one that wants the port of a connection which we still have
            ("03", None),     // SYN_RECV
            ("04", Some(33)), // FIN_WAIT1
            ("05", Some(33)), // FIN_WAIT2
            ("06", None),     // TIME_WAIT
            ("07", None),     // CLOSE
            ("08", None),     // CLOSE_WAIT: we would have closed it
            ("09", None),     // LAST_ACK
            ("0A", None),     // LISTEN
            ("0B", None),     // CLOSING
            ("0C", None),     // NEW_SYN_RECV
            ("FF", None),
        ] {
            assert_eq!(with(state, "33", "21"), expected, "{state}");
            assert_eq!(
                with(state, "0", "0"),
                None,
                "{state}: nobody has it open, though root is said to own it"
            );
        }
        assert_eq!(with("01", "0", "21"), Some(0));
        assert_eq!(with("01", "4294967294", "18446744073709551615"), Some(4_294_967_294));
    }

    #[test]
    fn what_is_no_number_is_no_socket() {
        let good = ["01", "33", "21"];
        for (place, bad) in [
            (0, "1"),
            (0, "001"),
            (0, "0G"),
            (0, "+1"),
            (0, "-1"),
            (1, "-1"),
            (1, "+33"),
            (1, "4294967295"),
            (1, "4294967296"),
            (1, "33x"),
            (1, "0x21"),
            (2, "-1"),
            (2, "+21"),
            (2, "18446744073709551616"),
            (2, "x"),
        ] {
            let mut fields = good;
            fields[place] = bad;
            let line = line("127.0.0.1:50000", "127.0.0.1:25", fields[0], fields[1], fields[2]);
            assert_eq!(owner(&line), None, "{bad} in {place}");
        }
        let whole = line("127.0.0.1:50000", "[::1]:25", "01", "33", "21");
        assert_eq!(owner(&whole), Some(33));
        for (part, bad) in
            [(":C350", "C350"), (":C350", ":C35"), (":C350", ":0C350"), (":C350", ":+350"), ("7F:", "7F0:")]
        {
            assert_eq!(owner(&whole.replacen(part, bad, 1)), None, "{bad}");
        }
        // Two or five words are no address.
        for changed in [whole.replacen(" 0", " 000000000", 1), whole.replacen("00000000", "", 1)] {
            assert_eq!(owner(&changed), None, "{changed}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_are_a_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            SocketRow::parse(&octets);
        }

        #[test]
        fn every_address_comes_back(ip in any::<IpAddr>(), port in any::<u16>(), uid in 0..u32::MAX) {
            let (client, ours) = (SocketAddr::new(ip, port), SocketAddr::new(ip, 25));
            let line = line(&client.to_string(), &ours.to_string(), "01", &uid.to_string(), "1");
            let row = SocketRow::parse(line.as_bytes()).unwrap();
            prop_assert_eq!((row.tuple, row.owner()), (FourTuple::of(client, ours), Some(uid)));
        }

        #[test]
        fn a_line_that_is_cut_off_is_none(cut in 1..80_usize) {
            let whole = line("127.0.0.1:50000", "[::1]:25", "01", "1000", "21");
            prop_assert_eq!(owner(&whole[..whole.len() - cut]), None);
        }
    }
}
