//! What a failed call means: OpenDAL's error and the answer the witness saw become one sentence
//! with the object's place, the store's own words, and what to do. Pure.

use std::error::Error as _;

use opendal::ErrorKind;

use super::answer::Demand;
use super::answered::LIST_V1;
use super::answered::NO_TOKEN;
use super::witness::Seen;
use crate::error::Error;
use crate::error::Kind;

/// What was being done.
#[derive(Clone, Copy)]
pub(super) struct Doing<'a> {
    /// `write`, `read`, `list`: as in "cannot write".
    pub verb: &'static str,
    /// `bucket/prefix/object`.
    pub object: &'a str,
    /// What a write demanded.
    pub demand: &'a Demand,
    /// The statuses by which the store tells a create that it lost.
    pub conflicts: &'a [u16],
}

/// The error of a failed call.
pub(super) fn explain(doing: Doing<'_>, cause: &opendal::Error, seen: &Seen) -> Error {
    let Doing { verb, object, .. } = doing;
    let (kind, sentence, hint) = meaning(doing, cause, seen);
    let mut error = Error::new(kind, format!("cannot {verb} `{object}`: {sentence}"));
    if let Some(status) = seen.status.filter(|status| *status >= 300) {
        error = error.with("status", status);
    }
    if let Some(code) = &seen.code {
        error = error.with("code", code);
    }
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

type Meaning = (Kind, String, Option<String>);

fn meaning(doing: Doing<'_>, cause: &opendal::Error, seen: &Seen) -> Meaning {
    if let Some(why) = &seen.blocked {
        return (Kind::Policy, format!("not sent, {why}"), None);
    }
    if let Some(rule) = &seen.refusal {
        let sentence = format!("the store refuses encryption: {}", rule.meaning);
        return (Kind::Policy, sentence, Some(rule.hint.clone()));
    }
    let lost = seen.status.is_some_and(|status| doing.conflicts.contains(&status));
    // OpenDAL knows Amazon's 409 for a race that is not decided yet.
    if lost && matches!(doing.demand, Demand::Absence) && cause.kind() != ErrorKind::Conflict {
        return (Kind::Exists, "the object exists already".to_owned(), None);
    }
    if seen.is_of_the_key_service() {
        let words = seen.message.clone().unwrap_or_else(|| root_cause(cause));
        let hint = "enable the key, or let the volume's account use it: what waits goes on then";
        let sentence = format!("the key service does not serve the key: {words}");
        return (Kind::Denied, sentence, Some(hint.to_owned()));
    }
    if let Some((kind, sentence, hint)) = seen.code.as_deref().and_then(by_code) {
        return (kind, sentence.to_owned(), hint.map(str::to_owned));
    }
    by_kind(doing, cause, seen)
}

/// The codes whose cause lies in the volume's config, the account, or this machine's clock.
fn by_code(code: &str) -> Option<(Kind, &'static str, Option<&'static str>)> {
    let denied = |sentence, hint| Some((Kind::Denied, sentence, Some(hint)));
    match code {
        "NoSuchBucket" | "ContainerNotFound" => denied(
            "the bucket does not exist",
            "create the bucket, or correct `bucket` in the volume's config",
        ),
        "InvalidAccessKeyId" | "InvalidClientTokenId" => denied(
            "the store does not know the access key",
            "correct the volume's credentials; they may belong to another store",
        ),
        "SignatureDoesNotMatch" | "AuthenticationFailed" | "InvalidSecurity" => denied(
            "the secret does not belong to the access key",
            "correct the volume's credentials",
        ),
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            denied("the session token is not valid any more", "renew the volume's credentials")
        }
        "RequestTimeTooSkewed" | "RequestExpired" => denied(
            "this machine's clock and the store's differ too much",
            "set the clock, for example with `timedatectl set-ntp true`",
        ),
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "IllegalLocationConstraintException" => {
            denied("the bucket is in another region", "correct `region` in the volume's config")
        }
        "AccessDenied" | "AuthorizationFailure" | "AuthorizationPermissionMismatch" => denied(
            "the keys do not permit it",
            "permit the keys to read, write, list and delete below the volume's prefix",
        ),
        "XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => {
            Some((Kind::NoSpace, "the store is full", Some("make room in the store")))
        }
        NO_TOKEN => Some((
            Kind::Corrupt,
            "the store says that there are more, and not where they begin",
            Some(LIST_V1),
        )),
        _ => None,
    }
}

fn by_kind(doing: Doing<'_>, cause: &opendal::Error, seen: &Seen) -> Meaning {
    let words = || seen.message.clone().unwrap_or_else(|| root_cause(cause));
    let plain = |kind, sentence: &str| (kind, sentence.to_owned(), None);
    match (cause.kind(), doing.demand) {
        (ErrorKind::NotFound, _) => plain(Kind::NotFound, "no such object"),
        (ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists, Demand::Version(_)) => {
            plain(Kind::Conflict, "the object is another version by now")
        }
        (ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists, _) => {
            plain(Kind::Exists, "the object exists already")
        }
        (ErrorKind::Conflict, Demand::Version(_)) => {
            plain(Kind::Conflict, "somebody else writes the object")
        }
        (ErrorKind::Conflict | ErrorKind::RateLimited, _) => (Kind::Unavailable, words(), None),
        (ErrorKind::RangeNotSatisfied, _) => {
            plain(Kind::Corrupt, "the object is shorter than it should be")
        }
        (ErrorKind::PermissionDenied, _) => (
            Kind::Denied,
            format!("the store denies it: {}", words()),
            Some("check the volume's credentials and what they permit".to_owned()),
        ),
        (ErrorKind::ConfigInvalid, _) => (
            Kind::Denied,
            format!("the store cannot be used as configured: {}", words()),
            Some("check bucket, region, endpoint and credentials of the volume".to_owned()),
        ),
        _ => by_answer(cause, seen, words),
    }
}

fn by_answer(cause: &opendal::Error, seen: &Seen, words: impl Fn() -> String) -> Meaning {
    match seen.status {
        Some(507) => (Kind::NoSpace, "the store is full".to_owned(), None),
        Some(501) => (
            Kind::Unsupported,
            format!("the store cannot do it: {}", words()),
            Some("ask for less (`sse`), or see `cairnfs providers` for a row that fits".to_owned()),
        ),
        Some(301..=308) => {
            let hint = "correct `region` and `endpoint` in the volume's config".to_owned();
            (Kind::Denied, "the bucket is somewhere else".to_owned(), Some(hint))
        }
        Some(400..500) if !cause.is_temporary() && !cause.is_persistent() => {
            let hint = "correct the volume's config; `cairnfs providers show` tells what fits";
            (Kind::Denied, format!("the store refuses it: {}", words()), Some(hint.to_owned()))
        }
        Some(500..) => (
            Kind::Unavailable,
            format!("the store fails: {}", words()),
            Some("try again; if it goes on, look into the store's own log".to_owned()),
        ),
        Some(_) => (
            Kind::Unavailable,
            format!("the store does not do it: {}", words()),
            Some("try again; if it goes on, look into the store's own log".to_owned()),
        ),
        None => unreachable_store(root_cause(cause)),
    }
}

/// Nobody answered: the transport's own words say where it ended.
fn unreachable_store(words: String) -> Meaning {
    let lower = words.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let hint = if has(&["dns", "lookup", "resolve"]) {
        "check the host name in `endpoint`, and the network's name server"
    } else if has(&["certificate", "tls", "handshake", "corrupt message"]) {
        "check whether `endpoint` should begin with `http://` or `https://`, and its certificate"
    } else if has(&["refused"]) {
        "check `endpoint`; nothing listens there"
    } else if has(&["credential", "sign"]) {
        "name the volume's credentials in its config"
    } else {
        "check the network and `endpoint`; the call is worth repeating"
    };
    let kind = if has(&["credential"]) { Kind::Denied } else { Kind::Unavailable };
    (kind, format!("the store cannot be reached: {words}"), Some(hint.to_owned()))
}

/// The innermost words of an error: the outer ones repeat the request.
pub(super) fn root_cause(error: &opendal::Error) -> String {
    let mut words = error.message().to_owned();
    let mut next = error.source();
    while let Some(cause) = next {
        words = cause.to_string();
        next = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::answer::Tag;

    fn explained(demand: &Demand, kind: ErrorKind, seen: &Seen) -> Error {
        let doing = Doing { verb: "write", object: "bucket/a", demand, conflicts: &[412, 409] };
        explain(doing, &opendal::Error::new(kind, "outer"), seen)
    }

    #[test]
    fn a_code_tells_what_to_correct() {
        for (code, kind, words) in [
            ("NoSuchBucket", Kind::Denied, "does not exist"),
            ("InvalidAccessKeyId", Kind::Denied, "access key"),
            ("RequestTimeTooSkewed", Kind::Denied, "clock"),
            ("XMinioStorageFull", Kind::NoSpace, "full"),
            ("KMS.DisabledException", Kind::Denied, "key service"),
            ("kms:KeyNotFound", Kind::Denied, "key service"),
        ] {
            let seen = Seen { status: Some(400), code: Some(code.to_owned()), ..Seen::default() };
            let error = explained(&Demand::Nothing, ErrorKind::Unexpected, &seen);
            assert_eq!(error.kind(), kind, "{code}");
            let text = error.to_string();
            assert!(text.contains(words) && text.contains("bucket/a"), "{text}");
            assert!(error.hint_text().is_some());
        }
    }

    #[test]
    fn a_lost_condition_means_exists_or_conflict_by_what_was_demanded() {
        let (lost, seen) = (ErrorKind::ConditionNotMatch, Seen::default());
        assert_eq!(explained(&Demand::Absence, lost, &seen).kind(), Kind::Exists);
        let version = Demand::Version(Tag("1".to_owned()));
        assert_eq!(explained(&version, lost, &seen).kind(), Kind::Conflict);
        let busy = explained(&Demand::Absence, ErrorKind::Conflict, &seen);
        assert_eq!(busy.kind(), Kind::Unavailable);
        let told = Seen { status: Some(409), ..Seen::default() };
        let lost = explained(&Demand::Absence, ErrorKind::Unexpected, &told);
        assert_eq!(lost.kind(), Kind::Exists);
        let other = explained(&Demand::Nothing, ErrorKind::Unexpected, &told);
        assert_eq!(other.kind(), Kind::Denied);
    }

    #[test]
    fn an_answer_of_the_server_is_told_apart_from_silence() {
        let answered = |status| Seen { status: Some(status), ..Seen::default() };
        for (seen, kind) in [
            (answered(503), Kind::Unavailable),
            (answered(400), Kind::Denied),
            (answered(501), Kind::Unsupported),
            (answered(507), Kind::NoSpace),
            (Seen::default(), Kind::Unavailable),
        ] {
            let error = explained(&Demand::Nothing, ErrorKind::Unexpected, &seen);
            assert_eq!(error.kind(), kind, "{seen:?}");
        }
    }
}
