//! The seam: every disk call that the spool makes goes through [`Fs`] and [`File`].
//!
//! Promises of an implementation
//! 1. What `sync_data` has returned Ok for survives power loss, with the file's length.
//! 2. A name that `sync_dir` of its directory has returned Ok for survives it too: made, renamed or gone.
//! 3. Before that, anything may be left: the old octets, the new, or a mixture by sectors; the old
//!    name, the new, or none. But a rename loses no file: one whose old name was durable has that one, the
//!    new one or both, since file systems with a journal have renames in one piece.
//!
//! Errors are those of the system, unchanged. Short reads and writes and `Interrupted` are the
//! caller's to go on from (`read_full_at`, `write_all_at`): the tests make all of them happen.
//!
//! Not here: what is called and when (`segment.rs`, `stock.rs`, `draft.rs`, `recover.rs`); the
//! simulated disk of the tests is in `fs/sim.rs`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, RenameFlags, fallocate, renameat_with};
use rustix::io::Errno;

#[cfg(test)]
pub(crate) mod sim;

/// The disk calls on names.
pub trait Fs: Send + Sync {
    /// Makes a directory with exactly this mode, but for the setgid bit where that is forbidden;
    /// `AlreadyExists` if there is something by that name.
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// The names in a directory, in any order, as they are read.
    fn names(&self, directory: &Path) -> io::Result<Names>;
    /// All the names in a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.names(directory)?.collect()
    }
    /// Opens a directory. While it is open, no other file is given its number.
    fn hold_dir(&self, directory: &Path) -> io::Result<Arc<dyn File>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Makes everything durable on the file system that `file` is on.
    fn sync_file_system(&self, file: &fs::File) -> io::Result<()>;
    /// Makes a new file of mode 0600 to read and write; `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// As [`Fs::create`], and the owner of the directory can read the file: they are root, or we, or the
    /// directory hands its group down (setgid), which then may read it. Else `PermissionDenied`, and no file. While the
    /// file is open it is locked, where the file system has locks.
    fn create_for_owner(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Whether whoever made this file by [`Fs::create_for_owner`] has it open still. An error where nobody can tell.
    fn is_held(&self, path: &Path) -> io::Result<bool>;
    /// Opens a file to read and write; never through a symbolic link.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// The same as the type that goes out in [`super::StoredContent::File`].
    fn open_plain(&self, path: &Path) -> io::Result<fs::File>;
    /// What has this name; a symbolic link is not followed.
    fn facts(&self, path: &Path) -> io::Result<FileFacts>;
    /// Opens to read what anybody may have put there, with the facts of what was opened: never through a
    /// symbolic link, never waiting for the other end of a pipe.
    fn open_foreign(&self, path: &Path) -> io::Result<(fs::File, FileFacts)>;
    /// Gives a file a new name; what had that name loses it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a new name; `AlreadyExists` if something has it.
    fn rename_to_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file's name away.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Octets that an unprivileged user may still write on the file system of `path`; `u64::MAX` where it does
    /// not tell, and a write will.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// Whether a new file in `directory` would get `length` octets now: [`Fs::free_space`] knows nothing of a user's
    /// quota, and of what some file systems need for themselves. Leaves nothing behind.
    fn has_room(&self, directory: &Path, length: u64) -> io::Result<bool>;
    /// Locks `path`, made when missing, until the result is dropped; `WouldBlock` while another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>>;
    /// Sixteen octets that nobody can guess.
    fn random(&self) -> io::Result<[u8; 16]>;
    /// The turns that threads take, in a test that says whose it is.
    #[cfg(test)]
    fn turns(&self) -> Option<sim::Turns> {
        None
    }
}

/// The names in a directory.
pub type Names = Box<dyn Iterator<Item = io::Result<OsString>> + Send>;

/// What the system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// No directory, link, pipe, device or socket.
    pub is_regular: bool,
    /// How many names it has.
    pub links: u64,
    /// The uid whose it is.
    pub owner: u32,
    /// Octets.
    pub length: u64,
    /// What tells it from every other file of its file system, as long as it exists.
    pub inode: u64,
    /// Its file system.
    pub device: u64,
    /// Seconds since 1970 at its last change in any way, a time that its owner cannot set.
    pub changed: i64,
}

impl FileFacts {
    /// Whether these are of the same file, of which one is open.
    pub fn are_of_the_same(&self, other: &FileFacts) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<&fs::Metadata> for FileFacts {
    fn from(metadata: &fs::Metadata) -> Self {
        FileFacts {
            is_regular: metadata.is_file(),
            links: metadata.nlink(),
            owner: metadata.uid(),
            length: metadata.len(),
            inode: metadata.ino(),
            device: metadata.dev(),
            changed: metadata.ctime(),
        }
    }
}

/// The disk calls on an open file.
pub trait File: Send + Sync {
    /// Octets read into `buffer`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Octets written from `buffer`.
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize>;
    /// Gives the file `length` octets, which is no less than it has, and its blocks: what is written to it up to there
    /// needs no more room, and reads as zeros until it is written. An error where the disk has no such room, or the
    /// file system no such call; the file may be longer then.
    fn reserve(&self, length: u64) -> io::Result<()>;
    /// Cuts the file off at `length`, which is no more than it has.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// fdatasync: content and length.
    fn sync_data(&self) -> io::Result<()>;
    /// Octets in the file.
    fn length(&self) -> io::Result<u64>;
    /// What the system says of the file, whatever names it has.
    fn facts(&self) -> io::Result<FileFacts>;
}

/// Fills `buffer` from `offset` on; returns how much of it, less only where the file ends.
pub(super) fn read_full_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Writes all of `buffer` at `offset`.
pub(super) fn write_all_at(file: &dyn File, mut buffer: &[u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.write_at(buffer, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                buffer = &buffer[count..];
                offset += count as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Removes a file's name as [`Fs::unlink`] does; a file that does not exist is no error.
pub(super) fn unlink_if_there(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.unlink(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The system's own file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

/// The bit of a directory whose files get its group (inode(7)).
const SETGID: u32 = 0o2000;

impl Fs for RealFs {
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)?;
        // Set again, since the process's umask took bits from the mode of mkdir.
        let set = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        match set(mode) {
            // systemd's RestrictSUIDSGID forbids the bit.
            Err(e) if e.kind() == ErrorKind::PermissionDenied && mode & SETGID != 0 => set(mode & !SETGID),
            outcome => outcome,
        }
    }

    fn names(&self, directory: &Path) -> io::Result<Names> {
        Ok(Box::new(fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()))))
    }

    fn hold_dir(&self, directory: &Path) -> io::Result<Arc<dyn File>> {
        let only_a_directory = OFlags::DIRECTORY.bits() as i32;
        let directory = fs::OpenOptions::new().read(true).custom_flags(only_a_directory).open(directory)?;
        Ok(Arc::new(directory))
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        fs::File::open(directory)?.sync_all()
    }

    fn sync_file_system(&self, file: &fs::File) -> io::Result<()> {
        Ok(rustix::fs::syncfs(file)?)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Arc::new(file))
    }

    fn create_for_owner(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let directory = fs::metadata(path.parent().unwrap_or(Path::new(".")))?;
        let hands_down = directory.mode() & SETGID != 0;
        if !hands_down && ![0, rustix::process::geteuid().as_raw()].contains(&directory.uid()) {
            let why = "its directory's owner could not read it: the mode must be 3733, the group the owner's";
            return Err(io::Error::new(ErrorKind::PermissionDenied, why));
        }
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        if hands_down {
            file.set_permissions(fs::Permissions::from_mode(0o640))?;
        }
        // Without a lock it is a file as earlier versions made them.
        let _ = file.try_lock();
        Ok(Arc::new(file))
    }

    fn is_held(&self, path: &Path) -> io::Result<bool> {
        let (file, _) = self.open_foreign(path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let no_follow = OFlags::NOFOLLOW.bits() as i32;
        let file = fs::OpenOptions::new().read(true).write(true).custom_flags(no_follow).open(path)?;
        Ok(Arc::new(file))
    }

    fn open_plain(&self, path: &Path) -> io::Result<fs::File> {
        fs::File::open(path)
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        Ok(FileFacts::from(&fs::symlink_metadata(path)?))
    }

    fn open_foreign(&self, path: &Path) -> io::Result<(fs::File, FileFacts)> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let facts = FileFacts::from(&file.metadata()?);
        Ok((file, facts))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_to_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(errno) if is_unknown_here(errno) => rename_by_link(from, to),
            outcome => Ok(outcome?),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(path)?;
        Ok(free_octets(status.f_blocks, status.f_bavail, status.f_frsize))
    }

    fn has_room(&self, directory: &Path, length: u64) -> io::Result<bool> {
        if self.free_space(directory)? < length {
            return Ok(false);
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let unnamed = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR);
        match unnamed.and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, length)) {
            Err(Errno::NOSPC | Errno::DQUOT) => Ok(false),
            // Where it cannot be tried in this way, writing will tell.
            _ => Ok(true),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        // The pid is for whoever looks; where it cannot be written (a full disk), flock's lock stands.
        let pid = format!("{}\n", std::process::id());
        let _ = file.set_len(0).and_then(|()| file.write_all_at(pid.as_bytes(), 0));
        Ok(Box::new(file))
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut octets = [0; 16];
        io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut octets)?;
        Ok(octets)
    }
}

/// What a file system answers to a flag or a call that it does not have.
fn is_unknown_here(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// [`Fs::rename_to_new`] where the file system has no `RENAME_NOREPLACE` (NFS, many FUSE file systems, eCryptfs):
/// the second name first, then the first one goes. A crash between the two leaves both, as a rename may.
fn rename_by_link(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::link(from, to) {
        Ok(()) => fs::remove_file(from),
        // There are no links here, or none to another user's file (fs.protected_hardlinks). A name given between
        // the look and the rename is one that its own user lost: nobody else's file ever has it.
        Err(errno) if is_unknown_here(errno) || matches!(errno, Errno::PERM | Errno::MLINK) => {
            match fs::symlink_metadata(to) {
                Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == ErrorKind::NotFound => fs::rename(from, to),
                Err(error) => Err(error),
            }
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Octets in the blocks that are available. A file system without blocks (some FUSE and network ones) tells nothing.
fn free_octets(blocks: u64, available: u64, block_size: u64) -> u64 {
    if blocks == 0 { u64::MAX } else { available.saturating_mul(block_size) }
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        Ok(fallocate(self, FallocateFlags::empty(), 0, length)?)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn facts(&self) -> io::Result<FileFacts> {
        self.metadata().map(|metadata| FileFacts::from(&metadata))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_disk_keeps_the_seams_promises() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        RealFs.create_dir(&path("d"), 0o3733).unwrap();
        assert_eq!(fs::metadata(path("d")).unwrap().permissions().mode() & 0o7777, 0o3733);
        assert_eq!(RealFs.create_dir(&path("d"), 0o700).unwrap_err().kind(), ErrorKind::AlreadyExists);

        let file = RealFs.create(&path("a")).unwrap();
        write_all_at(&*file, b"abc", 2).unwrap();
        let mut buffer = [9; 8];
        assert_eq!(read_full_at(&*file, &mut buffer, 0).unwrap(), 5);
        assert_eq!((&buffer[..5], file.length().unwrap()), (&b"\0\0abc"[..], 5));
        // Not every file system has it.
        if file.reserve(9000).is_ok() {
            assert_eq!((read_full_at(&*file, &mut buffer, 0).unwrap(), file.length().unwrap()), (8, 9000));
            assert_eq!(&buffer, b"\0\0abc\0\0\0");
            file.truncate(5).unwrap();
        }
        assert!(RealFs.create(&path("a")).is_err());
        RealFs.rename(&path("a"), &path("b")).unwrap();
        RealFs.sync_dir(directory.path()).unwrap();
        std::os::unix::fs::symlink(path("b"), path("link")).unwrap();
        assert!(RealFs.open(&path("link")).is_err());
        RealFs.create(&path("c")).unwrap();
        let taken = RealFs.rename_to_new(&path("c"), &path("b")).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        RealFs.rename_to_new(&path("c"), &path("e")).unwrap();
        RealFs.sync_file_system(&RealFs.open_plain(&path("e")).unwrap()).unwrap();
        RealFs.unlink(&path("b")).unwrap();
        assert!(RealFs.free_space(directory.path()).unwrap() > 0);
        assert!(RealFs.has_room(directory.path(), 1 << 16).unwrap());
        assert!(!RealFs.has_room(directory.path(), 1 << 60).unwrap());
        assert_ne!(RealFs.random().unwrap(), RealFs.random().unwrap());
    }

    /// A spool on NFS or a FUSE file system without RENAME_NOREPLACE picked nothing up: each file that `sendmail`
    /// had acknowledged was answered with EINVAL at each round.
    #[test]
    fn without_norename_nothing_is_replaced_either() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a"), "a").unwrap();
        fs::write(path("b"), "b").unwrap();
        let taken = rename_by_link(&path("a"), &path("b")).unwrap_err();
        assert_eq!((taken.kind(), path("a").exists()), (ErrorKind::AlreadyExists, true));
        rename_by_link(&path("a"), &path("c")).unwrap();
        assert_eq!((fs::read(path("c")).unwrap(), path("a").exists()), (b"a".to_vec(), false));
        // Directories have no second name, as another's file has none under fs.protected_hardlinks.
        fs::create_dir(path("d")).unwrap();
        let taken = rename_by_link(&path("d"), &path("b")).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        rename_by_link(&path("d"), &path("e")).unwrap();
        assert_eq!((path("d").exists(), path("e").is_dir()), (false, true));
        assert_eq!(rename_by_link(&path("no"), &path("f")).unwrap_err().kind(), ErrorKind::NotFound);
        for (errno, unknown) in [
            (Errno::INVAL, true),
            (Errno::NOSYS, true),
            (Errno::OPNOTSUPP, true),
            (Errno::EXIST, false),
            (Errno::ACCESS, false),
            (Errno::IO, false),
        ] {
            assert_eq!(is_unknown_here(errno), unknown, "{errno:?}");
        }
    }

    /// A file system that answers statfs with zeros read as full, and every message was refused with 452.
    #[test]
    fn a_file_system_without_blocks_does_not_tell_its_free_space() {
        assert_eq!(free_octets(0, 0, 0), u64::MAX);
        assert_eq!(free_octets(0, 0, 4096), u64::MAX);
        assert_eq!(free_octets(1000, 0, 4096), 0, "full");
        assert_eq!(free_octets(1000, 3, 4096), 12288);
        assert_eq!(free_octets(u64::MAX, u64::MAX, 4096), u64::MAX);
    }

    #[test]
    fn what_is_foreign_is_neither_followed_nor_waited_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "abc").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        fs::hard_link(path("file"), path("second")).unwrap();
        rustix::fs::mknodat(CWD, path("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();

        let (_, facts) = RealFs.open_foreign(&path("second")).unwrap();
        assert_eq!((facts.is_regular, facts.links, facts.length), (true, 2, 3));
        assert_eq!(facts, RealFs.facts(&path("file")).unwrap());
        assert!(RealFs.open_foreign(&path("link")).is_err());
        assert!(!RealFs.facts(&path("link")).unwrap().is_regular);
        assert!(!RealFs.open_foreign(&path("pipe")).unwrap().1.is_regular);
    }

    #[test]
    fn a_file_is_held_as_long_as_its_maker_has_it_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tmp");
        let file = RealFs.create_for_owner(&path).unwrap();
        assert!(RealFs.is_held(&path).unwrap() && RealFs.is_held(&path).unwrap());
        drop(file);
        assert!(!RealFs.is_held(&path).unwrap());
        assert_eq!(RealFs.is_held(&directory.path().join("b")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn one_holds_the_lock_and_its_end_releases_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = RealFs.lock(&path).unwrap();
        assert_eq!(RealFs.lock(&path).err().map(|e| e.kind()), Some(ErrorKind::WouldBlock));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
        assert!(RealFs.lock(&path).is_ok());
    }
}
