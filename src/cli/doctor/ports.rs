//! Who listens at the addresses at which mail is taken.
//!
//! Promises: nothing is connected to: the tables of the kernel tell who listens (proc(5)). Which program has a socket is seen by root
//! alone.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::process::geteuid;

use super::finding::Finding;
use crate::config::Config;
use crate::log::Foreign;

const CHECK: &str = "ports";

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListeningSocket {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

/// A process that has a socket.
struct SocketHolder {
    pid: u32,
    name: String,
}

/// Those who have a socket.
#[derive(Clone, Copy)]
struct Holders<'a> {
    /// The daemon, if it is one of them.
    ours: Option<&'a SocketHolder>,
    /// One of them; `None` if they cannot be seen.
    first: Option<&'a SocketHolder>,
}

/// Returns what there is to be said of each address at which `config` has the daemon listen, or systemd holds `sockets` for it;
/// `daemon` is its process, if that is known.
pub(super) fn findings(config: Option<&Config>, sockets: &[String], daemon: Option<u32>) -> Vec<Finding> {
    let of_systemd: Vec<SocketAddr> = sockets.iter().filter_map(|socket| socket.parse().ok()).collect();
    let of_config = config.map(|config| config.listen.addresses.iter().chain(&config.listen.tls_addresses));
    let wanted: Vec<SocketAddr> = match of_systemd.is_empty() {
        true => of_config.into_iter().flatten().copied().filter(|address| address.port() != 0).collect(),
        false => of_systemd.clone(),
    };
    let listening = listening();
    let said = wanted.into_iter().map(|address| {
        let socket = listening.iter().find(|socket| is_at(socket.address, address));
        let holders = socket.map_or_else(Vec::new, |socket| holders_of(socket.inode));
        let is_ours = |holder: &SocketHolder| match daemon {
            Some(pid) => holder.pid == pid,
            // It may begin, or hang.
            None => holder.name == "nullmta",
        };
        let holders = Holders { ours: holders.iter().find(|holder| is_ours(holder)), first: holders.first() };
        about(address, socket, holders, of_systemd.contains(&address))
    });
    said.collect()
}

/// Returns whether a socket that listens at `socket` takes what is for `wanted`.
fn is_at(socket: SocketAddr, wanted: SocketAddr) -> bool {
    let is_for_all = socket.ip().is_unspecified() && (socket.is_ipv6() || wanted.is_ipv4());
    socket.port() == wanted.port() && (socket.ip() == wanted.ip() || is_for_all)
}

/// Returns what there is to be said of `address`, where `socket` listens, which `holders` have.
fn about(
    address: SocketAddr,
    socket: Option<&ListeningSocket>,
    holders: Holders<'_>,
    is_of_systemd: bool,
) -> Finding {
    let Some(socket) = socket else {
        return match address.is_ipv6() && !has_ipv6() {
            true => Finding::ok(CHECK, format!("{address}: this host has no IPv6")),
            false => Finding::broken(
                CHECK,
                format!("nobody listens at {address}: programs that hand in mail there fail"),
                "start the daemon, or name another address in listen.addresses",
            ),
        };
    };
    let told = |holder: &SocketHolder| format!("{} (pid {})", Foreign(&holder.name), holder.pid);
    match (holders.ours, holders.first) {
        (Some(ours), _) => Finding::ok(CHECK, format!("{address}: {}", told(ours))),
        (None, Some(systemd)) if is_of_systemd && systemd.pid == 1 => {
            Finding::ok(CHECK, format!("{address}: systemd, for the daemon"))
        }
        (None, None) if is_of_systemd => Finding::ok(CHECK, format!("{address}: systemd, for the daemon")),
        (None, Some(other)) => Finding::broken(
            CHECK,
            format!("{address} is taken by {}: mail that is handed in there is not ours", told(other)),
            "stop it, and keep it from starting again (systemctl disable --now postfix, say), then start nullmta",
        ),
        (None, None) => Finding::look(
            CHECK,
            format!("somebody with uid {} listens at {address}", socket.uid),
            "run nullmta doctor as root to see who",
        ),
    }
}

/// Returns whether the loopback address of IPv6 can be used.
fn has_ipv6() -> bool {
    const LOOPBACK: &str = "00000000000000000000000000000001";
    fs::read_to_string("/proc/net/if_inet6")
        .is_ok_and(|text| text.lines().any(|line| line.starts_with(LOOPBACK)))
}

/// Returns the sockets that listen.
fn listening() -> Vec<ListeningSocket> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|text| text.lines().filter_map(listening_in)).collect()
}

/// Returns the socket in a line of `/proc/net/tcp`, if it listens.
fn listening_in(line: &str) -> Option<ListeningSocket> {
    const LISTENS: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, LISTENS, _, _, _, uid, _, inode, ..] = fields[..] else { return None };
    let (ip, port) = local.split_once(':')?;
    let address = SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    Some(ListeningSocket { address, uid: uid.parse().ok()?, inode: inode.parse().ok()? })
}

/// Returns the address in the form of the kernel: words of 32 bits, each as the host has them in memory.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word =
        |place: usize| u32::from_str_radix(hex.get(place * 8..place * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

/// Returns the processes that have the socket `inode`; none for who is not root.
fn holders_of(inode: u64) -> Vec<SocketHolder> {
    let Some(processes) = geteuid().is_root().then(|| fs::read_dir("/proc").ok()).flatten() else {
        return Vec::new();
    };
    let link = format!("socket:[{inode}]");
    let holder = |pid: u32| {
        let mut files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*link)).then(|| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            SocketHolder { pid, name: name.trim().into() }
        })
    };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(holder).collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Health;
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_of_the_kernel_is_read() {
        let listens = "   0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 4711 1 0";
        let expected = ListeningSocket { address: at("127.0.0.1:25"), uid: 104, inode: 4711 };
        if cfg!(target_endian = "little") {
            assert_eq!(listening_in(listens), Some(expected));
            let six = "   1: 00000000000000000000000001000000:0019 0:0 0A 0:0 00:0 0 0 0 42 1";
            assert_eq!(listening_in(six).unwrap().address, at("[::1]:25"));
        }
        assert_eq!(listening_in(&listens.replace(" 0A ", " 01 ")), None, "a connection");
        assert_eq!(listening_in("  sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn a_socket_for_all_addresses_takes_ours() {
        for (socket, wanted, expected) in [
            ("127.0.0.1:25", "127.0.0.1:25", true),
            ("127.0.0.1:26", "127.0.0.1:25", false),
            ("0.0.0.0:25", "127.0.0.1:25", true),
            ("[::]:25", "[::1]:25", true),
            ("[::]:25", "127.0.0.1:25", true),
            ("0.0.0.0:25", "[::1]:25", false),
        ] {
            assert_eq!(is_at(at(socket), at(wanted)), expected, "{socket} {wanted}");
        }
    }

    /// Postfix had the port, and took what was meant for us.
    #[test]
    fn who_has_our_port_is_named() {
        let socket = ListeningSocket { address: at("127.0.0.1:25"), uid: 0, inode: 1 };
        let holder = |pid, name: &str| SocketHolder { pid, name: name.into() };
        let said = |holders: &[SocketHolder], is_of_systemd| {
            let ours = holders.iter().find(|holder| holder.pid == 900);
            let holders = Holders { ours, first: holders.first() };
            let finding = about(socket.address, Some(&socket), holders, is_of_systemd);
            (finding.result, finding.words)
        };
        let (health, words) = said(&[holder(812, "master")], false);
        assert_eq!(health, Health::Broken);
        assert!(words.starts_with("127.0.0.1:25 is taken by master (pid 812)"), "{words}");
        let ours = [holder(1, "systemd"), holder(900, "nullmta")];
        assert_eq!(said(&ours, true), (Health::Ok, "127.0.0.1:25: nullmta (pid 900)".into()));
        assert_eq!(said(&ours[..1], true).0, Health::Ok);
        assert_eq!(said(&ours[..1], false).0, Health::Broken, "another socket unit");
        assert_eq!((said(&[], true).0, said(&[], false).0), (Health::Ok, Health::Look));
        assert_eq!(
            about(socket.address, None, Holders { ours: None, first: None }, false).result,
            Health::Broken
        );
    }
}
