//! What an audit concludes, as sentences: what is not as it must be, and what a reader should know
//! besides. Asks nobody.

use super::Audit;
use super::report::Part;
use super::report::Report;
use super::report::Standing;
use super::tally::Tally;
use crate::object::BucketFacts;
use crate::object::Told;
use crate::provider::Service;
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
        faults.extend(unseen_versions(&report.scope.versions, report.bucket.as_ref()));
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

    /// Where config, recorded policy and running mount do not agree: then the answers of the store
    /// were compared with what somebody does not want.
    fn policy_faults(&self) -> Vec<String> {
        let (name, recorded) = (&self.config.name, &self.survey.asked);
        let mut faults = Vec::new();
        let wanted = self.config.asked_mode(&self.config.mount);
        if let Some(wanted) = wanted.filter(|wanted| wanted != recorded) {
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
    if let Told::Yes(state) = &facts.key_state
        && state != "Enabled"
    {
        faults.push(format!("the key that the volume names is not enabled: {state}"));
    }
    faults
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
}
