//! A volume opened for one piece of work, without a mount. Knows no tool.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::request::open_options;
use super::runtime;
use crate::ambient::Ambient;
use crate::config::VolumeConfig;
use crate::error::Result;
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

/// Opens a volume that is not mounted here, does `work` and closes it. The error of the work comes
/// before that of the close.
pub fn with_volume<T>(
    config: &VolumeConfig,
    access: Access,
    work: impl AsyncFnOnce(Arc<Volume>) -> Result<T>,
) -> Result<T> {
    runtime()?.block_on(async {
        let mut options = open_options(&config.mount, config, &PathBuf::new());
        options.read_only = access == Access::Read;
        let volume = Volume::open(config, options, Ambient::system()).await?;
        let done = work(volume.clone()).await;
        let closed = volume.close(CLOSE_TIMEOUT).await;
        done.and_then(|value| closed.map(|()| value))
    })
}
