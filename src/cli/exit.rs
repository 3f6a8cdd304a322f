//! Exit codes, for people and for mount(8). Knows no messages.

use crate::error::Kind;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done.
    Done,
    /// The check it made found faults.
    Faults,
}

impl Outcome {
    /// 0, or 3 for found faults.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Faults => 3,
        }
    }
}

/// 1: failed, 2: wrong usage.
pub(super) fn code(kind: Kind) -> u8 {
    if is_usage(kind) { 2 } else { 1 }
}

/// What mount(8) and umount(8) expect of a helper. 1: wrong usage, 32: the mount failed.
pub(super) fn helper_code(kind: Kind) -> u8 {
    if is_usage(kind) { 1 } else { 32 }
}

fn is_usage(kind: Kind) -> bool {
    match kind {
        Kind::Usage => true,
        Kind::NotFound
        | Kind::Exists
        | Kind::NotDirectory
        | Kind::IsDirectory
        | Kind::NotEmpty
        | Kind::Invalid
        | Kind::NameTooLong
        | Kind::TooBig
        | Kind::TooManyLinks
        | Kind::NotOwner
        | Kind::Access
        | Kind::ReadOnly
        | Kind::NoSpace
        | Kind::NoAttribute
        | Kind::Range
        | Kind::Unsupported
        | Kind::CrossDevice
        | Kind::Stale
        | Kind::WouldBlock
        | Kind::Busy
        | Kind::Conflict
        | Kind::Unavailable
        | Kind::Denied
        | Kind::Policy
        | Kind::Corrupt
        | Kind::Fenced
        | Kind::Config
        | Kind::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_mount_get_different_codes() {
        assert_eq!((code(Kind::Usage), code(Kind::Busy)), (2, 1));
        assert_eq!((helper_code(Kind::Usage), helper_code(Kind::Busy)), (1, 32));
        assert_eq!((Outcome::Done.code(), Outcome::Faults.code()), (0, 3));
    }
}
