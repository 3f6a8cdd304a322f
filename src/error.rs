//! What can go wrong: one [`Error`] with a kind, a sentence, the facts that lead to the object,
//! and at most one hint. Knows no outside crate's error type and no errno.

use std::borrow::Cow;
use std::fmt;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error. A kind exists only if some caller acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The named thing does not exist (ENOENT).
    NotFound,
    /// The named thing exists already (EEXIST; a conditional create that lost).
    Exists,
    /// A path component is not a directory (ENOTDIR).
    NotDirectory,
    /// A directory stands where a file is needed (EISDIR).
    IsDirectory,
    /// A directory has entries (ENOTEMPTY).
    NotEmpty,
    /// An argument is outside what the operation takes (EINVAL).
    Invalid,
    /// A name is longer than 255 bytes, or a symlink target longer than 4095 (ENAMETOOLONG).
    NameTooLong,
    /// A file would grow past the largest offset (EFBIG).
    TooBig,
    /// An inode would have too many links (EMLINK).
    TooManyLinks,
    /// The owner or the superuser may do this, the caller may not (EPERM).
    NotOwner,
    /// The mode bits or an ACL forbid it (EACCES).
    Access,
    /// The volume or the mount is read-only (EROFS).
    ReadOnly,
    /// The store or the quota has no room (ENOSPC).
    NoSpace,
    /// An extended attribute does not exist (ENODATA).
    NoAttribute,
    /// A buffer is too small for the value (ERANGE), or a value too large for its attribute
    /// (E2BIG).
    Range,
    /// The operation exists nowhere here (EOPNOTSUPP).
    Unsupported,
    /// Source and target lie on different file systems or quotas (EXDEV).
    CrossDevice,
    /// A stale handle or file id (ESTALE, EBADF).
    Stale,
    /// A lock is held by somebody else (EAGAIN).
    WouldBlock,
    /// Somebody else uses it: a mount point, a volume held by another session (EBUSY).
    Busy,
    /// A transaction read what another one changed; `transact` runs it again.
    Conflict,
    /// The store does not answer; the same call may succeed later (EIO).
    Unavailable,
    /// The store says no, for good: credentials, permissions, a refused header (EIO).
    Denied,
    /// An encryption policy is not met: nothing was sent, or what was stored is not confirmed
    /// (EIO).
    Policy,
    /// Stored bytes do not verify, or say what this version does not know (EIO).
    Corrupt,
    /// Another session owns the volume now; nothing may be written any more (EIO).
    Fenced,
    /// The configuration names something that does not exist or contradicts itself.
    Config,
    /// The command line cannot be understood (exit code 2).
    Usage,
    /// A promise of the surroundings was broken: an unexpected answer of the system (EIO).
    Internal,
}

/// A failure, as a person will read it.
pub struct Error {
    kind: Kind,
    message: Cow<'static, str>,
    facts: Vec<(&'static str, String)>,
    hint: Option<Cow<'static, str>>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with a lower-case sentence, without a full stop.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), facts: Vec::new(), hint: None, cause: None }
    }

    /// Adds a fact that leads to the object: a key, an inode, a path.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.facts.push((name, value.to_string()));
        self
    }

    /// Adds the one thing to do next. The first hint stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Adds the failure below this one; it is printed in the same sentence.
    #[must_use]
    pub fn because(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    /// Puts a sentence in front: what was being done when this happened. Keeps kind, facts, hint.
    #[must_use]
    pub fn while_doing(mut self, doing: impl fmt::Display) -> Self {
        self.message = Cow::Owned(format!("{doing}: {}", self.message));
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do next, if it is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if !self.facts.is_empty() {
            let facts: Vec<_> =
                self.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
            write!(f, " ({})", facts.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(cause: std::io::Error) -> Self {
        let kind = match cause.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::PermissionDenied => Kind::Access,
            std::io::ErrorKind::AlreadyExists => Kind::Exists,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            _ => Kind::Internal,
        };
        Self::new(kind, "the system refused").because(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_one_sentence_with_its_facts() {
        let error = Error::new(Kind::Corrupt, "a frame does not verify")
            .with("block", "ab01")
            .with("offset", 4096)
            .while_doing("cannot read `a`");
        assert_eq!(
            error.to_string(),
            "cannot read `a`: a frame does not verify (block ab01, offset 4096)"
        );
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
