//! The state of the simulated disk, and what each call does to it.
//!
//! Not here: what a crash leaves (`image.rs`), the calls themselves (`fs/sim.rs`, `file.rs`).

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Weak;

use super::image::{Choice, Directory, Inode, Node};
use super::{CHANGED, FileFacts, OWNER, SimFs};

/// A function that looks at the disk before each change.
pub(super) type Watcher = Box<dyn FnMut(&Disk) + Send>;

/// All that the simulated disk knows.
#[derive(Default)]
pub(crate) struct Disk {
    pub(super) inodes: BTreeMap<u64, Inode>,
    /// No number is given twice: what comes back in a crash is no other file.
    pub(super) last_inode: u64,
    pub(super) directories: BTreeMap<PathBuf, Directory>,
    /// Files that somebody has open: what loses its last name stays readable for them.
    pub(super) open: BTreeMap<u64, Weak<()>>,
    pub(super) locked: HashSet<u64>,
    /// Files that were made for the owner of their directory, and are locked while they are open.
    pub(super) held: HashSet<u64>,
    pub(super) capacity: Option<u64>,
    /// True if the capacity is a quota, which the file system does not report as free space.
    pub(super) is_quota: bool,
    /// True if the file system has no [`File::reserve`].
    pub(super) cannot_reserve: bool,
    pub(super) calls: u64,
    pub(super) written: u64,
    pub(super) fault: Option<DiskFault>,
    /// Every call that would change something fails with this.
    pub(super) refusal: Option<ErrorKind>,
    /// The next sync of a file in this directory fails.
    pub(super) failing_sync: Option<PathBuf>,
    /// The directory that the calling user may not read, and so may not sync.
    pub(super) unreadable: Option<PathBuf>,
    pub(super) watcher: Option<Watcher>,
}

/// A fault of the disk: the call that fails, and its error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskFault {
    /// The number of the call, counted from the moment at which the fault is set.
    pub call: u64,
    pub error: ErrorKind,
    /// True if all later calls fail, too.
    pub for_ever: bool,
}

impl Disk {
    pub(super) fn enter(&mut self, changes: bool) -> io::Result<()> {
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

    pub(super) fn sync_may_go_on(&mut self, inode: u64) -> io::Result<()> {
        let node = Node::File(inode);
        let directory = self.failing_sync.as_ref().and_then(|path| self.directories.get(path));
        if directory.is_none_or(|directory| !directory.now.values().any(|other| *other == node)) {
            return Ok(());
        }
        self.failing_sync = None;
        Err(ErrorKind::Other.into())
    }

    pub(super) fn no_room(&self) -> io::Error {
        if self.is_quota { ErrorKind::QuotaExceeded.into() } else { ErrorKind::StorageFull.into() }
    }

    /// Returns the number of octets that all files together have. A file whose name was taken away gives its room back
    /// at once.
    pub fn used(&self) -> u64 {
        let named = self.directories.values().flat_map(|directory| directory.now.values());
        let named: HashSet<u64> = named.filter_map(|node| node.inode()).collect();
        named.iter().filter_map(|number| self.inodes.get(number)).map(|inode| inode.now.len() as u64).sum()
    }

    /// Returns what the disk may hold if the power went now. With seed 0 it is only what was synced, with seed 1 everything,
    /// as after kill -9; with any other it is chosen sector by sector and name by name.
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
    pub(super) fn keep_renamed(&mut self, before: &Disk) {
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

    /// Returns the number of names that a file has.
    pub(super) fn links(&self, inode: u64) -> usize {
        let nodes = self.directories.values().flat_map(|directory| directory.now.values());
        nodes.filter(|node| node.inode() == Some(inode)).count()
    }

    pub(super) fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        match self.directories.get(path) {
            Some(directory) => Ok(FileFacts { is_regular: false, ..self.facts_of(directory.inode) }),
            None => Ok(self.facts_of(self.inode_at(path)?)),
        }
    }

    pub(super) fn facts_of(&self, inode: u64) -> FileFacts {
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

    pub(super) fn forget_unnamed(&mut self) {
        // A name that a crash may bring back counts, too.
        let nodes = self.directories.values().flat_map(Directory::nodes);
        let named: HashSet<u64> = nodes.filter_map(Node::inode).collect();
        self.open.retain(|_, open| open.strong_count() > 0);
        self.inodes.retain(|inode, _| named.contains(inode) || self.open.contains_key(inode));
    }

    /// Makes a file that is empty, and not durable.
    pub(super) fn make_file(&mut self, path: &Path) -> io::Result<u64> {
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

    pub(super) fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        let not_found = || io::Error::from(ErrorKind::NotFound);
        self.directories.get_mut(path).ok_or_else(not_found)
    }

    pub(super) fn parent(&mut self, path: &Path) -> io::Result<(&mut Directory, OsString)> {
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok((self.directory(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    pub(super) fn inode_at(&self, path: &Path) -> io::Result<u64> {
        let directory = path.parent().and_then(|parent| self.directories.get(parent));
        let node = directory.and_then(|directory| directory.now.get(path.file_name()?));
        node.and_then(|node| node.inode()).ok_or_else(|| ErrorKind::NotFound.into())
    }
}
