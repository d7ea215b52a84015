//! The spool's figures, for metrics and statistics. Written by the writer and the replayer, read by anybody.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::store;

/// Counters since the process began, and what is there now.
#[derive(Debug, Default)]
#[allow(missing_docs)] // Each is described by its metric in `stats::metrics`.
pub struct Figures {
    /// Deletions that were written down.
    pub spooled: Count,
    /// Deletions that could not be written down because too many waited.
    pub queue_full: Count,
    /// Deletions that could not be written down because of the directory or the disk.
    pub write_failed: Count,
    /// Deletions removed with the oldest files, at the bound.
    pub dropped: Count,
    /// Files that somebody removed or moved while they were written.
    pub displaced: Count,
    /// Deletions delivered by this process.
    pub replayed: Count,
    /// Lines that are no deletions.
    pub unreadable: Count,
    /// Bytes of all files.
    pub bytes: Count,
    /// How many files there are.
    pub files: Count,
    /// The most bytes there may be.
    pub max_bytes: Count,
    /// 1 while the next file would make the oldest go.
    pub at_bound: Count,
    /// Where the files are.
    pub(super) dir: OnceLock<PathBuf>,
}

impl Figures {
    /// Counts what is in the directory now: others deliver and remove files, too.
    pub fn look(&self) {
        if let Some(dir) = self.dir.get()
            && let Ok(all) = store::list(dir)
        {
            let bytes = all.iter().map(|one| one.len).sum();
            self.holds(bytes, all.len() as u64);
        }
    }

    /// There are so many bytes in so many files.
    pub(super) fn holds(&self, bytes: u64, files: u64) {
        self.bytes.set(bytes);
        self.files.set(files);
        let most = self.max_bytes.get();
        self.at_bound.set((bytes + file_bytes(most) > most).into());
    }
}

/// A file that has come to this length is ended before its time is over, where all may have `most` bytes.
pub(super) fn file_bytes(most: u64) -> u64 {
    (most / 16).max(64 << 10)
}

/// A number that several threads may change.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Makes it this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
