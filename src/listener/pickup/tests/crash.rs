//! A test of the drop directory with power cuts: one at every call that changes the disk, while messages are left and
//! while they are taken. Each call is made to fail, too.
//!
//! Leaving (`spool/drop.rs`), taking and the spool share one simulated disk. Before each change, an image is made of
//! what a crash may leave there (names old, new or both; octets old, new or garbage), together with what submitters
//! had been told by then. A daemon is started on each image, and every promise must hold.

use std::io::ErrorKind;
use std::sync::Mutex;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::subscriber::DefaultGuard;

use super::*;
use crate::journal::testing::Captured;
use crate::queue_id::QueueId;
use crate::spool::Options;
use crate::spool::fs::sim::{CHANGED, DiskFault, SimFs};

const SPOOL: &str = "/spool";
const DROP: &str = "/spool/drop";
const CORRUPT: &str = "/spool/corrupt";

/// The beginning of a message in BSMTP, without its end.
const HALF: &str = "EHLO x\r\nMAIL FROM:<root>\r\nDATA\r\nSubject: x\r\n\r\nhalf a";
const GARBAGE: &str = "garbage\r\n.\r\nQUIT\r\n";

/// A field that makes a mail loop if it is repeated often enough at the start of a header.
const LOOP: &str = "Received: x\r\n";

/// A text that is part of a bounce.
const BOUNCE: &str = "Final-Recipient: rfc822; ann@example.org";

/// The log line about a file that is not a message.
const MOVED: &str = "it is now /spool/corrupt/drop-0-garbage.";

/// The facts that submitters were told so far. A message is identified by its body.
#[derive(Clone, Default)]
struct Told {
    /// All messages that may be on the disk.
    begun: HashSet<String>,
    /// The messages for which `sendmail` exited with 0.
    left: HashSet<String>,
    /// Those of `left` that the daemon will refuse.
    refused: HashSet<String>,
    /// Those of `begun` that the daemon will refuse, whether or not `sendmail` exited with 0.
    hopeless: HashSet<String>,
}

fn that_day() -> Zoned {
    Timestamp::from_second(CHANGED).unwrap().to_zoned(TimeZone::UTC)
}

fn the_day_after() -> Zoned {
    that_day() + 25.hours()
}

/// One run of a daemon.
struct Run {
    fs: SimFs,
    host: Host,
    pickup: Pickup,
    log: Captured,
    _logging: DefaultGuard,
}

impl Run {
    fn on(fs: &SimFs, max_messages: u64, clock: fn() -> Zoned) -> Run {
        let log = Captured::default();
        let written = log.clone();
        let journal = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone());
        let logging = tracing::subscriber::set_default(journal.finish());
        let small = Options { segment_size: 1 << 15, min_free_space: 0, max_messages, ..Options::at(SPOOL) };
        let host = Host::on(Arc::new(fs.clone()), |_, options| *options = small, clock);
        let pickup = Pickup::new(Arc::new(fs.clone()), Path::new(SPOOL), Arc::clone(&host.service));
        Run { fs: fs.clone(), host, pickup, log, _logging: logging }
    }

    fn has_logged(&self, words: &str) -> bool {
        self.log.text().contains(words)
    }

    /// Runs so many rounds that every file is looked at twice.
    async fn rounds(&mut self) {
        let stop = self.host.stop.clone();
        for _ in 0..2 {
            self.pickup.round(&stop).await;
        }
    }

    /// Returns the bodies of all messages on the spool.
    fn stored(&mut self) -> Vec<(QueueId, String)> {
        let mut entries = std::mem::take(&mut self.host.recovery.entries);
        entries.extend(std::iter::from_fn(|| self.host.arrivals.try_recv().ok()));
        let body = |entry| {
            let content = String::from_utf8(self.host.content(entry)).unwrap();
            content.split_once("\r\n\r\n").unwrap().1.to_owned()
        };
        entries.iter().map(|entry| (entry.id, body(entry))).collect()
    }
}

/// The users of the host, who leave messages.
#[derive(Clone)]
struct Users {
    fs: SimFs,
    told: Arc<Mutex<Told>>,
}

impl Users {
    fn of(fs: &SimFs) -> Users {
        Users { fs: fs.clone(), told: Arc::default() }
    }

    /// Begins to leave a message whose body has about so many octets.
    fn begin(&self, octets: usize) -> (DropFile, String) {
        self.begin_with("", octets)
    }

    fn begin_with(&self, fields: &str, octets: usize) -> (DropFile, String) {
        let mut told = self.told.lock().unwrap();
        let number = told.begun.len();
        let body = format!("message {number},\r\n").repeat(octets.div_ceil(12));
        told.begun.insert(body.clone());
        drop(told);
        let mut envelope = Envelope::from(ReversePath::Mailbox(Address::parse("root").unwrap()));
        envelope.recipients.push(Recipient::plain(Address::parse("ann@example.org").unwrap()));
        let now = Timestamp::from_second(CHANGED + number as i64).unwrap();
        let mut file = DropFile::create(Arc::new(self.fs.clone()), DROP.as_ref(), &envelope, now).unwrap();
        file.write(format!("{fields}Subject: x\r\n\r\n{body}").as_bytes()).unwrap();
        (file, body)
    }

    fn leave(&self, octets: usize) {
        let (file, body) = self.begin(octets);
        file.commit().unwrap();
        self.told.lock().unwrap().left.insert(body);
    }

    fn leave_what_is_refused(&self, octets: usize) {
        let (file, body) = self.begin_with(&LOOP.repeat(101), octets);
        self.told.lock().unwrap().hopeless.insert(body.clone());
        file.commit().unwrap();
        self.told.lock().unwrap().refused.insert(body);
    }

    fn leave_as_an_ordinary_user(&self, octets: usize) {
        self.fs.set_unreadable(Some(DROP.as_ref()));
        self.leave(octets);
        self.fs.set_unreadable(None);
    }

    /// Leaves a file that `sendmail` did not write, durably.
    fn plant(&self, name: &str, octets: &str) {
        let file = self.fs.create(&Path::new(DROP).join(name)).unwrap();
        file.write_at(octets.as_bytes(), 0).unwrap();
        file.sync_data().unwrap();
        self.fs.sync_dir(DROP.as_ref()).unwrap();
    }
}

type Image = (SimFs, Told);
type Images = Arc<Mutex<Vec<Image>>>;

/// Makes one image before every change of the users' disk. `Disk::image` documents the seed.
fn take_images(users: &Users, seed: u64) -> Images {
    let images = Images::default();
    let (list, told, mut change) = (Arc::clone(&images), Arc::clone(&users.told), 0);
    users.fs.watch(move |disk| {
        change += 1000;
        let image = disk.image(if seed < 2 { seed } else { change + seed });
        list.lock().unwrap().push((image, told.lock().unwrap().clone()));
    });
    images
}

/// Plays a history in which everything happens that can happen in a drop directory. Returns its images.
async fn play(seed: u64) -> Vec<Image> {
    let fs = SimFs::new();
    let users = Users::of(&fs);
    // One user has room for four messages, and what is refused makes a bounce.
    let mut run = Run::on(&fs, 9, that_day);
    users.plant("0-garbage.bsmtp", GARBAGE);
    users.plant("half.bsmtp", HALF);
    let images = take_images(&users, seed);
    users.leave(40);
    users.leave(3000);
    users.leave_as_an_ordinary_user(700);
    users.leave_what_is_refused(500);
    drop(users.begin(2000));
    let being_written = users.begin(70_000);
    run.rounds().await;
    // Promise 2: no claimed file is left.
    assert!(claimed(&fs.image(0), &users.told.lock().unwrap()).is_empty());
    // There is no room for the second of these messages, so it is claimed, refused and released.
    users.leave(1000);
    users.leave(600);
    run.rounds().await;
    fs.unwatch();
    assert_eq!((run.stored().len(), names_in(&fs, DROP).len()), (5, 3));
    drop(being_written);
    std::mem::take(&mut *images.lock().unwrap())
}

fn names_in(fs: &SimFs, directory: &str) -> Vec<String> {
    let names = fs.list(directory.as_ref()).unwrap();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

/// Returns the contents of the files whose names have this end.
fn files_in(fs: &SimFs, directory: &str, end: &str) -> Vec<String> {
    let names = names_in(fs, directory).into_iter().filter(|name| name.ends_with(end));
    let content = |name| fs.content(&Path::new(directory).join(name)).unwrap();
    names.map(|name| String::from_utf8_lossy(&content(name)).into_owned()).collect()
}

/// Returns the messages whose files were being taken when the power failed.
fn claimed(fs: &SimFs, told: &Told) -> HashSet<String> {
    let files = files_in(fs, DROP, file::CLAIMED);
    told.begun.iter().filter(|body| files.iter().any(|file| file.contains(*body))).cloned().collect()
}

/// Starts a daemon on the image, and lets it take what is there. Messages in `may_repeat` were claimed in an earlier
/// crash.
async fn check((fs, told): &Image, may_repeat: &HashSet<String>, what: &str) {
    let claimed = claimed(fs, told);
    let had_garbage = names_in(fs, DROP).iter().any(|name| name.starts_with("0-garbage"));
    let mut run = Run::on(fs, u64::MAX, that_day);
    assert!(run.host.recovery.damaged.is_empty(), "{what}: {:?}", run.host.recovery.damaged);
    run.rounds().await;
    let (bounces, stored) = bounces_apart(run.stored());
    for body in &told.refused {
        let count = bounces.iter().filter(|bounce| bounce.contains(body)).count();
        assert!(count > 0, "{what}: exit 0 was said, and nobody hears that it is refused: {body:.20}");
        // Only the claimed message may have been reported before.
        assert!(
            count == 1 || claimed.contains(body) || may_repeat.contains(body),
            "{what}: told {count} times"
        );
    }
    for body in claimed.intersection(&told.hopeless) {
        // A message that was bounced in that run may have its file under its old name and in `corrupt/`.
        let lines = ["sender non-delivery notification", "it has more than one name"];
        let has_line = lines.iter().any(|line| run.has_logged(line));
        assert!(has_line, "{what}: moved without a word: {body:.20}");
    }
    // These have no line about a possible duplicate, but bounces, even if the power failed before `sendmail` could
    // exit.
    let claimed: HashSet<_> = claimed.difference(&told.hopeless).cloned().collect();
    let ids_of = |body| stored.iter().filter(move |(_, other)| other == body).map(|(id, _)| id);
    for body in &told.left {
        assert!(ids_of(body).next().is_some(), "{what}: exit 0 was said, and it is lost: {body:.20}");
    }
    for (_, body) in &stored {
        assert!(told.begun.contains(body), "{what}: not what was left: {body:.20}");
        let is_once = ids_of(body).count() == 1;
        assert!(is_once || claimed.contains(body) || may_repeat.contains(body), "{what}: twice: {body:.20}");
    }
    for body in &claimed {
        let mut lines = ids_of(body).map(|id| format!("{id}: possible duplicate"));
        assert!(lines.any(|line| run.has_logged(&line)), "{what}: nothing said of {body:.20}");
    }
    assert!(!had_garbage || run.has_logged(MOVED), "{what}: moved without a word");
    check_leftovers(&run, told, what);
}

/// Separates the bounces on the spool from all other messages.
fn bounces_apart(stored: Vec<(QueueId, String)>) -> (Vec<String>, Vec<(QueueId, String)>) {
    let (bounces, others): (Vec<_>, Vec<_>) = stored.into_iter().partition(|(_, body)| body.contains(BOUNCE));
    (bounces.into_iter().map(|(_, body)| body).collect(), others)
}

/// Files that others left are complete and in the right place, and no file of ours remains.
fn check_leftovers(run: &Run, told: &Told, what: &str) {
    assert_eq!(files_in(&run.fs, DROP, ".bsmtp"), [HALF], "{what}");
    assert_eq!(files_in(&run.fs, DROP, file::CLAIMED), [""; 0], "{what}");
    // A crash may leave a second name in there.
    let aside = files_in(&run.fs, CORRUPT, "");
    let (refused, other): (Vec<_>, Vec<_>) = aside.iter().partition(|file| file.contains(LOOP));
    assert!(told.refused.is_empty() || !refused.is_empty(), "{what}: what was refused is kept");
    assert!(!other.is_empty() && other.iter().all(|file| *file == GARBAGE), "{what}: {aside:?}");
}

/// D10: every promise holds after a power cut at any change of the disk.
#[tokio::test]
async fn what_was_left_is_delivered_wherever_the_power_goes() {
    let mut repeated = 0;
    for seed in 0..8 {
        let images = play(seed).await;
        assert!(images.len() > 40, "{} images", images.len());
        for (number, image) in images.iter().enumerate() {
            repeated += claimed(&image.0, &image.1).len();
            check(image, &HashSet::new(), &format!("seed {seed}, image {number}")).await;
        }
    }
    assert!(repeated > 80, "{repeated} were being taken");
}

/// D10: every promise holds after a second power cut in the run after the first.
#[tokio::test]
async fn what_was_left_is_delivered_though_the_power_goes_again() {
    for seed in [1, 12, 13] {
        let images = play(seed).await;
        for (number, (fs, told)) in images.into_iter().enumerate().skip(seed as usize % 7).step_by(11) {
            let may_repeat = claimed(&fs, &told);
            let users = Users { fs: fs.clone(), told: Arc::new(Mutex::new(told)) };
            let again = take_images(&users, seed + 100);
            let mut run = Run::on(&fs, u64::MAX, that_day);
            run.rounds().await;
            drop(run);
            fs.unwatch();
            let again = std::mem::take(&mut *again.lock().unwrap());
            for (second, image) in again.iter().enumerate() {
                check(image, &may_repeat, &format!("seed {seed}, image {number}, then {second}")).await;
            }
        }
    }
}

/// Promise 5: a file that a crash leaves unfinished stays for a day.
#[tokio::test]
async fn what_a_crash_left_unfinished_is_moved_aside_a_day_later() {
    for (number, (fs, told)) in play(15).await.into_iter().enumerate().step_by(5) {
        let partial = files_in(&fs, DROP, ".tmp").len();
        let mut run = Run::on(&fs, u64::MAX, the_day_after);
        run.rounds().await;
        let stored: HashSet<String> = run.stored().into_iter().map(|(_, body)| body).collect();
        assert!(told.left.is_subset(&stored), "image {number}");
        assert_eq!(names_in(&fs, DROP), [""; 0], "image {number}");
        let aside = names_in(&fs, CORRUPT);
        let moved = aside.iter().filter(|name| name.contains(".tmp")).count();
        assert!(
            moved <= partial && aside.contains(&"drop-half.bsmtp".to_owned()),
            "image {number}: {aside:?}"
        );
    }
}

/// Promises 2, 4 and 5: a failing disk loses no message and duplicates none.
#[tokio::test]
async fn whichever_disk_call_fails_each_message_is_taken_once() {
    for (error, for_ever) in [(ErrorKind::Other, false), (ErrorKind::StorageFull, true)] {
        let mut call = 0;
        loop {
            let fs = SimFs::new();
            let users = Users::of(&fs);
            let mut run = Run::on(&fs, u64::MAX, that_day);
            users.plant("0-garbage.bsmtp", GARBAGE);
            users.plant("half.bsmtp", HALF);
            users.leave(40);
            users.leave(3000);
            users.leave_what_is_refused(500);
            fs.set_fault(Some(DiskFault { call, error, for_ever }));
            run.rounds().await;
            let is_past_the_end = fs.calls() <= call;
            fs.set_fault(None);
            run.rounds().await;
            let what = format!("call {call}, {error}");
            let told = users.told.lock().unwrap().clone();
            let (bounces, stored) = bounces_apart(run.stored());
            assert_eq!(bounces.len(), 1, "{what}");
            let mut bodies: Vec<_> = stored.into_iter().map(|(_, body)| body).collect();
            let mut left: Vec<_> = told.left.iter().cloned().collect();
            bodies.sort();
            left.sort();
            assert_eq!(bodies, left, "{what}");
            check_leftovers(&run, &told, &what);
            // A sync that failed after an unlink was made up for with the next file, if there was one.
            let what_a_crash_leaves = names_in(&fs.image(0), DROP);
            assert_eq!(what_a_crash_leaves, names_in(&fs, DROP), "{what}: removed, and not durably");
            assert!(run.has_logged(MOVED), "{what}: moved without a word");
            if is_past_the_end {
                break;
            }
            call += 1;
        }
        assert!(call > 20, "{call} calls");
    }
}
