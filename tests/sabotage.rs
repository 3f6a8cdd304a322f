//! Each promise is broken on purpose, and what checks it must notice. One test, since the switches
//! are the process's own: it goes through them one after the other.
//!
//! | switch | what notices |
//! |---|---|
//! | `COMMIT_BEFORE_UPLOAD` | the crash model (`tests/it/crash`) |
//! | `SKIP_TAG_CHECK` | a flipped bit in a block that is read |
//! | `READ_BACK_OFF` | schedules of two and three claimants (`src/object/tenure/simulation.rs`) |
//! | `SWEEP_IGNORES_SESSIONS` | a block of a later session that gc must leave alone |
//! | `WITNESS_OFF` | a store that takes the header and confirms nothing |
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic, its helpers too")]
#![expect(clippy::disallowed_methods, reason = "the support is shared with tests that wait")]

#[path = "it/crash/model.rs"]
mod model;
#[expect(dead_code, reason = "shared with another test, which uses all of it")]
#[path = "it/support/mod.rs"]
mod support;
#[expect(dead_code, reason = "shared with another test, which uses all of it")]
#[path = "it/crash/world.rs"]
mod world;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;

use cairnfs::config::Config;
use cairnfs::error::Kind;
use cairnfs::error::Result;
use cairnfs::object::Bucket;
use cairnfs::object::MemoryStore;
use cairnfs::object::Policy;
use cairnfs::object::name;
use cairnfs::object::tenure::simulation;
use cairnfs::types::BlockId;
use cairnfs::types::FileName;
use cairnfs::types::Ino;
use cairnfs::types::SessionId;
use cairnfs::vfs::Caller;
use cairnfs::vfs::FileKind;
use cairnfs::vfs::NewInode;
use cairnfs::vfs::Vfs;
use cairnfs::vfs::WriteFlags;

use self::support::s3_double;
use self::support::s3_double::Encryption;
use self::support::s3_double::S3Double;
use self::world::Plan;

/// Crash points within which a broken promise must show.
const POINTS: u64 = 400;

/// Schedules of claimants within which a second writer must show.
const SCHEDULES: u64 = 60;

/// A file's bytes.
const BYTES: &[u8] = &[7; 100_000];

fn with<T>(switch: &AtomicBool, check: impl Fn() -> T) -> (T, T) {
    let sound = check();
    switch.store(true, Ordering::Relaxed);
    let broken = check();
    switch.store(false, Ordering::Relaxed);
    (sound, broken)
}

#[test]
fn every_broken_promise_is_noticed() {
    let early = &cairnfs::volume::sabotage::COMMIT_BEFORE_UPLOAD;
    early.store(true, Ordering::Relaxed);
    let noticed = (0..POINTS).any(crash_fails);
    early.store(false, Ordering::Relaxed);
    assert!(noticed, "the crash model does not notice a commit before its uploads");

    let tags = with(&cairnfs::block::sabotage::SKIP_TAG_CHECK, flipped_bit_is_found);
    assert_eq!(tags, (true, false), "a flipped bit: (found, found without the check)");

    let sweep = &cairnfs::volume::sabotage::SWEEP_IGNORES_SESSIONS;
    let later = with(sweep, block_of_a_later_session_survives_gc);
    assert_eq!(later, (true, false), "a later session's block: (survives, without the rule)");

    let read_back = with(&cairnfs::object::sabotage::READ_BACK_OFF, one_writer_acknowledges);
    assert_eq!(read_back, (true, false), "claimants: (one writes, without the read-back)");

    let witness = with(&cairnfs::object::sabotage::WITNESS_OFF, silent_store_is_found_out);
    assert_eq!(witness, (true, false), "a silent store: (found out, without the witness)");
}

fn crash_fails(seed: u64) -> bool {
    let plan = Plan { seed, crash_after: Some(1 + seed % 60), applied: seed % 2 == 1 };
    world::run(plan).fault.is_some()
}

/// Whether no schedule shows two writers or a lost write.
fn one_writer_acknowledges() -> bool {
    (0..SCHEDULES).all(|seed| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(simulation::run(seed, 2 + seed % 2)).is_ok()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn write_one_file(store: &MemoryStore) {
    let volume = world::volume(world::bucket(store), 2, 0).await;
    let vfs = Vfs::new(volume.clone());
    let new = NewInode { kind: FileKind::Regular, permissions: 0o644, umask: 0, rdev: 0 };
    let file = FileName::new(b"file").unwrap();
    let attr = vfs.make(Caller::ROOT, Ino::ROOT, file, new).await.unwrap();
    vfs.write(attr.ino, 0, 0, BYTES.into(), WriteFlags::default()).await.unwrap();
    volume.close(Duration::from_secs(20)).await.unwrap();
}

async fn read_one_file(store: &MemoryStore) -> Result<Bytes> {
    let vfs = Vfs::new(world::volume(world::bucket(store), 3, 0).await);
    let attr = vfs.lookup(Ino::ROOT, FileName::new(b"file").unwrap()).await?;
    vfs.read(attr.ino, 0, 0, 1 << 20).await
}

fn flipped_bit_is_found() -> bool {
    let runtime = runtime();
    let found = runtime.block_on(async {
        let store = world::prepared();
        write_one_file(&store).await;
        let bucket = world::bucket(&store);
        let listed: Vec<_> = bucket.list(name::BLOCKS_PREFIX).try_collect().await.unwrap();
        let block = listed[0].name.clone();
        let mut bytes = bucket.get(&block, None, None).await.unwrap().unwrap().body.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bucket.put(&block, bytes.into()).await.unwrap();
        match read_one_file(&store).await {
            Ok(read) => read == BYTES,
            Err(error) => error.kind() == Kind::Corrupt,
        }
    });
    runtime.shutdown_background();
    found
}

fn block_of_a_later_session_survives_gc() -> bool {
    let runtime = runtime();
    let survives = runtime.block_on(async {
        let store = world::prepared();
        let bucket = world::bucket(&store);
        let later = name::block(BlockId::new(SessionId(9), [5; 11]));
        bucket.put(&later, "on its way".into()).await.unwrap();
        world::volume(bucket.clone(), 2, 0).await.gc().await.unwrap();
        bucket.head(&later).await.is_ok()
    });
    runtime.shutdown_background();
    survives
}

fn silent_store_is_found_out() -> bool {
    let double = S3Double::start();
    double.encryption(Encryption::Ignore);
    let dir = tempfile::tempdir().unwrap();
    let (config, keys) = (dir.path().join("config.toml"), dir.path().join("keys"));
    let (key, secret) = (s3_double::ACCESS_KEY, s3_double::SECRET_KEY);
    std::fs::write(&keys, format!("access_key_id={key}\nsecret_access_key={secret}\n")).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&keys, private).unwrap();
    let table = format!(
        "[volumes.v]\nprovider = \"amazon-s3\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
         bucket = \"{}\"\nsse = \"aes256\"\ncredentials = {{ file = \"{}\" }}\n",
        double.endpoint(),
        s3_double::BUCKET,
        keys.display()
    );
    std::fs::write(&config, table).unwrap();
    let config = Config::load(Some(&config), &|_| None, &[]).unwrap().volume("v").unwrap();
    let runtime = runtime();
    let answer = runtime.block_on(async {
        let mode = config.sse.clone().unwrap();
        let verify = config.verify(&mode);
        let bucket = Bucket::open(&config, Some(Policy { mode, verify })).unwrap();
        bucket.put("a", "plain".into()).await
    });
    runtime.shutdown_background();
    answer.is_err_and(|error| error.kind() == Kind::Policy)
}
