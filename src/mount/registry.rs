//! Which mounts exist on this machine: a run directory with three files per mount point.
//! Knows no volume's sessions and does not ask whether a daemon answers.
//!
//! | file        | holds                                                             |
//! |-------------|-------------------------------------------------------------------|
//! | `ID.lock`   | nothing; the daemon keeps it locked, so a free lock is a dead one |
//! | `ID.json`   | the [`Entry`], written when the file system answers               |
//! | `ID.sock`   | the control socket                                                |
//!
//! `ID` is the mount point's FNV-1a hash: a socket's path has 107 bytes at most.

use std::ffi::OsStr;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::config::VolumeConfig;
use crate::config::environment;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Somebody who only looks holds a lock for an instant; a claim waits that long for it.
const CLAIM_TRIES: u32 = 25;
const CLAIM_PAUSE: Duration = Duration::from_millis(20);

/// What is known of a mount without asking its daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The volume's name in the config.
    pub volume: String,
    /// Where it is mounted, canonical.
    pub mountpoint: PathBuf,
    /// The daemon.
    pub pid: u32,
    /// The daemon's version.
    pub version: String,
    /// When it became ready, as RFC 3339 in UTC.
    pub since: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// The provider's row.
    pub provider: String,
    /// The bucket; for `local` the directory.
    pub bucket: String,
    /// The prefix inside the bucket.
    pub prefix: String,
    /// Where the store answers; a daemon of an earlier version does not tell.
    #[serde(default)]
    pub endpoint: Option<String>,
}

impl Entry {
    /// Whether this is the volume that `config` describes, and not one of the same name in another
    /// config.
    pub(super) fn is_of(&self, config: &VolumeConfig) -> bool {
        let place = (self.provider.clone(), self.bucket.clone(), self.prefix.clone());
        self.volume == config.name && place == place_of(config) && self.endpoint == config.endpoint
    }
}

/// Where a volume lies: provider, bucket (for `local` the directory), prefix.
pub(super) fn place_of(config: &VolumeConfig) -> (String, String, String) {
    let directory = config.path.as_deref().map(Path::to_string_lossy);
    let bucket = directory.map_or_else(|| config.bucket.clone(), Into::into);
    (config.provider.name.clone(), bucket, config.prefix.clone())
}

/// The run directory.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// The registry in `dir`, which need not exist yet.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The registry of the calling user: `$CAIRNFS_RUN`, else `/run/cairnfs` for root,
    /// else `$XDG_RUNTIME_DIR/cairnfs`, else a directory of the user's own below `/tmp`.
    pub(super) fn of_this_user() -> Self {
        let uid = rustix::process::geteuid();
        let own = environment("XDG_RUNTIME_DIR");
        Self::new(match (environment("CAIRNFS_RUN"), uid.is_root(), own) {
            (Some(dir), _, _) => PathBuf::from(dir),
            (None, true, _) => PathBuf::from("/run/cairnfs"),
            (None, false, Some(dir)) => PathBuf::from(dir).join("cairnfs"),
            (None, false, None) => PathBuf::from(format!("/tmp/cairnfs-{}", uid.as_raw())),
        })
    }

    /// Takes a mount point for this process until the claim is dropped: `Kind::Busy` when another
    /// process has it.
    pub(super) fn claim(&self, mountpoint: &Path) -> Result<Claim> {
        self.make_directory()?;
        let base = self.base(mountpoint);
        let lock_path = base.with_extension("lock");
        for _ in 0..CLAIM_TRIES {
            let lock = open_lock(&lock_path).map_err(|cause| self.refused(cause))?;
            if lock_now(&lock) && is_still(&lock, &lock_path) {
                remove(&[base.with_extension("json"), base.with_extension("sock")]);
                return Ok(Claim { base, _lock: lock });
            }
            std::thread::sleep(CLAIM_PAUSE);
        }
        Err(Error::new(Kind::Busy, format!("`{}` is being mounted already", mountpoint.display()))
            .hint("wait for it, or look with `cairnfs status`"))
    }

    /// The mounts whose daemon lives, by mount point; what dead ones left is removed.
    pub(super) fn entries(&self) -> Result<Vec<Entry>> {
        match fs::symlink_metadata(&self.dir) {
            Err(none) if none.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            found => self.check(&found.map_err(|cause| self.refused(cause))?)?,
        }
        let listing = fs::read_dir(&self.dir).map_err(|cause| self.refused(cause))?;
        let mut entries = Vec::new();
        for file in listing {
            let path = file.map_err(|cause| self.refused(cause))?.path();
            if path.extension() == Some(OsStr::new("json")) {
                entries.extend(read_live(&path));
            }
        }
        entries.sort_by(|a, b| a.mountpoint.cmp(&b.mountpoint));
        Ok(entries)
    }

    /// The control socket of the mount at `mountpoint`.
    pub(super) fn socket(&self, mountpoint: &Path) -> PathBuf {
        self.base(mountpoint).with_extension("sock")
    }

    /// Where the daemon of `mountpoint` logs when the machine has no journal.
    pub(super) fn log(&self, mountpoint: &Path) -> PathBuf {
        self.base(mountpoint).with_extension("log")
    }

    /// Makes the run directory, readable by its owner only.
    pub(super) fn make_directory(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|cause| self.refused(cause))?;
        let found = fs::symlink_metadata(&self.dir).map_err(|cause| self.refused(cause))?;
        self.check(&found)
    }

    /// Whoever can write to the directory can put links there, or pose as a daemon: nothing in it
    /// is read, made or locked unless it is the user's own.
    fn check(&self, found: &Metadata) -> Result<()> {
        let path = self.dir.display();
        let own = found.uid() == rustix::process::geteuid().as_raw();
        if !found.is_dir() || !own {
            let sentence = format!("the run directory `{path}` is not a directory of your own");
            return Err(Error::new(Kind::Access, sentence)
                .hint("set XDG_RUNTIME_DIR, or CAIRNFS_RUN, to a directory of your own"));
        }
        if found.mode() & 0o022 != 0 {
            let sentence = format!("others can write to the run directory `{path}`");
            return Err(Error::new(Kind::Access, sentence)
                .hint(format!("close it: `chmod 700 {path}`, and look what lies in it")));
        }
        Ok(())
    }

    fn base(&self, mountpoint: &Path) -> PathBuf {
        self.dir.join(format!("{:016x}", fnv1a(mountpoint.as_os_str().as_bytes())))
    }

    fn refused(&self, cause: std::io::Error) -> Error {
        Error::from(cause)
            .while_doing(format!("cannot use the run directory `{}`", self.dir.display()))
            .hint("set CAIRNFS_RUN to a directory of your own")
    }
}

/// A mount point that is ours while this lives.
#[derive(Debug)]
pub(super) struct Claim {
    base: PathBuf,
    _lock: File,
}

impl Claim {
    /// Where the control socket goes.
    pub(super) fn socket(&self) -> PathBuf {
        self.base.with_extension("sock")
    }

    /// Tells the machine of a mount that answers.
    pub(super) fn publish(&self, entry: &Entry) -> Result<()> {
        let text = serde_json::to_vec(entry)
            .map_err(|cause| Error::new(Kind::Internal, "an entry has no JSON").because(cause))?;
        let fresh = self.base.with_extension("new");
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, self.base.with_extension("json")))
            .map_err(|cause| Error::from(cause).while_doing("cannot register the mount"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock goes last: while its file exists and is locked, nobody else writes here.
        remove(&["json", "sock", "lock"].map(|ext| self.base.with_extension(ext)));
    }
}

fn read_live(path: &Path) -> Option<Entry> {
    let lock_path = path.with_extension("lock");
    // Created where it is missing: what a dead daemon left is removed under its lock.
    let lock = open_lock(&lock_path).ok()?;
    if lock_now(&lock) {
        if is_still(&lock, &lock_path) {
            remove(&["json", "sock", "lock"].map(|ext| path.with_extension(ext)));
        }
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Opens a lock, or makes it. Never through a link, and nothing is cut off.
fn open_lock(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

fn lock_now(file: &File) -> bool {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Whether the locked file is still the one at `path`: its owner may have removed it meanwhile.
fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

fn remove(paths: &[PathBuf]) {
    for path in paths {
        if let Err(cause) = fs::remove_file(path)
            && cause.kind() != ErrorKind::NotFound
        {
            tracing::warn!("cannot remove `{}`: {cause}", path.display());
        }
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::Config;

    fn entry(mountpoint: &str) -> Entry {
        Entry {
            volume: "photos".into(),
            mountpoint: mountpoint.into(),
            pid: 7,
            version: "0".into(),
            since: "2026-01-01T00:00:00Z".into(),
            read_only: false,
            provider: "local".into(),
            bucket: "/var/lib/photos".into(),
            prefix: String::new(),
            endpoint: None,
        }
    }

    #[test]
    fn a_volume_of_the_same_name_elsewhere_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let config = |store: &str| {
            let text = format!("[volumes.photos]\nprovider = \"local\"\npath = \"{store}\"\n");
            fs::write(&path, text).unwrap();
            let config = Config::load(Some(&path), &|_| None, &[]).unwrap();
            config.volume("photos").unwrap()
        };
        assert!(entry("/mnt").is_of(&config("/var/lib/photos")));
        assert!(!entry("/mnt").is_of(&config("/var/lib/others")));
    }

    #[test]
    fn a_mount_is_listed_while_its_claim_lives() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path().join("run"));
        assert!(registry.entries().unwrap().is_empty());
        let claim = registry.claim(Path::new("/mnt/a")).unwrap();
        claim.publish(&entry("/mnt/a")).unwrap();
        assert_eq!(registry.entries().unwrap(), [entry("/mnt/a")]);
        assert_eq!(registry.claim(Path::new("/mnt/a")).unwrap_err().kind(), Kind::Busy);
        drop(claim);
        assert!(registry.entries().unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_dead_daemon_left_is_not_listed_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path().to_path_buf());
        let base = registry.base(Path::new("/mnt/a"));
        File::create(base.with_extension("lock")).unwrap();
        let text = serde_json::to_vec(&entry("/mnt/a")).unwrap();
        fs::write(base.with_extension("json"), text).unwrap();
        assert!(registry.entries().unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        registry.claim(Path::new("/mnt/a")).unwrap();
    }

    #[test]
    fn a_directory_that_others_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let registry = Registry::new(dir.path().to_path_buf());
        assert_eq!(registry.make_directory().unwrap_err().kind(), Kind::Access);
        assert_eq!(registry.entries().unwrap_err().kind(), Kind::Access);
    }

    #[test]
    fn a_directory_behind_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("theirs")).unwrap();
        fs::set_permissions(dir.path().join("theirs"), Permissions::from_mode(0o700)).unwrap();
        symlink("theirs", dir.path().join("run")).unwrap();
        let registry = Registry::new(dir.path().join("run"));
        let refused = registry.claim(Path::new("/mnt/a")).unwrap_err();
        assert_eq!(refused.kind(), Kind::Access);
        assert!(refused.hint_text().unwrap().contains("XDG_RUNTIME_DIR"));
        assert_eq!(registry.entries().unwrap_err().kind(), Kind::Access);
    }

    #[test]
    fn a_lock_that_is_a_link_leads_nowhere_and_a_lock_keeps_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path().to_path_buf());
        let base = registry.base(Path::new("/mnt/a"));
        let (lock, precious) = (base.with_extension("lock"), dir.path().join("precious"));
        fs::write(&precious, "kept").unwrap();
        fs::write(base.with_extension("json"), "{}").unwrap();
        symlink(&precious, &lock).unwrap();
        assert!(registry.entries().unwrap().is_empty());
        assert!(registry.claim(Path::new("/mnt/a")).is_err());
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
        fs::remove_file(&lock).unwrap();
        fs::hard_link(&precious, &lock).unwrap();
        assert!(registry.entries().unwrap().is_empty());
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
    }
}
