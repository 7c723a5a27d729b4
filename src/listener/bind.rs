//! Opens every socket that the configuration lists.
//!
//! A host without IPv6 is not an error: `[::1]` is left out with a warning, if another socket remains.
//!
//! Fails: with a [`BindError`] that names the address and says what to do; then no socket is open.

use crate::config::ListenConfig;
use crate::listener::{tcp, unix as unix_socket};
use crate::log;

pub use crate::listener::bound::{BindError, Bound};

/// Opens all sockets of `listen`.
pub fn bind(listen: &ListenConfig) -> Result<Vec<Bound>, BindError> {
    let mut bound = Vec::new();
    let plain = listen.addresses.iter().map(|address| (*address, false));
    for (address, is_tls) in plain.chain(listen.tls_addresses.iter().map(|address| (*address, true))) {
        match tcp::bind(address) {
            Ok(listener) if is_tls => bound.push(listener.within_tls()),
            Ok(listener) => bound.push(listener),
            Err(error) if address.is_ipv6() && is_no_such_address(&error) => {
                log::address_left_out(address, &error);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(path) = &listen.socket {
        bound.push(unix_socket::bind(path)?);
    }
    if bound.is_empty() { Err(BindError::Nothing) } else { Ok(bound) }
}

/// Returns whether this is the error that a kernel without IPv6, or with IPv6 disabled, gives for `[::1]`.
fn is_no_such_address(error: &BindError) -> bool {
    use rustix::io::Errno;
    let BindError::Io { source, .. } = error else { return false };
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|no| source.raw_os_error() == Some(no.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::bound::io_error;
    use crate::listener::tests::listen;

    #[test]
    fn everything_asked_for_is_listened_on() {
        let directory = tempfile::tempdir().unwrap();
        let tls_addresses = vec!["127.0.0.1:0".parse().unwrap()];
        let listen =
            ListenConfig { socket: Some(directory.path().join("submit.sock")), tls_addresses, ..listen() };
        let bound = bind(&listen).unwrap();
        assert!(matches!(&bound[..], [Bound::Tcp(_), Bound::Tls(_), Bound::Unix(_)]), "{bound:?}");
        let address: std::net::SocketAddr = bound[0].to_string().parse().unwrap();
        assert_ne!(address.port(), 0);
        assert_ne!(bound[1].address().unwrap().port(), 0);
        assert!(bound[2].to_string().ends_with("/submit.sock"), "{}", bound[2]);
    }

    #[test]
    fn nothing_and_other_hosts_addresses_are_errors() {
        let nothing = ListenConfig { addresses: Vec::new(), ..listen() };
        assert!(matches!(bind(&nothing), Err(BindError::Nothing)));
        let everywhere = ListenConfig { addresses: vec!["0.0.0.0:0".parse().unwrap()], ..listen() };
        assert!(matches!(bind(&everywhere), Err(BindError::NotLoopback(_))));
    }

    #[test]
    fn only_a_missing_address_is_left_out() {
        use rustix::io::Errno;
        let cases = [
            (Errno::ADDRNOTAVAIL, true),
            (Errno::AFNOSUPPORT, true),
            (Errno::ACCESS, false),
            (Errno::MFILE, false),
        ];
        for (errno, left_out) in cases {
            let error = io_error("listen on", "[::1]:25")(errno.into());
            assert_eq!(is_no_such_address(&error), left_out, "{error}");
        }
        assert!(!is_no_such_address(&BindError::InUse("[::1]:25".into())));
    }

    #[test]
    fn errors_name_the_address_and_say_what_to_do() {
        let address = "127.0.0.1:25".parse().unwrap();
        let cases = [
            (BindError::Denied(address), ["127.0.0.1:25", "CAP_NET_BIND_SERVICE"]),
            (BindError::InUse(address.to_string()), ["127.0.0.1:25", "another mail server"]),
            (BindError::NotLoopback("192.0.2.1:25".parse().unwrap()), ["192.0.2.1:25", "127.0.0.1"]),
            (BindError::NotASocket("/run/x".into()), ["/run/x", "listen.socket"]),
            (BindError::Nothing, ["listen.addresses", "listen.socket"]),
        ];
        for (error, words) in cases {
            let text = error.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}
