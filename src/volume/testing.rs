//! Volumes in memory for the tests of this module. Compiled for tests only.

use std::sync::Arc;
use std::time::Duration;

use crate::ambient::Ambient;
use crate::config::Credentials;
use crate::config::Fencing;
use crate::config::MountConfig;
use crate::config::SseVerify;
use crate::config::VolumeConfig;
use crate::crypto::NameKey;
use crate::meta::kv::Engine;
use crate::object::Bucket;
use crate::object::MemoryStore;
use crate::object::Policy;
use crate::provider::Matrix;
use crate::provider::SseMode;
use crate::types::SessionId;
use crate::types::VolumeId;
use crate::volume::Parts;
use crate::volume::Volume;
use crate::volume::host::Host;

/// A volume's config at a provider of the matrix.
pub(super) fn config_of(provider: &str, name: &str) -> VolumeConfig {
    VolumeConfig {
        name: name.to_owned(),
        provider: Matrix::builtin().unwrap().provider(provider).unwrap(),
        bucket: "bucket".to_owned(),
        prefix: String::new(),
        path: None,
        endpoint: None,
        region: None,
        account: None,
        plain_http: false,
        credentials: Credentials::Chain,
        sse: None,
        sse_verify: None,
        fencing: Fencing::Auto,
        mount: MountConfig::default(),
    }
}

/// A bucket over objects in memory.
pub(super) fn bucket(store: &MemoryStore) -> Bucket {
    Bucket::memory(store, Some(policy()))
}

/// A policy that asks for nothing.
pub(super) fn policy() -> Policy {
    Policy { mode: SseMode::None, verify: SseVerify::Warn }
}

/// This machine after a power loss.
pub(super) fn rebooted() -> Host {
    let host = Host::this().unwrap();
    Host { boot_id: format!("after {}", host.boot_id), machine_id: "machine".to_owned(), ..host }
}

/// This machine, under an id of its own also where it has none.
pub(super) fn this() -> Host {
    Host { machine_id: "machine".to_owned(), ..Host::this().unwrap() }
}

/// A volume over these, open to write.
pub(super) async fn volume(bucket: Bucket, engine: Arc<dyn Engine>) -> Arc<Volume> {
    started(bucket, engine, Some(SessionId(1))).await
}

/// A volume over these, open to read.
pub(super) async fn volume_to_read(bucket: Bucket, engine: Arc<dyn Engine>) -> Arc<Volume> {
    started(bucket, engine, None).await
}

async fn started(
    bucket: Bucket,
    engine: Arc<dyn Engine>,
    session: Option<SessionId>,
) -> Arc<Volume> {
    let parts = Parts {
        bucket,
        engine,
        id: VolumeId([7; 16]),
        block_bytes: 1 << 18,
        names: NameKey::new([7; 32]),
        session,
        memory_bytes: 64 << 20,
        commit_interval: Duration::from_secs(3600),
        readahead_bytes: 0,
        ambient: Ambient::seeded(2),
    };
    Volume::start(parts).await.unwrap()
}
