//! What `status` says of a mount: the fields of the `--json` contract. Asks nobody.

use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use super::registry::Entry;
use crate::ops::rfc3339;
use crate::telemetry;
use crate::volume::VolumeStatus;

/// A mount, as `status --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountStatus {
    /// The volume's name.
    pub volume: String,
    /// The provider's row.
    pub provider: String,
    /// The bucket; for `local` the directory.
    pub bucket: String,
    /// The prefix inside the bucket.
    pub prefix: String,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The daemon.
    pub pid: u32,
    /// The daemon's version.
    pub version: String,
    /// When it became ready, RFC 3339 in UTC.
    pub since: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// What the daemon says; absent when it does not answer.
    #[serde(flatten)]
    pub live: Option<Live>,
    /// Why the daemon could not be asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unreachable: Option<String>,
}

/// What only the daemon knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The session's number; 0: read-only.
    pub session: u64,
    /// Why nothing can be written any more.
    pub broken: Option<String>,
    /// Server-side encryption, in counts of writes.
    pub sse: Sse,
    /// Whether the store answers.
    pub store: Store,
    /// What is durable.
    pub epoch: Epoch,
    /// What is accounted against `--memory`.
    pub memory: Memory,
    /// Requests since the mount.
    pub requests: Requests,
}

/// Server-side encryption: what was asked, and what the store confirmed, in counts of writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sse {
    /// `none`, `aes256`, …
    pub asked: String,
    /// `strict` or `warn`.
    pub verify: String,
    /// Writes that the store confirmed encrypted.
    pub confirmed: u64,
    /// Writes to a provider that encrypts by default and gives no evidence.
    pub provider_default: u64,
    /// Writes asked to be encrypted and not confirmed.
    pub unconfirmed: u64,
    /// Writes for which nothing was asked.
    pub absent: u64,
    /// The first object that was not confirmed.
    pub first_unconfirmed: Option<String>,
    /// The last one.
    #[serde(default)]
    pub last_unconfirmed: Option<String>,
    /// The key that the store named last.
    #[serde(default)]
    pub key: Option<String>,
    /// Where such events are kept, with changes of policy.
    pub posture_log: Option<PathBuf>,
}

/// Whether the store answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// `ok`, `away since …`.
    pub state: String,
    /// The last error, as a sentence.
    pub last_error: Option<String>,
}

/// What is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The last durable epoch.
    pub committed: u64,
    /// Seconds since it was committed.
    pub age_seconds: u64,
    /// Bytes that only memory holds.
    pub dirty_bytes: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The bound.
    pub limit_bytes: u64,
    /// What is accounted against it.
    pub used_bytes: u64,
}

/// Requests since the mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Requests that create objects.
    pub put: u64,
    /// Requests that read them.
    pub get: u64,
    /// Requests that describe them.
    pub head: u64,
    /// Requests that list them.
    pub list: u64,
    /// Requests that delete them.
    pub delete: u64,
}

impl MountStatus {
    /// A mount whose daemon answered.
    pub fn of(entry: &Entry, volume: VolumeStatus) -> Self {
        Self { live: Some(Live::from(volume)), ..Self::registered(entry) }
    }

    /// A mount whose daemon did not answer, and why.
    pub fn unreachable(entry: &Entry, why: String) -> Self {
        Self { unreachable: Some(why), ..Self::registered(entry) }
    }

    fn registered(entry: &Entry) -> Self {
        let entry = entry.clone();
        Self {
            volume: entry.volume,
            provider: entry.provider,
            bucket: entry.bucket,
            prefix: entry.prefix,
            mountpoint: entry.mountpoint,
            pid: entry.pid,
            version: entry.version,
            since: entry.since,
            read_only: entry.read_only,
            live: None,
            unreachable: None,
        }
    }
}

impl From<VolumeStatus> for Live {
    fn from(status: VolumeStatus) -> Self {
        let counts = status.counts;
        Self {
            session: status.session,
            broken: status.broken,
            sse: Sse {
                asked: status.sse_asked,
                verify: status.sse_verify,
                confirmed: counts.confirmed,
                provider_default: counts.provider_default,
                unconfirmed: counts.unconfirmed,
                absent: counts.absent,
                first_unconfirmed: counts.first_unconfirmed,
                last_unconfirmed: counts.last_unconfirmed,
                key: counts.key,
                posture_log: telemetry::posture_log().map(Path::to_owned),
            },
            store: Store {
                state: match status.store.away_since {
                    None => "ok".to_owned(),
                    Some(since) => format!("away since {}", rfc3339(since)),
                },
                last_error: status.store.last_error,
            },
            epoch: Epoch {
                committed: status.epoch_committed,
                age_seconds: status.epoch_age_seconds,
                dirty_bytes: status.dirty_bytes,
            },
            memory: Memory {
                limit_bytes: status.memory_limit_bytes,
                used_bytes: status.memory_used_bytes,
            },
            requests: Requests {
                put: counts.put,
                get: counts.get,
                head: counts.head,
                list: counts.list,
                delete: counts.delete,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Timestamp;

    #[test]
    fn the_json_has_the_fields_of_the_contract_and_reads_back() {
        let entry = Entry {
            volume: "lab".into(),
            mountpoint: "/mnt".into(),
            pid: 1,
            version: "0".into(),
            since: rfc3339(Timestamp::default()),
            read_only: false,
            provider: "minio".into(),
            bucket: "lab".into(),
            prefix: "cairn/".into(),
            endpoint: None,
        };
        let status = MountStatus::of(&entry, VolumeStatus::default());
        let json = serde_json::to_value(&status).unwrap();
        for path in [
            "/volume",
            "/provider",
            "/bucket",
            "/prefix",
            "/mountpoint",
            "/pid",
            "/version",
            "/since",
            "/read_only",
            "/sse/asked",
            "/sse/verify",
            "/sse/confirmed",
            "/sse/provider_default",
            "/sse/unconfirmed",
            "/sse/absent",
            "/sse/first_unconfirmed",
            "/sse/last_unconfirmed",
            "/sse/key",
            "/sse/posture_log",
            "/store/state",
            "/store/last_error",
            "/epoch/committed",
            "/epoch/age_seconds",
            "/epoch/dirty_bytes",
            "/memory/limit_bytes",
            "/memory/used_bytes",
            "/requests/put",
            "/requests/get",
            "/requests/head",
            "/requests/list",
            "/requests/delete",
        ] {
            assert!(json.pointer(path).is_some(), "{path} is missing in {json}");
        }
        assert_eq!(serde_json::from_value::<MountStatus>(json).unwrap(), status);
        let silent = MountStatus::unreachable(&entry, "it does not answer".into());
        let text = serde_json::to_string(&silent).unwrap();
        assert_eq!(serde_json::from_str::<MountStatus>(&text).unwrap(), silent);
    }
}
