//! Messages that memory does not hold: kept in a file while they are passed on, if there can be one.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::daemon::figure;
use super::far_end::Stream;
use super::far_end::server::Server;
use super::{Host, code, errors, finish};

const LINE: &[u8; 16] = b"0123456789abcde\n";
const LINES_OF_A_MEGABYTE: usize = (1 << 20) / LINE.len();
/// What a message has when it is sent: its lines, each an octet longer, and two more of header.
const HEADER_OCTETS: usize = "Subject: x\r\n\r\n".len();
const SENT_OCTETS_OF_A_MEGABYTE: usize = (1 << 20) + LINES_OF_A_MEGABYTE;

fn message(megabytes: usize) -> Vec<u8> {
    [b"Subject: x\n\n".to_vec(), LINE.repeat(megabytes * LINES_OF_A_MEGABYTE)].concat()
}

fn sent_octets(megabytes: usize) -> usize {
    HEADER_OCTETS + megabytes * SENT_OCTETS_OF_A_MEGABYTE
}

/// Returns whether `octets` hold the whole message.
fn is_whole(octets: &[u8], megabytes: usize) -> bool {
    let sent = String::from_utf8_lossy(octets);
    sent.contains("Subject: x\r\n\r\n0")
        && sent.matches("0123456789abcde\r\n").count() == megabytes * LINES_OF_A_MEGABYTE
}

/// A daemon that has said 354, and has yet to read the content.
async fn up_to_content<S: Stream>(stream: S) -> Server<S> {
    let mut daemon = Server::over(stream);
    daemon.say("220 h").await;
    while daemon.line().await != "DATA" {
        daemon.say("250 ok").await;
    }
    daemon.say("354 go on").await;
    daemon
}

/// A caller that has written a part of a message, and the daemon that has read nearly all of that.
struct Paused {
    child: Child,
    input: ChildStdin,
    daemon: Server<UnixStream>,
}

impl Paused {
    const MEGABYTES: usize = 4;
    /// The socket has room for them.
    const UNREAD_OCTETS: usize = 16 * 1024;

    async fn start(host: &Host, temporary: &Path) -> Self {
        let listener = UnixListener::bind(host.path("submit.sock")).unwrap();
        let mut command = host.command("sendmail", &["-i", "ann@example.org"]);
        let mut child = command.env("TMPDIR", temporary).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = thread::spawn(move || input.write_all(&message(Self::MEGABYTES)).map(|()| input));
        let mut daemon = up_to_content(listener.accept().await.unwrap().0).await;
        daemon.pass_over(sent_octets(Self::MEGABYTES) - Self::UNREAD_OCTETS).await;
        Paused { child, input: writer.join().unwrap().unwrap(), daemon }
    }
}

/// It took the part that had been passed on with it, and the exit code was 75.
#[tokio::test]
async fn a_daemon_that_goes_away_while_the_caller_pauses_loses_nothing() {
    let (host, temporary) = (Host::new(), tempfile::tempdir().unwrap());
    let Paused { child, mut input, daemon } = Paused::start(&host, temporary.path()).await;
    drop(daemon);
    input.write_all(&LINE.repeat(LINES_OF_A_MEGABYTE)).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), errors(&output).as_str()), (0, ""));
    assert!(is_whole(host.only_dropped().as_bytes(), Paused::MEGABYTES + 1));
}

#[tokio::test]
async fn a_kill_leaves_no_trace_of_what_was_kept() {
    let (host, temporary) = (Host::new(), tempfile::tempdir().unwrap());
    let mut paused = Paused::start(&host, temporary.path()).await;
    let directory = temporary.path().canonicalize().unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", paused.child.id())).unwrap();
    let files = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    assert_eq!(files.filter(|file| file.starts_with(&directory)).count(), 1, "it is kept");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "while it runs");
    paused.child.kill().unwrap();
    paused.child.wait().unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "afterwards");
    assert_eq!(host.dropped().len(), 0);
}

/// The signal for a file that is too long would have ended `sendmail`, and lost a message that needs no file.
#[test]
fn where_no_file_can_be_it_streams() {
    const MEGABYTES: usize = 5;
    // The kernel has no files made in /proc, not even by root.
    for (limit, temporary) in [("unlimited", "/proc"), ("unlimited", "/nonexistent"), ("2048", "/tmp")] {
        let host = Host::new();
        let daemon = super::unix_daemon(&host, "250 2.0.0 queued");
        let output = finish(limited(&host, limit, temporary), &message(MEGABYTES));
        assert_eq!((code(&output), errors(&output).as_str()), (0, ""), "{limit} {temporary}");
        assert!(is_whole(daemon.join().unwrap().as_bytes(), MEGABYTES));
    }
}

/// `sendmail` with so many blocks for a file, and this temporary directory.
fn limited(host: &Host, limit: &str, temporary: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -f {limit} && exec \"$0\" \"$@\""), super::PROGRAM]);
    command.args(["sendmail", "-i", "-C"]).arg(host.path("nullmta.toml")).arg("ann@example.org");
    command.env("TMPDIR", temporary);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn with_the_daemon_down_it_is_left_for_it() {
    let host = Host::new();
    let output = finish(host.command("sendmail", &["ann@example.org"]), &message(30));
    assert_eq!((code(&output), errors(&output).as_str()), (0, ""));
    assert!(is_whole(host.only_dropped().as_bytes(), 30));
}

/// 100 MiB, twice: the first daemon goes away in the middle.
#[tokio::test]
async fn memory_does_not_grow_with_the_message() {
    const MEGABYTES: usize = 100;
    const PEAK_OCTETS: u64 = 32 << 20;
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = Host::listening_on(&second.local_addr().unwrap().to_string());
    host.configure_listener("max-message-size = \"200M\"");
    let first = UnixListener::bind(host.path("submit.sock")).unwrap();
    let mut child = host.command("sendmail", &["ann@example.org"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        input.write_all(b"Subject: x\n\n").unwrap();
        let megabyte = LINE.repeat(LINES_OF_A_MEGABYTE);
        (0..MEGABYTES).for_each(|_| input.write_all(&megabyte).unwrap());
    });
    up_to_content(first.accept().await.unwrap().0).await.pass_over(sent_octets(MEGABYTES / 2)).await;
    let mut daemon = up_to_content(second.accept().await.unwrap().0).await;
    daemon.pass_over(sent_octets(MEGABYTES)).await;
    assert_eq!(daemon.line().await, ".");
    let peak = figure(child.id(), "VmHWM");
    daemon.say("250 2.0.0 queued").await;
    daemon.line().await;
    daemon.say("221 bye").await;
    writer.join().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), errors(&output).as_str()), (0, ""));
    assert!(peak < PEAK_OCTETS, "{peak}");
}
