//! Why a row says what it says: each claim with its source, its day and its confidence.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;

use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// What a row claims; each claim has its own evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// Endpoint, addressing, region, signature.
    Access,
    /// What a write carries.
    SseRequest,
    /// What happens without asking.
    AtRest,
    /// Which requests may carry the header.
    Operations,
    /// Whether copies keep it.
    Copy,
    /// What counts as evidence.
    Proof,
    /// Answers that refuse encryption for good.
    Refusals,
    /// SSE-KMS.
    Kms,
    /// DSSE-KMS.
    Dsse,
    /// SSE-C.
    CustomerKey,
    /// Whether the bucket's default encryption can be asked for.
    BucketDefaultProbe,
    /// The checksum on writes.
    Checksum,
    /// Batch deletes.
    Delete,
    /// Which LIST request.
    List,
    /// Create-if-absent.
    ConditionalCreate,
    /// `If-Match` updates.
    ConditionalUpdate,
    /// Sizes.
    Limits,
    /// Prices.
    Costs,
}

/// How sure a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Believed; the source, if there is one, is where to check.
    Assumed,
    /// The source was read and says so.
    Documented,
    /// Measured against a real server.
    Measured,
}

/// What kind of thing the source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// The provider's own documentation.
    Page,
    /// The server's or the client's source code.
    Source,
    /// A thread of users or maintainers.
    Issue,
    /// Our own requests; the source names the server and its version.
    Probe,
    /// There is none yet.
    None,
}

/// The evidence of one claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Evidence {
    /// How sure the claim is.
    pub confidence: Confidence,
    /// What kind of thing the source is.
    pub kind: EvidenceKind,
    /// The page's address, or the server that was measured; empty only where `kind` is `none`.
    #[serde(default)]
    pub source: String,
    /// When the claim was last looked into.
    pub date: Day,
}

impl Evidence {
    /// Checks that the parts agree: a measurement has a server, a document an address, and
    /// nothing was looked at after `today`.
    pub(crate) fn check(&self, today: Day) -> Result<()> {
        let fault = |message| Err(Error::new(Kind::Config, message));
        let is_url = self.source.starts_with("https://");
        match self.kind {
            EvidenceKind::Page | EvidenceKind::Source | EvidenceKind::Issue if !is_url => {
                return fault("its evidence has no `source` that starts with `https://`");
            }
            EvidenceKind::Probe if self.source.is_empty() => {
                return fault("its evidence does not name the measured server in `source`");
            }
            EvidenceKind::None if self.confidence != Confidence::Assumed => {
                return fault("it has no evidence, so its confidence can only be `assumed`");
            }
            _ => {}
        }
        if self.confidence == Confidence::Measured && self.kind != EvidenceKind::Probe {
            return fault("only evidence of kind `probe` is `measured`");
        }
        if self.date > today {
            let message = format!("its evidence is dated {}, which is in the future", self.date);
            return Err(Error::new(Kind::Config, message));
        }
        Ok(())
    }
}

/// A day of the calendar, or a month where the day was not kept: `2026-11-24`, `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    year: u16,
    month: u8,
    /// 0: only the month is known, and it counts as the month's first instant.
    day: u8,
}

impl Day {
    /// The day of an instant, in UTC.
    pub fn of(at: Timestamp) -> Self {
        // Counted from 0000-03-01 in eras of 400 years, so that leap days end a year.
        let days = at.seconds.div_euclid(86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year: u16::try_from(year).unwrap_or(if year < 0 { 0 } else { u16::MAX }),
            month: u8::try_from(month).expect("a month is 1 to 12"),
            day: u8::try_from(day).expect("a day is 1 to 31"),
        }
    }

    /// Seconds from 1970 to the start of the day, in UTC.
    pub fn seconds(self) -> i64 {
        let (month, day) = (i64::from(self.month), i64::from(self.day.max(1)));
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted_month = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (era * 146_097 + day_of_era - 719_468) * 86_400
    }
}

impl FromStr for Day {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = || {
            Error::new(Kind::Config, format!("`{text}` is no date"))
                .hint("write it as `2026-11-24`, or as `2026-11` when only the month is known")
        };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let parts: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        if !digits || !matches!(lengths[..], [4, 2] | [4, 2, 2]) {
            return Err(fault());
        }
        let year: u16 = parts[0].parse().map_err(|_| fault())?;
        let month: u8 = parts[1].parse().map_err(|_| fault())?;
        let day: u8 = match parts.get(2) {
            Some(day) => day.parse().ok().filter(|day| *day > 0).ok_or_else(fault)?,
            None => 0,
        };
        let day = Self { year, month, day };
        let real = (1..=12).contains(&month)
            && (day.day == 0
                || Self::of(Timestamp { seconds: day.seconds(), nanoseconds: 0 }) == day);
        if real { Ok(day) } else { Err(fault()) }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)?;
        if self.day == 0 { Ok(()) } else { write!(f, "-{:02}", self.day) }
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_survives_its_text_and_its_seconds() {
        for text in ["1970-01-01", "2000-02-29", "2026-11-24", "2023-01-05", "2099-12-31"] {
            let day: Day = text.parse().unwrap();
            assert_eq!(day.to_string(), text);
            assert_eq!(Day::of(Timestamp { seconds: day.seconds(), nanoseconds: 0 }), day);
        }
        assert_eq!("2026-11".parse::<Day>().unwrap().to_string(), "2026-11");
        for bad in ["2026-02-30", "2026-13-01", "2026-00", "26-11-24", "2026-11-00", "+026-1-01"] {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
    }

    #[test]
    fn evidence_must_agree_with_itself_and_the_calendar() {
        let today = "2026-11-24".parse().unwrap();
        let evidence = |confidence, kind, source: &str, date: &str| Evidence {
            confidence,
            kind,
            source: source.to_owned(),
            date: date.parse().unwrap(),
        };
        let page = "https://example.org/";
        use Confidence::Assumed;
        use Confidence::Documented;
        use Confidence::Measured;
        use EvidenceKind::Page;
        use EvidenceKind::Probe;
        assert!(evidence(Documented, Page, page, "2026-11-24").check(today).is_ok());
        assert!(evidence(Assumed, EvidenceKind::None, "", "2026-11").check(today).is_ok());
        for (bad, message) in [
            (evidence(Documented, Page, "", "2026-11"), "no `source`"),
            (evidence(Measured, Probe, "", "2026-11"), "does not name"),
            (evidence(Documented, EvidenceKind::None, "", "2026-11"), "only be `assumed`"),
            (evidence(Measured, Page, page, "2026-11"), "only evidence of kind `probe`"),
            (evidence(Documented, Page, page, "2026-11-25"), "in the future"),
        ] {
            assert!(bad.check(today).unwrap_err().to_string().contains(message), "{message}");
        }
    }
}
