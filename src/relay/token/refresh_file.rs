//! The file of the refresh token.
//!
//! Promises:
//! 1. A refresh token that replaces another is durable before it is used (`refresh_file/writing.rs`).
//! 2. One request at a time uses the token of a file in this process, also around a reload and for several relays: two
//!    would each get a new token, and many endpoints then revoke both. Two paths that lead to one file by links are one.
//!    The same holds for other processes, such as a command beside the daemon (`refresh_file/between.rs`): the file is locked
//!    from before its token is read until the one that replaces it is durable.
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

mod between;
mod writing;

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::sleep;

use super::{aside, unwritten};
use crate::config::{SecretFile, SecretKind};
use crate::log;
use crate::oauth::Denial;
use crate::secret::Secret;
pub(super) use between::HeldElsewhere;
use writing::{directory_of, is_mount, target_of};

pub(in crate::relay) use writing::write;
pub(super) use writing::{Unwritable, is_writable, rehearse};

/// The time between two tries to write a token: a try costs the disk next to nothing, and while it is not written, a crash
/// loses the login.
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
#[derive(Clone)]
struct Unwritten {
    old: Secret,
    new: Secret,
    asker: RefreshAsker,
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

/// A print of the token that was written last to each file, by the path to which links lead. The print is made with a key of
/// this run, and tells nothing about the token.
static WRITTEN: LazyLock<(RandomState, Mutex<BTreeMap<PathBuf, u64>>)> = LazyLock::new(Default::default);

/// The file of a refresh token, which no other request of this process uses.
pub(super) struct RefreshFile {
    path: PathBuf,
    asker: RefreshAsker,
    shared: Arc<SharedFile>,
    /// The lock against other processes, if there is one: on the file that was there, then on the one that has its place.
    lock: Option<File>,
    _turn: OwnedMutexGuard<()>,
}

impl RefreshFile {
    /// Waits until no other request uses the token in the file at `path`, in this process or another; `asker` is who waits.
    pub(super) async fn lock(path: &Path, asker: RefreshAsker) -> Result<RefreshFile, HeldElsewhere> {
        let mut file = Self::take_turn(path, shared(path), asker).await;
        file.lock = between::locked(path).await?;
        Ok(file)
    }

    /// Waits until no other request of this process uses a file that is known already, wherever links at `path` lead by now.
    /// To write a token needs no more: another process that has used the old one sees that the file has changed.
    async fn take_turn(path: &Path, shared: Arc<SharedFile>, asker: RefreshAsker) -> RefreshFile {
        let turn = Arc::clone(&shared.turn).lock_owned().await;
        RefreshFile { path: path.into(), asker, shared, lock: None, _turn: turn }
    }

    /// Writes a token that could not be written before, and logs that it is written. Blocks on the disk.
    pub(super) fn catch_up(&mut self) -> Result<(), Unwritable> {
        let Some(Unwritten { old, new, asker, .. }) = self.shared.state().unwritten.clone() else {
            return Ok(());
        };
        self.asker = asker;
        let is_written = self.put(old, new)?;
        // Only now: a panic must not lose it.
        self.shared.state().unwritten = None;
        if is_written {
            log::refresh_token_written(self.asker.route.as_deref(), &self.path.display());
        }
        Ok(())
    }

    /// Replaces `old`, which was used, by `new`. If that is not possible now, it is logged, and tried again. Blocks on the
    /// disk.
    pub(super) fn replace(&mut self, old: Secret, new: Secret) {
        if let Err(error) = self.put(old, new) {
            self.log(&error);
            self.begin_retries();
        }
    }

    /// Returns whether `new` has taken the place of `old`, and not somebody else's token. After an error it is kept.
    fn put(&mut self, old: Secret, new: Secret) -> Result<bool, Unwritable> {
        // A file that is gone, or cannot be used, is written anew; so is `new` itself, which may not be durable yet.
        let now = SecretFile::at(&self.path, SecretKind::RefreshToken).read();
        if now.is_ok_and(|now| now.expose() != old.expose() && now.expose() != new.expose()) {
            return Ok(false);
        }
        let earlier = note(&self.path, &new);
        let written = write(&self.path, &new);
        if let Err(error) = &written {
            // It has failed before the new one was there, as a rule.
            if !is_ours(&self.path) {
                note_again(&self.path, earlier);
            }
            let notice = format!(
                "the new refresh token is in memory alone, since it cannot be written to {}: {error}",
                self.path.display()
            );
            self.shared.state().unwritten = Some(Unwritten { old, new, asker: self.asker.clone(), notice });
        }
        self.lock = Some(written?);
        Ok(true)
    }

    fn log(&self, error: &Unwritable) {
        let RefreshAsker { route, has_login } = &self.asker;
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
        let mut file = RefreshFile::take_turn(&path, Arc::clone(&shared), RefreshAsker::default()).await;
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
    let target = target_of(path);
    let shared = files().get(&target)?.clone();
    let state = shared.state();
    state.unwritten.as_ref().map(|unwritten| unwritten.notice.clone())
}

/// Waits until no request uses the file of a refresh token, and writes the tokens that could not be written before. Called
/// at a stop, when nobody begins a request any more.
pub async fn settled() {
    let known: Vec<_> = files().iter().map(|(path, shared)| (path.clone(), Arc::clone(shared))).collect();
    for (path, shared) in known {
        let mut file = RefreshFile::take_turn(&path, shared, RefreshAsker::default()).await;
        let settle = move || file.catch_up().inspect_err(|error| file.log(error));
        // A panic was logged.
        let _ = tokio::task::spawn_blocking(settle).await;
    }
}

/// The map is whole between any two statements that can panic.
fn files() -> MutexGuard<'static, BTreeMap<PathBuf, Arc<SharedFile>>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocks on the disk for a look at links.
fn shared(path: &Path) -> Arc<SharedFile> {
    let target = target_of(path);
    files().entry(target).or_default().clone()
}

/// The prints are whole between any two statements that can panic.
fn written_prints() -> MutexGuard<'static, BTreeMap<PathBuf, u64>> {
    WRITTEN.1.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers that `token` is about to be written to `path`. Returns the print of the one before. Blocks on the disk.
fn note(path: &Path, token: &Secret) -> Option<u64> {
    let (target, print) = (target_of(path), WRITTEN.0.hash_one(token.expose()));
    written_prints().insert(target, print)
}

/// Remembers the print of an earlier token at `path` again. Blocks on the disk.
fn note_again(path: &Path, earlier: Option<u64>) {
    let target = target_of(path);
    match earlier {
        Some(print) => written_prints().insert(target, print),
        None => written_prints().remove(&target),
    };
}

/// Returns whether the file at `path` holds the refresh token that this process wrote there last, in place of one that was
/// used. Blocks on the disk.
pub fn is_ours(path: &Path) -> bool {
    let target = target_of(path);
    let ours = written_prints().get(&target).copied();
    ours.is_some_and(|ours| {
        SecretFile::at(path, SecretKind::RefreshToken)
            .read()
            .is_ok_and(|token| WRITTEN.0.hash_one(token.expose()) == ours)
    })
}

/// Writes the token of a login to the file at `path`, durably, when no request uses the one before any more. One that does not
/// end is not waited for: it leaves the new token as it is.
pub(super) async fn write_login(path: &Path, token: Secret) -> Result<(), Denial> {
    let _lock = between::locked(path).await;
    let path = path.to_path_buf();
    aside(move || write(&path, &token).map(drop).map_err(|fault| unwritten(&path, &fault))).await
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

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
        RefreshFile::lock(path, RefreshAsker::default()).await.unwrap()
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

    /// The task looked the file up anew, found nothing to write behind the link, and tried for ever.
    #[tokio::test(start_paused = true)]
    async fn a_retry_ends_where_its_link_leads_elsewhere_by_now() {
        let directory = tempfile::tempdir().unwrap();
        let [link, there, other] = ["link", "there/token", "other"].map(|name| directory.path().join(name));
        std::os::unix::fs::symlink(&there, &link).unwrap();
        lock(&link).await.replace(secret("one"), secret("two"));
        let pending = shared(&link);
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        for _ in 0..10 {
            if pending.state().is_retried {
                sleep(RETRY_PAUSE).await;
            }
        }
        assert!(!pending.state().is_retried && pending.state().unwritten.is_none());
        assert_eq!(read(&link), "two");
    }

    /// The token was out of sight while it was written: status said nothing, and a panic would have lost it.
    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_being_written_is_still_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("there/token");
        lock(&path).await.replace(secret("one"), secret("two"));
        fs::create_dir(directory.path().join("there")).unwrap();
        let mut file = lock(&path).await;
        let writing = {
            // The write waits for this.
            let _prints = written_prints();
            let writing = std::thread::spawn(move || file.catch_up());
            for _ in 0..1000 {
                assert!(unwritten_notice(&path).is_some());
                std::thread::yield_now();
            }
            writing
        };
        writing.join().unwrap().unwrap();
        assert_eq!((read(&path).as_str(), unwritten_notice(&path)), ("two", None));
    }

    /// The new token had its place, and the disk failed behind that: it was never made durable, and nothing was said.
    #[tokio::test]
    async fn a_token_that_is_there_and_may_not_be_durable_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write(&path, &secret("two")).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        assert!(lock(&path).await.put(secret("one"), secret("two")).unwrap());
        assert_ne!(fs::metadata(&path).unwrap().ino(), before);
    }

    /// The token in the file was taken for a change that somebody made, since the next one could not be written.
    #[tokio::test]
    async fn a_token_is_ours_by_each_path_and_after_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("token"), directory.path().join("link"));
        std::os::unix::fs::symlink("token", &link).unwrap();
        write(&path, &secret("one")).unwrap();
        lock(&link).await.replace(secret("one"), secret("two"));
        assert!(is_ours(&path) && is_ours(&link));
        // The draft has no place.
        fs::create_dir(directory.path().join("token.new")).unwrap();
        lock(&path).await.put(secret("two"), secret("three")).unwrap_err();
        assert_eq!(read(&path), "two");
        assert!(is_ours(&path) && is_ours(&link));
    }

    /// Two relays used one token by two names, and the endpoint revoked both.
    #[tokio::test]
    async fn two_paths_to_one_file_have_one_turn() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let path = at("there/token");
        ["there", "here"].iter().for_each(|name| fs::create_dir(at(name)).unwrap());
        let links = [
            ("there/link", "token"),
            ("here/link", "../there/token"),
            ("here/second", "../here/../there/link"),
            ("linked", "there"),
        ];
        for (link, target) in links {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        let paths =
            ["there/link", "here/link", "here/second", "linked/token", "linked/link", "here/../there/token"];
        for is_there in [false, true] {
            let held = lock(&path).await;
            for other in paths {
                assert!(shared(&at(other)).turn.try_lock().is_err(), "{other}, {is_there}");
            }
            drop(held);
            assert!(shared(&at("linked/link")).turn.try_lock().is_ok());
            write(&path, &secret("one")).unwrap();
        }
        // Neither directory is there.
        let held = lock(&at("linked/no/token")).await;
        assert!(shared(&at("there/no/token")).turn.try_lock().is_err());
        drop(held);
    }
}
