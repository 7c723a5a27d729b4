//! The user of a loopback TCP client: the owner of the socket at the other end, as the kernel knows it.
//!
//! Promises:
//! 1. The answer is the right user or none. There is none if the socket is not found, the kernel cannot be asked, it
//!    takes longer than [`PATIENCE`], or no process has the socket open any more. Both addresses and both ports of the
//!    socket must be those of our connection, and its handshake must be over (`socket_row.rs`).
//! 2. That holds when a port is reused, too: see below.
//! 3. The look-up is made once for each connection, before its greeting. What may take long is done off the async threads.
//!
//! *Why the answer cannot be that of another user.* Let C be the client's end of our connection, and S ours. The kernel is
//! asked after S was accepted, and after the answer S is looked at: getpeername(2) succeeds, so S was not closed in between,
//! not even by a reset, since a socket never comes back from CLOSE. While S exists, each segment to its addresses is S's. So
//! another socket that takes the port of C, which is possible once C is reset or gone, can send its SYN to nobody but S, which
//! does not answer with SYN-ACK: it stays in SYN_SENT, and that is no state with an owner. A socket with an owner and these
//! addresses is therefore C. Its owner is who made it, as with SO_PEERCRED, in whatever process it is now. What is left of a
//! connection after both ends (TIME_WAIT), or after its process, has no inode, and so no owner.
//!
//! This is true of one stack: a host that translates addresses of its own loopback connections (netfilter, REDIRECT) has
//! sockets which say of themselves that they are connected to us, and are not. There as a rule no socket is found.
//!
//! The kernel is asked for this one socket (`diag.rs`). That takes about 10 µs, however many sockets there are, so it is
//! done without a change of threads, which would cost more than the query. The first query may make the kernel load a module,
//! and if there is none, each query looks for it again. So a query is made off the async threads, unless the one before it was
//! answered. Where the kernel cannot be asked (AF_NETLINK is forbidden, or the kernel lacks the module), the kernel's table of
//! all sockets is read (`table.rs`). That takes 12 ms of processor time with 1,500 sockets, and is shared by all who wait.
//!
//! Not here: the use of the answer (`limits.rs`, `peer.rs`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

mod diag;
#[cfg(any(test, feature = "fuzz"))]
pub mod parse;
mod socket_row;
mod table;

use socket_row::FourTuple;
use table::SocketTable;

/// The time that a client may wait for its greeting because of a look-up. A read of the largest table takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of threads that may ask the kernel at a time.
const ASKING: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(ASKING);

/// True if the kernel has answered the last query about one socket, so that the next one takes no time.
static ANSWERS: AtomicBool = AtomicBool::new(false);

static TABLE: LazyLock<Arc<SocketTable>> = LazyLock::new(SocketTable::of_kernel);

/// Returns the uid of the process at the other end of `stream`, which connected from `from`.
pub(super) async fn owner_of(stream: &TcpStream, from: SocketAddr) -> Option<u32> {
    vouched_for(stream, from, async |tuple| {
        let at_once = if ANSWERS.load(Ordering::Relaxed) { ask(tuple) } else { None };
        match at_once {
            Some(owner) => owner,
            None => timeout(PATIENCE, look_up_apart(tuple)).await.ok().flatten(),
        }
    })
    .await
}

/// Returns the answer of `look_up` about the client's end, if our end is connected still.
async fn vouched_for(
    stream: &TcpStream,
    from: SocketAddr,
    look_up: impl AsyncFnOnce(FourTuple) -> Option<u32>,
) -> Option<u32> {
    let owner = look_up(FourTuple::of(from, stream.local_addr().ok()?)).await;
    // Promise 2: this fails once the connection is reset.
    stream.peer_addr().ok()?;
    owner
}

/// Looks it up off the async threads.
async fn look_up_apart(tuple: FourTuple) -> Option<u32> {
    let turn = TURNS.acquire().await.ok()?;
    let asked = move || {
        let answer = ask(tuple);
        // Not before: the thread goes on asking when nobody waits for it any more.
        drop(turn);
        answer
    };
    let answer = tokio::task::spawn_blocking(asked).await.ok()?;
    match answer {
        Some(owner) => owner,
        None => TABLE.owner_of(tuple).await,
    }
}

/// Asks the kernel about one socket and returns its answer; `None` if it does not answer.
fn ask(tuple: FourTuple) -> Option<Option<u32>> {
    let answer = diag::owner_of(tuple).ok();
    ANSWERS.store(answer.is_some(), Ordering::Relaxed);
    answer
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::Shutdown;

    use socket2::{Domain, SockAddr, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// The ways to find an owner. The kernel of some hosts has no other one than its table.
    const WAYS: [Way; 2] = [Way::AsTheDaemon, Way::ByTable];

    #[derive(Clone, Copy, Debug)]
    enum Way {
        AsTheDaemon,
        ByTable,
    }

    impl Way {
        async fn owner_of(self, stream: &TcpStream, from: SocketAddr) -> Option<u32> {
            match self {
                Way::AsTheDaemon => owner_of(stream, from).await,
                Way::ByTable => vouched_for(stream, from, async |tuple| TABLE.owner_of(tuple).await).await,
            }
        }
    }

    fn me() -> Option<u32> {
        Some(rustix::process::geteuid().as_raw())
    }

    fn connected(to: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.connect(&SockAddr::from(to)).unwrap();
        socket
    }

    /// Ends the connection with a reset, after which its port is free at once.
    fn reset(client: Socket) {
        client.set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
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
            for way in WAYS {
                let client = connected(listener.local_addr().unwrap());
                let (ours, from) = listener.accept().await.unwrap();
                assert_eq!(way.owner_of(&ours, from).await, me(), "{address} {way:?}");
                drop(client);
                assert_eq!(way.owner_of(&ours, from).await, None, "{address} {way:?}: nobody has it open");
            }
        }
    }

    /// A client that had sent all and waited for the last reply was an unknown one.
    #[tokio::test]
    async fn a_client_that_has_ended_its_direction_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for way in WAYS {
            let client = connected(listener.local_addr().unwrap());
            let (ours, from) = listener.accept().await.unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(way.owner_of(&ours, from).await, me(), "{way:?}");
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
            reset(client);
            if let Some(other) = connected_again(from, to) {
                break (ours, from, other);
            }
            tries += 1;
            assert!(tries < 20, "the port is taken by others each time");
        };
        let (others, _) = listener.accept().await.unwrap();
        for way in WAYS {
            assert_eq!(way.owner_of(&others, from).await, me(), "{way:?}");
            assert_eq!(way.owner_of(&ours, from).await, None, "{way:?}");
        }
    }

    /// The same, if it happens while the kernel is asked: before the answer is made, or after it.
    #[tokio::test]
    async fn an_answer_counts_only_if_the_connection_outlives_it() {
        const ANOTHER: Option<u32> = Some(4711);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let client = connected(to);
        let (ours, from) = listener.accept().await.unwrap();
        assert_eq!(vouched_for(&ours, from, async |_| ANOTHER).await, ANOTHER);
        let while_asked = async |_| {
            reset(client);
            ANOTHER
        };
        assert_eq!(vouched_for(&ours, from, while_asked).await, None);
        assert_eq!(vouched_for(&ours, from, async |_| ANOTHER).await, None);
    }

    /// While our end is there, nobody can be connected from the client's port, whatever became of the client: the proof
    /// above rests on this.
    #[tokio::test]
    async fn a_port_of_which_our_end_is_left_connects_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let client = connected(to);
        client.set_reuse_address(true).unwrap();
        let (ours, from) = listener.accept().await.unwrap();
        // Closed, without a reset: our end may still write.
        drop(client);
        let other = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        other.set_reuse_address(true).unwrap();
        other.set_nonblocking(true).unwrap();
        let _ = other.bind(&from.into()).and_then(|()| other.connect(&SockAddr::from(to)));
        ours.peer_addr().unwrap();
        for way in WAYS {
            assert_eq!(way.owner_of(&ours, from).await, None, "{way:?}");
        }
        assert!(other.peer_addr().is_err(), "it is connected");
    }

    /// The query for one socket and the table of all sockets give the same user.
    #[tokio::test]
    async fn both_ways_agree() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let _client = connected(to);
        let (_ours, from) = listener.accept().await.unwrap();
        let tuple = FourTuple::of(from, to);
        let by_table = TABLE.owner_of(tuple).await;
        assert!(by_table.is_some());
        if let Ok(owner) = diag::owner_of(tuple) {
            assert_eq!(owner, by_table);
        }
    }
}
