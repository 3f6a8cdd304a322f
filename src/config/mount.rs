//! What may differ at each start: memory, intervals, and the options of mount(8). Knows no
//! stored format.

use std::path::PathBuf;
use std::time::Duration;

use super::Size;
use super::Span;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::SseMode;
use crate::provider::unknown;

/// Less than this does not hold a few blocks, the metadata engine and the cache.
const MEMORY_MIN: Size = Size(128 << 20);
const MEMORY_DEFAULT: Size = Size(1 << 30);
const READAHEAD_DEFAULT: Size = Size(32 << 20);
const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
const COMMIT_INTERVAL_MIN: Duration = Duration::from_millis(10);
const COMMIT_INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// Words of our own, with and without a value.
const OWN_OPTIONS: [&str; 20] = [
    "sse",
    "allow-unencrypted",
    "ro",
    "rw",
    "read-only",
    "noatime",
    "atime",
    "writeback",
    "allow-other",
    "foreground",
    "takeover",
    "memory",
    "commit-interval",
    "readahead",
    "cache-dir",
    "cache-size",
    "log-file",
    "default-permissions",
    "fsname",
    "subtype",
];
/// Words that mount(8), systemd or fstab readers act on before us.
const IGNORED_OPTIONS: [&str; 10] = [
    "_netdev", "nofail", "auto", "noauto", "user", "nouser", "users", "owner", "group", "defaults",
];
/// Flags the kernel knows, each with its opposite.
const KERNEL_FLAGS: [(&str, &str); 8] = [
    ("dev", "nodev"),
    ("suid", "nosuid"),
    ("exec", "noexec"),
    ("diratime", "nodiratime"),
    ("relatime", "norelatime"),
    ("strictatime", "nostrictatime"),
    ("lazytime", "nolazytime"),
    ("sync", "async"),
];

/// How a volume is mounted this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountConfig {
    /// The most memory the process may use, in bytes.
    pub memory_bytes: u64,
    /// The longest time a change waits before it is made durable.
    pub commit_interval: Duration,
    /// The largest window a sequential reader is read ahead, in bytes.
    pub readahead_bytes: u64,
    /// Nothing may be written.
    pub read_only: bool,
    /// The kernel may hold written bytes back.
    pub writeback: bool,
    /// Reads do not change access times.
    pub noatime: bool,
    /// Other users may use the mount.
    pub allow_other: bool,
    /// The process stays in the foreground.
    pub foreground: bool,
    /// A volume that somebody else holds is taken from them.
    pub takeover: bool,
    /// Encryption was asked for, in whichever mode the volume has; see [`Self::asked_mode`].
    pub sse_asked: bool,
    /// The mode asked for at this start, if one was named.
    pub sse: Option<SseMode>,
    /// Encryption asked of a store that cannot encrypt is done without.
    pub allow_unencrypted: bool,
    /// Where to log instead of the journal.
    pub log_file: Option<PathBuf>,
    /// Where to cache blocks; not available yet.
    pub cache_dir: Option<PathBuf>,
    /// The most bytes in the cache directory; not available yet.
    pub cache_size_bytes: Option<u64>,
    /// Flags for the kernel, in the order given: `nodev`, `noexec`, …
    pub kernel_flags: Vec<&'static str>,
}

impl Default for MountConfig {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_DEFAULT.0,
            commit_interval: COMMIT_INTERVAL_DEFAULT,
            readahead_bytes: READAHEAD_DEFAULT.0,
            read_only: false,
            writeback: false,
            noatime: false,
            allow_other: false,
            foreground: false,
            takeover: false,
            sse_asked: false,
            sse: None,
            allow_unencrypted: false,
            log_file: None,
            cache_dir: None,
            cache_size_bytes: None,
            kernel_flags: Vec::new(),
        }
    }
}

impl MountConfig {
    /// Applies one word of `-o`: `ro`, `sse=aes256`, `memory=2GiB`. Words that mount(8) acts on
    /// are ignored, flags of the kernel are collected; an unknown word is an error that names
    /// the nearest. Later words win.
    pub fn apply_option(&mut self, option: &str) -> Result<()> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let dashed = match name {
            "_netdev" => name.to_owned(),
            _ => dashed(name),
        };
        if is_comment(name) {
            return Ok(());
        }
        if self.apply_word(&dashed, value)? || self.apply_value(&dashed, value)? {
            return Ok(());
        }
        match (IGNORED_OPTIONS.contains(&dashed.as_str()), value) {
            (true, _) => Ok(()),
            (false, None) if self.apply_kernel_flag(&dashed) => Ok(()),
            _ => Err(unknown("mount option", name, &Self::known_options())),
        }
    }

    /// Whether an option has a name that means something here, whatever its value is.
    pub fn knows_option(option: &str) -> bool {
        let name = option.split('=').next().unwrap_or(option);
        let dashed = if name == "_netdev" { name.to_owned() } else { dashed(name) };
        is_comment(name) || Self::known_options().contains(&dashed.as_str())
    }

    /// The mode to ask of the store at this start: the one named here, else the volume's own
    /// (`configured`), else `AES256` if encryption was asked for; `None`: nobody asked.
    pub fn asked_mode(&self, configured: Option<&SseMode>) -> Option<SseMode> {
        if self.asks_for_any_mode(configured) {
            return Some(SseMode::Aes256);
        }
        self.sse.clone().or(configured.cloned())
    }

    /// Whether encryption is asked for without a mode, so that any which the volume remembers will
    /// do.
    pub fn asks_for_any_mode(&self, configured: Option<&SseMode>) -> bool {
        let unnamed = matches!(configured, Some(SseMode::None) | None);
        self.sse.is_none() && self.sse_asked && unnamed
    }

    /// Checks the bounds of what can be given in several places.
    pub fn check(&self) -> Result<()> {
        if self.memory_bytes < MEMORY_MIN.0 {
            let given = Size(self.memory_bytes);
            return Err(Error::new(Kind::Config, format!("{given} of memory is too little"))
                .hint(format!("give at least {MEMORY_MIN}: `--memory {MEMORY_MIN}`")));
        }
        if !(COMMIT_INTERVAL_MIN..=COMMIT_INTERVAL_MAX).contains(&self.commit_interval) {
            let given = Span(self.commit_interval);
            return Err(Error::new(Kind::Config, format!("no commit interval can be {given}"))
                .hint("give between 10ms and 1h; the default is 5s"));
        }
        if self.readahead_bytes > self.memory_bytes / 2 {
            let given = Size(self.readahead_bytes);
            let message = format!("a window of {given} to read ahead is more than half the memory");
            return Err(Error::new(Kind::Config, message).hint("give less, or more `--memory`"));
        }
        Ok(())
    }

    /// What was asked for and is not available yet, as sentences for the person who asked.
    pub fn notices(&self) -> Vec<&'static str> {
        let cache = self.cache_dir.is_some() || self.cache_size_bytes.is_some();
        cache
            .then_some("a disk cache is not available yet: `cache-dir` and `cache-size` do nothing")
            .into_iter()
            .collect()
    }

    fn apply_word(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        let (field, on) = match name {
            "ro" | "read-only" => (&mut self.read_only, true),
            "rw" => (&mut self.read_only, false),
            "noatime" => (&mut self.noatime, true),
            "atime" => (&mut self.noatime, false),
            "writeback" => (&mut self.writeback, true),
            "allow-other" => (&mut self.allow_other, true),
            "foreground" => (&mut self.foreground, true),
            "takeover" => (&mut self.takeover, true),
            "allow-unencrypted" => (&mut self.allow_unencrypted, true),
            "sse" if value.is_none() => (&mut self.sse_asked, true),
            // Checked by the kernel always; names are ours.
            "default-permissions" | "fsname" | "subtype" => return Ok(true),
            _ => return Ok(false),
        };
        if value.is_some() {
            let message = format!("mount option `{name}` takes no value");
            return Err(Error::new(Kind::Config, message));
        }
        *field = on;
        Ok(true)
    }

    fn apply_value(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        const NAMES: [&str; 7] = [
            "sse",
            "memory",
            "commit-interval",
            "readahead",
            "cache-dir",
            "cache-size",
            "log-file",
        ];
        if !NAMES.contains(&name) {
            return Ok(false);
        }
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            let message = format!("mount option `{name}` needs a value");
            return Err(Error::new(Kind::Config, message)
                .hint(format!("write `{name}=…`, for example `memory=1GiB`")));
        };
        let doing = |error: Error| error.while_doing(format!("mount option `{name}`"));
        match name {
            "sse" => self.sse = Some(value.parse().map_err(doing)?),
            "memory" => self.memory_bytes = value.parse::<Size>().map_err(doing)?.0,
            "commit-interval" => self.commit_interval = value.parse::<Span>().map_err(doing)?.0,
            "readahead" => self.readahead_bytes = value.parse::<Size>().map_err(doing)?.0,
            "cache-dir" => self.cache_dir = Some(value.into()),
            "cache-size" => {
                self.cache_size_bytes = Some(value.parse::<Size>().map_err(doing)?.0);
            }
            _ => self.log_file = Some(value.into()),
        }
        Ok(true)
    }

    fn apply_kernel_flag(&mut self, name: &str) -> bool {
        for (on, off) in KERNEL_FLAGS {
            let (flag, opposite) = match name {
                _ if name == on => (on, off),
                _ if name == off => (off, on),
                _ => continue,
            };
            self.kernel_flags.retain(|old| *old != flag && *old != opposite);
            self.kernel_flags.push(flag);
            return true;
        }
        false
    }

    fn known_options() -> Vec<&'static str> {
        let flags = KERNEL_FLAGS.iter().flat_map(|(on, off)| [*on, *off]);
        OWN_OPTIONS.into_iter().chain(IGNORED_OPTIONS).chain(flags).collect()
    }
}

/// A name as options have it: they may be written with `_` and capitals too.
fn dashed(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

/// Whether an option is for others to read.
fn is_comment(name: &str) -> bool {
    name.is_empty() || name.starts_with("x-") || name.starts_with("X-") || name == "comment"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(options: &str) -> Result<MountConfig> {
        let mut config = MountConfig::default();
        options.split(',').try_for_each(|option| config.apply_option(option))?;
        Ok(config)
    }

    #[test]
    fn an_fstab_line_is_understood() {
        let config = mounted(
            "_netdev,nofail,defaults,x-systemd.automount,comment=hello,sse=kms:KEY,ro,noatime,\
             writeback,memory=2GiB,commit_interval=500ms,readahead=8MiB,nodev,exec,noexec,\
             allow_other",
        )
        .unwrap();
        assert_eq!(config.sse, Some(SseMode::Kms("KEY".to_owned())));
        assert!(config.read_only && config.noatime && config.writeback && config.allow_other);
        assert_eq!((config.memory_bytes, config.readahead_bytes), (2 << 30, 8 << 20));
        assert_eq!(config.commit_interval, Duration::from_millis(500));
        assert_eq!(config.kernel_flags, ["nodev", "noexec"]);
        assert!(!mounted("ro,rw").unwrap().read_only);
        assert!(config.check().is_ok() && MountConfig::default().check().is_ok());
    }

    #[test]
    fn a_known_name_with_a_bad_value_is_known() {
        for option in
            ["sse=aes265", "memory", "_netdev", "x-y", "allow_other", "nodev", "COMMIT_INTERVAL=5"]
        {
            assert!(MountConfig::knows_option(option), "{option}");
        }
        for option in ["ssse", "intr", "vers=3"] {
            assert!(!MountConfig::knows_option(option), "{option}");
        }
    }

    #[test]
    fn a_bare_sse_takes_the_volumes_own_mode() {
        let (bare, named, silent) =
            (mounted("sse").unwrap(), mounted("sse=aes256").unwrap(), MountConfig::default());
        let kms = SseMode::Kms("KEY".to_owned());
        assert_eq!(bare.asked_mode(Some(&kms)), Some(kms.clone()));
        assert_eq!(bare.asked_mode(Some(&SseMode::None)), Some(SseMode::Aes256));
        assert_eq!(bare.asked_mode(None), Some(SseMode::Aes256));
        assert_eq!(named.asked_mode(Some(&kms)), Some(SseMode::Aes256));
        assert_eq!(silent.asked_mode(Some(&kms)), Some(kms));
        assert_eq!(silent.asked_mode(None), None);
    }

    #[test]
    fn a_word_that_means_nothing_here_is_refused() {
        for (option, sentence) in [
            ("notime", "unknown mount option `notime`, did you mean `noatime`?"),
            ("sse=aes265", "mount option `sse`: unknown encryption mode `aes265`, did you mean"),
            ("memory", "mount option `memory` needs a value"),
            ("memory=", "mount option `memory` needs a value"),
            ("memory=much", "mount option `memory`: `much` is no size"),
            ("commit-interval=1d", "mount option `commit-interval`: `1d` is no duration"),
            ("ro=1", "mount option `ro` takes no value"),
        ] {
            let error = mounted(option).unwrap_err().to_string();
            assert!(error.starts_with(sentence), "{error}");
        }
        for (options, sentence) in [
            ("memory=64MiB", "64MiB of memory is too little"),
            ("commit-interval=0", "no commit interval can be 0s"),
            ("readahead=1GiB", "a window of 1GiB to read ahead is more than half the memory"),
        ] {
            let error = mounted(options).unwrap().check().unwrap_err().to_string();
            assert_eq!(error, sentence);
        }
    }

    #[test]
    fn a_disk_cache_is_answered_with_a_notice() {
        let config = mounted("cache-dir=/c,cache-size=20GiB").unwrap();
        assert_eq!(config.cache_size_bytes, Some(20 << 30));
        assert!(config.notices()[0].contains("not available yet"));
        assert!(MountConfig::default().notices().is_empty());
    }
}
