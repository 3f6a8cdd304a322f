//! A volume's metadata in memory, for the tests beside it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::Ids;
use super::Meta;
use super::NewNode;
use super::OpenFiles;
use super::key;
use super::kv::Batch;
use super::kv::Engine;
use super::kv::Entry;
use super::kv::Fresh;
use super::kv::MemoryEngine;
use super::kv::Store;
use super::kv::Usage;
use super::kv::View;
use super::root_batch;
use super::value::Inode;
use super::value::Superblock;
use super::value::mode;
use crate::ambient::Ambient;
use crate::crypto::NameKey;
use crate::error::Result;
use crate::types::ContentId;
use crate::types::Epoch;
use crate::types::FileName;
use crate::types::Ino;

/// Handles that tests open and close.
#[derive(Default)]
pub(super) struct Handles {
    pub(super) open: Mutex<BTreeSet<Ino>>,
    pub(super) forgotten: Mutex<Vec<ContentId>>,
}

impl OpenFiles for Handles {
    fn is_open(&self, ino: Ino) -> bool {
        self.open.lock().contains(&ino)
    }

    fn may_have_extents(&self, _content: ContentId) -> bool {
        true
    }

    fn forget(&self, content: ContentId) {
        self.forgotten.lock().push(content);
    }
}

/// An engine that counts how often it is asked.
struct Asked {
    engine: Arc<MemoryEngine>,
    times: Arc<AtomicU64>,
}

#[async_trait]
impl Engine for Asked {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.engine.get(key).await
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<Entry>> {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.engine.scan(range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        self.engine.commit(batch).await
    }

    fn health(&self) -> Result<()> {
        self.engine.health()
    }

    async fn close(&self, deadline: Duration) -> Result<()> {
        self.engine.close(deadline).await
    }
}

pub(super) struct Bed {
    engine: Arc<MemoryEngine>,
    asked: Arc<AtomicU64>,
    pub(super) meta: Arc<Meta>,
    pub(super) handles: Arc<Handles>,
    pub(super) open: Arc<dyn OpenFiles>,
    epoch: u64,
}

impl Bed {
    pub(super) async fn new() -> Self {
        let engine = Arc::new(MemoryEngine::new());
        engine.commit(root_batch(&Ambient::seeded(1), 0, 0)).await.unwrap();
        Self::over(engine).await
    }

    async fn over(engine: Arc<MemoryEngine>) -> Self {
        let value = engine.get(&key::superblock()).await.unwrap().unwrap();
        let superblock = Superblock::decode(&value).unwrap();
        let usage = Usage { inodes: superblock.inodes, bytes: superblock.bytes };
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Asked { engine: engine.clone(), times: asked.clone() };
        let (ino, content) = (Ino(superblock.ino_limit), ContentId(superblock.content_limit));
        let fresh = Fresh::of(move |key| key::is_of_session(key, ino, content));
        let store = Store::new(Arc::new(counted), usage, fresh, 1 << 16);
        let ids = Ids::from(&superblock);
        let meta = Meta::new(store, ids, NameKey::new([7; 32]), Ambient::seeded(2));
        let meta = Arc::new(meta);
        let handles = Arc::new(Handles::default());
        let open: Arc<dyn OpenFiles> = handles.clone();
        Self { engine, asked, meta, handles, open, epoch: superblock.epoch.0 }
    }

    /// How often the engine was asked since the last time.
    pub(super) fn asked(&self) -> u64 {
        self.asked.swap(0, Ordering::Relaxed)
    }

    /// Makes everything durable, as an epoch does.
    pub(super) async fn commit(&mut self) {
        let (ino_limit, content_limit, seq_limit) =
            self.meta.store.freeze(|| self.meta.ids.limits());
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        let batch = self.meta.store.seal(|Usage { inodes, bytes }| {
            let superblock =
                Superblock { epoch, ino_limit, content_limit, seq_limit, inodes, bytes };
            (key::superblock(), superblock.encode())
        });
        self.engine.commit(batch).await.unwrap();
        self.meta.store.thaw();
        assert_eq!(self.findings(View::Frozen).await, [""; 0]);
    }

    /// What a mount finds after this one died.
    pub(super) async fn reopened(&self) -> Self {
        Self::over(self.engine.clone()).await
    }

    pub(super) async fn entries(&self) -> Vec<(Bytes, Bytes)> {
        self.engine.scan(Bytes::new()..Bytes::from_static(b"\xff"), usize::MAX).await.unwrap()
    }

    pub(super) async fn findings(&self, view: View) -> Vec<String> {
        super::check::check(&self.meta.store, &self.meta.names, view).await.unwrap().findings
    }

    pub(super) async fn assert_sound(&self) {
        assert_eq!(self.findings(View::Live).await, [""; 0]);
    }

    pub(super) async fn make(&self, parent: Ino, name: &str, kind: u32) -> Result<Ino> {
        let target = match kind {
            mode::SYMLINK => Bytes::from_static(b"target"),
            _ => Bytes::new(),
        };
        let shape = |_: &Inode, _| {
            let target = target.clone();
            Ok(NewNode { mode: kind | 0o755, uid: 0, gid: 0, rdev: 0, target, xattrs: Vec::new() })
        };
        Ok(self.meta.make(parent, &file_name(name), shape).await?.0)
    }
}

pub(super) fn file_name(name: &str) -> FileName {
    FileName::new(name.as_bytes()).unwrap()
}
