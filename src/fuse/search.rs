//! Operations that look for something which need not be there: no error is logged then.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::convert;
use super::notify::Forget;
use crate::error::Kind;
use crate::error::Result;
use crate::types::Ino;
use crate::vfs::Attr;
use crate::vfs::Vfs;

/// lookup.
pub(super) async fn name(vfs: &Vfs, parent: Ino, name: &OsStr) -> Result<Option<Attr>> {
    let found = match name.as_bytes() {
        // With EXPORT_SUPPORT, NFS handles are opened by these two.
        b"." => vfs.getattr(parent).await,
        b".." => vfs.parent(parent).await,
        _ => vfs.lookup(parent, convert::file_name(name)?).await,
    };
    unless(Kind::NotFound, found)
}

/// lseek to data or to a hole.
pub(super) async fn data(
    vfs: &Vfs,
    forget: &Forget,
    ino: Ino,
    (offset, whence): (i64, i32),
) -> Result<Option<u64>> {
    let Ok(offset) = u64::try_from(offset) else { return Ok(None) };
    if vfs.is_written(ino) {
        // Pages that a mapping or a cached write changed lie in the kernel still.
        forget.pages(ino).await;
    }
    unless(Kind::Range, vfs.lseek(ino, offset, convert::seek(whence)?).await)
}

fn unless<T>(absent: Kind, found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(error) if error.kind() == absent => Ok(None),
        found => found.map(Some),
    }
}
