//! The disk by itself: one thread, one positional write, one fdatasync, into blocks written before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::load::{Figures, MESSAGE};

/// Messages per sync.
pub const BATCHES: [usize; 3] = [1, 16, 64];

/// As a segment of the spool.
const LENGTH: usize = 32 << 20;

/// A file whose blocks exist.
pub struct Disk {
    file: File,
    octets: Vec<u8>,
    end: usize,
}

impl Disk {
    /// Fills and syncs the file.
    pub fn prepare(path: &Path) -> io::Result<Disk> {
        let file = File::create(path)?;
        file.write_all_at(&vec![0; LENGTH], 0)?;
        file.sync_all()?;
        let largest = BATCHES.into_iter().max().unwrap_or(1) * MESSAGE;
        Ok(Disk { file, octets: vec![b'x'; largest], end: 0 })
    }

    /// Commits `batch` messages at a time; latencies are of one commit.
    pub fn commit(&mut self, batch: usize, time: Duration) -> Outcome<Figures> {
        let begin = Instant::now();
        let mut latencies = Vec::new();
        while begin.elapsed() < time {
            let commit = Instant::now();
            self.append(batch * MESSAGE)?;
            latencies.push(commit.elapsed());
        }
        let messages = latencies.len() * batch;
        Ok(Figures::new(messages, begin.elapsed(), latencies).ok_or("no commit in time")?)
    }

    fn append(&mut self, length: usize) -> io::Result<()> {
        if self.end + length > LENGTH {
            self.end = 0;
        }
        self.file.write_all_at(&self.octets[..length], self.end as u64)?;
        self.end += length;
        self.file.sync_data()
    }
}
