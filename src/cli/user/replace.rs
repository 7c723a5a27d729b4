//! A new text takes the place of the file with the users.
//!
//! Promises: only one of several changes at once is made at a time, and none is lost; a reader sees the old file or the new
//! one, and after a power cut there is one of them. The file keeps its mode and its owner; a new one has mode 600, and belongs to
//! the user of the service if root makes it. A symbolic link stays one: the file behind it is replaced.
//!
//! Fails: with a [`Failure`]; then the file is as it was.

use std::fs::{self, File, OpenOptions};
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
    let (target, is_new) = target_of(path, may_make).map_err(failed)?;
    let changed = || {
        let locked = lock(&target).map_err(failed)?;
        let text =
            UsersText::load(&target).and_then(|text| edit(&text)).map_err(|error| edit_failure(&error))?;
        replace(&target, &locked, &text).map_err(failed)
    };
    let changed = changed();
    if is_new && changed.is_err() {
        // The empty file that was made for the lock.
        let _ = fs::remove_file(&target);
    }
    changed
}

/// Returns the path of the file behind the links of `path`, and whether it was made just now.
fn target_of(path: &Path, may_make: bool) -> io::Result<(PathBuf, bool)> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            if let Some(owner) = ServiceUser::of_host() {
                fchown(&file, Some(owner.uid()), None)?;
            }
            Ok((fs::canonicalize(path)?, true))
        }
        Err(error) => Err(error),
        Ok(target) => Ok((target, false)),
    }
}

/// Waits until nobody else changes the file at `path`, and returns it open.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = File::open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        // Who had the lock before may have put another file in its place.
        let (ours, there) = (file.metadata()?, fs::metadata(path)?);
        if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
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
