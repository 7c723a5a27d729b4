//! A refresh token takes the place of another on the disk.
//!
//! Promises: after [`write`] has returned Ok the new token survives a power cut, and after an error the old one is as it was. A
//! path that is a symbolic link stays one: the file behind it is replaced, in its own directory. No draft stays.
//!
//! Fails: [`Unwritable`], which says what an operator can do about it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, access, statx};

use super::between::hold;
use crate::config::stays_until_mended;
use crate::secret::Secret;

/// The most symbolic links that lead from one to the next (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The reason why the file of a refresh token cannot be written.
#[derive(Debug)]
pub(in crate::relay::token) struct Unwritable {
    path: PathBuf,
    error: io::Error,
}

impl Unwritable {
    /// True if an operator must act: the next try fails in the same way.
    pub(in crate::relay::token) fn is_for_operator(&self) -> bool {
        stays_until_mended(&self.error) || self.is_mounted()
    }

    /// True if something is mounted on the file, which then cannot be replaced.
    fn is_mounted(&self) -> bool {
        self.error.kind() == io::ErrorKind::ResourceBusy
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        if self.is_mounted() {
            f.write_str("; ")?;
            return f.write_str(MOUNTED);
        }
        if self.is_for_operator() {
            let target = target_of(&self.path);
            let directory = directory_of(&target).display();
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

/// What to do about a file that is a mount.
pub(super) const MOUNTED: &str =
    "the file is mounted by itself, and a new file cannot take its place: mount its directory, not the file";

/// Returns the path of the file behind the links that `path` may be or may pass, the same for all paths to one file; `path`
/// itself if they lead in a circle. The file need not be there. Blocks on the disk.
pub(super) fn target_of(path: &Path) -> PathBuf {
    let mut target = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&target) {
            Ok(next) => target = directory_of(&target).join(next),
            Err(_) => return real(target),
        }
    }
    path.into()
}

/// Returns `path` without links in the part of its directory that is there.
fn real(path: PathBuf) -> PathBuf {
    let there = path.ancestors().skip(1).find_map(|near| Some((near, near.canonicalize().ok()?)));
    match there.and_then(|(near, place)| Some(place.join(path.strip_prefix(near).ok()?))) {
        Some(real) => real,
        None => path,
    }
}

/// True if something is mounted on the file at `path`. Blocks on the disk.
pub(super) fn is_mount(path: &Path) -> bool {
    let told = statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE);
    told.is_ok_and(|told| told.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// True if a file can be made in the directory of the file at `path`, as far as rights tell. Blocks on the disk.
pub(in crate::relay::token) fn is_writable(path: &Path) -> bool {
    access(directory_of(&target_of(path)), Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Writes `token` to the file at `path`, durably. Written by root, the file gets the owner of its directory. Returns the file:
/// other processes do not use the token while it is kept (`between.rs`). Blocks on the disk.
pub(in crate::relay) fn write(path: &Path, token: &Secret) -> Result<File, Unwritable> {
    put(path, |draft, target| {
        let file = fill(draft, directory_of(target), token)?;
        fs::rename(draft, target)?;
        Ok(file)
    })
}

/// Tries what [`write`] does, and leaves the file at `path` as it is. Blocks on the disk.
pub(in crate::relay::token) fn rehearse(path: &Path) -> Result<(), Unwritable> {
    let nothing = Secret::new(String::new());
    put(path, |draft, target| {
        fill(draft, directory_of(target), &nothing)?;
        fs::remove_file(draft)?;
        if is_mount(target) { Err(io::ErrorKind::ResourceBusy.into()) } else { Ok(()) }
    })
}

/// Makes a draft beside the file behind `path`, and does with both what `settle` does, durably. No draft stays.
fn put<T>(path: &Path, settle: impl Fn(&Path, &Path) -> io::Result<T>) -> Result<T, Unwritable> {
    let target = target_of(path);
    let put = || {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file");
        let mut draft_name = target.file_name().ok_or_else(invalid)?.to_owned();
        draft_name.push(".new");
        let draft = directory_of(&target).join(draft_name);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let settled = settle(&draft, &target).inspect_err(|_| {
            let _ = fs::remove_file(&draft);
        })?;
        File::open(directory_of(&target))?.sync_all()?;
        Ok(settled)
    };
    put().map_err(|error| Unwritable { path: path.into(), error })
}

/// Makes the file `draft`, locked.
fn fill(draft: &Path, directory: &Path, token: &Secret) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    hold(&file);
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(directory)?;
        chown(draft, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.write_all(token.expose())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
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
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
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

    /// The file that another program reads kept the dead token, and the link to it was gone.
    #[test]
    fn the_file_behind_a_link_is_replaced_and_the_link_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (there, here) = (directory.path().join("there"), directory.path().join("here"));
        fs::create_dir(&there).unwrap();
        fs::create_dir(&here).unwrap();
        let path = here.join("token");
        symlink("second", &path).unwrap();
        symlink("../there/token", here.join("second")).unwrap();
        for text in ["one", "two"] {
            // The first time, the link leads to a file that is not there yet.
            write(&path, &secret(text)).unwrap();
            assert_eq!(fs::read_to_string(there.join("token")).unwrap(), format!("{text}\n"));
        }
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("second"));
        assert_eq!(fs::read_dir(&here).unwrap().count(), 2, "no draft beside the link");
        assert_eq!(fs::read_dir(&there).unwrap().count(), 1);
        assert_eq!(is_writable(&path), is_writable(&there.join("token")));
        let around = here.join("around");
        symlink("around", &around).unwrap();
        assert_eq!(target_of(&around), around);
    }

    /// A file that is mounted by itself was told as an error that passes: `Resource busy`.
    #[test]
    fn a_file_that_is_a_mount_is_for_an_operator() {
        let busy = Unwritable { path: "/token".into(), error: io::Error::from_raw_os_error(16) };
        assert!(busy.is_for_operator());
        assert!(busy.to_string().ends_with("mount its directory, not the file"), "{busy}");
        assert!(is_mount(Path::new("/proc")));
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_mount(directory.path()) && !is_mount(&directory.path().join("no")));
    }
}
