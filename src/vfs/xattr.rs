//! Extended attributes and ACLs as attributes. The kernel checks who may.

use bytes::Bytes;

use super::Vfs;
use super::access;
use super::access::Acl;
use super::types::Caller;
use super::types::SetXattr;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::ACL_ACCESS;
use crate::meta::ACL_DEFAULT;
use crate::meta::Attached;
use crate::meta::value::Inode;
use crate::meta::value::mode;
use crate::types::Ino;

/// XATTR_NAME_MAX of Linux, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// XATTR_SIZE_MAX of Linux, in bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// What the store says of the encryption of a file's blocks: asked when it is read, never listed.
const POSTURE: &[u8] = b"user.cairnfs.posture";

/// Attributes below this are the file system's own.
const OWN: &[u8] = b"user.cairnfs.";

/// The namespaces whose attributes are kept as they come.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

impl Vfs {
    /// setxattr.
    pub async fn setxattr(
        &self,
        caller: Caller,
        ino: Ino,
        name: Bytes,
        value: Bytes,
        mode: SetXattr,
    ) -> Result<()> {
        check_name(&name)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::new(Kind::Range, "an attribute's value is longer than 64 KiB"));
        }
        match name.as_ref() {
            ACL_ACCESS => self.set_access_acl(caller, ino, Acl::parse(&value)?).await,
            ACL_DEFAULT => self.set_default_acl(ino, Acl::parse(&value)?).await,
            _ => {
                check_owner(&name)?;
                check_type(&name, &self.meta.inode(ino).await?)?;
                self.meta.set_xattr(ino, &name, &value, mode).await
            }
        }
    }

    /// getxattr.
    pub async fn getxattr(&self, ino: Ino, name: Bytes) -> Result<Bytes> {
        check_name(&name)?;
        if name == POSTURE {
            return self.posture(ino).await;
        }
        self.meta.xattr(ino, &name).await
    }

    /// listxattr: names, each followed by NUL.
    pub async fn listxattr(&self, ino: Ino) -> Result<Bytes> {
        self.meta.xattr_names(ino).await
    }

    /// removexattr.
    pub async fn removexattr(&self, caller: Caller, ino: Ino, name: Bytes) -> Result<()> {
        check_name(&name)?;
        match name.as_ref() {
            ACL_ACCESS => self.set_access_acl(caller, ino, None).await,
            ACL_DEFAULT => self.set_default_acl(ino, None).await,
            _ => {
                check_owner(&name)?;
                check_type(&name, &self.meta.inode(ino).await?)?;
                self.meta.remove_xattr(ino, &name).await
            }
        }
    }

    async fn posture(&self, ino: Ino) -> Result<Bytes> {
        let inode = self.meta.inode(ino).await?;
        if !inode.is(mode::REGULAR) {
            return Err(Error::new(Kind::NoAttribute, "only a file has blocks"));
        }
        let posture = self.contents.posture(inode.content, &inode.cuts).await?;
        Ok(posture.to_string().into())
    }

    async fn set_access_acl(&self, caller: Caller, ino: Ino, acl: Option<Acl>) -> Result<()> {
        let now = self.meta.ambient.now();
        let change = |inode: &mut Inode, attached: &mut Attached| {
            if inode.is(mode::SYMLINK) {
                return Err(Error::new(Kind::Unsupported, "a symbolic link has no ACL"));
            }
            access::set_access_acl(inode, attached, caller, acl.as_ref());
            inode.ctime = now;
            Ok(())
        };
        self.meta.alter(ino, change).await.map(|_| ())
    }

    async fn set_default_acl(&self, ino: Ino, acl: Option<Acl>) -> Result<()> {
        let is_directory = self.meta.inode(ino).await?.is(mode::DIRECTORY);
        match acl {
            Some(acl) if is_directory => {
                self.meta.set_xattr(ino, ACL_DEFAULT, &acl.encode(), SetXattr::Any).await
            }
            Some(_) => Err(Error::new(Kind::Access, "only a directory has a default ACL")),
            None => match self.meta.remove_xattr(ino, ACL_DEFAULT).await {
                Err(error) if error.kind() == Kind::NoAttribute => Ok(()),
                result => result,
            },
        }
    }
}

fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::new(Kind::Range, "an attribute's name is longer than 255 bytes"));
    }
    if matches!(name, ACL_ACCESS | ACL_DEFAULT) {
        return Ok(());
    }
    let name = name.split(|byte| *byte == 0).next().filter(|first| first.len() == name.len());
    match NAMESPACES.iter().find_map(|space| name?.strip_prefix(*space)) {
        Some(rest) if !rest.is_empty() => Ok(()),
        Some(_) => Err(Error::new(Kind::Invalid, "an attribute's name ends with its namespace")),
        None => Err(Error::new(Kind::Unsupported, "attributes live in user., trusted., security.")),
    }
}

fn check_owner(name: &[u8]) -> Result<()> {
    match name.starts_with(OWN) {
        true => Err(Error::new(Kind::NotOwner, "attributes below user.cairnfs. are read-only")),
        false => Ok(()),
    }
}

/// `user.` attributes belong to files and directories only (xattr(7)).
fn check_type(name: &[u8], inode: &Inode) -> Result<()> {
    let fits = inode.is(mode::REGULAR) || inode.is(mode::DIRECTORY);
    if name.starts_with(b"user.") && !fits {
        let reason = "user attributes belong to files and directories";
        return Err(Error::new(Kind::NotOwner, reason));
    }
    Ok(())
}
