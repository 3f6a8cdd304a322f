//! Arguments that several commands share. Runs nothing.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::Config;
use crate::config::Size;
use crate::config::Span;
use crate::config::environment;
use crate::error::Result;

/// Which configuration is read.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ConfigArgs {
    /// The config file, instead of $CAIRNFS_CONFIG and the usual places
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides a key of the config for this call: volumes.NAME.KEY=VALUE
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

impl ConfigArgs {
    /// Reads the config.
    pub(super) fn load(&self) -> Result<Config> {
        Config::load(self.config.as_deref(), &environment, &self.sets)
    }
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A duration as a person types it: `60s`, `5m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(|span| span.0).map_err(|error| error.to_string())
}

/// A size as a person types it: `4MiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    text.parse::<Size>().map(|size| size.0).map_err(|error| error.to_string())
}
