//! Repair: what falls short is written again under the policy, and superseded versions that fall
//! short are removed. Nothing is remembered between runs: after a crash, the next run finds what
//! is left. Foreign objects are never touched.

use futures::FutureExt;
use futures::StreamExt;
use futures::TryStreamExt;
use tokio::sync::Semaphore;

use super::report::Part;
use super::report::Repair;
use super::report::Row;
use super::report::Standing;
use super::survey::Survey;
use super::survey::falls_short;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::UNVERSIONED;
use crate::volume::Rewrite;
use crate::volume::Volume;

/// Objects written again at once.
const FIXED_AT_ONCE: usize = 16;

/// What their bodies may take together, in MiB; one that is larger goes alone.
const MEMORY_MIB: u32 = 64;

/// Failures that are kept as sentences.
const FAILURES_MAX: usize = 100;

/// Repairs what falls short, and calls `asked` for each object that was asked about. Failures are
/// in the answer; an error means that the walk ended.
pub(super) async fn fix(
    volume: &Volume,
    survey: &Survey,
    asked: &(dyn Fn() + Sync),
) -> Result<Repair> {
    // What nothing refers to is deleted, not repaired.
    volume.gc().await?;
    let memory = Semaphore::new(MEMORY_MIB as usize);
    let fixer = Fixer { volume, memory: &memory };
    let mut repair = Repair::default();
    let mut done = survey
        .walk()
        .inspect_ok(|_| asked())
        .try_filter_map(|judged| std::future::ready(Ok(judged.map(|(row, _)| row))))
        .try_filter(|row| std::future::ready(is_ours_to_fix(row)))
        .map(|row| async { Ok::<_, Error>(fixer.fix(row?).await) }.boxed())
        .buffer_unordered(FIXED_AT_ONCE);
    while let Some(outcome) = done.try_next().await? {
        repair.add(outcome);
    }
    Ok(repair)
}

fn is_ours_to_fix(row: &Row) -> bool {
    falls_short(row) && row.part != Part::Foreign
}

/// What was done about one version.
#[derive(Default)]
struct Outcome {
    rewritten: Option<u64>,
    removed: bool,
    failure: Option<String>,
}

struct Fixer<'a> {
    volume: &'a Volume,
    memory: &'a Semaphore,
}

impl Fixer<'_> {
    async fn fix(&self, row: Row) -> Outcome {
        let mut outcome = Outcome::default();
        let done = match row.standing {
            Standing::Current => self.rewrite(&row, &mut outcome).await,
            Standing::Superseded => self.remove(&row, &mut outcome).await,
            Standing::Marker => Ok(()),
        };
        outcome.failure = done.err().map(|error| sentence(&row, &error));
        outcome
    }

    async fn rewrite(&self, row: &Row, outcome: &mut Outcome) -> Result<()> {
        // Its bytes are held twice while they are compared.
        let mib = u32::try_from(row.bytes >> 19).unwrap_or(u32::MAX).saturating_add(1);
        let _room = self.memory.acquire_many(mib.min(MEMORY_MIB)).await.expect("it stays open");
        if let Rewrite::Done { bytes } = self.volume.rewrite(&row.name).await? {
            outcome.rewritten = Some(bytes);
        }
        self.remove(row, outcome).await
    }

    /// Removes what was rewritten or replaced, where the store still has it as a version.
    async fn remove(&self, row: &Row, outcome: &mut Outcome) -> Result<()> {
        let Some(version) = &row.version else { return Ok(()) };
        let done = self.volume.remove_superseded(&row.name, version).await?;
        outcome.removed = done != Rewrite::Changed;
        Ok(())
    }
}

impl Repair {
    fn add(&mut self, outcome: Outcome) {
        self.rewritten += u64::from(outcome.rewritten.is_some());
        self.bytes += outcome.rewritten.unwrap_or(0);
        self.removed += u64::from(outcome.removed);
        if let Some(failure) = outcome.failure {
            self.failed += 1;
            if self.failures.len() < FAILURES_MAX {
                self.failures.push(failure);
            }
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
