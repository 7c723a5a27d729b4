//! The users of this host: their names and groups, from the name service of the host.
//!
//! ```text
//!  daemon ─▶ Users ─▶ known answers
//!              └────▶ a thread that blocks ─┐
//!  commands ─▶ by_uid, by_login, groups_of ─┴▶ nss ─▶ files, LDAP, sssd, systemd-homed, DynamicUser=
//! ```
//! Promises
//! 1. Users are looked up only here: nothing else reads passwd(5) or group(5).
//! 2. No call waits longer than [`PATIENCE`] for an answer, and [`Users`] as long again for its turn. If the name service
//!    hangs, a name is missing, but no message is lost: the user appears as a number.
//! 3. [`Users`] blocks no async thread. It has at most [`LOOKUPS`] lookups open at once, including those that hang. It
//!    keeps names for a minute (`known.rs`), also from an answer that comes late. Groups are looked up each time, so that
//!    a change of membership counts at once.
//! 4. If the name service stops answering, this is logged once, until it answers again.
//!
//! Fails: a user who does not exist is `None`. If the name service does not answer, the result is an error, or, from
//! [`Users`], `None` too.
//!
//! A static build with musl has no NSS: musl itself reads `/etc/passwd` and `/etc/group`, and asks nscd, or a replacement
//! of it, about users that it does not find there. Everything else here applies to it, too.
//!
//! Not here: what is done with a name (`message/rewrite/`), what members of a group may do (`admin/rights.rs`).

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

/// Time for which an answer is awaited. Files and local caches answer within milliseconds unless the host is very busy;
/// clients wait longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time for which a name is awaited that nothing depends on.
const SOON: Duration = Duration::from_millis(200);

/// The most lookups that the daemon has open at once.
const LOOKUPS: usize = 2;

/// Returns the user with this uid. Blocks for [`PATIENCE`] at most.
pub fn by_uid(uid: u32) -> io::Result<Option<Account>> {
    within(PATIENCE, move || Nss.by_uid(uid))
}

/// Returns the user with this login name. Blocks for [`PATIENCE`] at most.
pub fn by_login(login: &str) -> io::Result<Option<Account>> {
    let login = login.to_owned();
    within(PATIENCE, move || Nss.by_login(&login))
}

/// Returns the groups that this user is in. Blocks for [`PATIENCE`] at most.
pub fn groups_of(account: &Account) -> io::Result<Vec<u32>> {
    let account = account.clone();
    within(PATIENCE, move || Nss.groups(&account))
}

/// Runs `ask` in a thread and returns its result; an error if that takes longer than `patience`. The thread then goes on
/// by itself.
fn within<T: Send + 'static>(
    patience: Duration,
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (answer, answered) = sync_channel(1);
    // The caller may have stopped waiting.
    thread::Builder::new().name("users".into()).spawn(move || drop(answer.send(ask())))?;
    answered.recv_timeout(patience).unwrap_or_else(|_| Err(silent()))
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the name service does not answer (nsswitch.conf)")
}

/// The users of this host, looked up without blocking the daemon.
#[derive(Clone)]
pub struct Users {
    service: Arc<dyn NameService>,
    known: Arc<Mutex<Known>>,
    lookups: Arc<Semaphore>,
    patience: Duration,
}

impl Users {
    /// Returns the users that `service` knows.
    pub fn of(service: Arc<dyn NameService>) -> Self {
        Users::waiting_for(PATIENCE, service)
    }

    fn waiting_for(patience: Duration, service: Arc<dyn NameService>) -> Self {
        Users { service, known: Arc::default(), lookups: Arc::new(Semaphore::new(LOOKUPS)), patience }
    }

    /// Returns the names of the user with this uid; `None` if there is no such user, or the name service does not answer.
    pub async fn named(&self, uid: u32) -> Option<LocalUser> {
        if let Some(user) = self.known().answer(uid, Instant::now()) {
            return user;
        }
        let lookup = self.turn().await;
        // Another task may have asked for the same user meanwhile.
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

    /// Returns the same, where it is known or found within [`SOON`]: for a caller to whom a name is no more than a courtesy.
    pub async fn named_soon(&self, uid: u32) -> Option<LocalUser> {
        timeout(SOON, self.named(uid)).await.unwrap_or_default()
    }

    /// Returns whether the user with this uid is in the group `gid`; `false` if the name service does not answer.
    pub async fn is_in_group(&self, uid: u32, gid: u32) -> bool {
        let lookup = self.turn().await;
        let service = Arc::clone(&self.service);
        let ask = move || match service.by_uid(uid)? {
            Some(account) => Ok(service.groups(&account)?.contains(&gid)),
            None => Ok(false),
        };
        self.ask(lookup, ask).await.unwrap_or(false)
    }

    /// Returns the names of the groups that the user with this uid is in; `None` if the name service does not answer.
    pub async fn groups_named(&self, uid: u32) -> Option<Vec<String>> {
        let lookup = self.turn().await;
        let service = Arc::clone(&self.service);
        let ask = move || {
            let Some(account) = service.by_uid(uid)? else { return Ok(Vec::new()) };
            let names = service.groups(&account)?.into_iter().map(|gid| service.group_name(gid));
            names.filter_map(Result::transpose).collect()
        };
        self.ask(lookup, ask).await.ok()
    }

    /// Returns a permit for one lookup; an error if none becomes free in time.
    async fn turn(&self) -> io::Result<OwnedSemaphorePermit> {
        let turn = timeout(self.patience, Arc::clone(&self.lookups).acquire_owned()).await;
        turn.map_err(|_| silent())?.map_err(io::Error::other)
    }

    /// Runs `ask` outside the async threads and returns its result. Logs it if the name service has stopped answering.
    async fn ask<T: Send + 'static>(
        &self,
        lookup: io::Result<OwnedSemaphorePermit>,
        ask: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let patience = self.patience;
        let answer = match lookup {
            Ok(lookup) => {
                let ask = move || {
                    // The permit is returned when the call ends, not when its caller stops waiting.
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
