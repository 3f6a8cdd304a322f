//! Extents, blocks, garbage and reclaims. Knows no name.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Look;
use super::Report;
use super::names::Content;
use super::names::Nodes;
use crate::error::Result;
use crate::meta::extent::BlockRecord;
use crate::meta::extent::Chunk;
use crate::meta::key;
use crate::meta::key::CHUNK_BYTES;
use crate::types::BlockId;

pub(super) async fn check(look: &Look<'_>, nodes: &Nodes, report: &mut Report) -> Result<()> {
    let mut garbage = std::collections::BTreeSet::new();
    look.each(key::garbage_all(), |key, _| {
        let Some(content) = key::garbage_of(&key) else {
            return report.find(format!("a garbage key does not parse: {key:x}"));
        };
        if let Some(Content { ino, .. }) = nodes.contents.get(&content) {
            report.find(format!("content {content} of inode {ino} is marked as garbage"));
        }
        garbage.insert(content);
    })
    .await?;
    let mut live = BTreeMap::new();
    look.each(key::chunks(), |key, value| {
        let Some((content, index)) = key::chunk_of(&key) else {
            return report.find(format!("an extent's key does not parse: {key:x}"));
        };
        let what = format!("content {content}, MiB {index}");
        let Some(chunk) = report.decoded(&what, Chunk::decode(&value)) else { return };
        report.usage.bytes += chunk.bytes();
        for extent in &chunk.0 {
            if let Some(block) = extent.block() {
                *live.entry(block).or_insert(0) += u64::from(extent.len);
            }
        }
        match nodes.contents.get(&content) {
            Some(content) => check_end(&what, content, index, chunk, report),
            None => report.expect(garbage.contains(&content), || {
                format!("{what}: neither a file's nor garbage")
            }),
        }
    })
    .await?;
    look.each(key::blocks(), |key, value| check_block(&key, &value, &mut live, report)).await?;
    for (block, bytes) in live {
        report.find(format!("block {block} has {bytes} live bytes but no record"));
    }
    look.each(key::reclaims(), |key, _| {
        let Some((_, block)) = key::reclaim_of(&key) else {
            return report.find(format!("a reclaim key does not parse: {key:x}"));
        };
        let unused = !report.blocks.contains_key(&block);
        report.expect(unused, || format!("block {block} is in use and to be reclaimed"));
        let once = report.reclaims.insert(block);
        report.expect(once, || format!("block {block} is to be reclaimed twice"));
    })
    .await
}

/// Nothing that a reader could see lies behind the file's end: it would come back when it grows.
fn check_end(what: &str, content: &Content, index: u64, chunk: Chunk, report: &mut Report) {
    let base = index * CHUNK_BYTES;
    let mut seen = chunk;
    seen.apply_cuts(base, &content.cuts, &mut Vec::new());
    if let Some(last) = seen.0.last() {
        let end = base + u64::from(last.range().end);
        report.expect(end <= content.size, || {
            let (ino, size) = (content.ino, content.size);
            format!("{what}: bytes up to {end} behind the end of inode {ino} at {size}")
        });
    }
}

fn check_block(key: &Bytes, value: &Bytes, live: &mut BTreeMap<BlockId, u64>, report: &mut Report) {
    let Some(block) = key::block_of(key) else {
        return report.find(format!("a block's key does not parse: {key:x}"));
    };
    let counted = live.remove(&block).unwrap_or(0);
    let Some(record) = report.decoded(format!("block {block}"), BlockRecord::decode(value)) else {
        return;
    };
    report.expect(record.live == counted, || {
        format!("block {block} claims {} live bytes, but has {counted}", record.live)
    });
    report.expect(counted > 0, || format!("block {block} has no live byte and is kept"));
    report.blocks.insert(block, record);
}
