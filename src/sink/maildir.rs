//! A Maildir: one file per message, and the guarantee that it is on stable storage.
//!
//! Promises:
//! 1. A file in `new/` is whole: written in `tmp/`, synced, and only then renamed.
//! 2. [`MaildirDraft::deliver`] returns after `new/` itself was synced: a delivered message survives power loss.
//! 3. A draft that is dropped leaves no file; after a crash it stays in `tmp/`, which readers ignore.
//!
//! Fails: with any I/O error. Nothing counts as delivered then, although the file may exist in `new/` after a failed sync
//! of that directory. Octets are stored unchanged, line ends too.
//!
//! Not here: the envelope as header fields (`session.rs`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

/// A directory with `tmp`, `new` and `cur`; clones share it.
#[derive(Clone, Debug)]
pub struct Maildir {
    root: Arc<Path>,
    /// A counter that makes names unique within this process.
    sequence: Arc<AtomicU64>,
}

/// A message that is being written to `tmp/`.
#[derive(Debug)]
pub struct MaildirDraft {
    file: Option<File>,
    root: Arc<Path>,
    name: String,
}

impl Maildir {
    /// Opens the Maildir at `root`, and creates the directories that are missing.
    pub async fn open(root: &Path) -> io::Result<Self> {
        for directory in ["tmp", "new", "cur"] {
            fs::create_dir_all(root.join(directory)).await?;
        }
        sync_directory(root).await?;
        if let Some(parent) = root.canonicalize()?.parent() {
            sync_directory(parent).await?;
        }
        Ok(Maildir { root: root.into(), sequence: Arc::default() })
    }

    /// Begins a new message.
    pub async fn draft(&self) -> io::Result<MaildirDraft> {
        let name = self.fresh_name();
        let file = File::create_new(self.root.join("tmp").join(&name)).await?;
        Ok(MaildirDraft { file: Some(file), root: Arc::clone(&self.root), name })
    }

    /// Returns a new file name. Names sort by arrival, and are unique as long as the clock and process ids are.
    fn fresh_name(&self) -> String {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let (seconds, micros) = (since_epoch.as_secs(), since_epoch.subsec_micros());
        format!("{seconds}.M{micros:06}P{}Q{sequence:06}.sink", std::process::id())
    }
}

impl MaildirDraft {
    /// Returns the name that the file will have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Appends `octets`.
    pub async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(octets).await,
            None => Err(io::Error::other("the draft was closed by an error")),
        }
    }

    /// Delivers the message: syncs the file, moves it to `new/`, and syncs that directory. Returns its path.
    pub async fn deliver(mut self) -> io::Result<PathBuf> {
        let mut file =
            self.file.take().ok_or_else(|| io::Error::other("the draft was closed by an error"))?;
        let (draft, new) = (self.path(), self.root.join("new"));
        let delivered = new.join(&self.name);
        let moved = async {
            // tokio's file holds back what was written last, and its error.
            file.flush().await?;
            file.sync_all().await?;
            fs::rename(&draft, &delivered).await
        };
        if let Err(error) = moved.await {
            self.file = Some(file);
            return Err(error);
        }
        sync_directory(&new).await?;
        Ok(delivered)
    }

    fn path(&self) -> PathBuf {
        self.root.join("tmp").join(&self.name)
    }
}

impl Drop for MaildirDraft {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Best effort: a file left in tmp/ is no message, and readers of a Maildir clear it away.
            let _ = std::fs::remove_file(self.path());
        }
    }
}

async fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory).await?.sync_all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(root.join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_message_is_in_new_only_once_it_is_delivered() {
        let root = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(&root.path().join("made/on/the/way")).await.unwrap();
        let root = root.path().join("made/on/the/way");
        let mut draft = maildir.draft().await.unwrap();
        draft.write(b"Subject: x\r\n\r\n\xff").await.unwrap();
        draft.write(b".\n").await.unwrap();
        let name = draft.name().to_owned();
        assert_eq!((names(&root, "tmp"), names(&root, "new")), (vec![name.clone()], vec![]));
        let path = draft.deliver().await.unwrap();
        assert_eq!((names(&root, "tmp"), names(&root, "new")), (vec![], vec![name]));
        assert_eq!(std::fs::read(path).unwrap(), b"Subject: x\r\n\r\n\xff.\n");
    }

    #[tokio::test]
    async fn a_dropped_draft_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut draft = Maildir::open(root.path()).await.unwrap().draft().await.unwrap();
        draft.write(b"half a mess").await.unwrap();
        drop(draft);
        assert_eq!((names(root.path(), "tmp"), names(root.path(), "new")), (vec![], vec![]));
    }

    #[tokio::test]
    async fn a_failed_delivery_says_so_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut draft = Maildir::open(root.path()).await.unwrap().draft().await.unwrap();
        draft.write(b"x").await.unwrap();
        std::fs::remove_dir(root.path().join("new")).unwrap();
        assert!(draft.deliver().await.is_err());
        assert_eq!(names(root.path(), "tmp"), Vec::<String>::new());
    }

    #[tokio::test]
    async fn names_are_unique_and_sort_by_arrival() {
        let root = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(root.path()).await.unwrap();
        let made: Vec<String> = (0..100).map(|_| maildir.clone().fresh_name()).collect();
        let mut sorted = made.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(made, sorted);
    }
}
