//! Opening a volume for a mount or for one piece of work. Knows no tool and no daemon.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::ambient::Ambient;
use crate::config::MountConfig;
use crate::config::VolumeConfig;
use crate::error::Result;
use crate::volume::OpenOptions;
use crate::volume::Volume;

/// How long a tool waits until what it changed is stored.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(600);

/// What a tool does to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It only looks: no session is taken.
    Read,
    /// It changes: it is the volume's one writer meanwhile.
    Write,
}

/// Opens a volume, does `work` and closes it. The error of the work comes before that of the close.
pub async fn with_volume<T>(
    config: &VolumeConfig,
    access: Access,
    work: impl AsyncFnOnce(&Volume) -> Result<T>,
) -> Result<T> {
    let mut options = open_options(&config.mount, config, Path::new(""));
    options.read_only = access == Access::Read;
    let volume: Arc<Volume> = Volume::open(config, options, Ambient::system()).await?;
    let done = work(&volume).await;
    let closed = volume.close(CLOSE_TIMEOUT).await;
    done.and_then(|value| closed.map(|()| value))
}

/// What a volume is opened with, as config and options say.
pub fn open_options(mount: &MountConfig, volume: &VolumeConfig, mountpoint: &Path) -> OpenOptions {
    OpenOptions {
        sse: volume.asked_mode(mount),
        any_sse: mount.asks_for_any_mode(volume.sse.as_ref()),
        takeover: mount.takeover,
        read_only: mount.read_only,
        memory_bytes: mount.memory_bytes,
        commit_interval: mount.commit_interval,
        readahead_bytes: mount.readahead_bytes,
        mountpoint: mountpoint.to_path_buf(),
    }
}
