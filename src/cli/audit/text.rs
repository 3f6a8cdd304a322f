//! An audit's report as text for a terminal.

use std::fmt::Display;

use serde::Serialize;
use serde_json::Value;

use crate::cli::output;
use crate::cli::output::bytes;
use crate::cli::output::printable;
use crate::object::BucketFacts;
use crate::object::Told;
use crate::ops::audit::Finding;
use crate::ops::audit::Report;
use crate::ops::audit::Row;

/// Names that a terminal is shown of each kind; the page and the CSV have more.
const SHOWN_MAX: usize = 20;

/// The whole report.
pub(super) fn text(report: &Report) -> String {
    let mut parts = vec![scope(report), sums(report), ages(report)];
    if let Some(facts) = &report.bucket {
        let rows = bucket_rows(facts).into_iter();
        let rows = rows.map(|(what, told)| vec![format!("  {what}"), told]);
        parts.push(format!("bucket\n{}", table(rows)));
    }
    if let Some(repair) = &report.repair {
        parts.push(format!(
            "repaired: {} objects written again ({}), {} superseded versions removed, {} failures",
            repair.rewritten,
            bytes(repair.bytes),
            repair.removed,
            repair.failed
        ));
    }
    parts.extend(list("falls short", report.offenders.iter().map(offender)));
    parts.extend(list("missing", report.missing.iter().cloned()));
    parts.extend(list("not the volume's", report.foreign.iter().cloned()));
    parts.extend(list("note", report.notes.iter().cloned()));
    parts.extend(list("fault", report.faults.iter().cloned()));
    parts.push(verdict(report).to_owned());
    parts.join("\n\n")
}

/// The verdict in one sentence.
pub(super) fn verdict(report: &Report) -> &'static str {
    match (report.passed, report.scope.asked.as_str()) {
        (true, "none") => "passed: the volume asks for no encryption",
        (true, _) => "passed: every object is encrypted as the volume's policy asks",
        (false, _) => "failed",
    }
}

/// What a posture is called.
pub(super) fn posture(finding: &Finding) -> &'static str {
    match finding {
        Finding::Confirmed { .. } => "confirmed",
        Finding::ProviderDefault => "provider-default",
        Finding::Absent => "absent",
        Finding::Unknown => "unknown",
        Finding::Empty => "empty",
    }
}

/// Mode and key of a finding, where there are any.
pub(super) fn mode_and_key(finding: &Finding) -> (String, String) {
    match finding {
        Finding::Confirmed { mode, key } => (mode.clone(), key.clone().unwrap_or_default()),
        _ => (String::new(), String::new()),
    }
}

/// What the bucket's facts are called, and what was told.
pub(super) fn bucket_rows(facts: &BucketFacts) -> Vec<(&'static str, String)> {
    vec![
        ("default encryption", told(&facts.default_encryption)),
        ("denies unencrypted uploads", told(&facts.denies_unencrypted)),
        ("denies plain http", told(&facts.denies_plain_http)),
        ("open to everybody by its policy", told(&facts.public)),
        ("open to everybody by its ACL", told(&facts.public_acl)),
        ("public access blocked", told(&facts.public_access_blocked)),
        ("versioning", told(&facts.versioning)),
        ("object lock", told(&facts.object_lock)),
        ("key", told(&facts.key_state)),
    ]
}

/// A value of an enumeration as its JSON has it.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn told(fact: &Told<impl Display>) -> String {
    match fact {
        Told::Yes(value) => match value.to_string().as_str() {
            "true" => "yes".to_owned(),
            "false" => "no".to_owned(),
            value => value.to_owned(),
        },
        Told::No(why) | Told::Denied(why) => format!("not told: {why}"),
    }
}

/// A table whose cells the store may have written.
fn table(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().map(|cell| printable(&cell).into_owned()).collect::<Vec<_>>());
    output::table(&rows.collect::<Vec<_>>())
}

fn scope(report: &Report) -> String {
    let (scope, totals) = (&report.scope, &report.totals);
    let versions = match &scope.versions {
        Told::Yes(()) => format!(
            "{} superseded, {} delete markers, {} unfinished uploads",
            totals.superseded, totals.markers, totals.uploads
        ),
        Told::No(why) | Told::Denied(why) => format!("not told: {why}"),
    };
    let slash = if scope.prefix.is_empty() { "" } else { "/" };
    let rows = [
        ("volume", format!("{} ({})", scope.volume, scope.volume_id)),
        ("store", format!("{}, {}{slash}{}", scope.store, scope.bucket, scope.prefix)),
        ("policy", scope.asked.clone()),
        ("asked", format!("{} objects, {}", totals.objects, bytes(totals.bytes))),
        ("versions", versions),
        ("blocks", format!("{} named, {} missing", totals.blocks_named, totals.blocks_missing)),
        ("time", format!("{} to {}", scope.began, scope.ended)),
        ("by", format!("{}, matrix {}", scope.tool, &scope.matrix[..16.min(scope.matrix.len())])),
    ];
    table(rows.map(|(name, text)| vec![name.to_owned(), text]))
}

fn sums(report: &Report) -> String {
    let head = ["PART", "STANDING", "POSTURE", "MODE", "KEY", "VERDICT", "OBJECTS", "BYTES"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(report.sums.iter().map(|sum| {
        let (mode, key) = mode_and_key(&sum.finding);
        vec![
            word(&sum.part),
            word(&sum.standing),
            posture(&sum.finding).to_owned(),
            mode,
            key,
            word(&sum.verdict),
            sum.objects.to_string(),
            bytes(sum.bytes),
        ]
    }));
    table(rows)
}

fn ages(report: &Report) -> String {
    let mut rows = vec![["AGE", "AS ASKED", "NOT", "BYTES"].map(str::to_owned).to_vec()];
    rows.extend(report.ages.iter().map(|sum| {
        vec![sum.age.clone(), sum.meets.to_string(), sum.short.to_string(), bytes(sum.bytes)]
    }));
    table(rows)
}

fn offender(row: &Row) -> String {
    let (mode, _) = mode_and_key(&row.finding);
    let version = row.version.as_deref().map(|id| format!(", version {id}")).unwrap_or_default();
    let why = row.error.clone().unwrap_or_else(|| {
        format!("{}{}{mode}", posture(&row.finding), if mode.is_empty() { "" } else { " " })
    });
    format!("{}{version}: {why}", row.name)
}

fn list(what: &str, names: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let count = names.len();
    let mut lines: Vec<_> =
        names.take(SHOWN_MAX).map(|name| format!("{what}: {}", printable(&name))).collect();
    if count > SHOWN_MAX {
        lines.push(format!("{what}: and {} more", count - SHOWN_MAX));
    }
    (count > 0).then(|| lines.join("\n"))
}
