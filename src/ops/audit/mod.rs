//! The audit: asks the store about every object of a volume, compares with the volume's metadata
//! and its policy, and repairs on request. What it finds is a [`Report`]; what happens meanwhile
//! goes out as [`Event`]s. Prints nothing.

mod report;
mod judge;
mod tally;
mod pace;
mod survey;
mod fix;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

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

use self::pace::Pace;
use self::survey::Survey;
use self::tally::Tally;
use crate::ambient::Ambient;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::BucketFacts;
use crate::object::Inspector;
use crate::object::Told;
use crate::object::Upload;
use crate::ops::rfc3339;
use crate::provider::Matrix;
use crate::provider::Provider;
use crate::provider::Service;
use crate::provider::SseMode;
use crate::volume::Summary;
use crate::volume::Volume;
use crate::volume::Writer;

/// Objects between two words about progress.
const PROGRESS_EVERY: u64 = 256;

/// What is wanted of an audit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditOptions {
    /// Repair what falls short, first.
    pub fix: bool,
    /// Tell every row, not only the sums.
    pub rows: bool,
    /// HEAD requests a second at most.
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
    let summary = Volume::inspect(config).await?;
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
        let mut tally = Tally::new(began);
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
        let mut missing = self.volume.lost_metadata().await?;
        totals.metadata_missing = missing.len() as u64;
        if !missing.is_empty() {
            // Metadata that cannot be read whole does not tell which blocks must be there.
            return Ok(missing);
        }
        let census = self.volume.census(self.writer(), |name| {
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
        let asked = AtomicU64::new(0);
        let progress = Progress { events: self.events, asked, repairing: true };
        fix::fix(self.volume, self.survey, &|| progress.asked()).await
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

    fn writer(&self) -> Writer {
        match (self.volume.is_read_only(), self.summary.held) {
            (false, _) => Writer::Us,
            (true, false) => Writer::Nobody,
            (true, true) => Writer::Another,
        }
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
            matrix: Matrix::builtin_hash()
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

    fn faults(&self, report: &Report, tally: &Tally) -> Vec<String> {
        let asked = &self.survey.asked;
        let own = |part| part != Part::Foreign;
        let foreign = |part| part == Part::Foreign;
        let totals = &report.totals;
        let mut faults = Vec::new();
        let mut counted = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{what}: {count}"));
            }
        };
        let wanted = |what: &str| format!("{what} that are not encrypted as `{asked}` asks");
        counted(tally.short(own, Standing::Current), &wanted("objects of the volume"));
        counted(tally.short(own, Standing::Superseded), &wanted("superseded versions"));
        counted(tally.short(foreign, Standing::Current), &wanted("foreign objects"));
        counted(
            tally.short(foreign, Standing::Superseded),
            &wanted("superseded versions of foreign objects"),
        );
        counted(totals.unknown, "objects that the store does not describe");
        counted(
            totals.metadata_missing,
            "tables of the metadata that the bucket lacks, so that blocks were not compared",
        );
        counted(totals.blocks_missing, "blocks that the metadata names and the bucket lacks");
        if !tally.header_seen {
            faults.push("the volume's header is not listed".to_owned());
        }
        faults.extend(missing_states(&tally.states));
        faults.extend(report.bucket.iter().flat_map(bucket_faults));
        faults.extend(unseen_versions(&report.scope.versions, report.bucket.as_ref()));
        faults.extend(report.repair.iter().flat_map(|repair| repair.failures.iter().cloned()));
        faults
    }

    fn notes(&self, report: &Report) -> Vec<String> {
        let totals = &report.totals;
        let mut notes = Vec::new();
        if self.survey.asked == SseMode::None {
            notes.push("the volume's policy asks for no encryption: nothing falls short".into());
        }
        if self.config.provider.proof.is_none() && self.survey.asked != SseMode::None {
            let title = &self.config.provider.title;
            notes.push(format!("{title} proves nothing: what it documents is trusted"));
        }
        let mut counted = |count: u64, what: &str| {
            if count > 0 {
                notes.push(format!("{what}: {count}"));
            }
        };
        counted(totals.foreign, "objects and versions that are not the volume's");
        counted(totals.uploads, "unfinished uploads, which are not the volume's");
        counted(totals.markers, "delete markers");
        counted(totals.blocks_unnamed, "blocks under way, or waiting to be deleted");
        counted(totals.vanished, "objects deleted while the audit ran");
        if let Some(why) = report.uploads.why() {
            notes.push(format!("unfinished uploads are not told: {why}"));
        }
        let (versions, facts) = (&report.scope.versions, report.bucket.as_ref());
        let keeps_any = !matches!(self.config.provider.service, Service::Fs | Service::Memory);
        if let (true, Some(why), None) =
            (keeps_any, versions.why(), unseen_versions(versions, facts))
        {
            notes.push(format!("whether there are superseded versions is not told: {why}"));
        }
        notes
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

/// States are numbered from 1 without a gap.
fn missing_states(found: &[u64]) -> Vec<String> {
    let last = found.iter().max().copied().unwrap_or(0);
    let missing = (1..=last).filter(|number| !found.contains(number));
    let mut faults: Vec<_> = missing
        .map(|number| format!("`{}` is missing", crate::object::name::state(number)))
        .collect();
    if last == 0 {
        faults.push("the volume has no state".to_owned());
    }
    faults
}

/// That there may be versions nobody looked at. Only a store that has no versions, or a bucket that
/// never kept any, has none to hide.
fn unseen_versions(versions: &Told<()>, facts: Option<&BucketFacts>) -> Option<String> {
    let (facts, why) = (facts?, versions.why()?);
    let keeps = match &facts.versioning {
        Told::Yes(state) => Some(state != "off"),
        Told::No(_) | Told::Denied(_) => None,
    };
    match (versions, keeps) {
        (_, Some(true)) => Some(format!("the bucket keeps versions, and they are not told: {why}")),
        (Told::Denied(_), None) => Some(format!(
            "the bucket may keep versions, and the keys may not list them (it takes the permission \
             s3:ListBucketVersions): {why}"
        )),
        _ => None,
    }
}

fn bucket_faults(facts: &BucketFacts) -> Vec<String> {
    let mut faults = Vec::new();
    if facts.public == Told::Yes(true) {
        faults.push("the bucket's policy lets everybody in".to_owned());
    }
    if facts.public_acl == Told::Yes(true) && facts.public_access_blocked != Told::Yes(true) {
        faults.push("the bucket's ACL lets everybody in".to_owned());
    }
    match &facts.key_state {
        Told::Yes(state) if state != "Enabled" => {
            faults.push(format!("the key that the volume names is not enabled: {state}"));
        }
        Told::Yes(_) | Told::No(_) | Told::Denied(_) => {}
    }
    faults
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_the_config_changes_is_told_from_the_compiled_one() {
        let row = Matrix::builtin().unwrap().provider("minio").unwrap();
        assert_eq!(row_name(&row), "minio");
        let changed = Provider { delete_batch: 7, ..(*row).clone() };
        assert_eq!(row_name(&changed), "minio (changed by the config)");
    }

    #[test]
    fn versions_that_may_be_there_and_may_not_be_seen_are_a_fault() {
        let no = || "the store does not tell".to_owned();
        let facts = |versioning| BucketFacts {
            default_encryption: Told::No(no()),
            denies_unencrypted: Told::No(no()),
            denies_plain_http: Told::No(no()),
            public: Told::No(no()),
            public_acl: Told::Yes(true),
            public_access_blocked: Told::No(no()),
            versioning,
            object_lock: Told::No(no()),
            key_state: Told::No(no()),
        };
        let on = |state: &str| Told::Yes(state.to_owned());
        let (denied, unsupported) = (Told::Denied(no()), Told::No(no()));
        for (versions, versioning, fault) in [
            (&denied, Told::Denied(no()), Some("s3:ListBucketVersions")),
            (&denied, Told::No(no()), Some("s3:ListBucketVersions")),
            (&denied, on("enabled"), Some("keeps versions")),
            (&denied, on("off"), None),
            (&unsupported, on("suspended"), Some("keeps versions")),
            (&unsupported, Told::No(no()), None),
            (&Told::Yes(()), on("enabled"), None),
        ] {
            let found = unseen_versions(versions, Some(&facts(versioning)));
            assert_eq!(found.is_some(), fault.is_some(), "{versions:?}: {found:?}");
            assert!(fault.is_none_or(|words| found.unwrap().contains(words)));
        }
        assert_eq!(unseen_versions(&denied, None), None, "only S3 has versions so");
        assert_eq!(bucket_faults(&facts(Told::No(no()))), ["the bucket's ACL lets everybody in"]);
        let shut = BucketFacts { public_access_blocked: Told::Yes(true), ..facts(Told::No(no())) };
        assert!(bucket_faults(&shut).is_empty());
    }

    #[test]
    fn a_gap_among_the_states_is_told() {
        assert!(missing_states(&[2, 1, 3]).is_empty());
        assert_eq!(missing_states(&[3, 1]), ["`cairnfs.state.00000002` is missing"]);
        assert_eq!(missing_states(&[]), ["the volume has no state"]);
    }
}
