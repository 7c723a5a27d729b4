//! A disk for tests: it forgets what was not synced, and fails when told to.
//!
//! The model is strict. Of what was not synced, each sector of 512 octets may after a crash be as before, as
//! written, or garbage, in any combination; a file may have its old length, its new one, or one
//! between; each name may be as before or as changed, and a renamed file may have both names, but not none.
//! After a failed sync, the written octets are still read back, but no later sync makes them durable.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use super::{File, FileFacts, Fs, Names};

use disk::Disk;
pub(crate) use disk::DiskFault;
use file::SimFile;
pub(crate) use image::Choice;
use image::{Directory, Inode, Node};
pub(crate) use turns::{Seat, Turns};

mod disk;
mod file;
mod image;
mod turns;

/// The simulated disk; clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimFs {
    disk: Arc<Mutex<Disk>>,
    turns: Arc<OnceLock<Turns>>,
    /// True if the thread that makes the next file is to panic.
    panics_at_create: Arc<AtomicBool>,
}

/// The time of every change, in seconds since 1970: the clock of this disk stands still.
pub(crate) const CHANGED: i64 = 1_800_000_000;

/// The uid of the owner of every file.
pub(crate) const OWNER: u32 = 1000;

impl SimFs {
    pub fn new() -> Self {
        let mut disk = Disk::default();
        disk.directories.insert("/".into(), Directory::default());
        SimFs::of(disk)
    }

    fn of(disk: Disk) -> Self {
        SimFs { disk: Arc::new(Mutex::new(disk)), turns: Arc::default(), panics_at_create: Arc::default() }
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> u64 {
        self.lock_disk().calls
    }

    /// Returns the number of octets that have been written so far.
    pub fn written(&self) -> u64 {
        self.lock_disk().written
    }

    /// Sets the fault that occurs from now on; the count of calls begins anew.
    pub fn set_fault(&self, fault: Option<DiskFault>) {
        let mut disk = self.lock_disk();
        disk.calls = 0;
        disk.fault = fault;
    }

    /// Makes every call fail that would change something; everything can be read.
    pub fn refuse_changes(&self, refusal: Option<ErrorKind>) {
        self.lock_disk().refusal = refusal;
    }

    /// Makes the thread panic that makes the next file.
    pub fn panic_at_next_create(&self) {
        self.panics_at_create.store(true, Ordering::Relaxed);
    }

    /// Lets the next sync of a file in `directory` fail, whatever other calls come before it.
    pub fn fail_next_sync_in(&self, directory: &Path) {
        self.lock_disk().failing_sync = Some(directory.into());
    }

    /// Makes all calls from now on those of a user who may not read `directory`.
    pub fn set_unreadable(&self, directory: Option<&Path>) {
        self.lock_disk().unreadable = directory.map(Path::to_owned);
    }

    /// Sets the number of octets that all files together may have.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.lock_disk().capacity = capacity;
    }

    /// Does the same as [`SimFs::set_capacity`], by a quota of which [`Fs::free_space`] knows nothing.
    pub fn set_quota(&self, quota: u64) {
        let mut disk = self.lock_disk();
        (disk.capacity, disk.is_quota) = (Some(quota), true);
    }

    /// Makes [`File::reserve`] fail from now on, as on a file system that does not have it.
    pub fn forget_how_to_reserve(&self) {
        self.lock_disk().cannot_reserve = true;
    }

    /// Makes all threads that use this disk take turns from now on, as `seed` says. The thread that opens the spool calls
    /// this.
    pub fn take_turns(&self, seed: u64) {
        assert!(self.turns.set(Turns::new(seed)).is_ok(), "once for each disk");
    }

    /// Gives a file a second name, durably.
    pub fn link(&self, path: &Path, second: &Path) {
        let mut disk = self.lock_disk();
        let node = Node::File(disk.inode_at(path).unwrap());
        let (parent, name) = disk.parent(second).unwrap();
        parent.change(vec![(name, Some(node))]);
        parent.sync();
    }

    /// Returns what [`Disk::used`] does.
    pub fn used(&self) -> u64 {
        self.lock_disk().used()
    }

    /// Lets `watcher` look at the disk before every call that changes it.
    pub fn watch(&self, watcher: impl FnMut(&Disk) + Send + 'static) {
        self.lock_disk().watcher = Some(Box::new(watcher));
    }

    /// Removes the watcher.
    pub fn unwatch(&self) {
        self.lock_disk().watcher = None;
    }

    /// Returns what [`Disk::image`] does.
    pub fn image(&self, seed: u64) -> SimFs {
        self.lock_disk().image(seed)
    }

    /// Changes the octets of a file, durably and without a call that is counted.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.lock_disk();
        let inode = disk.inode_at(path).unwrap();
        let inode = disk.inodes.get_mut(&inode).unwrap();
        change(&mut inode.now);
        *inode =
            Inode { durable: Arc::new(inode.now.clone()), now: inode.now.clone(), dirty: BTreeSet::new() };
    }

    /// Returns the octets of a file, synced or not.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.lock_disk();
        disk.inode_at(path).ok().map(|inode| disk.inodes[&inode].now.clone())
    }

    /// Takes a directory away with all that is in it, durably, as `rm -r` does.
    pub fn remove_all(&self, path: &Path) {
        let mut disk = self.lock_disk();
        disk.directories.retain(|directory, _| !directory.starts_with(path));
        let (parent, name) = disk.parent(path).unwrap();
        parent.change(vec![(name, None)]);
        parent.sync();
    }

    /// Gives a directory another name, durably.
    pub fn move_all(&self, from: &Path, to: &Path) {
        let mut disk = self.lock_disk();
        let under = |directory: &Path| directory.strip_prefix(from).ok().map(|rest| to.join(rest));
        let directories = std::mem::take(&mut disk.directories).into_iter();
        let renamed = |path: PathBuf| under(&path).unwrap_or(path).components().collect::<PathBuf>();
        disk.directories = directories.map(|(path, directory)| (renamed(path), directory)).collect();
        for (path, node) in [(from, None), (to, Some(Node::Directory))] {
            let (parent, name) = disk.parent(path).unwrap();
            parent.change(vec![(name, node)]);
            parent.sync();
        }
    }

    fn opened(&self, disk: &mut Disk, inode: u64) -> Arc<dyn File> {
        let known = disk.open.get(&inode).and_then(Weak::upgrade);
        let _open = known.unwrap_or_default();
        disk.open.insert(inode, Arc::downgrade(&_open));
        Arc::new(SimFile { disk: Arc::clone(&self.disk), turns: Arc::clone(&self.turns), inode, _open })
    }

    fn lock_disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    /// Counts a call, lets the watcher look before it changes something, and fails it if it is to fail.
    fn call(&self, changes: bool) -> io::Result<MutexGuard<'_, Disk>> {
        change_turns(&self.turns);
        let mut disk = self.lock_disk();
        disk.enter(changes)?;
        Ok(disk)
    }
}

/// Gives the turn away, perhaps, before a call.
fn change_turns(turns: &OnceLock<Turns>) {
    if let Some(turns) = turns.get() {
        turns.may_change();
    }
}

impl Fs for SimFs {
    fn create_dir(&self, path: &Path, _mode: u32) -> io::Result<()> {
        let mut disk = self.call(true)?;
        let (parent, name) = disk.parent(path)?;
        if parent.now.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        parent.change(vec![(name, Some(Node::Directory))]);
        disk.last_inode += 1;
        let inode = disk.last_inode;
        disk.directories.insert(path.into(), Directory { inode, ..Directory::default() });
        Ok(())
    }

    fn hold_dir(&self, directory: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.call(false)?;
        let inode = disk.directory(directory)?.inode;
        Ok(self.opened(&mut disk, inode))
    }

    fn names(&self, directory: &Path) -> io::Result<Names> {
        let names: Vec<_> = self.call(false)?.directory(directory)?.now.keys().cloned().map(Ok).collect();
        Ok(Box::new(names.into_iter()))
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let mut disk = self.call(true)?;
        if disk.unreadable.as_deref() == Some(directory) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        disk.directory(directory)?.sync();
        disk.forget_unnamed();
        Ok(())
    }

    fn sync_file_system(&self, _file: &fs::File) -> io::Result<()> {
        let mut disk = self.call(true)?;
        disk.inodes.values_mut().for_each(Inode::sync);
        disk.directories.values_mut().for_each(Directory::sync);
        disk.forget_unnamed();
        Ok(())
    }

    fn create_for_owner(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.create(path)?;
        let mut disk = self.lock_disk();
        let inode = disk.inode_at(path)?;
        disk.held.insert(inode);
        Ok(file)
    }

    fn is_held(&self, path: &Path) -> io::Result<bool> {
        let disk = self.call(false)?;
        let inode = disk.inode_at(path)?;
        let is_open = disk.open.get(&inode).is_some_and(|open| open.strong_count() > 0);
        Ok(is_open && disk.held.contains(&inode))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        // Before the disk is locked: it is of use afterwards.
        assert!(!self.panics_at_create.swap(false, Ordering::Relaxed), "the test has this thread panic");
        let mut disk = self.call(true)?;
        let inode = disk.make_file(path)?;
        Ok(self.opened(&mut disk, inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.call(false)?;
        let inode = disk.inode_at(path)?;
        Ok(self.opened(&mut disk, inode))
    }

    fn open_plain(&self, path: &Path) -> io::Result<fs::File> {
        self.open_foreign(path).map(|(file, _)| file)
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        self.call(false)?.facts(path)
    }

    fn open_foreign(&self, path: &Path) -> io::Result<(fs::File, FileFacts)> {
        let disk = self.call(false)?;
        let inode = disk.inode_at(path)?;
        let file = rustix::fs::memfd_create(OsStr::new("sim"), rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = fs::File::from(file);
        file.write_all(&disk.inodes[&inode].now)?;
        io::Seek::rewind(&mut file)?;
        Ok((file, disk.facts(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.call(true)?;
        let node = Node::File(disk.inode_at(from)?);
        let (parent, old) = disk.parent(from)?;
        if from.parent() == to.parent() {
            let new = to.file_name().unwrap_or_default().to_owned();
            parent.change(vec![(old, None), (new, Some(node))]);
        } else {
            parent.change(vec![(old, None)]);
            let (parent, new) = disk.parent(to)?;
            parent.change(vec![(new, Some(node))]);
        }
        Ok(())
    }

    fn rename_to_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.lock_disk().inode_at(to).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn link_to_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.call(true)?;
        let node = Node::File(disk.inode_at(from)?);
        if disk.inode_at(to).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (parent, name) = disk.parent(to)?;
        parent.change(vec![(name, Some(node))]);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.call(true)?;
        disk.inode_at(path)?;
        let (parent, name) = disk.parent(path)?;
        parent.change(vec![(name, None)]);
        Ok(())
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        let disk = self.call(false)?;
        let capacity = disk.capacity.filter(|_| !disk.is_quota);
        Ok(capacity.map_or(1 << 40, |capacity| capacity.saturating_sub(disk.used())))
    }

    fn disk_size(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.call(false)?.capacity.unwrap_or(1 << 40))
    }

    fn has_room(&self, _directory: &Path, length: u64) -> io::Result<bool> {
        let disk = self.call(false)?;
        Ok(disk.capacity.is_none_or(|capacity| disk.used() + length <= capacity))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let mut disk = self.call(false)?;
        let inode = match disk.inode_at(path) {
            Ok(inode) => inode,
            Err(_) => disk.make_file(path)?,
        };
        if !disk.locked.insert(inode) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let _file = self.opened(&mut disk, inode);
        Ok(Box::new(SimLock { disk: Arc::clone(&self.disk), inode, _file }))
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        Ok(*b"always the same.")
    }

    fn turns(&self) -> Option<Turns> {
        self.turns.get().filter(|turns| !turns.are_over()).cloned()
    }
}

struct SimLock {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    _file: Arc<dyn File>,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.lock().unwrap().locked.remove(&self.inode);
    }
}

#[cfg(test)]
mod tests;
