//! The audit: asks the store about every object of a volume, compares with the volume's metadata
//! and its policy, and repairs on request. What it finds is a [`Report`]; what happens meanwhile
//! goes out as [`Event`]s. Prints nothing.

mod report;
mod judge;
mod tally;
mod survey;
mod fix;
mod faults;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures::TryStreamExt;
use serde::Deserialize;
use serde::Serialize;
use tokio::sync::mpsc;

pub use self::report::AgeSum;
pub use self::report::DETAILS_MAX;
pub use self::report::Finding;
pub use self::report::Part;
pub use self::report::Repair;
pub use self::report::Report;
pub use self::report::Row;
pub use self::report::Scope;
pub use self::report::Standing;
pub use self::report::Sum;
pub use self::report::Totals;
pub use self::report::Verdict;

use self::survey::Survey;
use self::tally::Tally;
use crate::ambient::Ambient;
use crate::config::VolumeConfig;
use crate::crypto;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::Inspector;
use crate::object::Told;
use crate::object::Upload;
use crate::object::name;
use crate::object::name::Sequence;
use crate::ops::rfc3339;
use crate::provider::Matrix;
use crate::provider::Provider;
use crate::provider::SseMode;
use crate::volume::Nulls;
use crate::volume::Pace;
use crate::volume::Summary;
use crate::volume::Volume;

/// Objects between two words about progress.
const PROGRESS_EVERY: u64 = 256;

/// Looks at the recorded policy while the mount does not write as it says, and what lies between.
const LOOKS_MAX: usize = 2;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// What is wanted of an audit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditOptions {
    /// Repair what falls short, first.
    pub fix: bool,
    /// Tell every row, not only the sums.
    pub rows: bool,
    /// Requests about objects a second at most.
    pub rate: Option<u32>,
}

/// What happens while an audit runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// So many objects were asked about in this walk.
    Asked {
        /// How many.
        objects: u64,
        /// Whether this walk repairs.
        repairing: bool,
    },
    /// One object or version.
    Row(Box<Row>),
}

/// Where events go. A slow reader slows the audit down.
pub type Events = mpsc::Sender<Event>;

/// Audits a volume that is open; to repair, open to write.
pub async fn audit(
    volume: &Volume,
    config: &VolumeConfig,
    options: AuditOptions,
    events: &Events,
) -> Result<Report> {
    let summary = summary(volume, config).await?;
    // With the mode of a customer's key, so that it is sent; without a policy, so that the store's
    // answer is judged for what it says.
    let reading = VolumeConfig { sse: Some(summary.sse.clone()), ..config.clone() };
    let bucket = Bucket::open(&reading, None)?;
    let survey = Survey {
        versions: bucket.tells_versions().await?,
        pace: Arc::new(Pace::new(options.rate)),
        asked: summary.sse.clone(),
        bucket,
    };
    let audit = Audit { volume, config, summary: &summary, survey: &survey, events };
    audit.run(options).await
}

/// What the volume records. A policy that changes right now is waited for, since the mount follows
/// it a moment after it is recorded.
async fn summary(volume: &Volume, config: &VolumeConfig) -> Result<Summary> {
    for _ in 0..LOOKS_MAX {
        let summary = Volume::inspect(config).await?;
        if faults::writes_as_recorded(volume, &summary.sse) {
            return Ok(summary);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Volume::inspect(config).await
}

/// Numbers of states by their names, as volumes of this fencing mode name them.
fn state_number(fencing: &str) -> fn(&str) -> Option<u64> {
    match fencing {
        "read-back" => |name| {
            let (sequence, number, _) = name::parse_claimed(name)?;
            (sequence == Sequence::State).then_some(number)
        },
        _ => name::parse_state,
    }
}

struct Audit<'a> {
    volume: &'a Volume,
    config: &'a VolumeConfig,
    summary: &'a Summary,
    survey: &'a Survey,
    events: &'a Events,
}

impl Audit<'_> {
    async fn run(&self, options: AuditOptions) -> Result<Report> {
        let ambient = Ambient::system();
        let began = ambient.now();
        let repair = match options.fix {
            true => Some(self.repair().await?),
            false => None,
        };
        let mut tally = Tally::new(began, state_number(&self.summary.fencing));
        self.count(&mut tally, options.rows).await?;
        let missing = self.missing(&mut tally.totals).await?;
        let inspector = Inspector::open(self.config)?;
        let uploads = self.uploads(inspector.as_ref(), &mut tally.totals).await;
        let bucket = match &inspector {
            Some(inspector) => Some(inspector.facts(&self.survey.asked).await),
            None => None,
        };
        let mut report = Report {
            passed: false,
            faults: Vec::new(),
            notes: Vec::new(),
            scope: self.scope(rfc3339(began), rfc3339(ambient.now())),
            sums: tally.sums(),
            ages: tally.ages(),
            totals: tally.totals.clone(),
            offenders: std::mem::take(&mut tally.offenders),
            missing,
            foreign: std::mem::take(&mut tally.foreign),
            uploads,
            bucket,
            repair,
        };
        report.faults = self.faults(&report, &tally);
        report.notes = self.notes(&report);
        report.passed = report.faults.is_empty();
        Ok(report)
    }

    /// Names of objects that must be there and are not.
    async fn missing(&self, totals: &mut Totals) -> Result<Vec<String>> {
        let pace = &self.survey.pace;
        let lost = self.volume.lost_metadata(pace).await?;
        let mut missing = lost.names;
        totals.metadata_missing = lost.objects;
        if !missing.is_empty() {
            // Metadata that cannot be read whole does not tell which blocks must be there.
            missing.truncate(DETAILS_MAX);
            return Ok(missing);
        }
        let census = self.volume.census(pace, |name| {
            totals.blocks_missing += 1;
            if missing.len() < DETAILS_MAX {
                missing.push(name);
            }
        });
        let census = census.await?;
        totals.blocks_named = census.named;
        totals.blocks_unnamed = census.unnamed;
        Ok(missing)
    }

    async fn repair(&self) -> Result<Repair> {
        if self.volume.is_read_only() {
            return Err(Error::new(Kind::ReadOnly, "the volume is open read-only")
                .hint("stop the read-only mount, or mount it to write"));
        }
        if self.survey.asked == SseMode::None {
            let name = &self.config.name;
            let message = "the volume's policy asks for no encryption, so nothing falls short";
            return Err(Error::new(Kind::Policy, message)
                .hint(format!("record one first: `cairnfs volume set {name} --sse aes256`")));
        }
        let (writes_as, asked) = (self.volume.status().sse_asked, self.survey.asked.to_string());
        if writes_as != asked {
            let message = format!("the mount still writes as `{writes_as}`, not as `{asked}`");
            return Err(Error::new(Kind::Policy, message).hint("stop it and start it again first"));
        }
        if let Some(name) = self.volume.lost_metadata(&self.survey.pace).await?.names.first() {
            // What cannot be read whole does not tell what is needed.
            let mut repair = Repair::default();
            let what = "of the metadata is missing: restore it first";
            repair.fail(format!("nothing was repaired: `{name}` {what}"));
            return Ok(repair);
        }
        let asked = AtomicU64::new(0);
        let progress = Progress { events: self.events, asked, repairing: true };
        fix::fix(self.volume, self.survey, self.nulls().await?, &|| progress.asked()).await
    }

    /// What becomes of the versions that were written before the bucket kept any.
    async fn nulls(&self) -> Result<Nulls> {
        let Some(inspector) = Inspector::open(self.config)? else { return Ok(Nulls::Replaced) };
        let facts = inspector.facts(&self.survey.asked).await;
        let keeps = matches!(facts.versioning, Told::Yes(state) if state == "enabled");
        Ok(if keeps { Nulls::Kept } else { Nulls::Replaced })
    }

    async fn count(&self, tally: &mut Tally, rows: bool) -> Result<()> {
        let progress = Progress { events: self.events, asked: AtomicU64::new(0), repairing: false };
        let mut walk = std::pin::pin!(self.survey.walk());
        while let Some(judged) = walk.try_next().await? {
            progress.asked();
            let Some((row, modified)) = judged else {
                tally.totals.vanished += 1;
                continue;
            };
            tally.add(&row, modified);
            if rows {
                // A reader that went away wants no more of it.
                let _ = self.events.send(Event::Row(Box::new(row))).await;
            }
        }
        Ok(())
    }

    async fn uploads(
        &self,
        inspector: Option<&Inspector>,
        totals: &mut Totals,
    ) -> Told<Vec<Upload>> {
        let Some(inspector) = inspector else {
            return Told::No("the store has no call that tells".to_owned());
        };
        let (mut uploads, mut after) = (Vec::new(), None);
        loop {
            match inspector.uploads(after.as_ref()).await {
                Ok((page, next)) => {
                    totals.uploads += page.len() as u64;
                    let room = DETAILS_MAX.saturating_sub(uploads.len());
                    uploads.extend(page.into_iter().take(room));
                    if next.is_none() || next == after {
                        return Told::Yes(uploads);
                    }
                    after = next;
                }
                Err(error) => return Told::No(error.to_string()),
            }
        }
    }

    fn scope(&self, began: String, ended: String) -> Scope {
        let config = self.config;
        let directory = config.path.as_deref().map(|path| path.to_string_lossy().into_owned());
        Scope {
            tool: format!("cairnfs {}", env!("CARGO_PKG_VERSION")),
            matrix: crypto::checksum(Matrix::builtin_text().as_bytes())
                .iter()
                .fold(String::with_capacity(64), |text, byte| format!("{text}{byte:02x}")),
            provider: row_name(&config.provider),
            store: config.provider.title.clone(),
            volume: config.name.clone(),
            volume_id: self.summary.id.to_string(),
            endpoint: config.endpoint.clone(),
            bucket: directory.unwrap_or_else(|| config.bucket.clone()),
            prefix: config.prefix.clone(),
            asked: self.survey.asked.to_string(),
            began,
            ended,
            versions: self.survey.versions.clone(),
        }
    }
}

/// The row's name, and that it is not the one that this program was built with, if so.
fn row_name(row: &Provider) -> String {
    let builtin = Matrix::builtin().and_then(|matrix| matrix.provider(&row.name));
    match builtin {
        Ok(builtin) if format!("{builtin:?}") == format!("{row:?}") => row.name.clone(),
        Ok(_) | Err(_) => format!("{} (changed by the config)", row.name),
    }
}

struct Progress<'a> {
    events: &'a Events,
    asked: AtomicU64,
    repairing: bool,
}

impl Progress<'_> {
    fn asked(&self) {
        let objects = self.asked.fetch_add(1, Relaxed) + 1;
        if objects.is_multiple_of(PROGRESS_EVERY) {
            // Who is behind gets the next number.
            let _ = self.events.try_send(Event::Asked { objects, repairing: self.repairing });
        }
    }
}
