//! Audits of whole volumes, on objects in memory that say to be encrypted whatever was asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use tokio::sync::mpsc;

use super::*;
use crate::config::Config;
use crate::config::SseVerify;
use crate::object::Policy;
use crate::provider::AtRest;
use crate::provider::SseRequest;
use crate::types::FileName;
use crate::types::Ino;
use crate::vfs::Caller;
use crate::vfs::FileKind;
use crate::vfs::NewInode;
use crate::vfs::OpenFlags;
use crate::vfs::Vfs;
use crate::vfs::WriteFlags;
use crate::volume::CreateOptions;
use crate::volume::OpenOptions;

const AES: SseMode = SseMode::Aes256;

/// A new volume of that name; its objects live as long as the process.
async fn created(name: &str) -> VolumeConfig {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, format!("[volumes.{name}]\nprovider = \"memory\"\n")).unwrap();
    let mut config = Config::load(Some(&file), &|_| None, &[]).unwrap().volume(name).unwrap();
    let (sse_request, at_rest) = (SseRequest::Default, AtRest::Always);
    let row = Provider::clone(&config.provider);
    config.provider = Arc::new(Provider { sse_request, at_rest, ..row });
    let options = CreateOptions { sse: None, block_bytes: 1 << 18 };
    Volume::create(&config, options, &Ambient::system()).await.unwrap();
    config
}

async fn opened(config: &VolumeConfig, sse: Option<SseMode>, read_only: bool) -> Arc<Volume> {
    let options = OpenOptions {
        any_sse: false,
        sse,
        takeover: false,
        read_only,
        memory_bytes: 128 << 20,
        commit_interval: Duration::from_secs(3600),
        readahead_bytes: 0,
        mountpoint: "/mnt".into(),
    };
    Volume::open(config, options, Ambient::system()).await.unwrap()
}

/// The faults that an audit finds.
async fn faults(volume: &Volume, config: &VolumeConfig) -> Vec<String> {
    let (events, _) = mpsc::channel(1);
    audit(volume, config, AuditOptions::default(), &events).await.unwrap().faults
}

fn bucket(config: &VolumeConfig) -> Bucket {
    let policy = Policy { mode: SseMode::None, verify: SseVerify::Warn };
    Bucket::open(config, Some(policy)).unwrap()
}

fn name(text: &str) -> FileName {
    FileName::new(text.as_bytes()).unwrap()
}

#[test]
fn a_row_that_the_config_changes_is_told_from_the_compiled_one() {
    let row = Matrix::builtin().unwrap().provider("minio").unwrap();
    assert_eq!(row_name(&row), "minio");
    let changed = Provider { delete_batch: 7, ..(*row).clone() };
    assert_eq!(row_name(&changed), "minio (changed by the config)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_asks_for_more_than_is_recorded_fails_an_audit() {
    let config = created("audit-config").await;
    let volume = opened(&config, None, true).await;
    assert_eq!(faults(&volume, &config).await, [""; 0]);
    let asking = VolumeConfig { sse: Some(AES), ..config };
    let faults = faults(&volume, &asking).await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("asks for the encryption `aes256`"), "{faults:?}");
    assert!(faults[0].contains("policy is `none`"), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_whose_state_is_lost_fails_an_audit() {
    let config = created("audit-state").await;
    let volume = opened(&config, Some(AES), false).await;
    assert_eq!(faults(&volume, &config).await, [""; 0]);
    // Nothing in the bucket tells that there was a second state.
    bucket(&config).delete(&[name::state(2)]).await.unwrap();
    let faults = faults(&volume, &config).await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("the mount writes as `aes256`"), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_state_of_any_number_costs_nothing() {
    let config = created("audit-planted").await;
    let volume = opened(&config, None, true).await;
    let planted = "cairnfs.state.99999999.000000000007-00000000000000ab";
    bucket(&config).put(planted, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(faults(&volume, &config).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_volume_has_no_blocks_of_deleted_files() {
    let config = created("audit-settled").await;
    let volume = opened(&config, None, false).await;
    let vfs = Vfs::new(volume.clone());
    let new = NewInode { kind: FileKind::Regular, permissions: 0o644, umask: 0, rdev: 0 };
    for file in ["deleted", "replaced", "kept"] {
        let ino = vfs.make(Caller::ROOT, Ino::ROOT, name(file), new).await.unwrap().ino;
        let flags = OpenFlags { write: true, ..OpenFlags::default() };
        let handle = vfs.open(Caller::ROOT, ino, flags).await.unwrap().handle;
        for at in 0..4 {
            let piece = Bytes::from(vec![at; 1 << 18]);
            let (offset, flags) = (u64::from(at) << 18, WriteFlags::default());
            vfs.write(ino, handle, offset, piece, flags).await.unwrap();
        }
        vfs.sync().await.unwrap();
        vfs.release(ino, handle).await;
    }
    let blocks = async || {
        let blocks = bucket(&config).list(name::BLOCKS_PREFIX);
        blocks.try_collect::<Vec<_>>().await.unwrap().len()
    };
    let before = blocks().await;
    vfs.unlink(Ino::ROOT, name("deleted")).await.unwrap();
    let replaced = vfs.lookup(Ino::ROOT, name("replaced")).await.unwrap().ino;
    let truncate = OpenFlags { write: true, truncate: true, ..OpenFlags::default() };
    let handle = vfs.open(Caller::ROOT, replaced, truncate).await.unwrap().handle;
    vfs.release(replaced, handle).await;
    volume.settle().await.unwrap();
    let after = blocks().await;
    assert!(before >= 12 && after <= before / 3 + 1, "{before} blocks, then {after}");
}
