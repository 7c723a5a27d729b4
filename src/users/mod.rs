//! The users of this host: their names and groups, as its name service has them.
//!
//! ```text
//!  daemon ─▶ Users ─▶ known answers
//!              └────▶ a thread that blocks ─┐
//!  commands ─▶ by_uid, by_login, groups_of ─┴▶ nss ─▶ files, LDAP, sssd, systemd-homed, DynamicUser=
//! ```
//! Promises
//! 1. What has to know a user asks here: nothing else reads passwd(5) or group(5).
//! 2. No call waits longer than [`PATIENCE`] for an answer, and [`Users`] as long again for its turn. A name service
//!    that hangs costs a name, and no message: the user is a number then.
//! 3. [`Users`] blocks no async thread. It has [`LOOKUPS`] questions open at once, those that hang among them, and keeps
//!    what it learns of names for a minute (`known.rs`), an answer that comes late as well. Groups are asked for each
//!    time: who is put into a group, or taken out, is so at once.
//! 4. A name service that stops answering is in the log once, until it answers again.
//!
//! Fails: in its answers; a user whom nobody names is `None`, one of whom nobody could tell is an error or, to
//! [`Users`], `None` too.
//!
//! A static build with musl has no NSS: musl reads `/etc/passwd` and `/etc/group` by itself, and asks nscd, or what
//! stands in for it, about whom it does not find there. All else here holds for it too.
//!
//! Not here: what becomes of a name (`message/rewrite/`), what members of a group may do (`admin/rights.rs`).

mod account;
mod known;
mod nss;

use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::log;
use crate::message::rewrite::LocalUser;
use known::Known;

pub use account::Account;
pub use nss::{NameService, Nss};

/// How long an answer is waited for. Those of files and of a local cache come within milliseconds, later only where the
/// host is very busy; no client is as impatient as this.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many questions of the daemon's are open at once.
const LOOKUPS: usize = 2;

/// The user with this uid. Blocks for [`PATIENCE`] at most.
pub fn by_uid(uid: u32) -> io::Result<Option<Account>> {
    within(PATIENCE, move || Nss.by_uid(uid))
}

/// The user with this login name. Blocks for [`PATIENCE`] at most.
pub fn by_login(login: &str) -> io::Result<Option<Account>> {
    let login = login.to_owned();
    within(PATIENCE, move || Nss.by_login(&login))
}

/// The groups that this user is in. Blocks for [`PATIENCE`] at most.
pub fn groups_of(account: &Account) -> io::Result<Vec<u32>> {
    let account = account.clone();
    within(PATIENCE, move || Nss.groups(&account))
}

/// What `ask` answers within that time. It goes on by itself behind that, in a thread that ends with the process.
fn within<T: Send + 'static>(
    patience: Duration,
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (answer, answered) = sync_channel(1);
    // Whoever asked may not wait any more.
    thread::Builder::new().name("users".into()).spawn(move || drop(answer.send(ask())))?;
    answered.recv_timeout(patience).unwrap_or_else(|_| Err(silent()))
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the name service does not answer (nsswitch.conf)")
}

/// The users of this host to the daemon, which waits for nobody.
#[derive(Clone)]
pub struct Users {
    service: Arc<dyn NameService>,
    known: Arc<Mutex<Known>>,
    lookups: Arc<Semaphore>,
    patience: Duration,
}

impl Users {
    /// The users that `service` knows.
    pub fn of(service: Arc<dyn NameService>) -> Self {
        Users::waiting_for(PATIENCE, service)
    }

    fn waiting_for(patience: Duration, service: Arc<dyn NameService>) -> Self {
        Users { service, known: Arc::default(), lookups: Arc::new(Semaphore::new(LOOKUPS)), patience }
    }

    /// The names of the user with this uid; `None` if nobody has it, or nobody can tell.
    pub async fn named(&self, uid: u32) -> Option<LocalUser> {
        if let Some(user) = self.known().answer(uid, Instant::now()) {
            return user;
        }
        let lookup = self.turn().await;
        // Somebody else may have asked for the same meanwhile.
        if let Some(user) = self.known().answer(uid, Instant::now()) {
            return user;
        }
        let (service, known) = (Arc::clone(&self.service), Arc::clone(&self.known));
        let ask = move || {
            let user = service.by_uid(uid)?.map(|account| account.local_user());
            locked(&known).learn(uid, user.clone(), Instant::now());
            Ok(user)
        };
        match self.ask(lookup, ask).await {
            Ok(user) => user,
            Err(_) => self.known().unanswered(uid, Instant::now()),
        }
    }

    /// Whether the user with this uid is in the group `gid`; not if nobody can tell.
    pub async fn is_in_group(&self, uid: u32, gid: u32) -> bool {
        let lookup = self.turn().await;
        let service = Arc::clone(&self.service);
        let ask = move || match service.by_uid(uid)? {
            Some(account) => Ok(service.groups(&account)?.contains(&gid)),
            None => Ok(false),
        };
        self.ask(lookup, ask).await.unwrap_or(false)
    }

    /// The right to ask something; an error if it is not had in time.
    async fn turn(&self) -> io::Result<OwnedSemaphorePermit> {
        let turn = timeout(self.patience, Arc::clone(&self.lookups).acquire_owned()).await;
        turn.map_err(|_| silent())?.map_err(io::Error::other)
    }

    /// What `ask` answers, off the async threads; the log hears of it if it does not.
    async fn ask<T: Send + 'static>(
        &self,
        lookup: io::Result<OwnedSemaphorePermit>,
        ask: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let patience = self.patience;
        let answer = match lookup {
            Ok(lookup) => {
                let ask = move || {
                    // Given back by the call that returns, not by whoever waits for it.
                    let _lookup = lookup;
                    ask()
                };
                let asked = tokio::task::spawn_blocking(move || within(patience, ask)).await;
                asked.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &answer
            && self.known().is_newly_silent()
        {
            log::users_unknown(error);
        }
        answer
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        locked(&self.known)
    }
}

fn locked(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
