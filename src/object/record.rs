//! Records: small JSON documents with a checksum, as `docs/format.md`, "Records", draws them:
//! one line of JSON that begins with magic and version, then the hash of that line. Pure.
//! Knows no record's fields.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use serde_json::Value;

use crate::ambient::Ambient;
use crate::crypto;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// The hint wherever something was written by a later release.
pub const USE_NEWER: &str = "use a newer cairnfs";

/// What is stored as a record. A version has exactly the fields it has: one more is refused.
pub trait Record: Serialize + DeserializeOwned {
    /// The value of `magic`.
    const MAGIC: &'static str;
    /// The value of `version` that this program knows.
    const VERSION: u64;
    /// What it is to a person: "volume header".
    const WHAT: &'static str;
}

/// The stored form. [`Kind::Invalid`] if a path in it is not text.
pub fn encode<R: Record>(record: &R) -> Result<Bytes> {
    let fields = serde_json::to_string(record).map_err(|cause| {
        Error::new(Kind::Invalid, format!("the {} cannot be written down", R::WHAT)).because(cause)
    })?;
    let rest = fields.strip_prefix('{').expect("a record is a struct with named fields");
    let (magic, version) = (R::MAGIC, R::VERSION);
    let mut text = format!("{{\"magic\":\"{magic}\",\"version\":{version},{rest}\n");
    let checksum = hex(&crypto::checksum(text.as_bytes()));
    text.push_str(&checksum);
    text.push('\n');
    Ok(text.into())
}

/// Reads the stored form of object `name`.
pub fn decode<R: Record>(name: &str, bytes: &[u8]) -> Result<R> {
    fields::<R>(name, bytes).and_then(|fields| fill(name, fields))
}

/// The document in `bytes` after everything that all records have in common was checked.
pub fn fields<R: Record>(name: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    let ours = bytes.starts_with(format!("{{\"magic\":\"{}\"", R::MAGIC).as_bytes());
    let foreign = || {
        Error::new(Kind::Corrupt, format!("the object is not a CairnFS {}", R::WHAT))
            .with("object", name)
            .hint("something else wrote this object: check bucket and prefix of the volume")
    };
    let Some(document) = verified(bytes) else {
        return Err(if ours { damaged::<R>(name) } else { foreign() });
    };
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(document) else {
        return Err(if ours { damaged::<R>(name) } else { foreign() });
    };
    if fields.remove("magic").as_ref().and_then(Value::as_str) != Some(R::MAGIC) {
        return Err(foreign());
    }
    match fields.remove("version").as_ref().and_then(Value::as_u64) {
        Some(version) if version == R::VERSION => Ok(fields),
        Some(version) if version > R::VERSION => Err(newer::<R>(name, version)),
        _ => Err(damaged::<R>(name)),
    }
}

/// The record that a checked document is.
pub fn fill<R: Record>(name: &str, fields: Map<String, Value>) -> Result<R> {
    serde_json::from_value(Value::Object(fields)).map_err(|cause| {
        let message = format!("the {} says what this program does not know", R::WHAT);
        Error::new(Kind::Corrupt, message).because(cause).with("object", name).hint(USE_NEWER)
    })
}

/// The error for a record of a later version.
pub fn newer<R: Record>(name: &str, found: u64) -> Error {
    let (what, known) = (R::WHAT, R::VERSION);
    let message = format!("the {what} has version {found}, this program knows {known}");
    Error::new(Kind::Corrupt, message).with("object", name).hint(USE_NEWER)
}

/// The error for a record that contradicts itself.
pub fn damaged<R: Record>(name: &str) -> Error {
    Error::new(Kind::Corrupt, format!("the {} is damaged", R::WHAT)).with("object", name)
}

/// Sixteen random digits, for names and claims that must differ from all others.
pub fn token(ambient: &Ambient) -> Result<String> {
    let mut bytes = [0; 8];
    ambient.fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first line without its line feed, if the second is its checksum and nothing follows.
fn verified(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at(length + 1);
    let checksum = hex(&crypto::checksum(line));
    (rest.strip_suffix(b"\n")? == checksum.as_bytes()).then_some(&line[..length])
}

/// Fields that are stored as the text people write.
pub mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serializer;
    use serde::de::Error;

    /// Writes the text.
    pub fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads it back.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err = crate::error::Error>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Session numbers, stored as numbers.
pub mod session {
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serializer;
    use serde::de::Error;

    use crate::types::SessionId;

    /// Writes the number.
    pub fn serialize<S: Serializer>(session: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(session.0)
    }

    /// Reads it back; a number that no session can have is refused.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
        let session = SessionId(u64::deserialize(deserializer)?);
        if session <= SessionId::MAX { Ok(session) } else { Err(D::Error::custom("no session")) }
    }
}

/// Puts a record through every damage that can happen to stored bytes; for the tests of records.
#[cfg(test)]
pub fn refuses_all_damage<R: Record>(bytes: &[u8]) {
    let kind = |bytes: &[u8]| decode::<R>("object", bytes).err().map(|error| error.kind());
    assert_eq!(kind(bytes), None);
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1;
        assert_eq!(kind(&flipped), Some(Kind::Corrupt), "byte {at} flipped");
        assert_eq!(kind(&bytes[..at]), Some(Kind::Corrupt), "cut at {at}");
    }
    assert_eq!(kind(&[bytes, b"\n"].concat()), Some(Kind::Corrupt));
    let text = std::str::from_utf8(bytes).unwrap();
    let line = text.lines().next().unwrap();
    let resealed = |line: String| {
        let line = line + "\n";
        let checksum = hex(&crypto::checksum(line.as_bytes()));
        decode::<R>("object", format!("{line}{checksum}\n").as_bytes()).err().unwrap()
    };
    let newer = resealed(line.replace("\"version\":1", "\"version\":2"));
    assert!(newer.to_string().contains("version 2, this program knows 1"), "{newer}");
    assert_eq!(newer.hint_text(), Some(USE_NEWER));
    let foreign = resealed(line.replace(R::MAGIC, "other"));
    assert!(foreign.to_string().contains("not a CairnFS"), "{foreign}");
    let unknown = resealed(line.replacen('{', "{\"later\":1,", 1));
    assert_eq!(unknown.hint_text(), Some(USE_NEWER));
}
