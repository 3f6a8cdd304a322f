//! What an audit says: sums, the objects that fall short, the bucket, the verdict. It crosses the
//! control socket and is printed as JSON. Asks nobody.

use serde::Deserialize;
use serde::Serialize;

use crate::object::BucketFacts;
use crate::object::Told;
use crate::object::Upload;

/// Objects that are named in a report; the full list is in the rows.
pub const DETAILS_MAX: usize = 1_000;

/// The outcome of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether everything is as the policy asks.
    pub passed: bool,
    /// What is not, each a sentence.
    pub faults: Vec<String>,
    /// What a reader should know besides, each a sentence.
    pub notes: Vec<String>,
    /// What was looked at, by what, when.
    pub scope: Scope,
    /// Objects and versions by what they are and how they are encrypted.
    pub sums: Vec<Sum>,
    /// Objects and versions by age.
    pub ages: Vec<AgeSum>,
    /// The totals.
    pub totals: Totals,
    /// Objects and versions that fall short or could not be asked about, a thousand at most.
    pub offenders: Vec<Row>,
    /// Blocks that the metadata names and the bucket lacks, or what the metadata itself is read
    /// from, a thousand at most.
    pub missing: Vec<String>,
    /// Objects below the prefix that are not the volume's, a thousand at most.
    pub foreign: Vec<String>,
    /// Unfinished uploads, a thousand at most; or why they are not told.
    pub uploads: Told<Vec<Upload>>,
    /// How the bucket is set up; `None` where the store has no call that tells.
    pub bucket: Option<BucketFacts>,
    /// What was repaired before; `None`: nothing was to be.
    pub repair: Option<Repair>,
}

/// What was looked at, by what, when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The program and its version.
    pub tool: String,
    /// The BLAKE3 hash of the capability matrix that the program was built with.
    pub matrix: String,
    /// The provider's row, and whether the config changes it.
    pub provider: String,
    /// What a person calls the store.
    pub store: String,
    /// The volume's name in the config.
    pub volume: String,
    /// Its id.
    pub volume_id: String,
    /// Where the store answers.
    pub endpoint: Option<String>,
    /// The bucket; for `local` the directory.
    pub bucket: String,
    /// The prefix below which everything was looked at.
    pub prefix: String,
    /// The encryption that the volume's policy asks for.
    pub asked: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// When it ended.
    pub ended: String,
    /// Whether superseded versions and delete markers were looked at; if not, why.
    pub versions: Told<()>,
}

/// A part of a volume, as names tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// `cairnfs.volume`.
    Header,
    /// `cairnfs.state.*`, `cairnfs.keys.*`.
    State,
    /// `blocks/`.
    Blocks,
    /// `meta/db/`.
    Metadata,
    /// `meta/term/`.
    Terms,
    /// `meta/probe/`.
    Probes,
    /// Below the prefix, and not the volume's.
    Foreign,
}

/// What a version is to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// What a read returns.
    Current,
    /// Kept, but replaced or deleted.
    Superseded,
    /// That it was deleted.
    Marker,
}

/// What is known of the encryption of one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "posture")]
pub enum Finding {
    /// The store says that it is encrypted, and how.
    Confirmed {
        /// `AES256`, `aws:kms`, …
        mode: String,
        /// The key's name where one was used.
        key: Option<String>,
    },
    /// The provider encrypts everything and gives no evidence.
    ProviderDefault,
    /// The store does not say that it is encrypted.
    Absent,
    /// It could not be asked about.
    Unknown,
    /// It has no bytes: a delete marker.
    Empty,
}

/// Whether one version is as the policy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is.
    Meets,
    /// It is not.
    FallsShort,
    /// Nobody can tell.
    Unknown,
}

/// One version of one object: a row of the full list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The object's name inside the volume.
    pub name: String,
    /// The version's id, where the store keeps versions.
    pub version: Option<String>,
    /// What it is to its object.
    pub standing: Standing,
    /// What part of the volume it is.
    pub part: Part,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was written, RFC 3339 in UTC.
    pub modified: Option<String>,
    /// What is known of its encryption.
    #[serde(flatten)]
    pub finding: Finding,
    /// Whether that is what the policy asks.
    pub verdict: Verdict,
    /// Why it could not be asked about.
    pub error: Option<String>,
}

/// Versions that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// What part of the volume they are.
    pub part: Part,
    /// What they are to their objects.
    pub standing: Standing,
    /// What is known of their encryption.
    #[serde(flatten)]
    pub finding: Finding,
    /// Whether that is what the policy asks.
    pub verdict: Verdict,
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Versions of about one age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgeSum {
    /// `under a day`, …
    pub age: String,
    /// How many are as the policy asks.
    pub meets: u64,
    /// How many are not, or cannot be told.
    pub short: u64,
    /// The bytes of all.
    pub bytes: u64,
}

/// The totals of an audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Objects that are the volume's now.
    pub objects: u64,
    /// Bytes of all versions of all objects.
    pub bytes: u64,
    /// Superseded versions.
    pub superseded: u64,
    /// Delete markers.
    pub markers: u64,
    /// Objects and versions below the prefix that are not the volume's.
    pub foreign: u64,
    /// Objects, versions and foreign objects that are not as the policy asks.
    pub short: u64,
    /// Those that could not be asked about.
    pub unknown: u64,
    /// Objects that were deleted while the audit ran.
    pub vanished: u64,
    /// Blocks that the metadata names.
    pub blocks_named: u64,
    /// Blocks that it does not name: under way, or waiting to be deleted.
    pub blocks_unnamed: u64,
    /// Blocks that it names and the bucket lacks.
    pub blocks_missing: u64,
    /// Objects that the metadata is read from and the bucket lacks. If there are any, the three
    /// counts of blocks were not taken.
    pub metadata_missing: u64,
    /// Unfinished uploads.
    pub uploads: u64,
}

/// What `--fix` did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Objects written again and read back.
    pub rewritten: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Superseded versions removed.
    pub removed: u64,
    /// What could not be repaired, each a sentence, a hundred at most.
    pub failures: Vec<String>,
    /// How many there are.
    pub failed: u64,
}
