//! A log file that starts again when it is full, so that a run directory in memory cannot fill.
//! Knows no log levels.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::path::Path;

use crate::error::Error;
use crate::error::Result;

/// The size in bytes at which the file starts again.
pub(super) const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A file that never grows past [`BYTES_MAX`] plus one line.
pub(super) struct Bounded {
    file: File,
    written: u64,
}

impl Bounded {
    /// Appends to what is there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let file = opened.map_err(|cause| {
            Error::from(cause).while_doing(format!("cannot open the log `{}`", path.display()))
        })?;
        let written = file.metadata()?.len();
        Ok(Self { file, written })
    }
}

impl Write for Bounded {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.written >= BYTES_MAX {
            self.file.set_len(0)?;
            self.written = 0;
        }
        let written = self.file.write(line)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Bounded::open(&path).unwrap();
        log.write_all(b"first\n").unwrap();
        log.written = BYTES_MAX;
        log.write_all(b"again\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"again\n");
    }
}
