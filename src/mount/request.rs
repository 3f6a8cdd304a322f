//! What a start asks for: everything the daemon needs, as text that crosses to its process. Opens
//! nothing.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::config::Config;
use crate::config::MountConfig;
use crate::config::VolumeConfig;
use crate::config::environment;
use crate::error::Result;
use crate::fuse::MountOptions;
use crate::fuse::Occupied;

/// A mount that is wanted. No field holds a secret: it crosses a pipe and may be logged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// The volume's name in the config.
    pub volume: String,
    /// The mount point; absolute from [`StartRequest::settle`] on.
    pub dir: PathBuf,
    /// The config file; `None`: the first of the usual places.
    pub config: Option<PathBuf>,
    /// Keys of the config to override, `volumes.NAME.key=value`.
    pub sets: Vec<String>,
    /// Mount options, `name` or `name=value`, a later one over an earlier one.
    pub options: Vec<String>,
    /// Make the volume if it does not exist.
    pub create: bool,
    /// Stay in the caller's process.
    pub foreground: bool,
    /// Hide what the mount point contains.
    pub nonempty: bool,
    /// The log file; `None`: the journal, or a file in the run directory.
    pub log_file: Option<PathBuf>,
    /// What is logged, `debug` or `cairnfs=trace`; `None`: our own words from `info`.
    pub log_filter: Option<String>,
}

impl StartRequest {
    /// Takes an option of `-o`: those that are about the start itself land in their fields, and
    /// all others are checked when the mount is configured.
    pub fn add_option(&mut self, option: String) {
        match option.split_once('=') {
            Some(("config", path)) => self.config = Some(path.into()),
            Some(("log-file", path)) => self.log_file = Some(path.into()),
            Some(("log", filter)) => self.log_filter = Some(filter.to_owned()),
            None if option == "create" => self.create = true,
            None if option == "foreground" => self.foreground = true,
            None if option == "nonempty" => self.nonempty = true,
            _ => self.options.push(option),
        }
    }

    /// Makes paths absolute, so that they mean the same in the daemon.
    pub fn settle(mut self) -> Result<Self> {
        self.dir = super::mountpoint::resolve(&self.dir)?;
        for path in [&mut self.config, &mut self.log_file].into_iter().flatten() {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }

    /// Reads the config file as this start wants it.
    pub fn load_config(&self) -> Result<Config> {
        Config::load(self.config.as_deref(), &environment, &self.sets)
    }

    /// The options over what the config says of the volume; an unknown one is an error.
    pub fn mount_config(&self, volume: &VolumeConfig) -> Result<MountConfig> {
        let mut config = volume.mount.clone();
        for option in &self.options {
            config.apply_option(option)?;
        }
        config.check()?;
        Ok(config)
    }

    /// Drops options that nobody knows (`mount -s`). One that is known and has a bad value stays
    /// an error: a misspelt `sse=` must not mount without encryption.
    pub fn drop_unknown_options(&mut self) {
        self.options.retain(|option| MountConfig::knows_option(option));
    }

    /// The options as the file system is mounted with.
    pub fn fuse_options(&self, config: &MountConfig) -> MountOptions {
        MountOptions {
            fsname: self.volume.clone(),
            read_only: config.read_only,
            allow_other: config.allow_other,
            writeback: config.writeback,
            noatime: config.noatime,
            kernel_flags: passed_on(&config.kernel_flags),
            occupied: if self.nonempty { Occupied::Cover } else { Occupied::Refuse },
        }
    }
}

/// The flags that make a difference to a FUSE mount; when access times change is decided in the
/// file system, not by the kernel's flavours of `atime`.
fn passed_on(flags: &[&str]) -> Vec<String> {
    let known = ["dev", "suid", "exec", "sync", "nodev", "nosuid", "noexec", "async"];
    flags.iter().filter(|flag| known.contains(flag)).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn options_about_the_start_land_in_their_fields() {
        let mut request = StartRequest::default();
        for option in ["ro", "config=/etc/c.toml", "create", "sse=aes256", "log-file=/l", "log=x"] {
            request.add_option(option.to_owned());
        }
        assert_eq!(request.options, ["ro", "sse=aes256"]);
        assert_eq!(request.config.as_deref(), Some(Path::new("/etc/c.toml")));
        assert_eq!(request.log_file.as_deref(), Some(Path::new("/l")));
        assert_eq!(request.log_filter.as_deref(), Some("x"));
        assert!(request.create && !request.nonempty);
    }

    #[test]
    fn a_request_survives_the_pipe() {
        let request = StartRequest { volume: "a".into(), create: true, ..Default::default() };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<StartRequest>(&line).unwrap(), request);
    }
}
