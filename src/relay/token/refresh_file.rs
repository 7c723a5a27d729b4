//! The file of the refresh token.
//!
//! Promises:
//! 1. A refresh token that replaces another is durable before it is used: it is written beside the file, synced, and
//!    renamed over it, and the directory is synced.
//! 2. One request at a time uses the token of a file in this process, also around a reload and for several relays: two
//!    would each get a new token, and many endpoints then revoke both.
//! 3. A token that somebody else wrote meanwhile, as `nullmta oauth login` does, is not overwritten.
//! 4. A token that was written here is known as such ([`is_ours`]): it is no change that somebody made.
//!
//! Fails: if the new token cannot be written, it is kept in memory, and no other request is made before it is written; a
//! crash in this time loses the login, which the log says. A crash between the endpoint's answer and the write, a few
//! milliseconds, loses the new token in any case, since nothing can be durable before it has arrived: then the old one is
//! tried, which most endpoints take once more or for some time (Microsoft until its end, Google for ever, since it does not
//! replace it); where they do not, they say `invalid_grant`, and somebody must log in again. A stop of the daemon waits for
//! the request and the write ([`settled`]).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use rustix::fs::{Access, access};

use crate::config::{SecretFile, stays_until_mended};
use crate::log;
use crate::secret::Secret;

/// A refresh token that could not be written yet.
struct Unwritten {
    old: Secret,
    new: Secret,
    /// The name of the route that leads to the relay of whoever asked for it, for the log.
    route: Option<Arc<str>>,
}

/// The files that are in use, each with its lock.
static FILES: LazyLock<Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<Option<Unwritten>>>>>> =
    LazyLock::new(Mutex::default);

/// A print of the token that was written last to each path, by a key of this run, which tells nothing about the token.
static WRITTEN: LazyLock<(RandomState, Mutex<BTreeMap<PathBuf, u64>>)> = LazyLock::new(Default::default);

/// The file of a refresh token, locked for one request.
pub(super) struct RefreshFile {
    path: PathBuf,
    route: Option<Arc<str>>,
    /// It is held across the request: that is its purpose (promise 2).
    unwritten: OwnedMutexGuard<Option<Unwritten>>,
}

impl RefreshFile {
    /// Waits until no other request uses the file at `path`; `route` leads to the relay of who waits.
    pub(super) async fn lock(path: &Path, route: Option<Arc<str>>) -> RefreshFile {
        // The map is whole between any two statements that can panic.
        let lock =
            FILES.lock().unwrap_or_else(PoisonError::into_inner).entry(path.into()).or_default().clone();
        RefreshFile { path: path.into(), route, unwritten: lock.lock_owned().await }
    }

    /// Writes a token that could not be written before. Blocks on the disk.
    pub(super) fn catch_up(&mut self) -> Result<(), Unwritable> {
        match self.unwritten.take() {
            Some(Unwritten { old, new, route }) => {
                self.route = route;
                self.replace(old, new)
            }
            None => Ok(()),
        }
    }

    /// Replaces `old`, which was used, by `new`. Blocks on the disk.
    pub(super) fn replace(&mut self, old: Secret, new: Secret) -> Result<(), Unwritable> {
        // A file that is gone, or cannot be read, is written anew.
        let now = SecretFile::at(&self.path).read();
        if now.is_ok_and(|now| now.expose() != old.expose()) {
            return Ok(());
        }
        note(&self.path, &new);
        let written = write(&self.path, &new);
        if written.is_err() {
            *self.unwritten = Some(Unwritten { old, new, route: self.route.clone() });
        }
        written
    }
}

/// Waits until no request uses the file of a refresh token, and writes the tokens that could not be written before. Called
/// at a stop, when nobody begins a request any more.
pub async fn settled() {
    let paths: Vec<PathBuf> = FILES.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
    for path in paths {
        let mut file = RefreshFile::lock(&path, None).await;
        let route = file.unwritten.as_ref().and_then(|unwritten| unwritten.route.clone());
        let written = tokio::task::spawn_blocking(move || file.catch_up()).await;
        if let Ok(Err(error)) = written {
            log::refresh_token_not_written(route.as_deref(), &path.display(), &error);
        }
    }
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
        SecretFile::at(path).read().is_ok_and(|token| prints.hash_one(token.expose()) == ours)
    })
}

/// The reason why the file of a refresh token cannot be written.
#[derive(Debug)]
pub(super) struct Unwritable {
    path: PathBuf,
    error: io::Error,
}

impl Unwritable {
    /// True if an operator must act: the next try fails in the same way.
    pub(super) fn is_for_operator(&self) -> bool {
        stays_until_mended(&self.error)
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        if self.is_for_operator() {
            let directory = directory_of(&self.path).display();
            let us = rustix::process::geteuid().as_raw();
            write!(
                f,
                "; uid {us} must be able to make files in {directory}, since a new file takes the place of "
            )?;
            write!(
                f,
                "the old one: give it the directory (chown), and let the unit write there (ReadWritePaths=)"
            )?;
        }
        Ok(())
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// True if a file can be made beside `path`, as far as rights tell. Blocks on the disk.
pub(super) fn is_writable(path: &Path) -> bool {
    access(directory_of(path), Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Returns warnings about the file of a refresh token at `path`, which `has_login` tells to be that of a login on a terminal.
/// Blocks on the disk.
pub(super) fn warnings(path: &Path, has_login: bool) -> Vec<String> {
    let (shown, directory) = (path.display(), directory_of(path).display());
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
    warnings
}

/// Writes `token` to the file at `path`, durably. Written by root, the file gets the owner of its directory. Blocks on the
/// disk.
pub(in crate::relay) fn write(path: &Path, token: &Secret) -> Result<(), Unwritable> {
    put(path, |draft| {
        fill(draft, directory_of(path), token)?;
        fs::rename(draft, path)
    })
}

/// Tries what [`write`] does, and leaves the file at `path` as it is. Blocks on the disk.
pub(super) fn rehearse(path: &Path) -> Result<(), Unwritable> {
    let nothing = Secret::new(String::new());
    put(path, |draft| {
        fill(draft, directory_of(path), &nothing)?;
        fs::remove_file(draft)
    })
}

/// Makes a draft beside the file at `path`, and does with it what `settle` does, durably. No draft stays.
fn put(path: &Path, settle: impl Fn(&Path) -> io::Result<()>) -> Result<(), Unwritable> {
    let put = || {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file");
        let mut draft_name = path.file_name().ok_or_else(invalid)?.to_owned();
        draft_name.push(".new");
        let draft = directory_of(path).join(draft_name);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Err(error) = settle(&draft) {
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        File::open(directory_of(path))?.sync_all()
    };
    put().map_err(|error| Unwritable { path: path.into(), error })
}

fn fill(draft: &Path, directory: &Path, token: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(directory)?;
        chown(draft, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.write_all(token.expose())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn read(path: &Path) -> String {
        SecretFile::at(path).read().unwrap().text().unwrap().to_owned()
    }

    #[tokio::test]
    async fn another_token_takes_the_place_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write(&path, &secret("one")).unwrap();
        // A draft that a crash left.
        fs::write(directory.path().join("token.new"), "half").unwrap();
        RefreshFile::lock(&path, None).await.replace(secret("one"), secret("two")).unwrap();
        assert_eq!(read(&path), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft stays");
        assert!(is_ours(&path));
        write(&path, &secret("of a login")).unwrap();
        assert!(!is_ours(&path) && !is_ours(&directory.path().join("other")));
    }

    /// A user was sent through the login, and only then it was said that nothing could be kept of it.
    #[test]
    fn a_rehearsal_says_whether_a_token_could_be_written_and_leaves_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        rehearse(&path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        write(&path, &secret("one")).unwrap();
        rehearse(&path).unwrap();
        assert_eq!(read(&path), "one");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let missing = rehearse(&directory.path().join("no/token")).unwrap_err();
        let us = rustix::process::geteuid().as_raw();
        let expected = format!(
            "No such file or directory (os error 2); uid {us} must be able to make files in {}/no, since",
            directory.path().display()
        );
        assert!(missing.is_for_operator() && missing.to_string().starts_with(&expected), "{missing}");
        let full = Unwritable { path, error: io::Error::from_raw_os_error(28) };
        assert_eq!(
            (full.is_for_operator(), full.to_string().contains("uid")),
            (false, false),
            "ENOSPC passes"
        );
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
        RefreshFile::lock(&path, None).await.replace(secret("one"), secret("two")).unwrap();
        assert_eq!(read(&path), "of a login");
    }

    /// The endpoint had revoked the old token, and the new one was forgotten.
    #[tokio::test]
    async fn a_token_that_cannot_be_written_is_kept_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("there/token");
        let mut file = RefreshFile::lock(&path, None).await;
        file.replace(secret("one"), secret("two")).unwrap_err();
        drop(file);
        RefreshFile::lock(&path, None).await.catch_up().unwrap_err();
        fs::create_dir(directory.path().join("there")).unwrap();
        let mut file = RefreshFile::lock(&path, None).await;
        file.catch_up().unwrap();
        file.catch_up().unwrap();
        assert_eq!(read(&path), "two");
    }
}
