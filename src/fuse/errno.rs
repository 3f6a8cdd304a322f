//! Kinds of error as errno: the only place that knows both. Errors of one call alone (ENXIO of
//! lseek, E2BIG of setxattr) are chosen where that call is answered.

use fuser::Errno;

use crate::error::Kind;

/// The errno of a kind.
pub(super) fn errno(kind: Kind) -> Errno {
    match kind {
        Kind::NotFound => Errno::ENOENT,
        Kind::Exists => Errno::EEXIST,
        Kind::NotDirectory => Errno::ENOTDIR,
        Kind::IsDirectory => Errno::EISDIR,
        Kind::NotEmpty => Errno::ENOTEMPTY,
        Kind::Invalid => Errno::EINVAL,
        Kind::NameTooLong => Errno::ENAMETOOLONG,
        Kind::TooBig => Errno::EFBIG,
        Kind::TooManyLinks => Errno::EMLINK,
        Kind::NotOwner => Errno::EPERM,
        Kind::Access => Errno::EACCES,
        Kind::ReadOnly => Errno::EROFS,
        Kind::NoSpace => Errno::ENOSPC,
        Kind::NoAttribute => Errno::ENODATA,
        Kind::Range => Errno::ERANGE,
        // ENOTSUP and EOPNOTSUPP are one number on Linux.
        Kind::Unsupported => Errno::ENOTSUP,
        Kind::CrossDevice => Errno::EXDEV,
        Kind::Stale => Errno::ESTALE,
        Kind::WouldBlock => Errno::EAGAIN,
        Kind::Busy => Errno::EBUSY,
        Kind::Conflict
        | Kind::Unavailable
        | Kind::Denied
        | Kind::Policy
        | Kind::Corrupt
        | Kind::Fenced
        | Kind::Config
        | Kind::Usage
        | Kind::Internal => Errno::EIO,
    }
}

/// Whether the error is a fault of the volume or its store, to be logged, and not an answer that
/// the caller asked for.
pub(super) fn is_fault(kind: Kind) -> bool {
    errno(kind) == Errno::EIO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_not_faults_and_faults_are_eio() {
        assert_eq!(errno(Kind::NotFound), Errno::ENOENT);
        assert_eq!(errno(Kind::Unsupported).code(), rustix::io::Errno::OPNOTSUPP.raw_os_error());
        assert!(!is_fault(Kind::NotEmpty) && !is_fault(Kind::NoAttribute));
        for fault in [Kind::Corrupt, Kind::Fenced, Kind::Policy, Kind::Unavailable, Kind::Denied] {
            assert!(is_fault(fault), "{fault:?}");
        }
    }
}
