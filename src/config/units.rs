//! Sizes and durations as people write them: parsed and printed. Knows no field that uses them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// A size in bytes: `4MiB`, `1GiB`, `16K` (binary too), `10MB` (decimal), `65536`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A stretch of time of whole milliseconds: `5s`, `500ms`, `2m`, `1h`, `5` (seconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Largest first, so that printing finds the largest that divides.
const SIZE_UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const SPAN_UNITS_MS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = || {
            Error::new(Kind::Config, format!("`{text}` is no size"))
                .hint("write a whole number and a unit, as in `512MiB`, `1GiB` or `10MB`")
        };
        let (number, unit) = split(text).ok_or_else(fault)?;
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(fault()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(fault)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZE_UNITS.iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = || {
            Error::new(Kind::Config, format!("`{text}` is no duration"))
                .hint("write a whole number and a unit, as in `500ms`, `5s` or `2m`")
        };
        let (number, unit) = split(text).ok_or_else(fault)?;
        let unit = if unit.is_empty() { "s" } else { unit };
        let (_, factor) =
            SPAN_UNITS_MS.iter().find(|(known, _)| *known == unit).ok_or_else(fault)?;
        let milliseconds = number.checked_mul(*factor).ok_or_else(fault)?;
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (unit, factor) = SPAN_UNITS_MS
            .iter()
            .find(|(_, factor)| milliseconds > 0 && milliseconds.is_multiple_of(*factor))
            .unwrap_or(&("s", 1_000));
        write!(f, "{}{unit}", milliseconds / factor)
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, text[digits..].trim_start()))
}

/// A number without a unit, or a text with one.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, or a number with its unit in quotes")]
enum Written {
    Number(u64),
    Text(String),
}

impl Written {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Written::deserialize(from)?.text().parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Written::deserialize(from)?.text().parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;

    proptest! {
        #[test]
        fn a_size_survives_its_text(bytes: u64) {
            prop_assert_eq!(Size(bytes).to_string().parse::<Size>().unwrap(), Size(bytes));
        }

        #[test]
        fn a_span_survives_its_text(milliseconds in 0..u64::MAX / 3_600_000) {
            let span = Span(Duration::from_millis(milliseconds));
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("4MiB", 4 << 20),
            ("1 GiB", 1 << 30),
            ("16k", 16 << 10),
            ("10KB", 10_000),
            ("65536", 65_536),
            ("0", 0),
        ] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1", "1.5GiB", "1XB", "99999999TiB", "4MiB4"] {
            let error = bad.parse::<Size>().unwrap_err().to_string();
            assert_eq!(error, format!("`{bad}` is no size"));
        }
        assert_eq!(Size(128 << 20).to_string(), "128MiB");
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, milliseconds) in [("5s", 5_000), ("500ms", 500), ("2m", 120_000), ("5", 5_000)] {
            let span = Span(Duration::from_millis(milliseconds));
            assert_eq!(text.parse::<Span>().unwrap(), span);
        }
        for bad in ["", "s", "-1s", "1d", "1.5s"] {
            let error = bad.parse::<Span>().unwrap_err().to_string();
            assert_eq!(error, format!("`{bad}` is no duration"));
        }
    }
}
