//! Repair: what falls short is written again under the policy, and superseded versions that fall
//! short are removed. Nothing is remembered between runs: after a crash, the next run finds what
//! is left. Foreign objects are never touched. All versions of an object are handled in one place,
//! one after another, so that none is judged by what another one is about to become.

use std::collections::BTreeSet;
use std::future::ready;

use futures::FutureExt;
use futures::Stream;
use futures::StreamExt;
use futures::TryStreamExt;
use tokio::sync::Semaphore;

use super::report::Part;
use super::report::Repair;
use super::report::Row;
use super::report::Standing;
use super::survey::Judged;
use super::survey::Survey;
use super::survey::falls_short;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::UNVERSIONED;
use crate::volume::Nulls;
use crate::volume::Rewrite;
use crate::volume::Volume;

/// Objects repaired at once.
const FIXED_AT_ONCE: usize = 16;

/// What their bodies may take together, in MiB; one that is larger goes alone.
const MEMORY_MIB: u32 = 64;

/// Versions of one object that are repaired in one go.
const VERSIONS_AT_ONCE: usize = 10_000;

/// Times that an object is looked at again which changed while it was repaired.
const LOOKS_MAX: usize = 3;

/// Such objects; more are left to the next run.
const CHANGED_MAX: usize = 10_000;

/// Failures that are kept as sentences.
const FAILURES_MAX: usize = 100;

/// Repairs what falls short, and calls `asked` for each object that was asked about. Failures are
/// in the answer; an error means that the walk ended.
pub(super) async fn fix(
    volume: &Volume,
    survey: &Survey,
    nulls: Nulls,
    asked: &(dyn Fn() + Sync),
) -> Result<Repair> {
    // What nothing refers to is deleted, not repaired.
    volume.gc().await?;
    volume.settle().await?;
    let memory = Semaphore::new(MEMORY_MIB as usize);
    let fixer = Fixer { volume, survey, nulls, memory: &memory };
    let mut repair = Repair::default();
    let mut changed = BTreeSet::new();
    {
        let walk = survey.walk().inspect_ok(|_| asked());
        let mut done = std::pin::pin!(
            by_object(walk)
                .map(|object| async { Ok::<_, Error>(fixer.fix(object?).await) }.boxed())
                .buffer_unordered(FIXED_AT_ONCE)
        );
        while let Some(outcome) = done.try_next().await? {
            repair.add(outcome, &mut changed);
        }
    }
    for _ in 0..LOOKS_MAX {
        // Files that were deleted meanwhile leave blocks; those go, and their versions after them.
        volume.settle().await?;
        if changed.is_empty() {
            break;
        }
        for name in std::mem::take(&mut changed) {
            let mut objects = std::pin::pin!(by_object(survey.versions_of(&name)));
            while let Some(object) = objects.try_next().await? {
                repair.add(fixer.fix(object).await, &mut changed);
            }
        }
    }
    Ok(repair)
}

fn is_ours_to_fix(row: &Row) -> bool {
    falls_short(row) && row.part != Part::Foreign && row.standing != Standing::Marker
}

/// The versions of one object that are to be repaired.
struct Object {
    name: String,
    rows: Vec<Row>,
    /// There are more of them.
    is_cut: bool,
}

/// Puts together what is to be repaired of one object. A listing tells the versions of an object
/// one after another.
fn by_object(walk: impl Stream<Item = Result<Judged>>) -> impl Stream<Item = Result<Object>> {
    let rows = walk
        .try_filter_map(|judged| ready(Ok(judged.map(|(row, _)| row))))
        .try_filter(|row| ready(is_ours_to_fix(row)));
    let start = (Box::pin(rows), None);
    futures::stream::try_unfold(start, |(mut rows, first)| async move {
        let first = match first {
            Some(row) => Some(row),
            None => rows.try_next().await?,
        };
        let Some(first) = first else { return Ok(None) };
        let name = first.name.clone();
        let mut object = Object { name, rows: vec![first], is_cut: false };
        let next = loop {
            match rows.try_next().await? {
                Some(row) if row.name != object.name => break Some(row),
                Some(_) if object.rows.len() == VERSIONS_AT_ONCE => object.is_cut = true,
                Some(row) => object.rows.push(row),
                None => break None,
            }
        };
        // The present first: it is not written again after an older version went.
        object.rows.sort_by_key(|row| row.standing != Standing::Current);
        Ok(Some((object, (rows, next))))
    })
}

/// What was done about one object.
struct Outcome {
    name: String,
    rewritten: Option<u64>,
    removed: u64,
    /// It is to be looked at again.
    has_changed: bool,
    failures: Vec<String>,
}

struct Fixer<'a> {
    volume: &'a Volume,
    survey: &'a Survey,
    nulls: Nulls,
    memory: &'a Semaphore,
}

impl Fixer<'_> {
    /// Repairs the versions of one object, one after another.
    async fn fix(&self, object: Object) -> Outcome {
        let Object { name, rows, is_cut } = object;
        let (rewritten, removed, failures) = (None, 0, Vec::new());
        let mut outcome = Outcome { name, rewritten, removed, has_changed: is_cut, failures };
        for row in &rows {
            match self.prepare(row, &mut outcome).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // Older versions stay: one of them may be the last good copy.
                    outcome.failures.push(sentence(row, &error));
                    break;
                }
            }
            match self.remove(row).await {
                Ok(removed) => outcome.removed += u64::from(removed),
                Err(error) => outcome.failures.push(sentence(row, &error)),
            }
        }
        outcome
    }

    /// Makes the present whole and encrypted, so that this version can go. Whether it can.
    async fn prepare(&self, row: &Row, outcome: &mut Outcome) -> Result<bool> {
        if row.standing == Standing::Current {
            match self.rewrite(row).await? {
                Rewrite::Done { bytes } => outcome.rewritten = Some(bytes),
                Rewrite::Changed => outcome.has_changed = true,
            }
            return Ok(outcome.rewritten.is_some());
        }
        if outcome.rewritten.is_none() && outcome.removed == 0 {
            self.verify_present(row).await?;
        }
        Ok(true)
    }

    async fn rewrite(&self, row: &Row) -> Result<Rewrite> {
        // Its bytes are held twice while they are compared.
        let _room = self.room(row.bytes.saturating_mul(2)).await;
        self.volume.rewrite(&row.name, &self.survey.pace).await
    }

    async fn verify_present(&self, row: &Row) -> Result<()> {
        let _room = self.room(row.bytes).await;
        self.volume.verify_present(&row.name, &self.survey.pace).await
    }

    async fn room(&self, bytes: u64) -> tokio::sync::SemaphorePermit<'_> {
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX).saturating_add(1);
        self.memory.acquire_many(mib.min(MEMORY_MIB)).await.expect("it stays open")
    }

    /// Removes what was rewritten or replaced, where the store still has it as a version. Whether
    /// it did.
    async fn remove(&self, row: &Row) -> Result<bool> {
        let Some(version) = &row.version else { return Ok(false) };
        let (nulls, pace) = (self.nulls, &self.survey.pace);
        let done = self.volume.remove_superseded(&row.name, version, nulls, pace).await?;
        Ok(done != Rewrite::Changed)
    }
}

impl Repair {
    fn add(&mut self, outcome: Outcome, changed: &mut BTreeSet<String>) {
        self.rewritten += u64::from(outcome.rewritten.is_some());
        self.bytes += outcome.rewritten.unwrap_or(0);
        self.removed += outcome.removed;
        for failure in outcome.failures {
            self.fail(failure);
        }
        if outcome.has_changed && changed.len() < CHANGED_MAX {
            changed.insert(outcome.name);
        }
    }

    pub(super) fn fail(&mut self, failure: String) {
        self.failed += 1;
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(failure);
        }
    }
}

fn sentence(row: &Row, error: &Error) -> String {
    let needed = match row.standing {
        Standing::Current => "s3:GetObject, s3:PutObject and s3:DeleteObjectVersion",
        Standing::Superseded | Standing::Marker => "s3:DeleteObjectVersion",
    };
    let version = row.version.as_deref().filter(|version| *version != UNVERSIONED);
    let version = version.map(|id| format!(", version {id}")).unwrap_or_default();
    match error.kind() {
        Kind::Denied => format!(
            "`{}`{version} stays as it is: {error}; it takes the permission {needed}, and no \
             retention by Object Lock",
            row.name
        ),
        _ => format!("`{}`{version} stays as it is: {error}", row.name),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::ambient::Ambient;
    use crate::config::SseVerify;
    use crate::crypto::NameKey;
    use crate::meta::kv::Engine;
    use crate::meta::kv::MemoryEngine;
    use crate::meta::root_batch;
    use crate::object::Bucket;
    use crate::object::MemoryStore;
    use crate::object::Policy;
    use crate::object::Told;
    use crate::ops::audit::Finding;
    use crate::ops::audit::Verdict;
    use crate::provider::SseMode;
    use crate::types::SessionId;
    use crate::types::VolumeId;
    use crate::volume::Pace;
    use crate::volume::Parts;

    fn row(name: &str, version: &str, standing: Standing, verdict: Verdict) -> Judged {
        let row = Row {
            name: name.to_owned(),
            version: Some(version.to_owned()),
            standing,
            part: Part::Blocks,
            bytes: 1,
            modified: None,
            finding: Finding::Absent,
            verdict,
            error: None,
        };
        Some((row, None))
    }

    #[tokio::test]
    async fn what_falls_short_of_one_object_comes_together_with_the_present_first() {
        let (current, old) = (Standing::Current, Standing::Superseded);
        let short = Verdict::FallsShort;
        let walk = [
            row("a", "2", old, short),
            row("a", "3", current, short),
            row("a", "4", old, Verdict::Meets),
            None,
            row("a", "1", old, short),
            row("b", "1", current, Verdict::Meets),
            row("b", "2", Standing::Marker, short),
            row("c", "1", old, short),
        ];
        let walk = futures::stream::iter(walk.map(Ok));
        let objects: Vec<_> = by_object(walk).try_collect().await.unwrap();
        let told: Vec<_> = objects
            .iter()
            .map(|object| {
                let versions = object.rows.iter().filter_map(|row| row.version.as_deref());
                (object.name.as_str(), versions.collect::<String>(), object.is_cut)
            })
            .collect();
        assert_eq!(told, [("a", "321".to_owned(), false), ("c", "1".to_owned(), false)]);
    }

    #[tokio::test]
    async fn any_number_of_versions_takes_bounded_memory() {
        let row = |_| Ok(row("a", "1", Standing::Superseded, Verdict::FallsShort));
        let walk = futures::stream::iter((0..2 * VERSIONS_AT_ONCE).map(row));
        let objects: Vec<_> = by_object(walk).try_collect().await.unwrap();
        assert_eq!((objects.len(), objects[0].rows.len()), (1, VERSIONS_AT_ONCE));
        assert!(objects[0].is_cut);
    }

    async fn volume(bucket: Bucket) -> Arc<Volume> {
        let engine = Arc::new(MemoryEngine::new());
        engine.commit(root_batch(&Ambient::seeded(1), 0, 0)).await.unwrap();
        let parts = Parts {
            bucket,
            engine,
            id: VolumeId([7; 16]),
            block_bytes: 1 << 18,
            names: NameKey::new([7; 32]),
            session: Some(SessionId(1)),
            memory_bytes: 64 << 20,
            commit_interval: Duration::from_secs(3600),
            readahead_bytes: 0,
            ambient: Ambient::seeded(2),
        };
        Volume::start(parts).await.unwrap()
    }

    #[tokio::test]
    async fn an_object_that_changed_loses_no_version_and_is_looked_at_again() {
        let policy = Policy { mode: SseMode::None, verify: SseVerify::Warn };
        let bucket = Bucket::memory(&MemoryStore::default(), Some(policy));
        let (volume, memory) = (volume(bucket.clone()).await, Semaphore::new(64));
        let (asked, pace) = (SseMode::None, Arc::new(Pace::new(None)));
        let survey = Survey { bucket, asked, pace, versions: Told::Yes(()) };
        let fixer = Fixer { volume: &volume, survey: &survey, nulls: Nulls::Kept, memory: &memory };
        let rows = [Standing::Current, Standing::Superseded]
            .map(|standing| row("meta/probe/x", "1", standing, Verdict::FallsShort))
            .map(|judged| judged.unwrap().0)
            .to_vec();
        let object = Object { name: "meta/probe/x".to_owned(), rows, is_cut: false };
        // It is not there any more. A version cannot be removed from this store: that would fail.
        let outcome = fixer.fix(object).await;
        assert!(outcome.has_changed && outcome.rewritten.is_none());
        assert_eq!((outcome.removed, outcome.failures), (0, Vec::new()));
    }
}
