//! A new text takes the place of the file with the users.
//!
//! Promises: only one of several changes at once is made at a time, and none is lost; a reader sees the old file or the new
//! one, and after a power cut there is one of them. The file keeps its mode and its owner; a new one has mode 600, and belongs to
//! the user of the service if root makes it. A symbolic link stays one: the file behind it is replaced.
//!
//! Fails: with a [`Failure`]; then the file is as it was. One that was made for the change is removed again, if it is still
//! empty and nobody else has put another one in its place.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::edit_failure;
use crate::cli::exit::{Exit, Failure};
use crate::cli::service_user::ServiceUser;
use crate::config::{UsersEditError, UsersText};

/// Changes the file at `path` as `edit` says; `may_make` says whether a file that is missing is made.
pub(super) fn change(
    path: &Path,
    may_make: bool,
    edit: impl FnOnce(&UsersText) -> Result<String, UsersEditError>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::NoPermission,
            _ => Exit::IoError,
        };
        Failure::new(exit, format!("cannot change {}: {error}", path.display()))
    };
    let target = target_of(path, may_make).map_err(failed)?;
    change_at(&target, edit, failed)
}

fn change_at(
    target: &UsersTarget,
    edit: impl FnOnce(&UsersText) -> Result<String, UsersEditError>,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    let locked = lock(&target.path).map_err(&failed)?;
    let text = UsersText::load(&target.path).and_then(|text| edit(&text));
    let text = text.map_err(|error| edit_failure(&error));
    let changed = text.and_then(|text| replace(&target.path, &locked, &text).map_err(failed));
    if changed.is_err() {
        target.unmake(&locked);
    }
    changed
}

/// The file that is to be changed.
struct UsersTarget {
    /// Its path, without links.
    path: PathBuf,
    /// The file that was made just now, empty, for the lock; `None` if there was one.
    made: Option<FileIdentity>,
}

/// The device and the inode.
type FileIdentity = (u64, u64);

fn identity(found: &Metadata) -> FileIdentity {
    (found.dev(), found.ino())
}

impl UsersTarget {
    /// Removes the file that was made, if it is still there and empty. The lock keeps others from filling it meanwhile.
    fn unmake(&self, _locked: &File) {
        let is_ours = |found: Metadata| Some(identity(&found)) == self.made && found.len() == 0;
        if fs::metadata(&self.path).is_ok_and(is_ours) {
            // An empty file does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns the file behind the links of `path`; makes it if there is none.
fn target_of(path: &Path, may_make: bool) -> io::Result<UsersTarget> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => make(path),
        Err(error) => Err(error),
        Ok(path) => Ok(UsersTarget { path, made: None }),
    }
}

/// Makes an empty file for the user of the service.
fn make(path: &Path) -> io::Result<UsersTarget> {
    let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // Somebody else has made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return target_of(path, false),
        opened => opened?,
    };
    let target = UsersTarget { path: fs::canonicalize(path)?, made: Some(identity(&file.metadata()?)) };
    let given = ServiceUser::of_host().map_or(Ok(()), |owner| fchown(&file, Some(owner.uid()), None));
    if let Err(error) = given {
        target.unmake(&lock(&target.path)?);
        return Err(error);
    }
    Ok(target)
}

/// Waits until nobody else changes the file at `path`, and returns it open.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = File::open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        // Who had the lock before may have put another file in its place.
        if identity(&file.metadata()?) == identity(&fs::metadata(path)?) {
            return Ok(file);
        }
    }
}

fn replace(target: &Path, old: &File, text: &str) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file");
    let (Some(name), Some(directory)) = (target.file_name(), target.parent()) else { return Err(invalid()) };
    let mut draft_name = name.to_owned();
    draft_name.push(".new");
    let draft = directory.join(draft_name);
    // One that is there was left by a run that did not end well: we have the lock.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = fill(&draft, old, text).and_then(|()| fs::rename(&draft, target));
    if let Err(error) = written {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

/// Writes `text` to a new file with the mode and the owner of `old`.
fn fill(draft: &Path, old: &File, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    let (found, made) = (old.metadata()?, file.metadata()?);
    if (found.uid(), found.gid()) != (made.uid(), made.gid()) {
        fchown(&file, Some(found.uid()), Some(found.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(found.mode() & 0o7777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two calls that add a user to a new file, the one that had made the file and failed removed what the other had written.
    #[test]
    fn only_an_empty_file_of_this_call_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let fails = |target: &UsersTarget| {
            let edit = |_: &UsersText| Err(UsersEditError::Known("ann".into()));
            change_at(target, edit, |error| Failure::new(Exit::IoError, error.to_string())).unwrap_err()
        };
        let alone = target_of(&path, true).unwrap();
        fails(&alone);
        assert!(!path.exists());
        let first = target_of(&path, true).unwrap();
        change(&path, true, |_| Ok("# of the other call\n".into())).unwrap();
        fails(&first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "# of the other call\n");
        fs::write(&path, "").unwrap();
        fails(&first);
        assert!(path.exists(), "an empty file that was there is none of ours");
        assert!(make(&path).unwrap().made.is_none(), "somebody else was faster");
    }
}
