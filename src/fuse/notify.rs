//! Tells the kernel to forget: its caches of inodes, or the whole connection.

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::OnceLock;

use fuser::INodeNo;
use fuser::Notifier;

use crate::error::Error;
use crate::error::Result;
use crate::types::Ino;

/// The device number of a mount, by which the kernel names its connection and its readahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeviceNumber {
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// What operations make the kernel forget. Says nothing before the session begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Forget(Arc<OnceLock<Notifier>>);

impl Forget {
    /// The session begins.
    pub(super) fn begin(&self, notifier: Notifier) {
        // A mount has one session.
        let _first = self.0.set(notifier);
    }

    /// Makes the kernel ask for attributes again, if `changed`. It waits for no page, so a session
    /// thread may do it before it answers.
    pub(super) fn attributes_if(&self, changed: bool, ino: Ino) {
        if let (true, Some(notifier)) = (changed, self.0.get())
            && let Err(error) = notifier.inval_inode(INodeNo(ino.0), -1, 0)
        {
            tracing::debug!(%error, %ino, "the kernel knows no attributes");
        }
    }

    /// Runs an operation that says whether it changed the inode's mode.
    pub(super) async fn after(
        self,
        ino: Ino,
        operation: impl Future<Output = Result<bool>>,
    ) -> Result<()> {
        self.attributes_if(operation.await?, ino);
        Ok(())
    }

    /// Makes the kernel send the pages that it has not sent yet, and drop them.
    pub(super) async fn pages(&self, ino: Ino) {
        let forget = self.clone();
        let sent = tokio::task::spawn_blocking(move || {
            forget.0.get().map(|notifier| invalidate(notifier, &[ino]))
        });
        if sent.await.is_err() {
            tracing::warn!(%ino, "the kernel was not asked for pages");
        }
    }
}

/// Drops the pages and attributes that the kernel has of `inodes`; how many it would not drop.
///
/// Waits for locked pages: not for a session thread, and not before their requests are answered.
pub(super) fn invalidate(notifier: &Notifier, inodes: &[Ino]) -> usize {
    inodes.iter().filter(|ino| notifier.inval_inode(INodeNo(ino.0), 0, 0).is_err()).count()
}

/// Makes the kernel look up every name again before it uses what it knows of it. Linux 6.16 and
/// later know this message (FUSE_NOTIFY_INC_EPOCH, 8); older ones refuse it.
#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel reads numbers as this machine writes them"
)]
pub(super) fn forget_names(device: &OwnedFd) -> Result<()> {
    // struct fuse_out_header: length, the message's number where an error stands, no request.
    let mut message = [0; 16];
    message[..4].copy_from_slice(&16u32.to_ne_bytes());
    message[4..8].copy_from_slice(&8i32.to_ne_bytes());
    rustix::io::write(device, &message).map_err(std::io::Error::from)?;
    Ok(())
}

/// Ends a connection: every waiting and later request fails with ENOTCONN or ECONNABORTED.
///
/// # Errors
/// The control file system is not mounted, as in many containers.
pub(super) fn abort(device: DeviceNumber) -> Result<()> {
    let path = format!("/sys/fs/fuse/connections/{}/abort", device.minor);
    fs::write(&path, "1").map_err(|cause| Error::from(cause).with("path", path))
}

/// Raises the readahead of the mount, which the protocol itself can only lower. Root only.
pub(super) fn read_ahead(device: DeviceNumber, kib: u32) -> Result<()> {
    let path = format!("/sys/class/bdi/{}:{}/read_ahead_kb", device.major, device.minor);
    fs::write(&path, kib.to_string()).map_err(|cause| Error::from(cause).with("path", path))
}
