//! The disk calls on the system's own file systems.
//!
//! Not here: what they promise (`fs.rs`).

use std::fs;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, RenameFlags, fallocate, renameat_with};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::{File, FileFacts, Fs, Names};

/// The file systems of the operating system.
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

    fn link_to_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(path)?;
        Ok(free_octets(status.f_blocks, status.f_bavail, status.f_frsize))
    }

    fn disk_size(&self, path: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(path)?;
        Ok(status.f_blocks.saturating_mul(status.f_frsize))
    }

    fn has_room(&self, directory: &Path, length: u64) -> io::Result<bool> {
        if self.free_space(directory)? < length {
            return Ok(false);
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let unnamed = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR);
        match unnamed.and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, length)) {
            Err(Errno::NOSPC | Errno::DQUOT) => Ok(false),
            // If it cannot be tried in this way, writing will show it.
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

/// Returns whether a file system answers so to a flag or a call that it does not have.
fn is_unknown_here(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// Does what [`Fs::rename_to_new`] does where the file system has no `RENAME_NOREPLACE` (NFS, many FUSE file systems, eCryptfs):
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

/// Returns how many octets are in the blocks that are available. A file system without blocks (some FUSE and network ones)
/// reports nothing, for which this returns `u64::MAX`.
fn free_octets(blocks: u64, available: u64, block_size: u64) -> u64 {
    if blocks == 0 { u64::MAX } else { available.saturating_mul(block_size) }
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        preadv2(self, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT).ok()
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
mod tests;
