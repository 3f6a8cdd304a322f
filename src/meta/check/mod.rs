//! The invariants of the metadata: `fsck` and the tests ask for every one that is broken. Reads
//! page by page, keeps a few numbers of each inode and block. Changes nothing, sees no object.

mod bytes;
mod names;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;

use ::bytes::Bytes;

use super::extent::BlockRecord;
use super::key;
use super::kv::Store;
use super::kv::Usage;
use super::kv::View;
use super::value::Superblock;
use crate::crypto::NameKey;
use crate::error::Result;
use crate::types::BlockId;

const PAGE: usize = 1_000;

/// A broken volume may break a million times; this many say enough.
const FINDINGS_MAX: usize = 1_000;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Each broken invariant, as a sentence; the first thousand.
    pub findings: Vec<String>,
    /// The blocks that extents may refer to: each must be stored, of this size.
    pub blocks: BTreeMap<BlockId, BlockRecord>,
    /// Blocks that may still be stored, and are deleted soon.
    pub reclaims: BTreeSet<BlockId>,
    /// Inodes and bytes that were counted.
    pub usage: Usage,
}

impl Report {
    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    fn expect(&mut self, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.find(finding());
        }
    }

    /// The decoded value, or a finding that names it.
    fn decoded<T>(&mut self, what: impl Display, value: Result<T>) -> Option<T> {
        value.map_err(|error| self.find(format!("{what}: {error}"))).ok()
    }
}

/// Checks the present ([`View::Live`]), or what is durable ([`View::Frozen`], while no epoch is on
/// its way). Nothing may change meanwhile. An error only if the store cannot be read.
pub async fn check(store: &Store, names: &NameKey, view: View) -> Result<Report> {
    let look = Look { store, view };
    let mut report = Report::default();
    let nodes = names::check(&look, names, &mut report).await?;
    bytes::check(&look, &nodes, &mut report).await?;
    check_usage(&look, &nodes, &mut report).await?;
    Ok(report)
}

/// Where a check reads.
struct Look<'a> {
    store: &'a Store,
    view: View,
}

impl Look<'_> {
    /// Gives every entry of `range` to `visit`.
    async fn each(&self, range: Range<Bytes>, mut visit: impl FnMut(Bytes, Bytes)) -> Result<()> {
        let mut range = range;
        loop {
            let page = self.store.scan(self.view, range.clone(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            range.start = key::after(last);
            page.into_iter().for_each(|(key, value)| visit(key, value));
        }
    }
}

async fn check_usage(look: &Look<'_>, nodes: &names::Nodes, report: &mut Report) -> Result<()> {
    let Some(value) = look.store.get_in(look.view, &key::superblock()).await? else {
        report.find("there is no superblock".to_owned());
        return Ok(());
    };
    let Some(superblock) = report.decoded("superblock", Superblock::decode(&value)) else {
        return Ok(());
    };
    let claimed = match look.view {
        View::Live => look.store.usage(),
        View::Frozen => Usage { inodes: superblock.inodes, bytes: superblock.bytes },
    };
    let counted = report.usage;
    report.expect(claimed == counted, || {
        let Usage { inodes, bytes } = claimed;
        format!(
            "the volume claims {inodes} inodes and {bytes} bytes, but has {} and {}",
            counted.inodes, counted.bytes
        )
    });
    if look.view == View::Frozen {
        let (ino, content) = nodes.largest();
        report.expect(ino < superblock.ino_limit, || {
            format!("inode {ino} is not below the superblock's limit {}", superblock.ino_limit)
        });
        report.expect(content < superblock.content_limit, || {
            let limit = superblock.content_limit;
            format!("content {content} is not below the superblock's limit {limit}")
        });
    }
    Ok(())
}
