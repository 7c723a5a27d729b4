//! Opens TCP sockets on loopback addresses: `127.0.0.1`, `[::1]`, and others.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::listener::bound::{BACKLOG, BindError, Bound, io_error};

/// Listens on `address`, which must be a loopback address; port 0 takes a free port.
pub fn bind(address: SocketAddr) -> Result<Bound, BindError> {
    if !address.ip().is_loopback() {
        return Err(BindError::NotLoopback(address));
    }
    let socket = listening(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address.to_string()),
        io::ErrorKind::PermissionDenied => BindError::Denied(address),
        _ => io_error("listen on", address)(error),
    })?;
    Bound::tcp(socket.into())
}

fn listening(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of the previous process in TIME_WAIT do not block the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_listened_on_and_then_taken() {
        let bound = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.to_string().parse().unwrap();
        assert!(std::net::TcpStream::connect(address).is_ok());
        let error = bind(address).unwrap_err();
        assert!(matches!(error, BindError::InUse(_)), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[test]
    fn other_addresses_are_refused_before_anything_is_bound() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:25", "[2001:db8::1]:25"] {
            let error = bind(address.parse().unwrap()).unwrap_err();
            assert!(matches!(error, BindError::NotLoopback(_)), "{address}: {error}");
            assert!(error.to_string().contains("listen.addresses"), "{error}");
        }
    }

    #[test]
    fn a_passed_socket_must_be_loopback_too() {
        let everywhere = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        assert!(matches!(Bound::tcp(everywhere), Err(BindError::NotLoopback(_))));
        let loopback = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Bound::tcp(loopback).is_ok());
    }
}
