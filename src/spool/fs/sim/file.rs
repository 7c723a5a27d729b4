//! The calls on an open file of the simulated disk.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::disk::Disk;
use super::{File, FileFacts, Turns, change_turns};

/// An open file of the simulated disk.
pub(super) struct SimFile {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) turns: Arc<OnceLock<Turns>>,
    pub(super) inode: u64,
    pub(super) _open: Arc<()>,
}

impl SimFile {
    fn call(&self, changes: bool) -> io::Result<MutexGuard<'_, Disk>> {
        change_turns(&self.turns);
        let mut disk = self.disk.lock().unwrap();
        disk.enter(changes)?;
        Ok(disk)
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.call(false)?;
        let octets = disk.inodes.get(&self.inode).map_or(&[][..], |inode| &inode.now);
        let from = (offset as usize).min(octets.len());
        let count = buffer.len().min(octets.len() - from);
        buffer[..count].copy_from_slice(&octets[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        let entered = self.call(true);
        let failed = entered.as_ref().err().map(io::Error::kind);
        let (mut disk, short) = match failed {
            // A write that failed may have been done in part, and a short write is no failure.
            Some(ErrorKind::WriteZero) => (self.disk.lock().unwrap(), buffer.len().div_ceil(2)),
            Some(ErrorKind::Other) => (self.disk.lock().unwrap(), buffer.len() * 2 / 3),
            Some(kind) => return Err(kind.into()),
            None => (entered?, buffer.len()),
        };
        let room = disk.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.used()));
        let length = disk.inodes.get(&self.inode).map_or(0, |inode| inode.now.len()) as u64;
        let count = (short as u64).min(length.saturating_add(room).saturating_sub(offset)) as usize;
        if count == 0 && !buffer.is_empty() {
            return Err(disk.no_room());
        }
        disk.inodes.entry(self.inode).or_default().write(&buffer[..count], offset as usize);
        disk.written += count as u64;
        if failed == Some(ErrorKind::Other) { Err(ErrorKind::Other.into()) } else { Ok(count) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let entered = self.call(true).map(drop);
        let mut disk = self.disk.lock().unwrap();
        let entered = entered.and_then(|()| disk.sync_may_go_on(self.inode));
        let inode = disk.inodes.entry(self.inode).or_default();
        match entered {
            // Nothing was done, and the caller is to know it.
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Err(e) => {
                inode.dirty.clear();
                Err(e)
            }
            Ok(()) => {
                inode.sync();
                Ok(())
            }
        }
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        let mut disk = self.call(true)?;
        if disk.cannot_reserve {
            return Err(ErrorKind::Unsupported.into());
        }
        let before = disk.inodes.get(&self.inode).map_or(0, |inode| inode.now.len()) as u64;
        let more = length.saturating_sub(before);
        if disk.capacity.is_some_and(|capacity| disk.used() + more > capacity) {
            return Err(disk.no_room());
        }
        let inode = disk.inodes.entry(self.inode).or_default();
        inode.now.resize((before + more) as usize, 0);
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut disk = self.call(true)?;
        disk.inodes.entry(self.inode).or_default().truncate(length as usize);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.call(false)?.inodes.get(&self.inode).map_or(0, |inode| inode.now.len()) as u64)
    }

    fn facts(&self) -> io::Result<FileFacts> {
        Ok(self.call(false)?.facts_of(self.inode))
    }
}
