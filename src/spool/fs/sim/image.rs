//! The state in which a crash leaves files and directories: the model of `fs/sim.rs`, applied.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;

const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(super) struct Inode {
    pub durable: Arc<Vec<u8>>,
    pub now: Vec<u8>,
    /// The numbers of the sectors that were written since the last sync.
    pub dirty: BTreeSet<usize>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Node {
    File(u64),
    Directory,
}

#[derive(Clone, Default)]
pub(super) struct Directory {
    pub inode: u64,
    pub durable: BTreeMap<OsString, Node>,
    pub now: BTreeMap<OsString, Node>,
    pub pending: Vec<Vec<NameChange>>,
}

/// A name, and what it points to from then on; `None` if it is gone.
pub(super) type NameChange = (OsString, Option<Node>);

impl Node {
    pub fn inode(self) -> Option<u64> {
        match self {
            Node::File(inode) => Some(inode),
            Node::Directory => None,
        }
    }
}

impl Inode {
    pub fn after(&self, choice: &mut Choice) -> Inode {
        let mut octets = self.durable.to_vec();
        if choice.0 == 1 {
            octets.clone_from(&self.now);
        } else if choice.0 > 1 {
            let range = (octets.len().min(self.now.len()), octets.len().max(self.now.len()));
            let length = [octets.len(), self.now.len(), choice.between(range)][choice.between((0, 2))];
            octets.resize(length, 0);
            for sector in &self.dirty {
                let end = ((sector + 1) * SECTOR).min(length).min(self.now.len());
                let range = (sector * SECTOR).min(end)..end;
                match choice.between((0, 4)) {
                    0 | 1 => {}
                    2 => octets[range].fill(0xA5),
                    _ => octets[range.clone()].copy_from_slice(&self.now[range]),
                }
            }
        }
        Inode { durable: Arc::new(octets.clone()), now: octets, dirty: BTreeSet::new() }
    }

    pub fn write(&mut self, octets: &[u8], offset: usize) {
        let end = offset + octets.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(octets);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    pub fn truncate(&mut self, length: usize) {
        self.now.truncate(length);
        self.dirty.retain(|sector| sector * SECTOR < length);
    }

    pub fn sync(&mut self) {
        let mut durable = self.durable.to_vec();
        durable.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.now.len());
            durable[range.clone()].copy_from_slice(&self.now[range]);
        }
        self.durable = Arc::new(durable);
    }
}

impl Directory {
    /// All that has a name in it, or may have one after a crash.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        let changed = self.pending.iter().flatten().filter_map(|(_, node)| *node);
        self.now.values().chain(self.durable.values()).copied().chain(changed)
    }

    pub fn change(&mut self, changes: Vec<NameChange>) {
        apply(&mut self.now, &changes);
        self.pending.push(changes);
    }

    pub fn sync(&mut self) {
        self.durable = self.now.clone();
        self.pending.clear();
    }

    pub fn after(&self, choice: &mut Choice) -> Directory {
        let mut now = self.durable.clone();
        for changes in &self.pending {
            let kept = match choice.0 {
                0 => false,
                1 => true,
                _ => choice.between((0, 1)) == 1,
            };
            let both_names = choice.0 > 1 && choice.between((0, 3)) == 0;
            if kept && both_names && changes.len() == 2 {
                apply(&mut now, &changes[1..]);
            } else if kept {
                apply(&mut now, changes);
            }
        }
        Directory { inode: self.inode, durable: now.clone(), now, pending: Vec::new() }
    }
}

fn apply(names: &mut BTreeMap<OsString, Node>, changes: &[NameChange]) {
    for (name, node) in changes {
        match node {
            Some(node) => drop(names.insert(name.clone(), *node)),
            None => drop(names.remove(name)),
        }
    }
}

/// A small generator of numbers (splitmix64).
#[derive(Clone, Copy)]
pub(crate) struct Choice(pub u64);

impl Choice {
    /// Returns a number between these two, which may be one of them.
    pub fn between(&mut self, (low, high): (usize, usize)) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15).max(2);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        low + ((mixed ^ (mixed >> 31)) % (high - low + 1) as u64) as usize
    }
}
