//! What changes a file's extent without writing bytes: truncate, fallocate; and lseek, which
//! looks at it.

use super::Vfs;
use super::access;
use super::file::regular;
use super::types::Allocate;
use super::types::Caller;
use super::types::Seek;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::key;
use crate::meta::kv::Txn;
use crate::meta::transact;
use crate::meta::value::Cut;
use crate::meta::value::Inode;
use crate::meta::value::flag;
use crate::types::ContentId;
use crate::types::FILE_SIZE_MAX;
use crate::types::FileRange;
use crate::types::Ino;
use crate::types::WriteSeq;
use crate::volume::CUTS_MAX;
use crate::volume::Contents;

/// What a change of size left to do.
enum Step {
    /// Whether the mode lost set-user-id or set-group-id.
    Done(bool),
    /// The inode has too many cuts; they must reach the extents first.
    Crowded,
}

impl Vfs {
    /// Truncates or grows a file. Whether it lost set-user-id or set-group-id.
    pub(super) async fn resize(&self, caller: Caller, ino: Ino, size: u64) -> Result<bool> {
        if size > FILE_SIZE_MAX {
            return Err(Error::new(Kind::TooBig, "a file ends at 2^63 - 1 bytes"));
        }
        let new_content = (size == 0).then(|| self.meta.ids.content());
        self.reshape(caller, ino, move |txn, contents, inode, seq| {
            match new_content {
                Some(content) => replace_content(txn, contents, inode, content),
                None if size < inode.size => cut(txn, contents, ino, inode, (size, u64::MAX), seq),
                None if size > inode.size => inode.flags |= flag::SPARSE,
                None => {}
            }
            inode.size = size;
        })
        .await
    }

    /// fallocate. Space is never reserved: the store has no way to promise it. Whether the inode
    /// lost set-user-id or set-group-id by it, which the kernel does not know.
    pub async fn fallocate(
        &self,
        caller: Caller,
        ino: Ino,
        (offset, length): (u64, u64),
        how: Allocate,
    ) -> Result<bool> {
        let end = offset.checked_add(length).filter(|end| *end <= FILE_SIZE_MAX);
        let end = end.ok_or_else(|| Error::new(Kind::TooBig, "a file ends at 2^63 - 1 bytes"))?;
        if length == 0 {
            return Err(Error::new(Kind::Invalid, "a range to allocate is not empty"));
        }
        self.reshape(caller, ino, move |txn, contents, inode, seq| {
            let hides = matches!(
                how,
                Allocate::PunchHole | Allocate::ZeroRange | Allocate::ZeroRangeKeepSize
            );
            let grows = matches!(how, Allocate::Grow | Allocate::ZeroRange);
            if hides && offset < inode.size {
                inode.flags |= flag::SPARSE;
                cut(txn, contents, ino, inode, (offset, end), seq);
            }
            if grows && end > inode.size {
                inode.flags |= flag::SPARSE;
                inode.size = end;
            }
        })
        .await
    }

    /// Runs a change of a regular file's shape in a transaction; waits first while the inode has
    /// too many cuts.
    async fn reshape(
        &self,
        caller: Caller,
        ino: Ino,
        change: impl Fn(&mut Txn, &Contents, &mut Inode, WriteSeq) + Send + Sync,
    ) -> Result<bool> {
        loop {
            let step: Result<Step> = transact!(self.meta.store(), |txn| {
                self.try_reshape(txn, (caller, ino), &change).await
            });
            match step? {
                Step::Done(mode_changed) => return Ok(mode_changed),
                Step::Crowded => self.contents.settle_cuts(ino).await?,
            }
        }
    }

    async fn try_reshape(
        &self,
        txn: &mut Txn,
        (caller, ino): (Caller, Ino),
        change: &(impl Fn(&mut Txn, &Contents, &mut Inode, WriteSeq) + Send + Sync),
    ) -> Result<Step> {
        let mut inode = regular(txn, ino).await?;
        // After the read that commit checks: see `put_bytes`.
        let seq = self.meta.ids.seq();
        if inode.cuts.len() >= CUTS_MAX {
            return Ok(Step::Crowded);
        }
        let mode_changed = caller.uid != 0 && access::kill_set_id(&mut inode);
        change(txn, &self.contents, &mut inode, seq);
        inode.mtime = self.meta.ambient.now();
        inode.ctime = inode.mtime;
        txn.put(key::inode(ino), inode.encode());
        Ok(Step::Done(mode_changed))
    }

    /// lseek to data or to a hole. `Kind::Range` (ENXIO) at or past the end, or without data.
    pub async fn lseek(&self, ino: Ino, offset: u64, seek: Seek) -> Result<u64> {
        let inode = self.meta.inode(ino).await?;
        let beyond = || Error::new(Kind::Range, "nothing is there at or after the offset");
        if offset >= inode.size {
            return Err(beyond());
        }
        if inode.flags & flag::SPARSE == 0 {
            return Ok(if seek == Seek::Data { offset } else { inode.size });
        }
        let (content, cuts, size) = (inode.content, &inode.cuts, inode.size);
        let mut at = offset;
        loop {
            let data = self.contents.next_data(content, cuts, at, size).await?;
            match (seek, data) {
                (Seek::Data, Some(data)) => return Ok(data.start.max(offset)),
                (Seek::Data, None) => return Err(beyond()),
                (Seek::Hole, Some(data)) if data.start <= at => at = data.end,
                (Seek::Hole, _) => return Ok(at.min(size)),
            }
            if at >= size {
                return Ok(size);
            }
        }
    }
}

/// Swaps the content, so that dropping a terabyte is one small change.
fn replace_content(txn: &mut Txn, contents: &Contents, inode: &mut Inode, content: ContentId) {
    if inode.size == 0 {
        return;
    }
    let old = std::mem::replace(&mut inode.content, content);
    inode.cuts.clear();
    inode.flags &= !flag::SPARSE;
    if contents.may_have_extents(old) {
        txn.put_new(key::garbage(old), bytes::Bytes::new());
    } else {
        let contents = contents.clone();
        txn.only_if(move || !contents.may_have_extents(old));
    }
    let contents = contents.clone();
    txn.then(move || contents.forget(old));
}

/// Hides a range; extents follow in the background.
fn cut(
    txn: &mut Txn,
    contents: &Contents,
    ino: Ino,
    inode: &mut Inode,
    (start, end): (u64, u64),
    seq: WriteSeq,
) {
    inode.cuts.retain(|old| old.start < start || old.end > end);
    inode.cuts.push(Cut { start, end, seq });
    let (contents, content, range): (_, _, FileRange) =
        (contents.clone(), inode.content, start..end);
    txn.then(move || contents.cut(ino, content, range));
}
