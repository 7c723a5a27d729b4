//! The pick-up: it takes the messages that `sendmail` left in the drop directory while no daemon ran.
//!
//! Promises:
//! 1. A message is taken like any other: by the same session core and intake, with the same limits, except for those
//!    that `sendmail` could not know (`policy`). Its submitter is the owner of the file.
//! 2. A file is removed only when its message is on stable storage. The removal is made durable before the next file
//!    is looked at. If that fails, every round begins with it until it succeeds.
//! 3. A file is renamed to `.claimed`, durably, before its message is taken. A file that is found with this name was
//!    being taken when the process or the host died: it is taken, and the log says `possible duplicate`.
//! 4. `sendmail` exited with 0 for a message that is refused for good, so its sender is told: a bounce
//!    (`pickup/bounce.rs`) is put on stable storage, then the file is moved to `corrupt/`, and one log line names
//!    both. After a crash between the two, the message may be bounced twice, but it is always bounced. A reverse-path as
//!    which the owner of the file may not send is told nothing: the postmaster is, as of mail from `<>`.
//! 5. A file that is not a message is moved to `corrupt/`, with a log line (promise 6), and so is one that is
//!    unfinished when its writer has died, or after a day. A file that cannot be taken now, or is not complete yet,
//!    is left alone. Nothing is deleted, with three exceptions: a file whose message was taken; the older of two
//!    names that a crash left to one file; and a file for which `corrupt/` has no room, since it has enough files of
//!    ordinary users.
//! 6. A round looks at [`NAMES`] names, however many files there are. The next round follows soon, and continues with
//!    the others, even if some messages must wait. A flood of files costs a part of a processor and as many log lines
//!    an hour, and hides no message.
//!
//! Fails: with a log line only, and continues. The files may be hostile (`pickup/file.rs`).
//! Not here: the format of a file (`smtp/bsmtp.rs`), writing it (`spool/drop.rs`).

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::AsyncReadExt;

use crate::config;
use crate::listener::Service;
use crate::listener::intake::SpoolBackend;
use crate::listener::peer::LocalPeer;
use crate::listener::stop::StopSignal;
use crate::log;
use crate::smtp::session::{Session, SessionPolicy};
use crate::spool::fs::{FileFacts, Fs, Names};

mod aside;
mod bounce;
mod dialogue;
mod file;

use bounce::BounceNotice;
use dialogue::{PickupOutcome, RefusedMessage};
use file::{Candidate, DropState, Look, Synced};

/// The number of names that a round looks at.
const NAMES: usize = 1000;
/// The pause between two rounds until all names were looked at.
const BREATH: Duration = Duration::from_millis(100);
/// The pause before all names are looked at again.
const POLL: Duration = Duration::from_secs(2);
/// The pause before all names are looked at again, if a message could not be taken.
const PAUSE: Duration = Duration::from_secs(30);
/// The period in which trouble with a file is logged once, and trouble with [`NAMES`] files at most.
const REMINDER: Duration = Duration::from_secs(60 * 60);

/// Takes the messages in the drop directory of the spool at `spool`, until `stop` is given. The current message is
/// finished first.
pub async fn pick_up(fs: Arc<dyn Fs>, spool: PathBuf, service: Arc<Service>, mut stop: StopSignal) {
    let mut pickup = Pickup::new(fs, &spool, service);
    loop {
        let pause = pickup.round(&stop).await;
        tokio::select! {
            biased;
            _ = stop.given() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Pickup {
    fs: Arc<dyn Fs>,
    directory: PathBuf,
    corrupt: PathBuf,
    service: Arc<Service>,
    /// The names that were not looked at yet; `None` if all were.
    rest: Option<Names>,
    /// The users from whom no message can be taken in this pass over the names.
    put_off: HashSet<u32>,
    /// The files about which a line was logged, and the start of the period for which they are remembered.
    told: HashSet<OsString>,
    told_since: Instant,
    /// The files whose messages were taken, and which could not be removed.
    taken: HashSet<OsString>,
    /// The files whose messages were refused and reported to the sender, and which could not be moved yet.
    refused: HashMap<OsString, ReportedRefusal>,
    /// True if a crash could undo that a file was removed or moved.
    is_unsynced: bool,
}

/// The outcome of a message that is refused for good.
#[derive(Clone, Debug)]
struct ReportedRefusal {
    inode: u64,
    why: String,
    told: BounceNotice,
}

/// A claimed file, with its facts at the time when it was found.
struct ClaimedFile {
    path: PathBuf,
    facts: FileFacts,
    /// True if it was claimed in this round, and not by an earlier run.
    is_fresh: bool,
}

impl Pickup {
    fn new(fs: Arc<dyn Fs>, spool: &Path, service: Arc<Service>) -> Self {
        Pickup {
            fs,
            directory: spool.join("drop"),
            corrupt: spool.join("corrupt"),
            service,
            rest: None,
            put_off: HashSet::new(),
            told: HashSet::new(),
            told_since: Instant::now(),
            taken: HashSet::new(),
            refused: HashMap::new(),
            is_unsynced: false,
        }
    }

    /// Looks at the next names. Returns the pause before the next round.
    async fn round(&mut self, stop: &StopSignal) -> Duration {
        if self.is_paused() {
            return POLL;
        }
        if self.rest.is_none() {
            self.put_off.clear();
        }
        if let Err(error) = self.make_up_for_syncs().await {
            self.tell_once(OsStr::new(""), &format!("cannot be synced: {error}"));
        }
        let names = match self.next_names().await {
            Ok(names) => names,
            Err(error) => {
                self.tell_once(OsStr::new(""), &format!("cannot be listed: {error}"));
                return PAUSE;
            }
        };
        for name in names {
            if stop.deadline().is_some() {
                break;
            }
            let visited = match DropState::of(&name) {
                Some(kind) => self.visit(&name, kind).await,
                None => Ok(ControlFlow::Continue(())),
            };
            match visited {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return PAUSE,
                Err(error) => self.tell_once(&name, &error.to_string()),
            }
        }
        match self.rest {
            Some(_) => BREATH,
            None if self.put_off.is_empty() => POLL,
            None => PAUSE,
        }
    }

    /// Returns whether an operator has paused the intake: the files wait.
    fn is_paused(&self) -> bool {
        let orders = self.service.terms().desk.spool.standing_orders();
        orders.intake_pause(Timestamp::now()).is_some()
    }

    async fn make_up_for_syncs(&mut self) -> io::Result<()> {
        if self.is_unsynced {
            let (to, from) = (self.corrupt.clone(), self.directory.clone());
            self.disk(move |fs| fs.sync_dir(&to).and_then(|()| fs.sync_dir(&from))).await?;
            self.is_unsynced = false;
        }
        Ok(())
    }

    /// Returns the next names, sorted, so that files are taken in the order in which they were left.
    async fn next_names(&mut self) -> io::Result<Vec<OsString>> {
        let (directory, rest) = (self.directory.clone(), self.rest.take());
        let (names, rest) = self
            .disk(move |fs| {
                let mut rest = match rest {
                    Some(rest) => rest,
                    None => fs.names(&directory)?,
                };
                let mut names = rest.by_ref().take(NAMES).collect::<io::Result<Vec<_>>>()?;
                names.sort_unstable();
                Ok((names, rest))
            })
            .await?;
        self.rest = (names.len() == NAMES).then_some(rest);
        Ok(names)
    }

    /// Does what is needed with one file. `Break` means that no other file can be taken now either.
    async fn visit(&mut self, name: &OsStr, kind: DropState) -> io::Result<ControlFlow<()>> {
        let path = self.directory.join(name);
        let terms = self.service.terms();
        let (limit, now) = (policy(&terms.over_unix).max_message_size, (terms.desk.clock)().timestamp());
        let at = path.clone();
        match self.disk(move |fs| file::look(fs, &at, kind, limit, now)).await? {
            Look::Take(candidate) if self.taken.contains(name) => {
                self.remove(path, candidate.facts.inode).await;
                Ok(ControlFlow::Continue(()))
            }
            Look::Take(Candidate { facts, .. })
                if self.refused.get(name).is_some_and(|end| end.inode == facts.inode) =>
            {
                self.set_refused_aside(path).await.map(ControlFlow::Continue)
            }
            Look::Take(candidate) => self.take(path, kind, candidate).await,
            Look::Leave => Ok(ControlFlow::Continue(())),
            Look::Gone => {
                self.taken.remove(name);
                self.refused.remove(name);
                Ok(ControlFlow::Continue(()))
            }
            Look::Renamed { older, inode } => {
                let synced = self.disk(move |fs| file::remove(fs, &older, inode)).await?;
                self.noted(synced).map(ControlFlow::Continue)
            }
            Look::Bad(why) => self.set_aside(path, why).await.map(ControlFlow::Continue),
        }
    }

    async fn take(
        &mut self,
        path: PathBuf,
        kind: DropState,
        candidate: Candidate,
    ) -> io::Result<ControlFlow<()>> {
        let Candidate { file, facts } = candidate;
        let FileFacts { owner: uid, length, inode, .. } = facts;
        if self.put_off.contains(&uid) {
            return Ok(ControlFlow::Continue(()));
        }
        let permit = self.service.admit_pickup(LocalPeer::Uid(uid));
        let is_fresh = kind == DropState::Whole;
        let path = if is_fresh { self.disk(move |fs| file::claim(fs, &path)).await? } else { path };
        let terms = self.service.terms();
        let (tally, limits) = (self.service.tally(), self.service.client_limits());
        let backend = SpoolBackend::new(terms.desk.clone(), permit, tally, limits);
        let session = Session::new(Arc::new(policy(&terms.over_unix)));
        // If the file grows, the octets after its end at that time do not belong to the message.
        let content = tokio::fs::File::from_std(file).take(length);
        match dialogue::take(content, session, backend).await {
            PickupOutcome::Taken(id) => {
                log::picked_up(id, &path.display(), uid);
                if !is_fresh {
                    log::possible_duplicate(id, "its file was being taken when the last run ended");
                }
                self.remove(path, inode).await;
            }
            PickupOutcome::Later { why, is_general } => {
                self.put_off(ClaimedFile { path, facts, is_fresh }, &why).await?;
                if is_general {
                    return Ok(ControlFlow::Break(()));
                }
            }
            PickupOutcome::Refused(refused) => {
                return self.bounce(ClaimedFile { path, facts, is_fresh }, &refused).await;
            }
            PickupOutcome::Bad(why) => self.set_aside(path, &why).await?,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Leaves a file, and the other files of its user, for later.
    async fn put_off(&mut self, claim: ClaimedFile, why: &str) -> io::Result<()> {
        let ClaimedFile { path, facts, is_fresh } = claim;
        log::not_picked_up(&path.display(), why);
        if is_fresh {
            self.disk(move |fs| file::release(fs, &path)).await?;
        }
        self.put_off.insert(facts.owner);
        Ok(())
    }

    /// Reports a message that is refused for good to its sender, and moves its file to `corrupt/` (promise 4).
    async fn bounce(&mut self, claim: ClaimedFile, refused: &RefusedMessage) -> io::Result<ControlFlow<()>> {
        let (terms, inode, why) = (self.service.terms(), claim.facts.inode, refused.reply.to_string());
        let arrived = Timestamp::from_second(claim.facts.changed).unwrap_or_default();
        match bounce::bounce(&terms.desk, refused, arrived).await {
            Ok(told) => {
                self.refused.insert(name_of(&claim.path), ReportedRefusal { inode, why, told });
                self.set_refused_aside(claim.path).await.map(ControlFlow::Continue)
            }
            Err(error) => {
                self.put_off(claim, &format!("cannot bounce it: {error}")).await?;
                Ok(ControlFlow::Break(()))
            }
        }
    }

    /// Moves the file of a message whose refusal was reported. If that fails, it is tried again without another
    /// report.
    async fn set_refused_aside(&mut self, path: PathBuf) -> io::Result<()> {
        let (from, corrupt) = (path.clone(), self.corrupt.clone());
        let (to, synced) = self.disk(move |fs| aside::set_aside(fs, &from, &corrupt)).await?;
        if let Some(ReportedRefusal { why, told, .. }) = self.refused.remove(&name_of(&path)) {
            let path = path.display();
            match told {
                BounceNotice::Sender { id, dsn } => log::bounced_at_pick_up(id, dsn, &path, &why, &to),
                BounceNotice::Nobody => log::dead_at_pick_up(&path, &why, &to),
            }
        }
        self.noted(synced)
    }

    /// Removes a file whose message was taken. If that fails, it is remembered, so that it is not taken again.
    async fn remove(&mut self, path: PathBuf, inode: u64) {
        let name = name_of(&path);
        match self.disk(move |fs| file::remove(fs, &path, inode)).await {
            Ok(synced) => {
                self.taken.remove(&name);
                if let Err(error) = self.noted(synced) {
                    self.tell_once(&name, &error.to_string());
                }
            }
            Err(error) => {
                self.tell_once(&name, &format!("is taken, but cannot be removed: {error}"));
                self.taken.insert(name);
            }
        }
    }

    async fn set_aside(&mut self, path: PathBuf, why: &str) -> io::Result<()> {
        let (from, corrupt) = (path.clone(), self.corrupt.clone());
        let (to, synced) = self.disk(move |fs| aside::set_aside(fs, &from, &corrupt)).await?;
        // The end of a file is logged even if trouble with it was logged before.
        self.told.remove(&name_of(&path));
        if self.may_tell(&name_of(&path)) {
            log::set_aside(&path.display(), why, &to);
        }
        self.noted(synced)
    }

    /// Returns an error if a crash could undo the removal, and remembers to sync the directory again.
    fn noted(&mut self, synced: Synced) -> io::Result<()> {
        match synced {
            Synced::Durably => Ok(()),
            Synced::NotYet(error) => {
                self.is_unsynced = true;
                Err(io::Error::new(error.kind(), format!("a crash may bring it back: {error}")))
            }
        }
    }

    /// Runs disk calls off the async threads.
    fn disk<T, F>(&self, work: F) -> impl Future<Output = io::Result<T>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Fs) -> io::Result<T> + Send + 'static,
    {
        let fs = Arc::clone(&self.fs);
        let done = tokio::task::spawn_blocking(move || work(&*fs));
        async move { done.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) }
    }

    fn tell_once(&mut self, name: &OsStr, why: &str) {
        if self.may_tell(name) {
            log::drop_trouble(&self.directory.join(name).display(), why);
        }
    }

    /// Returns whether a line about this file may be logged: not a second one, and not about too many files.
    fn may_tell(&mut self, name: &OsStr) -> bool {
        if self.told_since.elapsed() > REMINDER {
            self.told.clear();
            self.told_since = Instant::now();
        }
        self.told.len() < NAMES && self.told.insert(name.to_owned())
    }
}

fn name_of(path: &Path) -> OsString {
    path.file_name().unwrap_or_default().to_owned()
}

/// Returns the policy for messages that cannot be submitted again. Their number of recipients is not limited, and
/// their size only by the largest limit that can be configured, since `sendmail` may have accepted them without
/// access to the configuration.
fn policy(listener: &SessionPolicy) -> SessionPolicy {
    SessionPolicy {
        max_recipients: usize::MAX,
        max_message_size: listener.max_message_size.max(config::MAX_MESSAGE_SIZE),
        ..listener.clone()
    }
}

#[cfg(test)]
mod tests;
