//! Tests of sessions with a real spool.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Zoned;
use tempfile::TempDir;
use tokio::io::duplex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use super::client::{Client, TO_DATA};
use super::{listen, until};
use crate::config::ListenConfig;
use crate::envelope::Submitter;
use crate::listener::Service;
use crate::listener::intake::{SessionDesk, refusal_of};
use crate::listener::peer::LocalPeer;
use crate::listener::stop::{Stopper, stop_signal};
use crate::message::rewrite::{RewriteSettings, Rules};
use crate::smtp::session::MessageRefusal;
use crate::spool::fs::sim::{DiskFault, SimFs};
use crate::spool::fs::{Fs, RealFs};
use crate::spool::{CommitError, Entry, Options, Recovery, Spool, StoredContent};
use crate::users::{Account, NameService, Users};

/// A host with a spool of its own.
pub struct Host {
    pub directory: TempDir,
    pub spool: Spool,
    pub recovery: Recovery,
    pub arrivals: UnboundedReceiver<Entry>,
    pub desk: SessionDesk,
    pub service: Arc<Service>,
    pub probes: Arc<AtomicUsize>,
    pub stopper: Stopper,
    pub stop: crate::listener::stop::StopSignal,
}

/// A user database with one user.
#[derive(Default)]
struct AnnIs1000 {
    asked: AtomicUsize,
    /// While the other end of this exists, no query is answered.
    hangs: Option<Mutex<Receiver<()>>>,
}

impl NameService for AnnIs1000 {
    fn by_uid(&self, uid: u32) -> io::Result<Option<Account>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(held) = &self.hangs {
            // An error means that the test has ended.
            let _ = held.lock().unwrap().recv();
        }
        Ok((uid == 1000).then(|| Account { uid, gid: 1000, login: "ann".into(), gecos: b"Ann E".to_vec() }))
    }

    fn groups(&self, _account: &Account) -> io::Result<Vec<u32>> {
        Ok(Vec::new())
    }
}

fn noon() -> Zoned {
    "2026-11-21T12:00:00+00:00[UTC]".parse().unwrap()
}

impl Host {
    /// Returns a host with the options that `change` sets.
    pub fn new(change: impl FnOnce(&mut ListenConfig, &mut Options)) -> Host {
        Host::with_clock(change, noon)
    }

    /// Returns such a host with another clock.
    pub fn with_clock(change: impl FnOnce(&mut ListenConfig, &mut Options), clock: fn() -> Zoned) -> Host {
        Host::on(Arc::new(RealFs), change, clock)
    }

    /// Returns such a host on another disk.
    pub fn on(
        disk: Arc<dyn Fs>,
        change: impl FnOnce(&mut ListenConfig, &mut Options),
        clock: fn() -> Zoned,
    ) -> Host {
        let directory = tempfile::tempdir().unwrap();
        let mut listen = listen();
        let mut options = Options { min_free_space: 0, ..Options::at(directory.path().join("spool")) };
        change(&mut listen, &mut options);
        let (announce, arrivals) = unbounded_channel();
        let (spool, recovery) = Spool::open(options, disk, announce).unwrap();
        let probes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&probes);
        let desk = SessionDesk {
            spool: spool.clone(),
            rules: Arc::new(Rules::new(RewriteSettings::new("origin.example", "host.example.org")).unwrap()),
            users: Users::of(Arc::new(AnnIs1000::default())),
            hostname: "host.example.org".into(),
            postmaster: None,
            probe: Arc::new(move || {
                let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
                Box::pin(async move { (!is_first).then(|| "not again so soon".to_owned()) })
            }),
            clock,
            certificate: None,
        };
        let service = Service::new(&listen, desk.clone());
        let (stopper, stop) = stop_signal();
        Host { directory, spool, recovery, arrivals, desk, service, probes, stopper, stop }
    }

    /// Returns a session of `uid` after its greeting.
    pub async fn session(&self, uid: u32) -> (Client, JoinHandle<()>) {
        self.session_of(LocalPeer::Uid(uid)).await
    }

    /// Returns a session of `peer` after its greeting.
    pub async fn session_of(&self, peer: LocalPeer) -> (Client, JoinHandle<()>) {
        let (ours, theirs) = duplex(64 << 10);
        let permit = self.service.admit(peer).unwrap();
        let session = tokio::spawn(self.service.session(Box::new(ours), permit, self.stop.clone()));
        (Client::greeted(theirs).await, session)
    }

    /// Returns the stored content of the message that arrived.
    pub fn content(&self, entry: &Entry) -> Vec<u8> {
        match self.spool.read(entry.id).unwrap().content {
            StoredContent::Memory(content) => content,
            StoredContent::File { mut file, .. } => {
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                content
            }
        }
    }

    /// Returns the sizes of the large files that exist at present.
    fn large(&self) -> Vec<u64> {
        let large: PathBuf = self.directory.path().join("spool/large");
        // A file may disappear while it is looked at.
        fs::read_dir(large).unwrap().filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).collect()
    }

    fn nothing_arrived(&mut self) -> bool {
        self.arrivals.try_recv().is_err() && self.spool.is_empty()
    }
}

/// Two hundred sessions with a header section of 1 MB each made a daemon in a small container run out of memory.
#[tokio::test]
async fn large_header_sections_have_a_budget_and_small_ones_always_have_room() {
    let host = Host::new(|_, _| {});
    let large = format!("X-Large: {}\r\n", "y".repeat(900)).repeat(1100);
    let mut sessions = Vec::new();
    for _ in 0..30 {
        let (mut client, _) = host.session(70_001).await;
        client.begin_data().await;
        client.send(&large).await;
        sessions.push(client);
    }
    let (mut client, _) = host.session(70_002).await;
    client.send_message("Subject: small\r\n\r\nx\r\n", "250 2.0.0").await;
    // The sessions of one user leave room for others.
    client.send_message(&large, "250 2.0.0").await;
    let mut taken = 0;
    for client in &mut sessions {
        client.send("\r\nx\r\n.\r\n").await;
        let said = client.reply().await;
        assert!(
            said[0].starts_with("250 2.0.0") || said[0].starts_with("452 4.3.1 too many large header"),
            "{said:?}"
        );
        taken += usize::from(said[0].starts_with("250"));
    }
    assert!((5..10).contains(&taken), "{taken}");
    // The memory that they held is free again.
    for client in &mut sessions[..5] {
        client.send_message(&large, "250 2.0.0").await;
    }
}

#[tokio::test]
async fn a_message_is_on_the_spool_as_it_came_with_what_it_lacked() {
    let mut host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1000).await;
    client.send("EHLO my.name\r\nMAIL FROM:<cron> RET=HDRS\r\nRCPT TO:<root> NOTIFY=NEVER\r\n").await;
    client.send("RCPT TO:<ann@example.org>\r\nDATA\r\n").await;
    client.expect_all(&["250 ", "250 ", "250 ", "250 ", "354 "]).await;
    client.send("Subject:  as\r\n it is\r\n\r\n..dot\r\nnaked\nlf\r\n\u{ff}8bit\r\n.\r\n").await;
    let said = client.reply().await;
    let entry = host.arrivals.recv().await.unwrap();
    assert!(said[0].starts_with("250 2.0.0") && said[0].contains(&entry.id.to_string()), "{said:?}");
    assert_eq!((entry.submitter, entry.arrived), (Submitter::Uid(1000), noon().timestamp()));

    let stored = host.spool.read(entry.id).unwrap();
    assert_eq!(stored.envelope.reverse_path.to_string(), "cron@origin.example");
    let to = &stored.envelope.recipients;
    assert_eq!((to[0].address.as_str(), to[1].address.as_str()), ("root@origin.example", "ann@example.org"));
    assert_eq!(to[0].original.as_ref().map(|address| address.as_str()), Some("root"));
    assert_eq!(to[1].original, None);
    assert!(!to[0].notify.wants_failure() && to[1].notify.wants_failure());

    let content = String::from_utf8(host.content(&entry)).unwrap();
    let received = content.replace("\r\n\t", " ").replace("\r\n ", " ");
    assert!(received.starts_with("Received: from my.name"), "{received}");
    assert!(received.contains(&format!("with ESMTP id {}", entry.id)), "{received}");
    assert!(
        content.contains("\r\nDate: ") && content.to_lowercase().contains("\r\nmessage-id: "),
        "{content}"
    );
    assert!(content.contains("Subject:  as\r\n it is\r\n"), "{content}");
    assert!(content.ends_with("\r\n\r\n.dot\r\nnaked\r\nlf\r\n\u{ff}8bit\r\n"), "{content}");
}

/// The name of a client was looked up for each connection, in the accept loop.
#[tokio::test]
async fn the_name_of_a_user_is_looked_up_for_a_message_and_not_for_a_connection() {
    let service = Arc::new(AnnIs1000::default());
    let mut host = Host::new(|_, _| {});
    let desk = SessionDesk { users: Users::of(service.clone()), ..host.desk.clone() };
    host.service.reload(&listen(), desk);
    let (mut silent, _) = host.session(1000).await;
    silent.say("QUIT", "221 ").await;
    assert_eq!(service.asked.load(Ordering::SeqCst), 0);
    for _ in 0..2 {
        let (mut client, _) = host.session(1000).await;
        client.send_message("Subject: x\r\n\r\nbody\r\n", "250 2.0.0").await;
        let entry = host.arrivals.recv().await.unwrap();
        let content = String::from_utf8(host.content(&entry)).unwrap();
        assert!(content.contains("From: Ann E <"), "{content}");
    }
    assert_eq!(service.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_message_waits_for_no_name_service_that_hangs() {
    let (_held, hangs) = channel();
    let service = AnnIs1000 { hangs: Some(Mutex::new(hangs)), ..AnnIs1000::default() };
    let mut host = Host::new(|_, _| {});
    let desk = SessionDesk { users: Users::of(Arc::new(service)), ..host.desk.clone() };
    host.service.reload(&listen(), desk);
    let (mut client, _) = host.session(1000).await;
    client.send_message("Subject: x\r\n\r\nbody\r\n", "250 2.0.0").await;
    let entry = host.arrivals.recv().await.unwrap();
    let content = String::from_utf8(host.content(&entry)).unwrap();
    assert!(!content.contains("Ann E"), "{content}");
}

/// A recipient that was too long with the origin appended was acknowledged, and could not be read from the spool.
#[tokio::test]
async fn whoever_is_accepted_can_be_read_back() {
    let mut host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1).await;
    client.say("EHLO c", "250 ").await;
    client.send("MAIL FROM:<cron>\r\n").await;
    for octets in [995, 746, 745] {
        client.send(&format!("RCPT TO:<{}>\r\n", "x".repeat(octets))).await;
    }
    client.expect_all(&["250 ", "501 ", "501 ", "250 "]).await;
    client.send("DATA\r\nx\r\n.\r\n").await;
    client.expect_all(&["354 ", "250 2.0.0"]).await;
    let entry = host.arrivals.recv().await.unwrap();
    let stored = host.spool.read(entry.id).unwrap();
    assert_eq!(stored.envelope.recipients[0].address.domain(), Some("origin.example"));
}

#[tokio::test]
async fn chunks_and_data_are_stored_alike() {
    let mut host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1).await;
    client.send_message("Date: x\r\nMessage-ID: <x>\r\n\r\nbody\r\n", "250 ").await;
    client.send("MAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\nBDAT 24\r\nDate: x\r\nMessage-ID: <x>").await;
    client.send("BDAT 0\r\nBDAT 10 LAST\r\n\r\n\r\nbody\r\n").await;
    client.expect_all(&["250 ", "250 ", "250 ", "250 ", "250 2.0.0"]).await;
    let (data, chunks) = (host.arrivals.recv().await.unwrap(), host.arrivals.recv().await.unwrap());
    let without_id =
        |entry: &Entry| String::from_utf8(host.content(entry)).unwrap().replace(&entry.id.to_string(), "ID");
    assert_eq!(without_id(&data), without_id(&chunks));
}

#[tokio::test]
async fn a_vanished_client_leaves_no_draft_behind() {
    let mut host = Host::new(|_, options| options.large_threshold = 10_000);
    for octets in [100, 1_000_000] {
        let (mut client, session) = host.session(1).await;
        client.begin_data().await;
        client.send("x".repeat(octets) + "\r\n.").await;
        until(|| host.large().is_empty() == (octets == 100)).await;
        drop(client);
        session.await.unwrap();
        assert!(host.nothing_arrived());
        until(|| host.large().is_empty()).await;
    }
}

#[tokio::test]
async fn a_large_message_streams_through_a_file() {
    const LINES: usize = 650_000;
    let mut host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1).await;
    client.begin_data().await;
    client.send("Date: x\r\nMessage-ID: <x>\r\n\r\n").await;
    let lines = format!("{}\r\n", "x".repeat(78)).repeat(1000);
    for _ in 0..LINES / 1000 {
        client.send(&lines).await;
    }
    let size = 80 * LINES as u64;
    let on_disk: u64 = host.large().iter().sum();
    assert!(on_disk + (1 << 20) > size, "{on_disk} octets of {size} have left the memory");
    client.say(".", "250 2.0.0").await;
    let entry = host.arrivals.recv().await.unwrap();
    let content = host.content(&entry);
    let body = content.windows(4).position(|octets| octets == b"\r\n\r\n").unwrap() + 4;
    assert_eq!((content.len() - body) as u64, size);
    assert!(content[body..].chunks(80).all(|line| line == &lines.as_bytes()[..80]));
}

#[tokio::test]
async fn a_full_disk_is_452_and_the_session_goes_on() {
    let mut host = Host::new(|_, options| options.min_free_space = u64::MAX / 2);
    let (mut client, _) = host.session(1).await;
    client.send(TO_DATA).await;
    client.expect_all(&["250 ", "250 ", "250 ", "452 4.3.1"]).await;
    client.send("MAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 4 LAST\r\nQUITNOOP\r\n").await;
    client.expect_all(&["250 ", "250 ", "452 4.3.1", "250 "]).await;
    assert!(host.nothing_arrived());
}

#[tokio::test]
async fn a_disk_that_fails_at_the_commit_is_4xx_and_good_again_it_is_250() {
    let disk = SimFs::new();
    let under_root = |_: &mut ListenConfig, options: &mut Options| options.directory = "/spool".into();
    let mut host = Host::on(Arc::new(disk.clone()), under_root, noon);
    let (mut client, _) = host.session(1).await;
    for (error, said) in [(ErrorKind::Other, "451 4.3.0"), (ErrorKind::StorageFull, "452 4.3.1")] {
        client.begin_data().await;
        client.send("x\r\n").await;
        disk.set_fault(Some(DiskFault { call: 0, error, for_ever: true }));
        client.say(".", said).await;
        assert!(host.arrivals.try_recv().is_err());
        disk.set_fault(None);
        client.send_message("x\r\n", "250 2.0.0").await;
        assert!(host.arrivals.recv().await.is_some());
    }
}

#[tokio::test]
async fn a_full_queue_is_452_and_room_again_is_250() {
    let mut host = Host::new(|_, options| options.max_messages = 1);
    let (mut client, _) = host.session(1).await;
    client.send_message("x\r\n", "250 2.0.0").await;
    client.send(TO_DATA).await;
    client.expect_all(&["250 ", "250 ", "250 ", "452 4.3.1"]).await;
    let entry = host.arrivals.recv().await.unwrap();
    let mut ledger = host.spool.read(entry.id).unwrap().ledger;
    (0..ledger.fates().len()).for_each(|recipient| ledger.sent(recipient));
    host.spool.remove(ledger.settle().unwrap()).await.unwrap();
    client.send_message("x\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn what_no_relay_would_take_is_refused_at_its_end() {
    let mut host = Host::new(|listen, _| listen.max_message_size = 4 << 20);
    let (mut client, _) = host.session(1).await;
    let cases = [
        ("Received: by x\r\n".repeat(101) + "\r\nx\r\n", "554 5.4.6"),
        ("X-Long: ".to_owned() + &" and on and on\r\n".repeat(200_000), "552 5.3.4"),
        ("Subject: x\r\n\r\n".to_owned() + &"all of it\r\n".repeat(400_000), "552 5.3.4"),
    ];
    for (content, said) in cases {
        client.send_message(&content, said).await;
        assert!(host.nothing_arrived(), "{said}");
        until(|| host.large().is_empty()).await;
    }
    client.send_message("Subject: x\r\n\r\nx\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn a_user_s_rate_is_451_and_only_that_user_s() {
    let host = Host::new(|listen, _| listen.max_messages_per_minute_per_uid = Some(2));
    let (mut ann, _) = host.session(1).await;
    ann.send_message("1\r\n", "250 2.0.0").await;
    ann.send_message("2\r\n", "250 2.0.0").await;
    ann.send(TO_DATA).await;
    ann.expect_all(&["250 ", "250 ", "250 ", "451 4.7.1"]).await;
    let (mut bob, _) = host.session(2).await;
    bob.send_message("1\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn etrn_asks_for_a_probe() {
    let host = Host::new(|_, _| {});
    let (mut client, _) = host.session(1).await;
    client.say("EHLO c", "250 ").await;
    client.say("ETRN example.org", "250 2.0.0 queueing started").await;
    client.say("ETRN example.org", "250 2.0.0 not again so soon").await;
    assert_eq!(host.probes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_spool_that_was_closed_is_421() {
    let mut host = Host::new(|_, _| {});
    let (mut client, session) = host.session(1).await;
    client.begin_data().await;
    host.spool.close().await;
    client.send("x\r\n").await;
    client.say(".", "421 4.3.2").await;
    client.expect_close().await;
    drop(client);
    session.await.unwrap();
    assert!(host.arrivals.try_recv().is_err());
}

#[test]
fn every_trouble_of_the_spool_has_its_bland_reply() {
    let cases = [
        (CommitError::Full, true, "452 4.3.1 insufficient"),
        // There is room for others, and the text about a full disk sent operators to look at the disk.
        (
            CommitError::OverShare,
            false,
            "452 4.3.1 your unfinished messages fill a quarter of the room for mail",
        ),
        (CommitError::GaveWay, false, "452 4.3.1 nothing came of this message for a while"),
        (CommitError::Trouble, true, "451 4.3.0"),
        (CommitError::Astray, true, "451 4.3.0"),
        (CommitError::Closed, true, "421 4.3.2"),
    ];
    for (error, is_about_the_host, said) in cases {
        let refusal = refusal_of(error);
        assert_eq!(matches!(refusal, MessageRefusal::Host(_)), is_about_the_host, "{error}");
        let reply = refusal.reply().to_string();
        assert!(reply.starts_with(said), "{reply}");
    }
}

#[tokio::test]
async fn a_session_s_place_is_free_when_it_has_ended() {
    let host = Host::new(|listen, _| listen.max_sessions = 1);
    let (mut client, session) = host.session(1).await;
    assert!(host.service.limits.admit(LocalPeer::Uid(1), Instant::now()).is_err());
    client.say("QUIT", "221 ").await;
    drop(client);
    session.await.unwrap();
    assert_eq!(host.service.sessions(), 0);
}
