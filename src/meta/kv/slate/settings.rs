//! How SlateDB is set up for one writer on a small machine. Values only; opens nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slatedb::Settings;
use slatedb::config::CompactionWorkerOptions;
use slatedb::config::CompactorOptions;
use slatedb::config::CompressionCodec;
use slatedb::config::GarbageCollectorOptions;
use slatedb::db_cache::DbCache;
use slatedb::db_cache::SplitCache;
use slatedb::db_cache::foyer::FoyerCache;
use slatedb::db_cache::foyer::FoyerCacheOptions;

use crate::meta::key;

/// An idle writer looks this often whether it still owns the volume.
pub(super) const OWNERSHIP_POLL: Duration = Duration::from_secs(5);

/// Compaction waits for at least four flushed memtables, so it need not look more often.
const COMPACTION_POLL: Duration = Duration::from_secs(10);

/// An SST is buffered whole before its one PUT, so this is memory as well.
const SST_BYTES_MAX: usize = 32 << 20;

/// How much memory the engine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlateOptions {
    /// Bytes of blocks, indexes and filters kept in memory.
    pub cache_bytes: u64,
    /// Bytes of a memtable, at which it is written out. Writers wait when eight times as many
    /// bytes are not yet stored, so an eighth of the largest batch is the least that works.
    pub memtable_bytes: usize,
}

impl Default for SlateOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, memtable_bytes: 16 << 20 }
    }
}

/// The key that every batch changes: its time is that of the last write.
pub(super) fn every_batch() -> Bytes {
    key::superblock()
}

/// The writer's settings. `updates`: whether the store replaces an object only at a known version.
pub(super) fn settings(options: &SlateOptions, updates: bool) -> Settings {
    Settings {
        // Each commit flushes; a timer would only wake up in vain.
        flush_interval: None,
        manifest_poll_interval: OWNERSHIP_POLL,
        l0_sst_size_bytes: options.memtable_bytes,
        // An unstored byte counts twice, in the memtable and in the log.
        max_unflushed_bytes: 8 * options.memtable_bytes,
        // 16 memtables may pile up in a burst before writers wait for the compactor.
        l0_max_ssts: 16,
        l0_max_ssts_per_key: 16,
        l0_flush_parallelism: 2,
        compression_codec: Some(CompressionCodec::Lz4),
        // A bound would close the database for good after an outage of seconds.
        object_store_max_retries: None,
        compactor_options: Some(compaction()),
        garbage_collector_options: Some(GarbageCollectorOptions {
            boundary_files_enabled: updates,
            // Only clones detach.
            detach_options: None,
            ..GarbageCollectorOptions::default()
        }),
        ..Settings::default()
    }
}

pub(super) fn compaction() -> CompactorOptions {
    CompactorOptions {
        poll_interval: COMPACTION_POLL,
        // Each look costs a request, also when nothing is being compacted.
        commit_compacted_interval: COMPACTION_POLL,
        max_concurrent_compactions: 1,
        worker: Some(CompactionWorkerOptions {
            max_concurrent_compactions: 1,
            max_subcompactions: 1,
            compactions_poll_interval: COMPACTION_POLL,
            max_sst_size: SST_BYTES_MAX,
            compression_codec: Some(CompressionCodec::Lz4),
            ..CompactionWorkerOptions::default()
        }),
        ..CompactorOptions::default()
    }
}

/// Three quarters for blocks; a quarter for indexes and filters, whose loss costs a read each.
pub(super) fn cache(bytes: u64) -> Arc<dyn DbCache> {
    let part = |max_capacity| -> Option<Arc<dyn DbCache>> {
        Some(Arc::new(FoyerCache::new_with_opts(FoyerCacheOptions { max_capacity, shards: 8 })))
    };
    let split =
        SplitCache::new().with_block_cache(part(bytes / 4 * 3)).with_meta_cache(part(bytes / 4));
    Arc::new(split.build())
}
