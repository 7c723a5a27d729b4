//! A disk for tests: it forgets what was not synced, and fails when told to.
//!
//! The model is strict. Of what was not synced, each sector of 512 octets may after a crash be as before, as
//! written, or garbage, in any combination; a file may have its old length, its new one, or one
//! between; each name may be as before or as changed, and a renamed file may have both names, but not none.
//! After a failed sync, the written octets are still read back, but no later sync makes them durable.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use super::{File, FileFacts, Fs, Names};

pub(crate) use image::Choice;
use image::{Directory, Inode, Node};
pub(crate) use turns::{Seat, Turns};

mod image;
mod turns;

/// The simulated disk; clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimFs {
    disk: Arc<Mutex<Disk>>,
    turns: Arc<OnceLock<Turns>>,
    /// Whoever makes the next file panics.
    panics_at_create: Arc<AtomicBool>,
}

/// The time of every change, in seconds since 1970: the clock of this disk stands still.
pub(crate) const CHANGED: i64 = 1_800_000_000;

/// Whose every file is.
pub(crate) const OWNER: u32 = 1000;

type Watcher = Box<dyn FnMut(&Disk) + Send>;

#[derive(Default)]
pub(crate) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    /// No number is given twice: what comes back in a crash is no other file.
    last_inode: u64,
    directories: BTreeMap<PathBuf, Directory>,
    /// Files that somebody has open: what loses its last name stays readable for them.
    open: BTreeMap<u64, Weak<()>>,
    locked: HashSet<u64>,
    /// Files that were made for the owner of their directory, and are locked while they are open.
    held: HashSet<u64>,
    capacity: Option<u64>,
    /// The capacity is not the file system's: it does not tell of it.
    is_quota: bool,
    /// The file system has no [`File::reserve`].
    cannot_reserve: bool,
    calls: u64,
    written: u64,
    fault: Option<DiskFault>,
    /// What every call that changes something says.
    refusal: Option<ErrorKind>,
    /// The next sync of a file in this directory fails.
    failing_sync: Option<PathBuf>,
    /// A directory that whoever calls now may not read, and so not sync.
    unreadable: Option<PathBuf>,
    watcher: Option<Watcher>,
}

/// Which call fails, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskFault {
    /// Counting from the moment it is set.
    pub call: u64,
    pub error: ErrorKind,
    /// All later calls fail, too.
    pub for_ever: bool,
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    turns: Arc<OnceLock<Turns>>,
    inode: u64,
    _open: Arc<()>,
}

impl SimFs {
    pub fn new() -> Self {
        let mut disk = Disk::default();
        disk.directories.insert("/".into(), Directory::default());
        SimFs::of(disk)
    }

    fn of(disk: Disk) -> Self {
        SimFs { disk: Arc::new(Mutex::new(disk)), turns: Arc::default(), panics_at_create: Arc::default() }
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.lock_disk().calls
    }

    /// Octets written so far.
    pub fn written(&self) -> u64 {
        self.lock_disk().written
    }

    pub fn set_fault(&self, fault: Option<DiskFault>) {
        let mut disk = self.lock_disk();
        disk.calls = 0;
        disk.fault = fault;
    }

    /// Has every call that would change something fail; everything can be read.
    pub fn refuse_changes(&self, refusal: Option<ErrorKind>) {
        self.lock_disk().refusal = refusal;
    }

    /// Has the thread panic that makes the next file.
    pub fn panic_at_next_create(&self) {
        self.panics_at_create.store(true, Ordering::Relaxed);
    }

    /// Lets the next sync of a file in `directory` fail, whatever other calls come before it.
    pub fn fail_next_sync_in(&self, directory: &Path) {
        self.lock_disk().failing_sync = Some(directory.into());
    }

    /// From now on the calls are those of a user who may not read `directory`.
    pub fn set_unreadable(&self, directory: Option<&Path>) {
        self.lock_disk().unreadable = directory.map(Path::to_owned);
    }

    /// Octets that all files together may have.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.lock_disk().capacity = capacity;
    }

    /// As [`SimFs::set_capacity`], by a quota of which [`Fs::free_space`] knows nothing.
    pub fn set_quota(&self, quota: u64) {
        let mut disk = self.lock_disk();
        (disk.capacity, disk.is_quota) = (Some(quota), true);
    }

    /// From now on the file system has no [`File::reserve`].
    pub fn forget_how_to_reserve(&self) {
        self.lock_disk().cannot_reserve = true;
    }

    /// From now on whoever uses this disk takes turns, as `seed` says; called by the thread that opens the spool.
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

    /// See [`Disk::used`].
    pub fn used(&self) -> u64 {
        self.lock_disk().used()
    }

    /// Has `watcher` look at the disk before every call that changes it.
    pub fn watch(&self, watcher: impl FnMut(&Disk) + Send + 'static) {
        self.lock_disk().watcher = Some(Box::new(watcher));
    }

    pub fn unwatch(&self) {
        self.lock_disk().watcher = None;
    }

    /// See [`Disk::image`].
    pub fn image(&self, seed: u64) -> SimFs {
        self.lock_disk().image(seed)
    }

    /// Changes the octets of a file, durably and unnoticed.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.lock_disk();
        let inode = disk.inode_at(path).unwrap();
        let inode = disk.inodes.get_mut(&inode).unwrap();
        change(&mut inode.now);
        *inode =
            Inode { durable: Arc::new(inode.now.clone()), now: inode.now.clone(), dirty: BTreeSet::new() };
    }

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

    /// Counts a call; looks on before it changes something; fails it if it is to fail.
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

impl Disk {
    fn enter(&mut self, changes: bool) -> io::Result<()> {
        if changes && let Some(mut watcher) = self.watcher.take() {
            watcher(self);
            self.watcher = Some(watcher);
        }
        let call = self.calls;
        self.calls += 1;
        match self.fault {
            Some(f) if call == f.call || (f.for_ever && call > f.call) => Err(f.error.into()),
            _ => self.refusal.filter(|_| changes).map_or(Ok(()), |refusal| Err(refusal.into())),
        }
    }

    fn sync_may_go_on(&mut self, inode: u64) -> io::Result<()> {
        let node = Node::File(inode);
        let directory = self.failing_sync.as_ref().and_then(|path| self.directories.get(path));
        if directory.is_none_or(|directory| !directory.now.values().any(|other| *other == node)) {
            return Ok(());
        }
        self.failing_sync = None;
        Err(ErrorKind::Other.into())
    }

    fn no_room(&self) -> io::Error {
        if self.is_quota { ErrorKind::QuotaExceeded.into() } else { ErrorKind::StorageFull.into() }
    }

    /// Octets that all files together have; one whose name was taken away gives its room back at once.
    pub fn used(&self) -> u64 {
        let named = self.directories.values().flat_map(|directory| directory.now.values());
        let named: HashSet<u64> = named.filter_map(|node| node.inode()).collect();
        named.iter().filter_map(|number| self.inodes.get(number)).map(|inode| inode.now.len() as u64).sum()
    }

    /// What the disk may hold after the power went now. Seed 0: only what was synced. Seed 1: everything, as
    /// after kill -9. Any other: chosen sector by sector and name by name.
    pub fn image(&self, seed: u64) -> SimFs {
        let mut choice = Choice(seed);
        let Disk { capacity, is_quota, cannot_reserve, last_inode, .. } = *self;
        let mut disk = Disk { capacity, is_quota, cannot_reserve, last_inode, ..Disk::default() };
        disk.inodes = self.inodes.iter().map(|(number, inode)| (*number, inode.after(&mut choice))).collect();
        for (path, directory) in &self.directories {
            let parent = path.parent().and_then(|parent| disk.directories.get(parent));
            let name = path.file_name().unwrap_or_default();
            // A directory whose own name was lost is lost with everything in it.
            if path.parent().is_none() || parent.is_some_and(|parent| parent.now.contains_key(name)) {
                disk.directories.insert(path.clone(), directory.after(&mut choice));
            }
        }
        disk.keep_renamed(self);
        disk.forget_unnamed();
        SimFs::of(disk)
    }

    /// Gives files of which one directory lost the old name, and the other never got the new one, the new one.
    fn keep_renamed(&mut self, before: &Disk) {
        let durable = before.directories.values().flat_map(|directory| directory.durable.values());
        let durable: HashSet<u64> = durable.filter_map(|node| node.inode()).collect();
        let names = before
            .directories
            .iter()
            .flat_map(|(path, directory)| directory.now.iter().map(move |(name, node)| (path, name, node)));
        for (path, name, node) in names {
            let is_lost =
                node.inode().is_some_and(|inode| durable.contains(&inode) && self.links(inode) == 0);
            if is_lost && let Some(directory) = self.directories.get_mut(path) {
                directory.now.insert(name.clone(), *node);
                directory.durable.insert(name.clone(), *node);
            }
        }
    }

    /// How many names a file has.
    fn links(&self, inode: u64) -> usize {
        let nodes = self.directories.values().flat_map(|directory| directory.now.values());
        nodes.filter(|node| node.inode() == Some(inode)).count()
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        match self.directories.get(path) {
            Some(directory) => Ok(FileFacts { is_regular: false, ..self.facts_of(directory.inode) }),
            None => Ok(self.facts_of(self.inode_at(path)?)),
        }
    }

    fn facts_of(&self, inode: u64) -> FileFacts {
        FileFacts {
            is_regular: true,
            links: self.links(inode) as u64,
            owner: OWNER,
            length: self.inodes.get(&inode).map_or(0, |inode| inode.now.len()) as u64,
            inode,
            device: 1,
            changed: CHANGED,
        }
    }

    fn forget_unnamed(&mut self) {
        // A name that a crash may bring back counts, too.
        let nodes = self.directories.values().flat_map(Directory::nodes);
        let named: HashSet<u64> = nodes.filter_map(Node::inode).collect();
        self.open.retain(|_, open| open.strong_count() > 0);
        self.inodes.retain(|inode, _| named.contains(inode) || self.open.contains_key(inode));
    }

    /// Makes a file that is empty, and not durable.
    fn make_file(&mut self, path: &Path) -> io::Result<u64> {
        self.last_inode += 1;
        let inode = self.last_inode;
        let (parent, name) = self.parent(path)?;
        if parent.now.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        parent.change(vec![(name, Some(Node::File(inode)))]);
        self.inodes.insert(inode, Inode::default());
        Ok(inode)
    }

    fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        let not_found = || io::Error::from(ErrorKind::NotFound);
        self.directories.get_mut(path).ok_or_else(not_found)
    }

    fn parent(&mut self, path: &Path) -> io::Result<(&mut Directory, OsString)> {
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok((self.directory(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    fn inode_at(&self, path: &Path) -> io::Result<u64> {
        let directory = path.parent().and_then(|parent| self.directories.get(parent));
        let node = directory.and_then(|directory| directory.now.get(path.file_name()?));
        node.and_then(|node| node.inode()).ok_or_else(|| ErrorKind::NotFound.into())
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
            // What failed may have been written in part, and a short write is no failure.
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

#[cfg(test)]
mod tests;
