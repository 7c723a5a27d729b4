use std::fs;
use std::os::unix::fs::symlink;

use jiff::{ToSpan, Zoned};

use rustix::fs::CWD;

mod crash;
mod refused;

use super::*;
use crate::envelope::{Address, Envelope, Recipient, ReversePath, Submitter};
use crate::listener::tests::host::Host;
use crate::spool::drop::DropFile;
use crate::spool::fs::RealFs;

const MESSAGE: &str = "EHLO localhost\r\nMAIL FROM:<root>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n\
                       Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n";

/// A host with a pick-up, on the real disk.
struct Rig {
    host: Host,
    pickup: Pickup,
}

impl Rig {
    fn new() -> Rig {
        Rig::on(Host::with_clock(|_, _| {}, Zoned::now))
    }

    fn on(host: Host) -> Rig {
        let pickup =
            Pickup::new(Arc::new(RealFs), &host.directory.path().join("spool"), Arc::clone(&host.service));
        Rig { host, pickup }
    }

    fn drop(&self, name: &str) -> PathBuf {
        self.pickup.directory.join(name)
    }

    fn leave(&self, name: &str, octets: impl AsRef<[u8]>) {
        fs::write(self.drop(name), octets).unwrap();
    }

    async fn round(&mut self) -> Duration {
        let stop = self.host.stop.clone();
        self.pickup.round(&stop).await
    }

    fn dropped(&self) -> Vec<String> {
        names(&self.pickup.directory)
    }

    fn aside(&self) -> Vec<String> {
        names(&self.pickup.corrupt)
    }

    /// Returns the bodies of the messages that have arrived.
    fn arrived(&mut self) -> Vec<String> {
        let mut contents = Vec::new();
        while let Ok(entry) = self.host.arrivals.try_recv() {
            assert_eq!(entry.submitter, Submitter::Uid(rustix::process::geteuid().as_raw()));
            let content = String::from_utf8(self.host.content(&entry)).unwrap();
            contents.push(content.split_once("\r\n\r\n").unwrap().1.to_owned());
        }
        contents
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// D10: a message that `sendmail` left is taken as one of the file's owner.
#[tokio::test]
async fn what_sendmail_left_is_taken_as_its_owner_s() {
    let mut rig = Rig::new();
    let mut envelope = Envelope::from(ReversePath::Mailbox(Address::parse("root").unwrap()));
    envelope.recipients.push(Recipient::plain(Address::parse("ann@example.org").unwrap()));
    let now = Zoned::now().timestamp();
    let mut file = DropFile::create(Arc::new(RealFs), &rig.pickup.directory, &envelope, now).unwrap();
    file.write(b"Subject: x\r\n\r\n.dot\r\n").unwrap();
    file.commit().unwrap();
    assert_eq!(rig.round().await, POLL);
    assert_eq!(rig.arrived(), [".dot\r\n"]);
    let stored = rig.host.spool.read(rig.pickup_id()).unwrap();
    assert_eq!(stored.envelope.reverse_path.to_string(), "root@origin.example");
    assert!(rig.dropped().is_empty() && rig.aside().is_empty());
}

impl Rig {
    /// Returns the id of the only message on the spool.
    fn pickup_id(&self) -> crate::queue_id::QueueId {
        let spool = self.host.directory.path().join("spool");
        crate::spool::inspect::Inspection::beside(&spool).unwrap().entries()[0].id
    }
}

/// Promise 5: each of these files can never be taken.
#[tokio::test]
async fn what_is_no_message_is_moved_aside() {
    let refused = MESSAGE.replace("<ann@example.org>", "<ann@@example.org>");
    let half_refused = MESSAGE.replace("DATA", "RCPT TO:<ben@@example.org>\r\nDATA");
    let cases = [
        ("garbage", "garbage\r\n.\r\nQUIT\r\n".to_owned()),
        ("no recipient", refused),
        ("one recipient of two", half_refused),
        ("no message", "EHLO x\r\n.\r\nQUIT\r\n".into()),
        ("an order", MESSAGE.replace("MAIL", "ETRN x\r\nMAIL")),
        ("ends within", MESSAGE.replace("DATA\r\nSubject", "BDAT 900 LAST\r\nSubject")),
        ("two messages", MESSAGE.replace("QUIT\r\n", "") + MESSAGE),
    ];
    for (what, octets) in cases {
        let mut rig = Rig::new();
        rig.leave("a.bsmtp", octets);
        assert_eq!(rig.round().await, POLL, "{what}");
        assert!(rig.arrived().is_empty() && rig.host.spool.is_empty(), "{what}");
        assert!(rig.dropped().is_empty(), "{what}");
        assert_eq!(rig.aside(), ["drop-a.claimed"], "{what}");
    }
}

/// Promise 1 of file.rs: no link is followed, no pipe is waited for, and no file with a second name is read.
#[tokio::test]
async fn what_is_no_file_of_its_owner_s_alone_is_never_read() {
    let mut rig = Rig::new();
    let secret = rig.host.directory.path().join("secret");
    fs::write(&secret, MESSAGE).unwrap();
    symlink(&secret, rig.drop("link.bsmtp")).unwrap();
    symlink("/nonexistent", rig.drop("dangling.bsmtp")).unwrap();
    fs::hard_link(&secret, rig.drop("name.bsmtp")).unwrap();
    fs::create_dir(rig.drop("directory.bsmtp")).unwrap();
    let fifo = rig.drop("fifo.bsmtp");
    rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    rig.round().await;
    assert!(rig.arrived().is_empty() && rig.dropped().is_empty(), "{:?}", rig.dropped());
    assert_eq!(rig.aside().len(), 5);
    assert_eq!(fs::read_to_string(secret).unwrap(), MESSAGE);
}

#[tokio::test]
async fn an_envelope_without_end_is_no_message() {
    let mut rig = Rig::new();
    rig.leave("a.bsmtp", "NOOP\r\n".repeat(1 << 20) + MESSAGE);
    fs::File::create(rig.drop("b.tmp")).unwrap().set_len(1 << 40).unwrap();
    rig.round().await;
    assert!(rig.arrived().is_empty());
    assert_eq!(rig.aside(), ["drop-a.claimed", "drop-b.tmp"]);
}

#[tokio::test]
async fn what_is_not_whole_is_left_for_a_day() {
    let unfinished = ["a.tmp", "b.bsmtp", "c.bsmtp"];
    let later = || Zoned::now() + 25.hours();
    for (clock, left) in [(Zoned::now as fn() -> Zoned, true), (later, false)] {
        let mut rig = Rig::on(Host::with_clock(|_, _| {}, clock));
        rig.leave("a.tmp", MESSAGE);
        rig.leave("b.bsmtp", &MESSAGE[..MESSAGE.len() - 1]);
        rig.leave("c.bsmtp", "");
        rig.round().await;
        assert!(rig.arrived().is_empty());
        if left {
            assert_eq!(rig.dropped(), unfinished);
        } else {
            assert_eq!(rig.aside(), unfinished.map(|name| format!("drop-{name}")));
        }
    }
}

#[tokio::test]
async fn names_that_we_do_not_give_are_none_of_our_business() {
    let mut rig = Rig::new();
    let hostile = [".hidden.bsmtp", "a b.bsmtp", "evil\n.bsmtp", "x.bsmtp~", "x.txt"];
    for name in hostile {
        rig.leave(name, MESSAGE);
    }
    rig.round().await;
    assert_eq!((rig.dropped().len(), rig.host.spool.len()), (hostile.len(), 0));
}

#[tokio::test]
async fn while_there_is_no_room_everything_is_left() {
    let mut rig = Rig::on(Host::with_clock(|_, options| options.max_messages = 0, Zoned::now));
    rig.leave("a.bsmtp", MESSAGE);
    rig.leave("b.bsmtp", MESSAGE);
    assert_eq!(rig.round().await, PAUSE);
    assert_eq!(rig.dropped(), ["a.bsmtp", "b.bsmtp"]);
}

#[tokio::test]
async fn a_user_over_the_limit_waits() {
    let host = Host::with_clock(|listen, _| listen.max_messages_per_minute_per_uid = Some(1), Zoned::now);
    let mut rig = Rig::on(host);
    rig.leave("a.bsmtp", MESSAGE);
    rig.leave("b.bsmtp", MESSAGE);
    rig.leave("c.bsmtp", MESSAGE);
    assert_eq!(rig.round().await, PAUSE);
    assert_eq!((rig.arrived().len(), rig.dropped()), (1, vec!["b.bsmtp".into(), "c.bsmtp".into()]));
}

/// Promise 3: the process died between the commit and the removal, or before the commit.
#[tokio::test]
async fn a_file_left_claimed_is_taken_again() {
    let mut rig = Rig::new();
    rig.leave("a.claimed", MESSAGE);
    rig.round().await;
    assert_eq!((rig.arrived().len(), rig.dropped().len()), (1, 0));
}

#[tokio::test]
async fn a_taken_file_that_could_not_be_removed_is_not_taken_twice() {
    let mut rig = Rig::new();
    rig.leave("a.claimed", MESSAGE);
    rig.pickup.taken.insert("a.claimed".into());
    rig.round().await;
    assert_eq!((rig.arrived().len(), rig.dropped().len()), (0, 0));
    assert!(rig.pickup.taken.is_empty());
}

/// Promise 2 of file.rs: a user may choose any name for a file, and no message is lost by it.
#[tokio::test]
async fn no_rename_replaces_a_file() {
    let mut rig = Rig::new();
    rig.leave("a.claimed", "half");
    rig.leave("a.bsmtp", MESSAGE);
    rig.round().await;
    assert_eq!(rig.dropped(), ["a.bsmtp", "a.claimed"], "left until the other is gone");
    for _ in 0..2 {
        rig.leave("b.bsmtp", "garbage\r\n.\r\nQUIT\r\n");
        rig.round().await;
    }
    assert_eq!(rig.aside(), ["drop-b.claimed", "drop-b.claimed.1"]);
}

#[test]
fn a_file_that_has_taken_the_name_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.claimed");
    fs::write(&path, "x").unwrap();
    assert!(matches!(file::remove(&RealFs, &path, 0), Ok(Synced::Durably)));
    assert!(path.exists());
}

/// Promise 6: a round looks at a limited number of names.
#[tokio::test]
async fn a_flood_is_looked_at_in_parts_and_hides_nothing() {
    let mut rig = Rig::new();
    for number in 0..NAMES + 200 {
        rig.leave(&format!("{number}.tmp"), "");
    }
    rig.leave("a.bsmtp", MESSAGE);
    assert_eq!(rig.round().await, BREATH);
    assert_eq!(rig.round().await, POLL);
    assert_eq!(rig.arrived().len(), 1);
}

/// Promise 6: a user with more files than can be taken does not delay the others.
#[tokio::test]
async fn a_flood_of_messages_over_the_limit_is_passed_by() {
    let host = Host::with_clock(|listen, _| listen.max_messages_per_minute_per_uid = Some(1), Zoned::now);
    let mut rig = Rig::on(host);
    for number in 0..NAMES + 200 {
        rig.leave(&format!("{number}.bsmtp"), MESSAGE);
    }
    assert_eq!(rig.round().await, BREATH);
    assert_eq!(rig.round().await, PAUSE);
    assert_eq!((rig.arrived().len(), rig.dropped().len()), (1, NAMES + 199));
}

/// Promise 6: files that cannot be removed or moved do not fill the log.
#[tokio::test]
async fn trouble_is_told_of_so_many_files_an_hour() {
    let mut rig = Rig::new();
    for number in 0..2 * NAMES {
        rig.pickup.tell_once(OsStr::new(&number.to_string()), "cannot be opened");
    }
    assert_eq!(rig.pickup.told.len(), NAMES);
    rig.pickup.told_since -= REMINDER + Duration::from_secs(1);
    rig.pickup.tell_once(OsStr::new("0"), "cannot be opened");
    assert_eq!(rig.pickup.told.len(), 1);
}

/// Promise 6: files that are moved aside do not fill the log either.
#[tokio::test]
async fn junk_is_told_of_so_many_times_an_hour() {
    let mut rig = Rig::new();
    for number in 0..NAMES + 100 {
        rig.leave(&format!("{number}.bsmtp"), "junk\r\n.\r\nQUIT\r\n");
    }
    rig.round().await;
    rig.round().await;
    assert_eq!((rig.aside().len(), rig.pickup.told.len()), (NAMES + 100, NAMES));
}

#[tokio::test]
async fn a_directory_that_cannot_be_listed_is_waited_for() {
    let mut rig = Rig::new();
    fs::remove_dir(&rig.pickup.directory).unwrap();
    assert_eq!(rig.round().await, PAUSE);
    fs::create_dir(&rig.pickup.directory).unwrap();
    rig.leave("a.bsmtp", MESSAGE);
    assert_eq!(rig.round().await, POLL);
    assert_eq!(rig.arrived().len(), 1);
}

#[tokio::test]
async fn a_stop_ends_it() {
    let mut rig = Rig::new();
    rig.leave("a.bsmtp", MESSAGE);
    rig.host.stopper.stop(tokio::time::Instant::now());
    let spool = rig.host.directory.path().join("spool");
    pick_up(Arc::new(RealFs), spool, Arc::clone(&rig.host.service), rig.host.stop.clone()).await;
    assert_eq!((rig.arrived().len(), rig.dropped().len()), (0, 1));
}
