//! What an object is by its name, and whether its encryption is what the policy asks. Pure.

use super::report::Finding;
use super::report::Part;
use super::report::Standing;
use super::report::Verdict;
use crate::ambient::Timestamp;
use crate::object;
use crate::object::Posture;
use crate::object::meets;
use crate::object::name;
use crate::provider::AtRest;
use crate::provider::Provider;
use crate::provider::SseMode;

const DAY: i64 = 86_400;

/// Ages by their upper bounds in days, and what they are called.
pub(super) const AGES: [(i64, &str); 6] = [
    (1, "under a day"),
    (7, "under a week"),
    (30, "under 30 days"),
    (90, "under 90 days"),
    (365, "under a year"),
    (i64::MAX / DAY, "a year or more"),
];

/// What versions are called whose age the store does not tell.
pub(super) const AGELESS: &str = "not told";

/// The part of a volume that an object of this name belongs to.
pub(super) fn part(name: &str) -> Part {
    let is_key_slots =
        || name.strip_prefix("cairnfs.keys.").is_some_and(|number| number.parse::<u64>().is_ok());
    if name == name::HEADER {
        Part::Header
    } else if name::state_number(name).is_some() || is_key_slots() {
        Part::State
    } else if name::parse_block(name).is_ok() {
        Part::Blocks
    } else if name::parse_term(name).is_some() || name::parse_claim(name).is_some() {
        Part::Terms
    } else if name.starts_with(name::ENGINE_PREFIX) {
        Part::Metadata
    } else if name.starts_with(name::PROBE_PREFIX) {
        Part::Probes
    } else {
        Part::Foreign
    }
}

/// What a HEAD tells, as a finding.
pub(super) fn finding(row: &Provider, posture: Posture) -> Finding {
    let proves_by_head = row.proof.as_ref().is_some_and(|proof| proof.on_head);
    match posture {
        Posture::Confirmed { mode, key } => Finding::Confirmed { mode, key },
        Posture::ProviderDefault => Finding::ProviderDefault,
        // A store that encrypts everything and proves it on writes only.
        Posture::Absent | Posture::Unconfirmed
            if row.at_rest == AtRest::Always && !proves_by_head =>
        {
            Finding::ProviderDefault
        }
        Posture::Absent | Posture::Unconfirmed => Finding::Absent,
    }
}

/// Whether a finding is what `asked` asks for.
pub(super) fn verdict(row: &Provider, asked: &SseMode, finding: &Finding) -> Verdict {
    let posture = match finding {
        Finding::Confirmed { mode, key } => {
            Posture::Confirmed { mode: mode.clone(), key: key.clone() }
        }
        Finding::ProviderDefault => Posture::ProviderDefault,
        Finding::Absent => Posture::Absent,
        Finding::Empty => return Verdict::Meets,
        Finding::Unknown => return Verdict::Unknown,
    };
    if meets(row, asked, &posture) { Verdict::Meets } else { Verdict::FallsShort }
}

/// What the listing calls a version.
pub(super) fn standing(standing: object::Standing) -> Standing {
    match standing {
        object::Standing::Current => Standing::Current,
        object::Standing::Superseded => Standing::Superseded,
        object::Standing::Marker => Standing::Marker,
    }
}

/// The place in [`AGES`] of something written then; `None`: it is not told.
pub(super) fn age(modified: Option<Timestamp>, now: Timestamp) -> Option<usize> {
    let seconds = now.seconds - modified?.seconds;
    AGES.iter().position(|(days, _)| seconds < days * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Matrix;

    #[test]
    fn a_name_tells_what_an_object_is() {
        for (name, expected) in [
            ("cairnfs.volume", Part::Header),
            ("cairnfs.state.00000001", Part::State),
            ("cairnfs.state.1", Part::Foreign),
            ("cairnfs.keys.1", Part::State),
            ("blocks/ab/ab000000000100000000000000000001", Part::Blocks),
            ("blocks/ac/ab000000000100000000000000000001", Part::Foreign),
            ("meta/term/000000000001", Part::Terms),
            ("meta/term/000000000001.closed", Part::Terms),
            ("meta/term/000000000001-0000000000abcdef.start", Part::Terms),
            ("meta/db/wal/00000000000000000001.sst", Part::Metadata),
            ("meta/probe/x", Part::Probes),
            ("notes.txt", Part::Foreign),
        ] {
            assert_eq!(part(name), expected, "{name}");
        }
    }

    #[test]
    fn a_verdict_follows_the_row_and_what_was_asked() {
        let matrix = Matrix::builtin().unwrap();
        let confirmed = |mode: &str| Posture::Confirmed { mode: mode.into(), key: None };
        let kms = SseMode::Kms("k".into());
        for (row, asked, posture, expected) in [
            ("minio", &SseMode::Aes256, confirmed("AES256"), Verdict::Meets),
            ("minio", &SseMode::Aes256, Posture::Absent, Verdict::FallsShort),
            ("minio", &kms, confirmed("AES256"), Verdict::FallsShort),
            ("minio", &SseMode::None, Posture::Absent, Verdict::Meets),
            ("gcs", &SseMode::Aes256, Posture::ProviderDefault, Verdict::Meets),
            ("azblob", &SseMode::Aes256, confirmed("true"), Verdict::Meets),
            ("azblob", &SseMode::Aes256, Posture::Absent, Verdict::FallsShort),
        ] {
            let row = matrix.provider(row).unwrap();
            let finding = finding(&row, posture.clone());
            assert_eq!(verdict(&row, asked, &finding), expected, "{} {posture:?}", row.name);
        }
        let row = matrix.provider("minio").unwrap();
        assert_eq!(verdict(&row, &SseMode::Aes256, &Finding::Unknown), Verdict::Unknown);
        assert_eq!(verdict(&row, &SseMode::Aes256, &Finding::Empty), Verdict::Meets);
    }

    #[test]
    fn ages_have_upper_bounds() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let now = at(1_000 * DAY);
        let named = |before| age(Some(at(now.seconds - before)), now).map(|at| AGES[at].1);
        assert_eq!(named(0), Some("under a day"));
        assert_eq!(named(-5), Some("under a day"), "the store's clock may be ahead");
        assert_eq!(named(DAY), Some("under a week"));
        assert_eq!(named(364 * DAY), Some("under a year"));
        assert_eq!(named(365 * DAY), Some("a year or more"));
        assert_eq!(age(None, now), None);
    }
}
