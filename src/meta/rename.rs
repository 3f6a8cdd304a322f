//! rename(2) in all its cases, inside a transaction. Knows no permission.

use std::sync::Arc;

use super::Meta;
use super::dentry::Child;
use super::dentry::Place;
use super::inode;
use super::kv::Txn;
use super::orphan;
use super::orphan::Dropped;
use super::orphan::OpenFiles;
use super::value::mode;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::FileName;
use crate::types::Ino;

/// rename(2)'s flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces a target that exists.
    Replace,
    /// RENAME_NOREPLACE: an existing target is an error.
    NoReplace,
    /// RENAME_EXCHANGE: both must exist and swap places.
    Exchange,
}

/// What a rename does, when nothing forbids it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Both names lead to the same inode: POSIX says that nothing happens.
    Nothing,
    /// The target's place is vacant.
    Move,
    /// The target, a file or an empty directory, goes.
    Over(Child),
    /// Both change places.
    Swap(Child),
}

/// The case that two names and a mode make; whether a directory is empty is not seen here.
fn case(source: Child, target: Option<Child>, mode: RenameMode) -> Result<Case> {
    let directory = |child: Child| child.kind == mode::DIRECTORY;
    let refuse = |kind, reason: &'static str| Err(Error::new(kind, reason));
    let Some(target) = target else {
        return match mode {
            RenameMode::Exchange => refuse(Kind::NotFound, "there is nothing to exchange with"),
            RenameMode::Replace | RenameMode::NoReplace => Ok(Case::Move),
        };
    };
    match mode {
        RenameMode::NoReplace => refuse(Kind::Exists, "the new name exists"),
        _ if source.ino == target.ino => Ok(Case::Nothing),
        RenameMode::Exchange => Ok(Case::Swap(target)),
        RenameMode::Replace => match (directory(source), directory(target)) {
            (true, false) => refuse(Kind::NotDirectory, "a directory replaces directories only"),
            (false, true) => refuse(Kind::IsDirectory, "the new name is a directory"),
            _ => Ok(Case::Over(target)),
        },
    }
}

/// Moves a name. Answers with what it replaced.
pub(super) async fn rename(
    meta: &Meta,
    txn: &mut Txn,
    (from, name): (Ino, &FileName),
    (to, new_name): (Ino, &FileName),
    mode: RenameMode,
    open: &Arc<dyn OpenFiles>,
) -> Result<Option<Dropped>> {
    let now = meta.ambient.now();
    let old_place = Place::new(&meta.names, from, name);
    let new_place = Place::new(&meta.names, to, new_name);
    let source = old_place.get(txn).await?;
    inode::directory(txn, to).await?;
    let case = case(source, new_place.find(txn).await?, mode)?;
    if case == Case::Nothing {
        return Ok(None);
    }
    if from != to {
        refuse_loop(txn, source, to).await?;
    }
    match case {
        Case::Nothing => Ok(None),
        Case::Move => {
            old_place.unbind(txn, now).await?;
            new_place.bind(txn, source, now).await?;
            settle(txn, source, to, now).await?;
            Ok(None)
        }
        Case::Over(target) => {
            if target.kind == mode::DIRECTORY {
                inode::empty_directory(txn, target.ino).await?;
            }
            old_place.unbind(txn, now).await?;
            new_place.rebind(txn, source, now).await?;
            settle(txn, source, to, now).await?;
            Ok(Some(orphan::drop_link(txn, target.ino, open, now).await?))
        }
        Case::Swap(target) => {
            if from != to {
                refuse_loop(txn, target, from).await?;
            }
            old_place.rebind(txn, target, now).await?;
            new_place.rebind(txn, source, now).await?;
            settle(txn, source, to, now).await?;
            settle(txn, target, from, now).await?;
            Ok(None)
        }
    }
}

/// The moved inode's change time, and a directory's `..`.
async fn settle(txn: &mut Txn, child: Child, parent: Ino, now: Timestamp) -> Result<()> {
    let mut inode = inode::get(txn, child.ino).await?;
    inode.ctime = now;
    if child.kind == mode::DIRECTORY {
        inode.content = crate::types::ContentId(parent.0);
    }
    inode::put(txn, child.ino, &inode);
    Ok(())
}

/// Fails if `child` would get into its own subtree. Every inode on the way is read in the
/// transaction, so two renames that would tie a loop together cannot both commit.
async fn refuse_loop(txn: &mut Txn, child: Child, to: Ino) -> Result<()> {
    if child.kind != mode::DIRECTORY {
        return Ok(());
    }
    let mut at = to;
    loop {
        if at == child.ino {
            return Err(Error::new(Kind::Invalid, "a directory cannot move into itself")
                .with("inode", child.ino));
        }
        if at == Ino::ROOT {
            return Ok(());
        }
        at = inode::get(txn, at).await?.parent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_types_has_its_case() {
        let file = |ino| Child { ino: Ino(ino), kind: mode::REGULAR };
        let dir = |ino| Child { ino: Ino(ino), kind: mode::DIRECTORY };
        let fault = |source, target, mode| case(source, target, mode).unwrap_err().kind();
        use RenameMode::Exchange;
        use RenameMode::NoReplace;
        use RenameMode::Replace;
        assert_eq!(case(file(2), None, Replace).unwrap(), Case::Move);
        assert_eq!(case(file(2), None, NoReplace).unwrap(), Case::Move);
        assert_eq!(fault(file(2), None, Exchange), Kind::NotFound);
        assert_eq!(fault(file(2), Some(file(2)), NoReplace), Kind::Exists);
        assert_eq!(case(file(2), Some(file(2)), Replace).unwrap(), Case::Nothing);
        assert_eq!(case(file(2), Some(file(2)), Exchange).unwrap(), Case::Nothing);
        assert_eq!(case(file(2), Some(file(3)), Replace).unwrap(), Case::Over(file(3)));
        assert_eq!(case(dir(2), Some(dir(3)), Replace).unwrap(), Case::Over(dir(3)));
        assert_eq!(fault(dir(2), Some(file(3)), Replace), Kind::NotDirectory);
        assert_eq!(fault(file(2), Some(dir(3)), Replace), Kind::IsDirectory);
        assert_eq!(case(dir(2), Some(file(3)), Exchange).unwrap(), Case::Swap(file(3)));
    }
}
