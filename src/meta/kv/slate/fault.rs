//! Errors on their way through SlateDB: ours become the store's, which say whether to try again,
//! and SlateDB's become ours. Sends and retries nothing itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use object_store::Error as StoreError;
use slatedb::CloseReason;
use slatedb::ErrorKind;
use slatedb_common::retry::NonRetryable;
use tokio::sync::watch;

use crate::error::Error;
use crate::error::Kind;

/// The first answer of the store that no retry can mend.
#[derive(Debug, Clone)]
pub(super) struct Refusal(Arc<Error>);

impl Refusal {
    /// The refusal as an error of the engine's caller.
    pub(super) fn error(&self) -> Error {
        if self.0.kind() == Kind::Fenced {
            return closed(CloseReason::Fenced);
        }
        let error = Error::new(self.0.kind(), format!("the metadata engine stopped: {}", self.0));
        match self.0.hint_text() {
            Some(hint) => error.hint(hint.to_owned()),
            None => error,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refusal {}

/// Decides which answers are final, and keeps the first of them.
///
/// While the engine is being opened, a refusal ends it at once, so that a person sees why. Once it
/// is open, wrong credentials or a full disk can be mended under a running mount: the engine waits,
/// and nothing is lost. Damaged bytes fail the call that reads them. Encryption that is not
/// confirmed is final always: the object is stored, and SlateDB would take the answer to its next
/// try (`already exists, and it is mine`) for success. So is the claim of a later session.
#[derive(Debug)]
pub(super) struct Verdict {
    opening: AtomicBool,
    refused: watch::Sender<Option<Refusal>>,
}

impl Verdict {
    pub(super) fn new() -> Self {
        Self { opening: AtomicBool::new(true), refused: watch::Sender::new(None) }
    }

    /// From now on the engine waits for what can be mended.
    pub(super) fn opened(&self) {
        self.opening.store(false, Ordering::Release);
    }

    /// The first final answer.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.refused.borrow().clone()
    }

    /// Waits for a final answer.
    pub(super) async fn refusal(&self) -> Refusal {
        let mut refused = self.refused.subscribe();
        let refusal = refused.wait_for(Option::is_some).await;
        refusal.ok().and_then(|found| found.clone()).expect("we hold the sender of the channel")
    }

    /// What SlateDB is told of `error`, met at object `name`.
    pub(super) fn of(&self, name: &str, error: Error) -> StoreError {
        let (path, kind) = (name.to_owned(), error.kind());
        match kind {
            Kind::NotFound => StoreError::NotFound { path, source: error.into() },
            Kind::Exists => StoreError::AlreadyExists { path, source: error.into() },
            Kind::Conflict => StoreError::Precondition { path, source: error.into() },
            _ if self.can_be_mended(kind) => {
                StoreError::Generic { store: STORE, source: error.into() }
            }
            _ => {
                let refusal = Refusal(Arc::new(error));
                if self.stops_the_engine(kind) {
                    self.stop(refusal.clone());
                }
                permanent(refusal)
            }
        }
    }

    /// Another session owns the volume: nothing is written any more.
    pub(super) fn fence(&self, error: Error) {
        self.stop(Refusal(Arc::new(error)));
    }

    fn stop(&self, refusal: Refusal) {
        self.refused.send_if_modified(|first| match first {
            Some(_) => false,
            None => first.replace(refusal).is_none(),
        });
    }

    /// Refuses a request without sending it, once encryption was not confirmed, or another
    /// session owns the volume.
    pub(super) fn admit_write(&self) -> Result<(), StoreError> {
        match self.refused() {
            Some(refusal) if is_final(refusal.0.kind()) => Err(permanent(refusal)),
            _ => Ok(()),
        }
    }

    fn can_be_mended(&self, kind: Kind) -> bool {
        match kind {
            Kind::Unavailable | Kind::WouldBlock | Kind::Busy => true,
            Kind::Denied | Kind::NoSpace | Kind::Access | Kind::Internal => !self.is_opening(),
            _ => false,
        }
    }

    fn stops_the_engine(&self, kind: Kind) -> bool {
        is_final(kind) || self.is_opening()
    }

    fn is_opening(&self) -> bool {
        self.opening.load(Ordering::Acquire)
    }
}

/// Whether what was met can never be mended under a running mount.
fn is_final(kind: Kind) -> bool {
    matches!(kind, Kind::Policy | Kind::Fenced)
}

/// The name in the store's errors.
pub(super) const STORE: &str = "bucket";

/// An error of SlateDB as one of ours. An error of the bucket inside it decides the kind.
pub(super) fn from_slate(error: slatedb::Error) -> Error {
    if let Some(refusal) = find::<Refusal>(&error) {
        return refusal.error();
    }
    if let ErrorKind::Closed(reason) = error.kind() {
        return closed(reason);
    }
    let kind = match (find::<Error>(&error), error.kind()) {
        (Some(cause), _) if cause.kind() == Kind::NotFound => return lost(error),
        (Some(cause), _) => cause.kind(),
        (None, ErrorKind::Unavailable) => Kind::Unavailable,
        (None, ErrorKind::Data) => Kind::Corrupt,
        (None, _) => Kind::Internal,
    };
    Error::new(kind, "the metadata engine failed").because(error)
}

/// What the manifest names is not there.
fn lost(error: slatedb::Error) -> Error {
    Error::new(Kind::Corrupt, "an object of the volume's metadata is missing").because(error).hint(
        "bring it back from an older version or a copy of the bucket, and write nothing \
             before; `cairnfs audit` names what is missing",
    )
}

/// Why a closed engine is closed.
pub(super) fn closed(reason: CloseReason) -> Error {
    match reason {
        CloseReason::Fenced => Error::new(Kind::Fenced, "another session owns the volume now")
            .hint("unmount; what was not synced before is lost"),
        CloseReason::Clean => Error::new(Kind::Internal, "the metadata engine is closed"),
        _ => Error::new(Kind::Internal, "the metadata engine stopped by itself")
            .hint("see the log, then unmount and mount again"),
    }
}

fn permanent(refusal: Refusal) -> StoreError {
    StoreError::Generic { store: STORE, source: Box::new(NonRetryable(Box::new(refusal))) }
}

fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<E>())
}

#[cfg(test)]
mod tests {
    use slatedb_common::retry::should_retry;

    use super::*;

    fn told(verdict: &Verdict, kind: Kind) -> StoreError {
        verdict.of("meta/db/wal/1", Error::new(kind, "the store said so"))
    }

    #[test]
    fn wrong_credentials_end_the_opening_but_not_a_running_engine() {
        let verdict = Verdict::new();
        verdict.opened();
        assert!(should_retry(&told(&verdict, Kind::Denied)));
        assert!(verdict.refused().is_none());
        assert!(!should_retry(&told(&Verdict::new(), Kind::Denied)));
    }

    #[test]
    fn damage_fails_its_reader_at_once_and_nobody_else() {
        let verdict = Verdict::new();
        verdict.opened();
        assert!(!should_retry(&told(&verdict, Kind::Corrupt)));
        assert!(verdict.refused().is_none());
    }

    #[test]
    fn an_unconfirmed_write_shuts_the_door_for_good() {
        let verdict = Verdict::new();
        verdict.opened();
        assert!(verdict.admit_write().is_ok());
        let told = told(&verdict, Kind::Policy);
        assert!(!should_retry(&told));
        assert!(!should_retry(&verdict.admit_write().unwrap_err()));
        assert_eq!(verdict.refused().unwrap().error().kind(), Kind::Policy);
    }

    #[test]
    fn the_cause_is_found_through_slatedb() {
        let verdict = Verdict::new();
        let source = Arc::new(told(&verdict, Kind::Policy));
        let error = slatedb::Error::unavailable("wal".into()).with_source(Box::new(source));
        assert_eq!(from_slate(error).kind(), Kind::Policy);
    }

    #[test]
    fn a_lost_object_of_the_engine_is_not_a_volume_that_does_not_exist() {
        let source = Arc::new(told(&Verdict::new(), Kind::NotFound));
        let error = slatedb::Error::data("table".into()).with_source(Box::new(source));
        assert_eq!(from_slate(error).kind(), Kind::Corrupt);
    }
}
