//! What an audit concludes, as sentences: what is not as it must be, and what a reader should know
//! besides. Asks nobody.

use super::Audit;
use super::report::Part;
use super::report::Report;
use super::report::Standing;
use super::tally::Tally;
use crate::object::BucketFacts;
use crate::object::Told;
use crate::provider::SseMode;
use crate::volume::Volume;

impl Audit<'_> {
    pub(super) fn faults(&self, report: &Report, tally: &Tally) -> Vec<String> {
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
            "objects that the metadata is read from and the bucket lacks, so that blocks were not \
             compared",
        );
        counted(totals.blocks_missing, "blocks that the metadata names and the bucket lacks");
        if !tally.header_seen {
            faults.push("the volume's header is not listed".to_owned());
        }
        faults.extend(tally.missing_states());
        faults.extend(self.policy_faults());
        faults.extend(report.bucket.iter().flat_map(bucket_faults));
        if let (Some(why), Some(facts)) = (untold(&report.scope.versions), &report.bucket)
            && matches!(&facts.versioning, Told::Yes(state) if state != "off")
        {
            faults.push(format!("the bucket keeps versions, and they are not told: {why}"));
        }
        faults.extend(report.repair.iter().flat_map(|repair| repair.failures.iter().cloned()));
        faults
    }

    pub(super) fn notes(&self, report: &Report) -> Vec<String> {
        let totals = &report.totals;
        let mut notes = Vec::new();
        if self.survey.asked == SseMode::None {
            notes.push("the volume's policy asks for no encryption: nothing falls short".into());
        }
        if let Some(alias) = alias(&self.survey.asked) {
            notes.push(format!(
                "`{alias}` is an alias and names no key that could be compared: an \
                                object under any KMS key counts as encrypted"
            ));
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
        if let Some(why) = untold(&report.uploads) {
            notes.push(format!("unfinished uploads are not told: {why}"));
        }
        notes
    }

    /// Where config, recorded policy and running mount do not agree: then the answers of the store
    /// were compared with what somebody does not want.
    fn policy_faults(&self) -> Vec<String> {
        let (name, recorded) = (&self.config.name, &self.survey.asked);
        let mut faults = Vec::new();
        if let Some(wanted) = self.config.sse.as_ref().filter(|wanted| *wanted != recorded) {
            faults.push(format!(
                "the config asks for the encryption `{wanted}`, and the volume's policy is \
                 `{recorded}`: run `cairnfs volume set {name} --sse {wanted}`, or change the config"
            ));
        }
        if !writes_as_recorded(self.volume, recorded) {
            faults.push(format!(
                "the mount writes as `{}`, and the volume's policy is `{recorded}`: the state that \
                 recorded its mode may be missing; stop it and start it again",
                self.volume.status().sse_asked
            ));
        }
        faults
    }
}

/// Whether an open volume writes as `recorded` says, if it writes.
pub(super) fn writes_as_recorded(volume: &Volume, recorded: &SseMode) -> bool {
    volume.is_read_only() || volume.status().sse_asked == recorded.to_string()
}

/// The alias that a mode names its key by.
fn alias(mode: &SseMode) -> Option<&str> {
    match mode {
        SseMode::Kms(key) | SseMode::Dsse(key) => {
            (key.starts_with("alias/") || key.contains(":alias/")).then_some(key.as_str())
        }
        SseMode::None | SseMode::Aes256 | SseMode::CustomerKeyFile(_) => None,
    }
}

fn bucket_faults(facts: &BucketFacts) -> Vec<String> {
    let mut faults = Vec::new();
    if facts.public == Told::Yes(true) {
        faults.push("the bucket's policy lets everybody in".to_owned());
    }
    if let Told::Yes(state) = &facts.key_state
        && state != "Enabled"
    {
        faults.push(format!("the key that the volume names is not enabled: {state}"));
    }
    faults
}

/// Why something is not told.
fn untold<T>(told: &Told<T>) -> Option<&str> {
    match told {
        Told::Yes(_) => None,
        Told::No(why) => Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_told_from_a_key() {
        let alias_of = |mode: &str| alias(&mode.parse().unwrap()).map(str::to_owned);
        assert_eq!(alias_of("kms:alias/mine").as_deref(), Some("alias/mine"));
        let arn = "arn:aws:kms:eu-central-1:1:alias/mine";
        assert_eq!(alias_of(&format!("dsse:{arn}")).as_deref(), Some(arn));
        assert_eq!(alias_of("kms:arn:aws:kms:eu-central-1:1:key/k1"), None);
        assert_eq!(alias_of("aes256"), None);
    }
}
