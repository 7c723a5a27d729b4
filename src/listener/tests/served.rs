//! Tests of the accept loop over real sockets.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use jiff::Zoned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::Client;
use super::host::Host;
use super::{standstill, until};
use crate::envelope::Submitter;
use crate::listener::bound::Bound;
use crate::listener::serve::{GRACE, serve};
use crate::listener::{tcp, unix};

/// A host that accepts connections.
struct Open {
    host: Host,
    address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Open {
    fn doors(host: Host, mut doors: Vec<Bound>) -> Open {
        let bound = tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.to_string().parse().unwrap();
        doors.push(bound);
        let serving = tokio::spawn(serve(doors, host.service.clone(), host.stop.clone()));
        Open { host, address, serving }
    }

    async fn connect(&self) -> Client {
        Client::over(TcpStream::connect(self.address).await.unwrap())
    }
}

fn unix_door(host: &Host) -> (Bound, std::path::PathBuf) {
    let path = host.directory.path().join("submit.sock");
    (unix::bind(&path).unwrap(), path)
}

#[tokio::test]
async fn two_hundred_sessions_at_once() {
    let mut open = Open::doors(Host::new(|_, _| {}), Vec::new());
    let clients = (0..200).map(|number| {
        let address = open.address;
        tokio::spawn(async move {
            let mut client = Client::greeted(TcpStream::connect(address).await.unwrap()).await;
            client.send_message(&format!("Subject: {number}\r\n\r\nx\r\n"), "250 2.0.0").await;
            client.say("QUIT", "221 ").await;
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let mut subjects = HashSet::new();
    for _ in 0..200 {
        let entry = open.host.arrivals.recv().await.unwrap();
        assert_eq!(entry.submitter, Submitter::LoopbackUid(rustix::process::getuid().as_raw()));
        let content = String::from_utf8(open.host.content(&entry)).unwrap();
        subjects.insert(content.lines().find(|line| line.starts_with("Subject: ")).unwrap().to_owned());
    }
    assert_eq!(subjects.len(), 200);
}

#[tokio::test]
async fn a_session_too_many_is_told_421_and_the_next_has_room() {
    let open = Open::doors(Host::new(|listen, _| listen.max_sessions = 2), Vec::new());
    let (mut one, mut two) = (open.connect().await, open.connect().await);
    one.expect("220 ").await;
    two.expect("220 ").await;
    for _ in 0..5 {
        let mut three = open.connect().await;
        three.expect("421 4.3.2").await;
        three.expect_close().await;
    }
    one.say("QUIT", "221 ").await;
    one.expect_close().await;
    drop(one);
    until(|| open.host.service.sessions() == 1).await;
    open.connect().await.expect("220 ").await;
    two.say("NOOP", "250 ").await;
}

#[tokio::test]
async fn the_unix_socket_knows_its_user() {
    let host = Host::new(|listen, _| listen.max_sessions_per_uid = 1);
    let (door, path) = unix_door(&host);
    let mut open = Open::doors(host, vec![door]);
    let mut client = Client::greeted(UnixStream::connect(&path).await.unwrap()).await;
    client.send_message("x\r\n", "250 2.0.0").await;
    let entry = open.host.arrivals.recv().await.unwrap();
    assert_eq!(entry.submitter, Submitter::Uid(rustix::process::getuid().as_raw()));
    let mut second = Client::over(UnixStream::connect(&path).await.unwrap());
    second.expect("421 4.7.0").await;
    second.expect_close().await;
    open.connect().await.expect("220 ").await;
}

/// The last places over TCP are reserved for root and the daemon's own user, as far as the kernel knows the owner.
#[tokio::test]
async fn the_user_of_a_tcp_connection_is_found_when_there_are_many() {
    let open = Open::doors(Host::new(|listen, _| listen.max_sessions = 40), Vec::new());
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = open.connect().await;
        client.expect("220 ").await;
        clients.push(client);
    }
    open.connect().await.expect("421 4.3.2").await;
}

#[tokio::test]
async fn a_session_that_panics_takes_no_other_with_it() {
    fn broken() -> Zoned {
        panic!("a clock that broke")
    }
    let open = Open::doors(Host::with_clock(|_, _| {}, broken), Vec::new());
    let mut bystander = open.connect().await;
    bystander.expect("220 ").await;
    let mut client = open.connect().await;
    client.expect("220 ").await;
    client.send(super::client::TO_DATA).await;
    client.expect_close().await;
    bystander.say("NOOP", "250 ").await;
    open.connect().await.expect("220 ").await;
}

/// Returns a socket on which accept always fails, as it does when no file descriptor is free.
fn broken_door() -> Bound {
    let bound = tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let Bound::Tcp(listener) = &bound else { panic!("{bound:?}") };
    rustix::net::shutdown(listener.as_fd(), rustix::net::Shutdown::Read).unwrap();
    bound
}

/// The pause after a failed accept takes real time: a paused clock would advance while the greeting is on its way.
#[tokio::test]
async fn a_door_in_trouble_keeps_nobody_out_at_another() {
    let open = Open::doors(Host::new(|_, _| {}), vec![broken_door()]);
    for _ in 0..3 {
        open.connect().await.expect("220 ").await;
    }
}

/// Closing a socket with unread input resets the connection, so that a client which was still writing lost the last
/// reply. The time that the client has for reading it does not pass here, so a slow host makes no difference.
#[tokio::test(start_paused = true)]
async fn last_words_are_heard_by_a_client_that_is_still_writing() {
    let _held = standstill();
    let open = Open::doors(Host::new(|_, _| {}), Vec::new());
    let mut stream = TcpStream::connect(open.address).await.unwrap();
    stream.write_all("NONSENSE\r\n".repeat(3_000_000).as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.lines().last().unwrap().starts_with("421 "), "{said}");
}

#[tokio::test]
async fn after_a_stop_nobody_is_let_in_and_all_are_told() {
    let open = Open::doors(Host::new(|_, _| {}), Vec::new());
    let mut client = open.connect().await;
    client.expect("220 ").await;
    open.host.stopper.stop(Instant::now() + Duration::from_secs(5));
    client.expect("421 4.3.2").await;
    drop(client);
    open.serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(open.address).await.is_err());
    assert_eq!(open.host.service.sessions(), 0);
}

/// Writes `lines` again and again until neither side has room. No clock is used: over a unix socket the other side
/// can read as soon as its task runs.
async fn flood(stream: &UnixStream, lines: &[u8]) {
    let (mut written, mut turns_without_room) = (0, 0);
    while turns_without_room < 1000 {
        match stream.try_write(&lines[written % lines.len()..]) {
            Ok(octets) => (written, turns_without_room) = (written + octets, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                turns_without_room += 1;
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deaf_client_holds_up_no_stop() {
    let host = Host::new(|listen, _| listen.max_recipients = 1_000_000);
    let (door, path) = unix_door(&host);
    let open = Open::doors(host, vec![door]);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"EHLO c\r\nMAIL FROM:<a>\r\n").await.unwrap();
    let begun = Instant::now();
    flood(&stream, &b"RCPT TO:<b>\r\n".repeat(1000)).await;
    open.host.stopper.stop(begun + Duration::from_secs(10));
    open.serving.await.unwrap().unwrap();
    assert!(
        begun.elapsed() <= Duration::from_secs(10) + GRACE + Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(open.host.service.sessions(), 0);
}
