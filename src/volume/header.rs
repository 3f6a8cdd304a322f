//! The header: facts of a volume that never change. A volume exists if and only if its header
//! does. Drawn in `docs/format.md`, "Records".

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use super::record;
use super::record::Record;
use super::record::USE_NEWER;
use crate::config::Fencing;
use crate::crypto::NameKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::types::VolumeId;

/// The format that this program reads and writes.
pub(super) const FORMAT: u32 = 1;

/// Bytes of frames in one block, at least and at most, that the format allows.
const BLOCK_BYTES_MIN: u32 = 64 * 1024;
const BLOCK_BYTES_MAX: u32 = 64 << 20;

/// How a volume keeps a second writer out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FencingMode {
    /// The store refuses to create what exists.
    ConditionalCreate,
    /// Each create is read back.
    ReadBack,
}

impl FencingMode {
    /// The mode's name in the config and in the header.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ConditionalCreate => "conditional-create",
            Self::ReadBack => "read-back",
        }
    }
}

/// A volume's header.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// The version of everything that is stored.
    pub(super) format: u32,
    /// The volume's id.
    #[serde(rename = "volume", with = "record::text")]
    pub(super) id: VolumeId,
    /// Bytes of frames in one block at most.
    #[serde(rename = "block_size")]
    pub(super) block_bytes: u32,
    /// How a second writer is kept out, as measured when the volume was made.
    pub(super) fencing: FencingMode,
    /// The key of the names' hash.
    #[serde(with = "name_key")]
    pub(super) name_key: NameKey,
    /// When the volume was made, in seconds since 1970.
    pub(super) created: i64,
}

impl Record for Header {
    const MAGIC: &'static str = "cairnfs.volume";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "volume header";
}

impl Header {
    /// Reads the stored form.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let fields = record::fields::<Self>(name::HEADER, bytes)?;
        // Before the rest is looked at: a newer format may have other keys.
        if let Some(format) = fields.get("format").and_then(Value::as_u64)
            && format > u64::from(FORMAT)
        {
            let message = format!("the volume has format {format}, this program knows {FORMAT}");
            return Err(Error::new(Kind::Corrupt, message)
                .with("object", name::HEADER)
                .hint(USE_NEWER));
        }
        let header: Self = record::fill(name::HEADER, fields)?;
        let block = BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX;
        if header.format != FORMAT || !block.contains(&header.block_bytes) {
            return Err(record::damaged::<Self>(name::HEADER));
        }
        Ok(header)
    }

    /// Whether the config (`asked`) agrees with the way in which a second writer is kept out.
    pub(super) fn check_fencing(&self, asked: Fencing) -> Result<()> {
        let name = self.fencing.name();
        let agrees = match asked {
            Fencing::Auto => true,
            Fencing::ConditionalCreate => self.fencing == FencingMode::ConditionalCreate,
            Fencing::ReadBack => self.fencing == FencingMode::ReadBack,
        };
        if !agrees {
            let message = format!("the volume was made with `fencing = \"{name}\"`");
            return Err(Error::new(Kind::Config, message)
                .hint("remove `fencing` from the volume's config; it is fixed at creation"));
        }
        Ok(())
    }
}

/// Reads a volume's header; `None`: there is no volume.
pub(super) async fn read(bucket: &Bucket) -> Result<Option<Header>> {
    match bucket.get(name::HEADER, None, None).await {
        Ok(got) => got.map(|got| Header::decode(&got.body)).transpose(),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates the header, which makes the volume exist. [`Kind::Exists`]: there is another one, where
/// the store can tell; elsewhere the caller's session keeps others out.
pub(super) async fn create(bucket: &Bucket, header: &Header) -> Result<()> {
    if header.fencing == FencingMode::ReadBack {
        return bucket.put(name::HEADER, record::encode(header)?).await.map(|_| ());
    }
    match bucket.create(name::HEADER, record::encode(header)?, &[]).await {
        // After a lost answer it may be ours.
        Err(error) if error.kind() == Kind::Exists => match read(bucket).await? {
            Some(there) if there.id == header.id => Ok(()),
            _ => Err(error),
        },
        created => created.map(|_| ()),
    }
}

/// The name key as 64 hexadecimal digits; the text is wiped.
mod name_key {
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serializer;
    use serde::de::Error;
    use zeroize::Zeroizing;

    use crate::crypto::NameKey;
    use crate::object::record;

    pub(super) fn serialize<S: Serializer>(
        key: &NameKey,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(record::hex(key.expose())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NameKey, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let mut key = [0; 32];
        for (at, byte) in key.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).map_err(|_| D::Error::custom("no key"))?;
        }
        if record::hex(&key) == *text {
            Ok(NameKey::new(key))
        } else {
            Err(D::Error::custom("no key"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            format: FORMAT,
            id: VolumeId([7; 16]),
            block_bytes: 4 << 20,
            fencing: FencingMode::ConditionalCreate,
            name_key: NameKey::new([9; 32]),
            created: 1_700_000_000,
        }
    }

    #[test]
    fn a_header_survives_the_round_trip_and_no_damage_does() {
        let bytes = record::encode(&header()).unwrap();
        let read = Header::decode(&bytes).unwrap();
        assert_eq!((read.id, read.block_bytes), (header().id, header().block_bytes));
        assert_eq!(read.name_key.expose(), header().name_key.expose());
        record::refuses_all_damage::<Header>(&bytes);
    }

    #[test]
    fn the_stored_form_never_changes() {
        let bytes = record::encode(&header()).unwrap();
        let line = std::str::from_utf8(&bytes).unwrap().lines().next().unwrap();
        let (id, key) = ("07".repeat(16), "09".repeat(32));
        assert_eq!(
            line,
            format!(
                "{{\"magic\":\"cairnfs.volume\",\"version\":1,\"format\":1,\"volume\":\"{id}\",\
                 \"block_size\":4194304,\"fencing\":\"conditional-create\",\
                 \"name_key\":\"{key}\",\"created\":1700000000}}"
            )
        );
    }

    #[test]
    fn a_newer_format_is_refused_with_both_versions() {
        let newer = Header { format: 2, ..header() };
        let error = Header::decode(&record::encode(&newer).unwrap()).unwrap_err();
        let words = "the volume has format 2, this program knows 1 (object cairnfs.volume)";
        assert_eq!(error.to_string(), words);
        assert_eq!(error.hint_text(), Some(USE_NEWER));
        let odd = Header { block_bytes: 1, ..header() };
        assert!(Header::decode(&record::encode(&odd).unwrap()).is_err());
    }

    #[test]
    fn the_config_cannot_change_how_a_second_writer_is_kept_out() {
        assert!(header().check_fencing(Fencing::Auto).is_ok());
        assert!(header().check_fencing(Fencing::ConditionalCreate).is_ok());
        let other = header().check_fencing(Fencing::ReadBack).unwrap_err();
        assert_eq!(other.kind(), Kind::Config);
        let read_back = Header { fencing: FencingMode::ReadBack, ..header() };
        assert!(read_back.check_fencing(Fencing::Auto).is_ok());
        assert!(read_back.check_fencing(Fencing::ReadBack).is_ok());
        let refused = read_back.check_fencing(Fencing::ConditionalCreate).unwrap_err();
        assert_eq!(refused.kind(), Kind::Config);
    }
}
