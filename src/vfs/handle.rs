//! The table of open files and directories: who has what open, and how.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::readahead::Readahead;
use super::types::OpenFlags;
use crate::types::Ino;

/// An open file or directory.
#[derive(Debug)]
pub struct Handle {
    /// What is open.
    pub ino: Ino,
    /// Open to write: the kernel may hold pages of it that were not sent yet.
    pub write: bool,
    /// O_SYNC or O_DSYNC: each write is answered after its epoch.
    pub sync: bool,
    /// Where its reader is.
    pub readahead: Mutex<Readahead>,
}

/// All handles of a mount.
#[derive(Debug, Default)]
pub struct Handles(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    open: HashMap<u64, Arc<Handle>>,
    counts: HashMap<Ino, u32>,
}

impl Handles {
    /// Counts a handle of `ino` and gives it a number.
    pub fn open(&self, ino: Ino, flags: OpenFlags, readahead_bytes_max: u64) -> u64 {
        let handle = Handle {
            ino,
            write: flags.write,
            sync: flags.sync,
            readahead: Mutex::new(Readahead::new(readahead_bytes_max)),
        };
        let mut table = self.0.lock();
        table.last += 1;
        let number = table.last;
        table.open.insert(number, Arc::new(handle));
        *table.counts.entry(ino).or_default() += 1;
        number
    }

    /// The handle of that number, while it is open.
    pub fn find(&self, number: u64) -> Option<Arc<Handle>> {
        self.0.lock().open.get(&number).cloned()
    }

    /// Uncounts a handle. Returns the inode if that was its last.
    pub fn close(&self, number: u64) -> Option<Ino> {
        let mut table = self.0.lock();
        let ino = table.open.remove(&number)?.ino;
        let count = table.counts.get_mut(&ino).expect("an open handle is counted");
        *count -= 1;
        if *count > 0 {
            return None;
        }
        table.counts.remove(&ino);
        Some(ino)
    }

    /// Every inode that is open.
    pub fn inodes(&self) -> Vec<Ino> {
        self.0.lock().counts.keys().copied().collect()
    }

    /// Whether a handle of `ino` is open to write.
    pub fn is_written(&self, ino: Ino) -> bool {
        self.0.lock().open.values().any(|handle| handle.ino == ino && handle.write)
    }

    /// Whether a handle of `ino` is open.
    pub fn is_open(&self, ino: Ino) -> bool {
        self.0.lock().counts.contains_key(&ino)
    }
}
