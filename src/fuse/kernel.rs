//! What is agreed with the kernel at the start of a mount. The numbers are measured on Linux 6.18.

use std::io;
use std::time::Duration;

use fuser::InitFlags;
use fuser::KernelConfig;

/// Bytes of a READ or WRITE at most. Larger requests are slower: they fall out of the L2 cache.
const REQUEST_BYTES_MAX: u32 = 1 << 20;

/// Readahead and asynchronous requests in flight at most.
const BACKGROUND_MAX: u16 = 64;

/// Requests in flight from which on the kernel holds readahead back.
const CONGESTION: u16 = 48;

/// What is asked of the kernel, as far as it offers it. Not asked: locks (the kernel's own are
/// right), SETXATTR_EXT (fuser cannot parse it), ALLOW_IDMAP (with it only requests that create
/// tell who calls, and clearing set-user-id needs that of the others too).
const CAPABILITIES: InitFlags = InitFlags::FUSE_PARALLEL_DIROPS
    .union(InitFlags::FUSE_DO_READDIRPLUS)
    .union(InitFlags::FUSE_READDIRPLUS_AUTO)
    .union(InitFlags::FUSE_ASYNC_DIO)
    .union(InitFlags::FUSE_HANDLE_KILLPRIV_V2)
    .union(InitFlags::FUSE_CACHE_SYMLINKS)
    .union(InitFlags::FUSE_ATOMIC_O_TRUNC)
    .union(InitFlags::FUSE_EXPLICIT_INVAL_DATA)
    .union(InitFlags::FUSE_POSIX_ACL)
    .union(InitFlags::FUSE_DONT_MASK)
    .union(InitFlags::FUSE_EXPORT_SUPPORT);

/// Whether the kernel collects small writes before it sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writeback {
    /// Each write(2) is a request.
    Off,
    /// Dirty pages stay in the kernel until it writes them back, or fsync.
    On,
}

/// How long the kernel may believe names (also missing ones), attributes and pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// As long as it likes: nobody else changes the volume, and it expires what it changes itself.
    Lasting,
    /// Not for long: the mount is read-only, and another one may be writing.
    Brief,
}

impl Trust {
    /// Of names and attributes.
    pub(super) fn ttl(self) -> Duration {
        match self {
            Self::Lasting => Duration::from_secs(3600),
            Self::Brief => Duration::from_secs(1),
        }
    }
}

/// Answers the kernel's offer.
pub(super) fn negotiate(
    config: &mut KernelConfig,
    writeback: Writeback,
    trust: Trust,
) -> io::Result<()> {
    let mut wanted = CAPABILITIES;
    if writeback == Writeback::On {
        wanted.insert(InitFlags::FUSE_WRITEBACK_CACHE);
    }
    if trust == Trust::Brief {
        // Pages go when the attributes, which it asks for again and again, show another file.
        wanted.remove(InitFlags::FUSE_EXPLICIT_INVAL_DATA);
        wanted.insert(InitFlags::FUSE_AUTO_INVAL_DATA);
    }
    let unfit = |_| io::Error::other("fuser does not take the limits of a mount");
    config
        .add_capabilities(wanted & config.capabilities())
        .map_err(|_| io::Error::other("fuser refuses what the kernel offers"))?;
    config.set_max_write(REQUEST_BYTES_MAX).map_err(unfit)?;
    config.set_max_background(BACKGROUND_MAX).map_err(|_| unfit(0))?;
    config.set_congestion_threshold(CONGESTION).map_err(|_| unfit(0))?;
    Ok(())
}
