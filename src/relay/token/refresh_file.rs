//! The file of the refresh token.
//!
//! Promises:
//! 1. A refresh token that replaces another is durable before it is used (`refresh_file/writing.rs`).
//! 2. One request at a time uses the token of a file in this process, also around a reload and for several relays: two
//!    would each get a new token, and many endpoints then revoke both. Two paths that lead to one file by links are one.
//! 3. A token that somebody else wrote meanwhile, as `nullmta oauth login` does, is not overwritten.
//! 4. A token that was written here is known as such ([`is_ours`]): it is no change that somebody made.
//! 5. A token that could not be written is tried again every [`RETRY_PAUSE`], and at a reload, a flush and a stop, until it is
//!    written; the log says so then, and `nullmta status` until then.
//!
//! Fails: if the new token cannot be written, it is kept in memory, and no other request is made before it is written; a
//! crash in this time loses the login, which the log says. A crash between the endpoint's answer and the write, a few
//! milliseconds, loses the new token in any case, since nothing can be durable before it has arrived: then the old one is
//! tried, which most endpoints take once more or for some time (Microsoft until its end, Google for ever, since it does not
//! replace it); where they do not, they say `invalid_grant`, and somebody must log in again. A stop of the daemon waits for
//! the request and the write ([`settled`]).

mod writing;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::sleep;

use crate::config::{SecretFile, SecretKind};
use crate::log;
use crate::secret::Secret;
use writing::{directory_of, is_mount, target_of};

pub(in crate::relay) use writing::write;
pub(super) use writing::{Unwritable, is_writable, rehearse};

/// The time between two tries to write a token: a try costs the disk next to nothing, and while it is not written, a crash loses
/// the login.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Who asks with the token of a file.
#[derive(Clone, Default)]
pub(super) struct RefreshAsker {
    /// The name of the route that leads to the relay, for the log.
    pub(super) route: Option<Arc<str>>,
    /// True if the token is that of a login on a terminal.
    pub(super) has_login: bool,
}

/// A refresh token that could not be written yet.
struct Unwritten {
    old: Secret,
    new: Secret,
    user: RefreshAsker,
    /// The sentence about it for `nullmta status`.
    notice: String,
}

/// What this process knows of one file.
#[derive(Default)]
struct SharedFile {
    /// Held across a request: that is its purpose (promise 2).
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<FileState>,
}

#[derive(Default)]
struct FileState {
    unwritten: Option<Unwritten>,
    /// True while a task tries to write it.
    is_retried: bool,
}

impl SharedFile {
    /// The state is whole between any two statements that can panic.
    fn state(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files that are in use, each by the path to which links lead.
static FILES: LazyLock<Mutex<BTreeMap<PathBuf, Arc<SharedFile>>>> = LazyLock::new(Mutex::default);

/// Wakes the tasks that wait before the next try.
static WAKE: Notify = Notify::const_new();

/// A print of the token that was written last to each path, by a key of this run, which tells nothing about the token.
static WRITTEN: LazyLock<(RandomState, Mutex<BTreeMap<PathBuf, u64>>)> = LazyLock::new(Default::default);

/// The file of a refresh token, locked for one request.
pub(super) struct RefreshFile {
    path: PathBuf,
    user: RefreshAsker,
    shared: Arc<SharedFile>,
    _turn: OwnedMutexGuard<()>,
}

impl RefreshFile {
    /// Waits until no other request uses the file at `path`; `user` is who waits.
    pub(super) async fn lock(path: &Path, user: RefreshAsker) -> RefreshFile {
        let shared = shared(path);
        let turn = Arc::clone(&shared.turn).lock_owned().await;
        RefreshFile { path: path.into(), user, shared, _turn: turn }
    }

    /// Writes a token that could not be written before, and logs that it is written. Blocks on the disk.
    pub(super) fn catch_up(&mut self) -> Result<(), Unwritable> {
        let Some(Unwritten { old, new, user, .. }) = self.shared.state().unwritten.take() else {
            return Ok(());
        };
        self.user = user;
        if self.put(old, new)? {
            log::refresh_token_written(self.user.route.as_deref(), &self.path.display());
        }
        Ok(())
    }

    /// Replaces `old`, which was used, by `new`. If that is not possible now, it is logged, and tried again. Blocks on the disk.
    pub(super) fn replace(&mut self, old: Secret, new: Secret) {
        if let Err(error) = self.put(old, new) {
            self.log(&error);
            self.begin_retries();
        }
    }

    /// Returns whether `new` has taken the place of `old`, and not somebody else's token. After an error it is kept.
    fn put(&self, old: Secret, new: Secret) -> Result<bool, Unwritable> {
        // A file that is gone, or cannot be read, is written anew.
        let now = SecretFile::at(&self.path, SecretKind::RefreshToken).read();
        if now.is_ok_and(|now| now.expose() != old.expose()) {
            return Ok(false);
        }
        note(&self.path, &new);
        let written = write(&self.path, &new);
        if let Err(error) = &written {
            let notice = format!(
                "the new refresh token is in memory alone, since it cannot be written to {}: {error}",
                self.path.display()
            );
            self.shared.state().unwritten = Some(Unwritten { old, new, user: self.user.clone(), notice });
        }
        written.map(|()| true)
    }

    fn log(&self, error: &Unwritable) {
        let RefreshAsker { route, has_login } = &self.user;
        log::refresh_token_not_written(route.as_deref(), &self.path.display(), error, *has_login);
    }

    fn begin_retries(&self) {
        let was_retried = std::mem::replace(&mut self.shared.state().is_retried, true);
        if !was_retried {
            tokio::spawn(retried(self.path.clone(), Arc::clone(&self.shared)));
        }
    }
}

/// Tries again and again to write the token of the file at `path`, until it is written.
async fn retried(path: PathBuf, shared: Arc<SharedFile>) {
    loop {
        tokio::select! {
            () = sleep(RETRY_PAUSE) => {}
            () = WAKE.notified() => {}
        }
        let mut file = RefreshFile::lock(&path, RefreshAsker::default()).await;
        // Its first failure is logged, and status tells the newest one.
        let _ = tokio::task::spawn_blocking(move || file.catch_up()).await;
        let mut state = shared.state();
        if state.unwritten.is_none() {
            state.is_retried = false;
            return;
        }
    }
}

/// Has the tokens that could not be written tried at once.
pub fn retry_now() {
    WAKE.notify_waiters();
}

/// Returns a sentence about the token of the file at `path` if it could not be written yet. Blocks on the disk for a look at
/// links.
pub(super) fn unwritten_notice(path: &Path) -> Option<String> {
    let shared = files().get(&target_of(path))?.clone();
    let state = shared.state();
    state.unwritten.as_ref().map(|unwritten| unwritten.notice.clone())
}

/// Waits until no request uses the file of a refresh token, and writes the tokens that could not be written before. Called
/// at a stop, when nobody begins a request any more.
pub async fn settled() {
    let paths: Vec<PathBuf> = files().keys().cloned().collect();
    for path in paths {
        let mut file = RefreshFile::lock(&path, RefreshAsker::default()).await;
        let settle = move || file.catch_up().inspect_err(|error| file.log(error));
        // A panic was logged.
        let _ = tokio::task::spawn_blocking(settle).await;
    }
}

/// The map is whole between any two statements that can panic.
fn files() -> MutexGuard<'static, BTreeMap<PathBuf, Arc<SharedFile>>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shared(path: &Path) -> Arc<SharedFile> {
    files().entry(target_of(path)).or_default().clone()
}

/// Remembers that `token` is about to be written to `path`.
fn note(path: &Path, token: &Secret) {
    let (prints, written) = &*WRITTEN;
    let print = prints.hash_one(token.expose());
    written.lock().unwrap_or_else(PoisonError::into_inner).insert(path.into(), print);
}

/// Returns whether the file at `path` holds the refresh token that this process wrote there last, in place of one that was
/// used. Blocks on the disk.
pub fn is_ours(path: &Path) -> bool {
    let (prints, written) = &*WRITTEN;
    let ours = written.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
    ours.is_some_and(|ours| {
        SecretFile::at(path, SecretKind::RefreshToken)
            .read()
            .is_ok_and(|token| prints.hash_one(token.expose()) == ours)
    })
}

/// Returns warnings about the file of a refresh token at `path`, which `has_login` tells to be that of a login on a terminal.
/// Blocks on the disk.
pub(super) fn warnings(path: &Path, has_login: bool) -> Vec<String> {
    let target = target_of(path);
    let (shown, directory) = (path.display(), directory_of(&target).display());
    let mut warnings = Vec::new();
    if has_login && !path.exists() {
        warnings.push(format!(
            "auth.oauth.refresh-token-file: {shown} is missing, since nobody has logged in: mail waits until somebody does \
             (nullmta oauth login)"
        ));
    }
    if !is_writable(path) {
        let us = rustix::process::geteuid().as_raw();
        warnings.push(format!(
            "auth.oauth.refresh-token-file: uid {us} cannot make files in {directory}: a refresh token that takes the place \
             of this one would be lost at a stop, and mail would wait; give it the directory (chown)"
        ));
    }
    if is_mount(&target) {
        warnings.push(format!("auth.oauth.refresh-token-file: {shown}: {}", writing::MOUNTED));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    /// Waits for ten tries, at most.
    async fn settle_of(path: &Path) {
        for _ in 0..10 {
            if unwritten_notice(path).is_some() {
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn lock(path: &Path) -> RefreshFile {
        RefreshFile::lock(path, RefreshAsker::default()).await
    }

    fn read(path: &Path) -> String {
        SecretFile::at(path, SecretKind::RefreshToken).read().unwrap().text().unwrap().to_owned()
    }

    #[tokio::test]
    async fn another_token_takes_the_place_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write(&path, &secret("one")).unwrap();
        // A draft that a crash left.
        fs::write(directory.path().join("token.new"), "half").unwrap();
        lock(&path).await.replace(secret("one"), secret("two"));
        assert_eq!(read(&path), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft stays");
        assert!(is_ours(&path));
        write(&path, &secret("of a login")).unwrap();
        assert!(!is_ours(&path) && !is_ours(&directory.path().join("other")));
    }

    #[test]
    fn check_warns_of_a_file_that_cannot_be_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (here, nowhere) = (directory.path().join("token"), directory.path().join("no/token"));
        let counted = |path: &Path, has_login| warnings(path, has_login).len();
        assert_eq!([counted(&here, false), counted(&here, true)], [0, 1]);
        assert_eq!([counted(&nowhere, false), counted(&nowhere, true)], [1, 2]);
        write(&here, &secret("one")).unwrap();
        assert_eq!(counted(&here, true), 0);
        assert!(warnings(&nowhere, true)[0].contains("nobody has logged in"));
        assert!(warnings(&nowhere, true)[1].contains("cannot make files in"));
    }

    /// The login of an operator was undone by a request that was under way.
    #[tokio::test]
    async fn a_token_of_somebody_else_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write(&path, &secret("of a login")).unwrap();
        lock(&path).await.replace(secret("one"), secret("two"));
        assert_eq!(read(&path), "of a login");
    }

    /// The endpoint had revoked the old token, and the new one was forgotten.
    #[tokio::test]
    async fn a_token_that_cannot_be_written_is_kept_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("there/token");
        lock(&path).await.replace(secret("one"), secret("two"));
        assert!(unwritten_notice(&path).unwrap().contains("there/token: No such file or directory"));
        lock(&path).await.catch_up().unwrap_err();
        fs::create_dir(directory.path().join("there")).unwrap();
        let mut file = lock(&path).await;
        file.catch_up().unwrap();
        file.catch_up().unwrap();
        assert_eq!((read(&path).as_str(), unwritten_notice(&path)), ("two", None));
    }

    /// The disk had room again, and the only valid token was in memory alone until the next request, or a kill.
    #[tokio::test(start_paused = true)]
    async fn a_token_that_could_not_be_written_is_written_without_a_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("there/token");
        lock(&path).await.replace(secret("one"), secret("two"));
        sleep(3 * RETRY_PAUSE).await;
        assert!(unwritten_notice(&path).is_some());
        fs::create_dir(directory.path().join("there")).unwrap();
        settle_of(&path).await;
        assert_eq!(read(&path), "two");
        // The next one is tried anew.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        lock(&path).await.replace(secret("two"), secret("three"));
        fs::remove_dir(&path).unwrap();
        settle_of(&path).await;
        assert_eq!(read(&path), "three");
    }

    /// The login of an operator, made while the disk was full, was undone when it had room again.
    #[tokio::test(start_paused = true)]
    async fn a_retry_leaves_the_token_of_somebody_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("there/token");
        lock(&path).await.replace(secret("one"), secret("two"));
        fs::create_dir(directory.path().join("there")).unwrap();
        write(&path, &secret("of a login")).unwrap();
        settle_of(&path).await;
        assert_eq!(read(&path), "of a login");
    }

    /// Two relays used one token by two names, and the endpoint revoked both.
    #[tokio::test]
    async fn two_paths_to_one_file_have_one_turn() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("token"), directory.path().join("link"));
        std::os::unix::fs::symlink("token", &link).unwrap();
        let held = lock(&path).await;
        assert!(shared(&link).turn.try_lock().is_err());
        drop(held);
        assert!(shared(&link).turn.try_lock().is_ok());
    }
}
