//! The journal's native protocol: one datagram per entry, `NAME=value` lines, and for a value with
//! a line break `NAME`, a line break, its length (64 bits, little-endian), the value, a line break.
//! Knows nothing of what is logged.

use std::io;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

use tracing::Level;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::error::Error;
use crate::error::Result;

const SOCKET: &str = "/run/systemd/journal/socket";

/// An entry longer than this is cut: a datagram has a limit, and the journal one of its own.
const MESSAGE_BYTES_MAX: usize = 48 * 1024;

/// Whether this machine has a journal.
pub fn present() -> bool {
    Path::new(SOCKET).exists()
}

/// The journal, connected.
#[derive(Clone)]
pub(super) struct Journal(Arc<UnixDatagram>);

impl Journal {
    /// Connects to the journal of this machine.
    pub(super) fn connect() -> Result<Self> {
        Self::connect_to(Path::new(SOCKET))
    }

    fn connect_to(path: &Path) -> Result<Self> {
        let refused = |cause: io::Error| Error::from(cause).while_doing("cannot reach the journal");
        let socket = UnixDatagram::unbound().map_err(refused)?;
        socket.connect(path).map_err(refused)?;
        // A journal that is stuck must not stop the file system; its entry is dropped instead.
        socket.set_nonblocking(true).map_err(refused)?;
        Ok(Self(Arc::new(socket)))
    }
}

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Entry;

    fn make_writer(&'a self) -> Entry {
        Entry { journal: self.0.clone(), priority: 6 }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Entry {
        Entry { journal: self.0.clone(), priority: priority(*meta.level()) }
    }
}

/// One entry: each `write` is a datagram (the formatter writes an event at once).
pub(super) struct Entry {
    journal: Arc<UnixDatagram>,
    priority: u8,
}

impl Write for Entry {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.journal.send(&encode(self.priority, line)) {
            Err(full) if full.kind() == io::ErrorKind::WouldBlock => Ok(line.len()),
            sent => sent.map(|_| line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// syslog(3)'s numbers.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn encode(priority: u8, line: &[u8]) -> Vec<u8> {
    let message = line.trim_ascii_end();
    let message = &message[..message.len().min(MESSAGE_BYTES_MAX)];
    let mut entry = format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=cairnfs\n").into_bytes();
    if message.contains(&b'\n') {
        entry.extend_from_slice(b"MESSAGE\n");
        entry.extend_from_slice(&(message.len() as u64).to_le_bytes());
    } else {
        entry.extend_from_slice(b"MESSAGE=");
    }
    entry.extend_from_slice(message);
    entry.push(b'\n');
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_one_line_and_one_of_two() {
        assert_eq!(encode(4, b"away\n"), b"PRIORITY=4\nSYSLOG_IDENTIFIER=cairnfs\nMESSAGE=away\n");
        let two = encode(3, b"a\nb");
        let tail = b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert!(two.ends_with(tail), "{two:?}");
    }

    #[test]
    fn an_entry_arrives_as_one_datagram() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect_to(&path).unwrap();
        journal.make_writer().write_all(b"mounted\n").unwrap();
        let mut bytes = [0; 256];
        let got = journald.recv(&mut bytes).unwrap();
        assert!(bytes[..got].ends_with(b"MESSAGE=mounted\n"));
    }
}
