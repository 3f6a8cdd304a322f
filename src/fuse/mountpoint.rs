//! Whether a directory can become a mount point, said in sentences. Changes nothing.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Statx;
use rustix::fs::StatxAttributes;
use rustix::fs::StatxFlags;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// What becomes of the entries that a directory has before it is mounted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Occupied {
    /// A directory with entries is refused.
    #[default]
    Refuse,
    /// They are hidden while the mount lasts.
    Cover,
}

/// The absolute path of a directory that can be mounted over.
///
/// # Errors
/// `NotFound`, `NotDirectory`, `NotEmpty` or `Access`; `Busy` when something is mounted there,
/// `Stale` when what is mounted there has lost its process.
pub fn check_mount_point(dir: &Path, occupied: Occupied) -> Result<PathBuf> {
    let path = dir.canonicalize().map_err(|cause| unusable(dir, cause))?;
    let attributes = fs::metadata(&path).map_err(|cause| unusable(dir, cause))?;
    let shown = path.display();
    if !attributes.is_dir() {
        return Err(Error::new(
            Kind::NotDirectory,
            format!("mount point `{shown}` is not a directory"),
        )
        .hint("name a directory"));
    }
    let status = status(&path).map_err(|cause| unusable(dir, cause))?;
    if status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        let message = format!("something is mounted at `{shown}` already");
        return Err(Error::new(Kind::Busy, message)
            .hint(format!("unmount it first (`umount {shown}`), or choose another directory")));
    }
    let mut entries = fs::read_dir(&path).map_err(|cause| unusable(dir, cause))?;
    if occupied == Occupied::Refuse && entries.next().is_some() {
        let message = format!("mount point `{shown}` is not empty");
        return Err(Error::new(Kind::NotEmpty, message)
            .hint("choose an empty directory, or hide what is there with `-o nonempty`"));
    }
    Ok(path)
}

/// statx(2) from what the kernel has: no request to the file system that is mounted there.
pub(super) fn status(path: &Path) -> io::Result<Statx> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    Ok(rustix::fs::statx(CWD, path, flags, StatxFlags::empty())?)
}

fn unusable(dir: &Path, cause: io::Error) -> Error {
    let shown = dir.display();
    match rustix::io::Errno::from_io_error(&cause) {
        Some(rustix::io::Errno::NOTCONN | rustix::io::Errno::CONNABORTED) => {
            let message = format!("the process behind the mount at `{shown}` is gone");
            Error::new(Kind::Stale, message)
                .because(cause)
                .hint(format!("remove what is left of it with `umount -l {shown}`"))
        }
        Some(rustix::io::Errno::NOENT) => {
            Error::new(Kind::NotFound, format!("mount point `{shown}` does not exist"))
                .hint(format!("create it with `mkdir -p {shown}`"))
        }
        Some(rustix::io::Errno::NOTDIR) => {
            Error::new(Kind::NotDirectory, format!("mount point `{shown}` is not a directory"))
                .hint("a part of the path is a file")
        }
        _ => Error::from(cause).while_doing(format_args!("cannot look at mount point `{shown}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let check = |path: &Path, occupied| check_mount_point(path, occupied);
        let missing = check(&dir.path().join("no"), Occupied::Refuse).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        assert!(missing.hint_text().unwrap().starts_with("create it with `mkdir -p "));
        assert!(check(dir.path(), Occupied::Refuse).is_ok());
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(check(&file, Occupied::Refuse).unwrap_err().kind(), Kind::NotDirectory);
        let below = file.join("below");
        assert_eq!(check(&below, Occupied::Refuse).unwrap_err().kind(), Kind::NotDirectory);
        assert_eq!(check(dir.path(), Occupied::Refuse).unwrap_err().kind(), Kind::NotEmpty);
        assert!(check(dir.path(), Occupied::Cover).is_ok());
        assert_eq!(check(Path::new("/proc"), Occupied::Cover).unwrap_err().kind(), Kind::Busy);
    }
}
