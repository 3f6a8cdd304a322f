//! Object names: the only place that builds or parses one. See `docs/format.md`, "Names".

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::BlockId;
use crate::types::ClaimId;
use crate::types::SessionId;

/// The volume's header.
pub const HEADER: &str = "cairnfs.volume";
/// Before each state object's number.
pub const STATE_PREFIX: &str = "cairnfs.state.";
/// Below it lie all blocks.
pub const BLOCKS_PREFIX: &str = "blocks/";
/// Below it lie the terms.
pub const TERMS_PREFIX: &str = "meta/term/";
/// Below it lie the metadata engine's objects.
pub const ENGINE_PREFIX: &str = "meta/db/";
/// The probe object of mount `session`.
pub const PROBE_PREFIX: &str = "meta/probe/";

const CLOSED: &str = ".closed";
const STARTED: &str = ".start";

/// Objects that are numbered one after another, of which each is created once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// The metadata engine's log.
    Wal,
    /// Its manifests.
    Manifest,
    /// The states of its compactions.
    Compactions,
    /// The states of the volume.
    State,
}

impl Sequence {
    /// All of them; each stands where its value as a number says.
    pub const ALL: [Self; 4] = [Self::Wal, Self::Manifest, Self::Compactions, Self::State];

    /// What to list for the names of a sequence.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Wal => "meta/db/wal/",
            Self::Manifest => "meta/db/manifest/",
            Self::Compactions => "meta/db/compactions/",
            Self::State => STATE_PREFIX,
        }
    }

    /// The extension, as the metadata engine has it; states have none.
    fn extension(self) -> &'static str {
        match self {
            Self::Wal => ".sst",
            Self::Manifest => ".manifest",
            Self::Compactions => ".compactions",
            Self::State => "",
        }
    }

    /// Digits of a number.
    fn digits(self) -> usize {
        match self {
            Self::Wal | Self::Manifest | Self::Compactions => 20,
            Self::State => 8,
        }
    }
}

/// The name of object `number` of a sequence, where one name has one writer.
pub fn numbered(sequence: Sequence, number: u64) -> String {
    let (prefix, digits) = (sequence.prefix(), sequence.digits());
    format!("{prefix}{number:0digits$}{}", sequence.extension())
}

/// The same object as `claim` writes it, on a store that cannot refuse a second writer.
pub fn claimed(sequence: Sequence, number: u64, claim: ClaimId) -> String {
    let (prefix, digits) = (sequence.prefix(), sequence.digits());
    format!("{prefix}{number:0digits$}.{claim}{}", sequence.extension())
}

/// The sequence and number of a [`numbered`] name.
pub fn parse_numbered(name: &str) -> Option<(Sequence, u64)> {
    let (sequence, middle) = parse_sequence(name)?;
    let number = middle.parse().ok()?;
    (numbered(sequence, number) == name).then_some((sequence, number))
}

/// The sequence, number and claim of a [`claimed`] name.
pub fn parse_claimed(name: &str) -> Option<(Sequence, u64, ClaimId)> {
    let (sequence, middle) = parse_sequence(name)?;
    let (number, claim) = middle.split_once('.')?;
    let (number, claim) = (number.parse().ok()?, claim.parse().ok()?);
    (claimed(sequence, number, claim) == name).then_some((sequence, number, claim))
}

fn parse_sequence(name: &str) -> Option<(Sequence, &str)> {
    Sequence::ALL.into_iter().find_map(|sequence| {
        let rest = name.strip_prefix(sequence.prefix())?;
        Some((sequence, rest.strip_suffix(sequence.extension())?))
    })
}

/// A table of the metadata engine, by the engine's own id.
pub fn table(id: impl std::fmt::Display) -> String {
    format!("{ENGINE_PREFIX}compacted/{id}.sst")
}

/// The records of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimRecord {
    /// Who claims the session.
    Opened,
    /// What it owns: it may write from here on.
    Started,
    /// It ended cleanly.
    Closed,
}

impl ClaimRecord {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Opened, Self::Started, Self::Closed];

    fn suffix(self) -> &'static str {
        match self {
            Self::Opened => "",
            Self::Started => STARTED,
            Self::Closed => CLOSED,
        }
    }
}

/// A record of a claim.
pub fn claim(claim: ClaimId, record: ClaimRecord) -> String {
    format!("{TERMS_PREFIX}{claim}{}", record.suffix())
}

/// The claim that a name below [`TERMS_PREFIX`] is about, and which of its records it is.
pub fn parse_claim(name: &str) -> Option<(ClaimId, ClaimRecord)> {
    let rest = name.strip_prefix(TERMS_PREFIX)?;
    let (digits, record) = match (rest.strip_suffix(STARTED), rest.strip_suffix(CLOSED)) {
        (Some(digits), _) => (digits, ClaimRecord::Started),
        (_, Some(digits)) => (digits, ClaimRecord::Closed),
        (None, None) => (rest, ClaimRecord::Opened),
    };
    Some((digits.parse().ok()?, record))
}

/// The records of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermRecord {
    /// Who has, or had, the session.
    Opened,
    /// It ended cleanly.
    Closed,
}

/// The longest name in bytes that every store takes, prefix included (S3's limit).
pub const BYTES_MAX: usize = 1024;

/// The name of a block.
pub fn block(id: BlockId) -> String {
    let text = id.to_string();
    format!("{BLOCKS_PREFIX}{}/{text}", &text[..2])
}

/// The block a name below [`BLOCKS_PREFIX`] stands for; an error for a foreign object.
pub fn parse_block(name: &str) -> Result<BlockId> {
    let tail = name.rsplit('/').next().unwrap_or(name);
    let id = tail.parse::<BlockId>()?;
    if block(id) == name {
        Ok(id)
    } else {
        Err(Error::new(Kind::Invalid, "not a block's name").with("object", name))
    }
}

/// The name of state `n`.
pub fn state(n: u64) -> String {
    format!("{STATE_PREFIX}{n:08}")
}

/// The record of who has, or had, a session.
pub fn term(session: SessionId) -> String {
    format!("{TERMS_PREFIX}{:012}", session.0)
}

/// The record that a session ended cleanly.
pub fn term_closed(session: SessionId) -> String {
    format!("{TERMS_PREFIX}{:012}{CLOSED}", session.0)
}

/// The number of a state object; `None` for a foreign object.
pub fn parse_state(name: &str) -> Option<u64> {
    let number = name.strip_prefix(STATE_PREFIX)?.parse().ok()?;
    (state(number) == name).then_some(number)
}

/// The number of a state of the volume, whoever wrote it; `None` for a foreign object.
pub fn state_number(name: &str) -> Option<u64> {
    let claimed = parse_claimed(name).filter(|(sequence, ..)| *sequence == Sequence::State);
    parse_state(name).or(claimed.map(|(_, number, _)| number))
}

/// The session that a name below [`TERMS_PREFIX`] is about, and which of its two records it is;
/// `None` for a foreign object.
pub fn parse_term(name: &str) -> Option<(SessionId, TermRecord)> {
    let rest = name.strip_prefix(TERMS_PREFIX)?;
    let (digits, record, build): (_, _, fn(SessionId) -> String) = match rest.strip_suffix(CLOSED) {
        Some(digits) => (digits, TermRecord::Closed, term_closed),
        None => (rest, TermRecord::Opened, term),
    };
    let session = SessionId(digits.parse().ok()?);
    (session <= SessionId::MAX && build(session) == name).then_some((session, record))
}

/// Checks that a name means the same object on every store and cannot leave the volume:
/// components of visible bytes, none of them empty, `.` or `..`.
pub(super) fn check(name: &str) -> Result<()> {
    let sound = |part: &str| !matches!(part, "" | "." | "..");
    let visible = |byte: u8| byte > b' ' && byte != 0x7f;
    let short = name.len() <= BYTES_MAX;
    if short && name.split('/').all(sound) && name.bytes().all(visible) {
        Ok(())
    } else {
        Err(Error::new(Kind::Invalid, "not a name of an object").with("object", name))
    }
}

/// Whether a name is one that this program may read, write and delete.
pub fn is_sound(name: &str) -> bool {
    check(name).is_ok()
}

/// Whether a name of anybody's reaches the store as it is: OpenDAL trims names and joins slashes, a
/// URL loses `.` and `..`, and a document's control characters may not be the name's. One slash at
/// the end stays.
pub(super) fn is_exact(name: &str) -> bool {
    let inner = name.strip_suffix('/').unwrap_or(name);
    let exact = |part: &str| !matches!(part, "" | "." | "..");
    name.trim() == name && inner.split('/').all(exact) && !name.chars().any(char::is_control)
}

/// Checks a prefix to list: empty, or the beginning of names that [`check`] passes.
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    match prefix.strip_suffix('/').unwrap_or(prefix) {
        "" if prefix.is_empty() => Ok(()),
        rest => check(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocks_name_parses_back_and_foreign_names_do_not() {
        let id = BlockId::new(SessionId(7), [0xab; 11]);
        let name = block(id);
        assert!(name.starts_with("blocks/ab/ab"));
        assert_eq!(parse_block(&name).unwrap(), id);
        assert!(parse_block(&name.replace("blocks/ab", "blocks/ac")).is_err());
        assert!(parse_block("blocks/ab/readme").is_err());
    }

    #[test]
    fn numbered_names_sort_as_their_numbers() {
        assert!(state(9) < state(10));
        assert!(term(SessionId(99)) < term(SessionId(100)));
        assert!(term_closed(SessionId(3)).starts_with(&term(SessionId(3))));
    }

    #[test]
    fn states_and_terms_parse_back_and_foreign_names_do_not() {
        assert_eq!(parse_state(&state(7)), Some(7));
        for foreign in ["cairnfs.state.7", "cairnfs.state.0000000x", "cairnfs.volume"] {
            assert_eq!(parse_state(foreign), None, "{foreign}");
        }
        let session = SessionId(7);
        assert_eq!(parse_term(&term(session)), Some((session, TermRecord::Opened)));
        assert_eq!(parse_term(&term_closed(session)), Some((session, TermRecord::Closed)));
        for foreign in ["meta/term/7", "meta/term/000000000007.old", "meta/term/+00000000007"] {
            assert_eq!(parse_term(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn numbered_and_claimed_names_parse_back_and_are_never_taken_for_each_other() {
        let owner = ClaimId { session: SessionId(7), nonce: 0xab };
        for sequence in Sequence::ALL {
            let (plain, owned) = (numbered(sequence, 42), claimed(sequence, 42, owner));
            assert_eq!(parse_numbered(&plain), Some((sequence, 42)));
            assert_eq!(parse_claimed(&owned), Some((sequence, 42, owner)));
            assert_eq!((parse_numbered(&owned), parse_claimed(&plain)), (None, None));
        }
        let wal = "meta/db/wal/00000000000000000042.000000000007-00000000000000ab.sst";
        assert_eq!(claimed(Sequence::Wal, 42, owner), wal);
        assert_eq!(numbered(Sequence::State, 42), state(42));
        assert_eq!(parse_numbered("meta/db/compacted/01.sst"), None);
        for record in ClaimRecord::ALL {
            let name = claim(owner, record);
            assert_eq!(parse_claim(&name), Some((owner, record)));
            assert_eq!(parse_term(&name), None);
        }
        assert_eq!(parse_claim(&term(SessionId(7))), None);
        assert_eq!(parse_claim(&term_closed(SessionId(7))), None);
    }

    #[test]
    fn names_that_could_leave_the_volume_are_refused() {
        for bad in ["", "/a", "a//b", "../a", "a/./b", "a/..", "a b", "a\0", "a/"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(is_sound("meta/db/wal/0001.sst"));
        for (prefix, fine) in [("", true), ("a/", true), ("a.", true), ("/", false), ("..", false)]
        {
            assert_eq!(check_prefix(prefix).is_ok(), fine, "{prefix}");
        }
    }

    #[test]
    fn a_name_that_a_request_would_change_is_not_exact() {
        for fine in ["a", "a/b", "secret/", "a b/c d.txt", "ünïcode", "a%2Fb", "...", "a/.b"] {
            assert!(is_exact(fine), "{fine}");
        }
        for bad in [
            "",
            "/",
            "/a",
            "a//b",
            "a//",
            " a",
            "a ",
            "a\u{a0}",
            "a/./b",
            "..",
            "a\nb",
            "\u{1b}[2K",
        ] {
            assert!(!is_exact(bad), "{bad:?}");
        }
    }
}
