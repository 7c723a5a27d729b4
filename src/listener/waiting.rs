//! The reply to clients that wait for a daemon which cannot start.
//!
//! If systemd holds the sockets, the kernel accepts connections while no daemon runs. While the daemon starts,
//! clients may wait. If its start fails, they would wait until their own timeout, which is minutes as a rule, and a
//! web page that sends mail would hang that long.
//!
//! Promises: each client that waits at the sockets gets 421 (RFC 5321 3.8), and its connection is closed; one that expects TLS
//! from the first octet only sees the latter. No octet
//! from a client is read, and no client is waited for.

use std::io::{self, Write};

use super::bound::{BACKLOG, Bound};
use crate::smtp::reply::Reply;

/// Sends `reply` to each client that waits at these sockets, and closes its connection.
pub fn turn_away(sockets: &[Bound], reply: &Reply) {
    let mut octets = Vec::new();
    reply.encode(&mut octets);
    for socket in sockets {
        // At most as many connections are closed as can wait, so that clients that connect again and again do not
        // keep us here.
        for _ in 0..=BACKLOG {
            // Either no client is left, or none can be accepted; the next start will serve it.
            if tell(socket, &octets).is_err() {
                break;
            }
        }
    }
}

/// Accepts one connection and sends the reply; fails only if no connection can be accepted.
fn tell(socket: &Bound, octets: &[u8]) -> io::Result<()> {
    match socket {
        Bound::Tcp(listener) => say_and_close(listener.accept()?.0, octets),
        // Its client expects TLS, for which there may be no certificate: it sees the connection close.
        Bound::Tls(listener) => drop(listener.accept()?),
        Bound::Unix(listener) => say_and_close(listener.accept()?.0, octets),
    }
    Ok(())
}

fn say_and_close(mut stream: impl Write, octets: &[u8]) {
    // A new connection always has room for one line. A client that has gone needs no reply.
    let _ = stream.write_all(octets);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::config::ListenConfig;
    use crate::listener::bind::bind;
    use crate::listener::tests::listen;
    use crate::status::Status;

    /// Clients of a daemon that could not start hung until their own timeout, at sockets that systemd held.
    #[test]
    fn who_waits_is_told_and_who_left_is_no_trouble() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("submit.sock");
        let bound = bind(&ListenConfig { socket: Some(path.clone()), ..listen() }).unwrap();
        let address = bound[0].to_string().parse::<std::net::SocketAddr>().unwrap();
        drop(TcpStream::connect(address).unwrap());
        let mut clients: Vec<Box<dyn Read>> = vec![
            Box::new(TcpStream::connect(address).unwrap()),
            Box::new(TcpStream::connect(address).unwrap()),
            Box::new(UnixStream::connect(&path).unwrap()),
        ];
        turn_away(&bound, &Reply::new(421, Status::transient(3, 5), "not now"));
        for client in &mut clients {
            let mut told = String::new();
            client.read_to_string(&mut told).unwrap();
            assert_eq!(told, "421 4.3.5 not now\r\n");
        }
    }
}
