//! The process at the other end of the unix socket: its command and its systemd unit, for the log.
//!
//! Promises
//! 1. Group and process id are those of SO_PEERCRED, as they were when the client connected.
//! 2. Command and unit are those of the process with this id, as long as it is there, runs as the user of the connection, and
//!    the client has not closed the connection meanwhile. All is read from one process, even if its id is given to another
//!    one while it is read. Else they are absent.
//! 3. Nothing waits for this but the first message of a session, at its DATA or first BDAT, and that for [`SOON`] at most. It
//!    is read off the async threads, by few at a time, while the session goes on.
//! 4. A look-up ends with its session, or when nobody waits for it any more. Until then it has a descriptor of the connection.
//!
//! What this cannot exclude: a client that passes its connection on to another process and ends, and a process of the *same*
//! user that gets its id before it is looked at. A program chooses its own name, too. So these words help to find a program; no
//! right and no route depends on them.
//!
//! Fails: nothing is known of processes that are hidden (`ProtectProc=`, `hidepid=`), and of those in another PID namespace.
//! Over TCP the kernel tells whose a socket is, but not which processes have it open, except to their user and root.
//!
//! proc(5), cgroups(7), unix(7).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open, openat};
use tokio::net::unix::UCred;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::log::ClientProcess;

/// The time that the first message of a session waits for the answer.
const SOON: Duration = Duration::from_millis(200);

/// The number of threads that may read at a time.
const READING: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(READING);

/// The octets of a file in /proc that are read. The user ids are within the first ones of the longest of them.
const MOST: u64 = 4096;

/// What is known of the process of a client, and what is still being read.
pub(super) struct ProcessLookup {
    process: ClientProcess,
    /// It is aborted when this is dropped.
    reading: JoinSet<Option<Traits>>,
}

/// What /proc tells of a process.
#[derive(Debug, Default, PartialEq, Eq)]
struct Traits {
    command: Option<String>,
    unit: Option<String>,
}

impl ProcessLookup {
    /// Begins to look at the process that connected `stream`, which `client` names.
    pub fn begin(stream: &impl AsFd, client: UCred) -> Self {
        Self::begin_in(&TURNS, stream, client)
    }

    fn begin_in(turns: &'static Semaphore, stream: &impl AsFd, client: UCred) -> Self {
        let pid = client.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let process = ClientProcess { gid: client.gid(), pid, command: None, unit: None };
        let mut reading = JoinSet::new();
        if let Some(pid) = pid
            && let Ok(stream) = stream.as_fd().try_clone_to_owned()
        {
            reading.spawn(async move {
                let turn = turns.acquire().await.ok()?;
                let read = move || {
                    let found = traits(pid, client.uid(), &stream);
                    // Not before: the thread goes on reading when the task is aborted.
                    drop(turn);
                    found
                };
                tokio::task::spawn_blocking(read).await.ok().flatten()
            });
        }
        ProcessLookup { process, reading }
    }

    /// Waits until all is known that will be.
    pub async fn settle(&mut self) {
        self.settle_within(SOON).await;
    }

    async fn settle_within(&mut self, limit: Duration) {
        let mut reading = std::mem::take(&mut self.reading);
        if let Ok(Some(Ok(Some(Traits { command, unit })))) = timeout(limit, reading.join_next()).await {
            (self.process.command, self.process.unit) = (command, unit);
        }
    }

    /// Returns what is known.
    pub fn process(&self) -> &ClientProcess {
        &self.process
    }
}

/// Returns the traits of a process that runs as `uid` and has the other end of `stream`.
fn traits(pid: u32, uid: u32, stream: &OwnedFd) -> Option<Traits> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // What is opened below this is of this process; when that has ended, nothing is.
    let directory = open(format!("/proc/{pid}"), flags, Mode::empty()).ok()?;
    let runs_as = |status: Vec<u8>| uids(&status).any(|of| of == uid);
    let is_theirs = read_at(directory.as_fd(), "status").is_some_and(runs_as);
    let found = Traits {
        command: read_at(directory.as_fd(), "comm").and_then(|text| command_in(&text)),
        unit: read_at(directory.as_fd(), "cgroup").and_then(|text| unit_in(&text)),
    };
    (is_theirs && !is_hung_up(stream)).then_some(found)
}

fn read_at(directory: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = Vec::new();
    File::from(file).take(MOST).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Returns whether the other end is closed altogether; a client may close its direction and wait for the reply.
fn is_hung_up(stream: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_err() || !polled[0].revents().is_empty()
}

/// Returns the user ids in `/proc/PID/status`: real, effective, saved, and that for files.
fn uids(status: &[u8]) -> impl Iterator<Item = u32> {
    let line = status.split(|octet| *octet == b'\n').find_map(|line| line.strip_prefix(b"Uid:"));
    let numbers = line.and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    numbers.split_ascii_whitespace().filter_map(|number| number.parse().ok())
}

/// Returns the name in `/proc/PID/comm`, which may be any octets. The log encloses it in angle brackets.
fn command_in(comm: &[u8]) -> Option<String> {
    let name = String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(comm)).replace(['<', '>'], "?");
    (!name.is_empty()).then_some(name)
}

/// Returns the system unit in `/proc/PID/cgroup`: the first part of the path behind the slices. What is below it is a matter
/// of the unit's user, such as the units of a user's own systemd.
fn unit_in(cgroup: &[u8]) -> Option<String> {
    let lines = std::str::from_utf8(cgroup).ok()?.lines();
    // Of a line of version 1 the second field says which hierarchy it is about; version 2 has the only empty one.
    let path = |line: &str| {
        let (_number, rest) = line.split_once(':')?;
        let (hierarchy, path) = rest.split_once(':')?;
        ["", "name=systemd"].contains(&hierarchy).then(|| path.to_owned())
    };
    lines.filter_map(path).find_map(|path| {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let unit = parts.find(|part| !part.ends_with(".slice"))?;
        is_unit(unit).then(|| unit.to_owned())
    })
}

/// Returns whether it is the name of a unit that has processes (systemd.unit(5)).
fn is_unit(name: &str) -> bool {
    let may_be_in_name = |octet: u8| octet.is_ascii_alphanumeric() || b":-_.\\@".contains(&octet);
    let has_processes = |kind: &str| ["service", "scope", "socket", "mount", "swap"].contains(&kind);
    name.len() < 256
        && name.bytes().all(may_be_in_name)
        && name.rsplit_once('.').is_some_and(|(stem, kind)| !stem.is_empty() && has_processes(kind))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tokio::net::UnixStream;

    use super::*;

    fn ours(name: &str) -> Vec<u8> {
        fs::read(format!("/proc/self/{name}")).unwrap()
    }

    #[tokio::test]
    async fn the_process_at_the_other_end_is_known() {
        let (client, stream) = UnixStream::pair().unwrap();
        let mut lookup = ProcessLookup::begin(&stream, stream.peer_cred().unwrap());
        assert_eq!(lookup.process().gid, rustix::process::getegid().as_raw());
        assert_eq!(lookup.process().pid, Some(std::process::id()));
        lookup.settle_within(Duration::MAX).await;
        assert_eq!(lookup.process().command, command_in(&ours("comm")));
        assert!(lookup.process().command.is_some());
        assert_eq!(lookup.process().unit, unit_in(&ours("cgroup")));
        drop(client);
    }

    /// The descriptor stayed open after its session, until the look-up had its turn: the client did not see the end.
    #[tokio::test]
    async fn a_look_up_ends_with_its_session_and_when_nobody_waits_for_it_any_more() {
        static NO_TURN: Semaphore = Semaphore::const_new(0);
        for waits_before in [false, true] {
            let (client, stream) = UnixStream::pair().unwrap();
            let lookup = ProcessLookup::begin_in(&NO_TURN, &stream, stream.peer_cred().unwrap());
            tokio::task::yield_now().await;
            let mut kept = Some(lookup);
            match &mut kept {
                Some(lookup) if waits_before => lookup.settle_within(Duration::ZERO).await,
                kept => *kept = None,
            }
            drop(stream);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(client.into_std().unwrap().read(&mut [0]).unwrap(), 0, "{waits_before}");
            drop(kept);
        }
    }

    #[tokio::test]
    async fn a_client_that_has_gone_or_another_user_s_process_has_no_traits() {
        let (client, stream) = UnixStream::pair().unwrap();
        let stream = stream.as_fd().try_clone_to_owned().unwrap();
        let (pid, uid) = (std::process::id(), rustix::process::geteuid().as_raw());
        assert!(traits(pid, uid, &stream).is_some());
        assert_eq!(traits(pid, uid ^ 1, &stream), None);
        assert_eq!(traits(u32::MAX, uid, &stream), None);
        // It has sent all, and waits.
        let client = client.into_std().unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(traits(pid, uid, &stream).is_some());
        drop(client);
        assert_eq!(traits(pid, uid, &stream), None);
    }

    #[test]
    fn the_unit_is_that_of_the_system() {
        for (cgroup, expected) in [
            ("0::/system.slice/cron.service\n", Some("cron.service")),
            ("0::/system.slice/system-getty.slice/getty@tty1.service\n", Some("getty@tty1.service")),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", Some("session-3.scope")),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/cron.service\n",
                Some("user@1000.service"),
            ),
            ("0::/system.slice/docker-0f.scope/ns/cron.service\n", Some("docker-0f.scope")),
            (
                "12:pids:/system.slice/x.service\n1:name=systemd:/system.slice/cron.service\n0::/\n",
                Some("cron.service"),
            ),
            (
                "12:cpu,cpuacct:/a.service\n0::/system.slice/dev-disk-by\\x2dlabel.mount\n",
                Some("dev-disk-by\\x2dlabel.mount"),
            ),
            ("0::/\n", None),
            ("0::/init.scope\n", Some("init.scope")),
            ("0::/../../system.slice/cron.service\n", None),
            ("0::/system.slice/a b.service\n", None),
            ("0::/system.slice/.service\n", None),
            ("0::/system.slice\n", None),
            ("0::/kubepods/pod1\n", None),
            ("0:/cron.service\n", None),
            ("", None),
        ] {
            assert_eq!(unit_in(cgroup.as_bytes()).as_deref(), expected, "{cgroup:?}");
        }
        assert_eq!(unit_in(b"0::/\xFF.service\n"), None);
        assert_eq!(unit_in(format!("0::/{}.service", "x".repeat(250)).as_bytes()), None);
    }

    #[test]
    fn a_command_stays_within_its_brackets() {
        for (comm, expected) in [
            (&b"cron\n"[..], Some("cron")),
            (b"tmux: server\n", Some("tmux: server")),
            (b"x>, unit=<y\n", Some("x?, unit=?y")),
            (b"a\nb\n", Some("a\nb")),
            (b"\xFFx\n", Some("\u{FFFD}x")),
            (b"\n", None),
            (b"", None),
        ] {
            assert_eq!(command_in(comm).as_deref(), expected, "{comm:?}");
        }
    }

    #[test]
    fn all_user_ids_are_read_and_no_name_is_one() {
        let status = b"Name:\tUid: 7\nUmask:\t0022\nUid:\t33\t34\t35\t4294967295\nGid:\t1\t2\t3\t4\n";
        assert_eq!(uids(status).collect::<Vec<_>>(), [33, 34, 35, u32::MAX]);
        assert_eq!(uids(b"Name:\tx\nUid:\tx\t-1\n").count() + uids(b"").count(), 0);
    }

    proptest! {
        #[test]
        fn no_octets_are_a_panic(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            uids(&octets).count();
            command_in(&octets);
            unit_in(&octets);
        }
    }
}
