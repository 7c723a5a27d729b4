//! The user of a loopback TCP client: the owner of the socket at the other end, as the kernel knows it.
//!
//! Promises:
//! 1. The answer is the right user or none. There is none if the socket is not found, the kernel cannot be asked, or
//!    no process has the socket open any more. The socket must be in the state ESTABLISHED, and both its addresses
//!    and ports must be those of our connection.
//! 2. That holds when a port is reused, too. After the answer, our end is checked: while it is connected, no other
//!    socket can have these addresses. If it is not, the answer may be about another connection and is dropped.
//! 3. The look-up is made once for each connection. What may take long is done off the async threads, by few at a time.
//!
//! The kernel is asked for this one socket (`diag.rs`). That takes about 10 µs, however many sockets there are, so it is
//! done for every connection, and without a change of threads, which would cost more than the query. The first query may
//! make the kernel load a module, and if there is none, each query looks for it again. So a query is made off the
//! async threads, unless the one before it was answered. Where the kernel cannot be asked (AF_NETLINK is forbidden, or
//! the kernel lacks the module), the kernel's table of all sockets is read (`table.rs`): with 1,500 sockets that takes
//! 12 ms of processor time, in which a hundred messages could be accepted. So it is done only while places are scarce.
//!
//! Not here: the use of the answer (`limits.rs`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

mod diag;
mod table;

/// The number of threads that may ask the kernel at a time.
const ASKING: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(ASKING);

/// True if the kernel has answered the last query about one socket, so that the next one takes no time.
static ANSWERS: AtomicBool = AtomicBool::new(false);

/// The effort that a look-up may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookupEffort {
    /// A query for one socket, and nothing else.
    OneSocket,
    /// The table of all sockets of this host, if the query is not possible.
    WholeTable,
}

/// Returns the uid of the process at the other end of `stream`, which connected from `from`.
pub(super) async fn owner_of(stream: &TcpStream, from: SocketAddr, effort: LookupEffort) -> Option<u32> {
    let (from, to) = (canonical(from), canonical(stream.local_addr().ok()?));
    let at_once = if ANSWERS.load(Ordering::Relaxed) { ask(from, to) } else { None };
    let owner = match at_once {
        Some(owner) => owner,
        None => look_up_apart(from, to, effort).await,
    };
    // Promise 2: getpeername(2) fails once the connection is reset.
    stream.peer_addr().ok()?;
    owner
}

/// Looks it up off the async threads.
async fn look_up_apart(from: SocketAddr, to: SocketAddr, effort: LookupEffort) -> Option<u32> {
    let _turn = TURNS.acquire().await.ok()?;
    let look_up = move || match ask(from, to) {
        Some(owner) => owner,
        None if effort == LookupEffort::WholeTable => table::owner_of(from, to),
        None => None,
    };
    tokio::task::spawn_blocking(look_up).await.ok().flatten()
}

/// Asks the kernel about one socket and returns its answer; `None` if it does not answer.
fn ask(from: SocketAddr, to: SocketAddr) -> Option<Option<u32>> {
    let answer = diag::owner_of(from, to).ok();
    ANSWERS.store(answer.is_some(), Ordering::Relaxed);
    answer
}

/// Converts `::ffff:127.0.0.1`, which a dual-stack socket reports for an IPv4 client, to the IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use socket2::{Domain, SockAddr, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    fn connected(to: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.connect(&SockAddr::from(to)).unwrap();
        socket
    }

    /// Returns a connection from a port that was in use a moment ago; `None` if another program of this host has
    /// taken the port before.
    fn connected_again(from: SocketAddr, to: SocketAddr) -> Option<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        match socket.bind(&from.into()).and_then(|()| socket.connect(&SockAddr::from(to))) {
            Ok(()) => Some(socket),
            Err(error) if error.kind() == ErrorKind::AddrInUse => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn the_kernel_says_whose_a_connection_is() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let client = connected(listener.local_addr().unwrap());
            let (ours, from) = listener.accept().await.unwrap();
            let me = Some(rustix::process::geteuid().as_raw());
            assert_eq!(owner_of(&ours, from, LookupEffort::WholeTable).await, me, "{address}");
            drop(client);
            assert_eq!(
                owner_of(&ours, from, LookupEffort::WholeTable).await,
                None,
                "{address}: nobody has it open"
            );
        }
    }

    /// A client reset its connection, another user got its port, and the message of the first was taken for one of
    /// the second.
    #[tokio::test]
    async fn whoever_gets_the_port_of_a_connection_is_not_taken_for_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let mut tries = 0;
        let (ours, from, _other) = loop {
            let client = connected(to);
            let (ours, from) = listener.accept().await.unwrap();
            // The connection ends with a reset, after which the port is free at once.
            client.set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            if let Some(other) = connected_again(from, to) {
                break (ours, from, other);
            }
            tries += 1;
            assert!(tries < 20, "the port is taken by others each time");
        };
        let (others, _) = listener.accept().await.unwrap();
        assert!(owner_of(&others, from, LookupEffort::WholeTable).await.is_some());
        assert_eq!(owner_of(&ours, from, LookupEffort::WholeTable).await, None);
    }

    /// The query for one socket and the table of all sockets give the same user.
    #[tokio::test]
    async fn both_ways_agree() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let _client = connected(to);
        let (_ours, from) = listener.accept().await.unwrap();
        let by_table = table::owner_of(from, to);
        assert!(by_table.is_some());
        if let Ok(owner) = diag::owner_of(from, to) {
            assert_eq!(owner, by_table);
        }
    }
}
