//! What the clients are told that wait at a daemon which cannot start.
//!
//! Where systemd holds the sockets the kernel accepts connections for a daemon that is not there. As long as it starts
//! anew they may wait; where its start fails, they would wait until their own patience ends, minutes as a rule, and a
//! web page that sends mail would hang as long.
//!
//! Promises: who waits at the sockets is told 421 (RFC 5321 3.8), and the connection is closed; no octet of a client is
//! read, and no client is waited for.

use std::io::{self, Write};

use super::bound::{BACKLOG, Bound};
use crate::smtp::reply::Reply;

/// Tells each client that waits at these sockets `reply`, and closes its connection.
pub fn turn_away(sockets: &[Bound], reply: &Reply) {
    let mut octets = Vec::new();
    reply.encode(&mut octets);
    for socket in sockets {
        // As many as can wait: who comes again and again keeps nobody here.
        for _ in 0..=BACKLOG {
            // No more of them, or none can be accepted: the next start has them.
            if tell(socket, &octets).is_err() {
                break;
            }
        }
    }
}

/// Accepts one connection and tells it so; fails only where none can be accepted.
fn tell(socket: &Bound, octets: &[u8]) -> io::Result<()> {
    match socket {
        Bound::Tcp(listener) => say_and_close(listener.accept()?.0, octets),
        Bound::Unix(listener) => say_and_close(listener.accept()?.0, octets),
    }
    Ok(())
}

fn say_and_close(mut stream: impl Write, octets: &[u8]) {
    // One line always has room in a connection that is new. A client that is gone misses nothing.
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

    /// Clients of a daemon that could not start, at sockets that systemd held, hung until their own patience ended.
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
