//! A measurement beside the provider's row: what agrees, what contradicts. Pure.

use serde::Serialize;

use super::Asked;
use super::Measurement;
use super::Reply;
use crate::provider::Addressing;
use crate::provider::AtRest;
use crate::provider::Checksum;
use crate::provider::CopyKeeps;
use crate::provider::KeyId;
use crate::provider::KeySupport;
use crate::provider::Provider;
use crate::provider::RefusalScope;
use crate::provider::Refused;
use crate::provider::RegionRule;
use crate::provider::SseMode;
use crate::provider::SseRequest;
use crate::provider::Support;

/// Clocks may differ by so much before requests are refused; stores allow fifteen minutes.
const SKEW_MAX_SECONDS: i64 = 300;

/// What a measured fact means for what the row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is as the row says.
    Agrees,
    /// The store does not do what the row says.
    Contradicts,
    /// The store does more than the row says.
    More,
    /// It could not be measured.
    Unmeasured,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, as the row's keys name it.
    pub about: &'static str,
    /// What was measured.
    pub measured: String,
    /// What the row says; empty where a row has no word for it.
    pub row: String,
    /// What that means.
    pub verdict: Verdict,
}

impl Measurement {
    /// Every fact, beside what `row` says of it.
    pub fn findings(&self, row: &Provider) -> Vec<Finding> {
        let mut findings = vec![self.clock(), self.region(row), self.addressing(row)];
        findings.push(self.request(row));
        findings.push(self.at_rest(row));
        findings.extend(self.copy_keeps(row));
        let keys = [
            ("sse.kms", &self.kms, &row.kms),
            ("sse.dsse", &self.dsse, &row.dsse),
            ("sse.customer-key", &self.customer_key, &row.customer_key),
        ];
        let keys = keys.into_iter().filter_map(|(about, asked, support)| {
            Some(self.keyed(about, asked.as_ref()?, support))
        });
        findings.extend(keys);
        findings.push(self.create(row));
        let update = self.conditional_update;
        findings.push(claim("objects.conditional-update", update, row.conditional_update));
        findings.push(must("list after write", self.lists_at_once));
        findings.push(must("range of an object", self.ranges));
        findings.push(self.delete(row));
        findings.extend(self.checksum(row));
        findings
    }

    fn clock(&self) -> Finding {
        let verdict = match self.clock_ahead_seconds {
            None => Verdict::Unmeasured,
            Some(ahead) => contradicts(ahead.abs() > SKEW_MAX_SECONDS),
        };
        let measured = self.clock_ahead_seconds.map(|ahead| format!("{ahead} s ahead of ours"));
        finding("clock", measured.unwrap_or_default(), "", verdict)
    }

    fn region(&self, row: &Provider) -> Finding {
        let rule = row.access.region_rule;
        let verdict = match (rule, self.region_ignored) {
            (_, None) | (RegionRule::None, _) => Verdict::Unmeasured,
            (RegionRule::Required, Some(true)) => Verdict::More,
            (RegionRule::Ignored, Some(false)) => Verdict::Contradicts,
            _ => Verdict::Agrees,
        };
        let measured = match self.region_ignored {
            Some(true) => "ignored",
            Some(false) => "required",
            None => "",
        };
        finding("access.region", measured, word(&rule), verdict)
    }

    fn addressing(&self, row: &Provider) -> Finding {
        let says = row.access.addressing;
        let (measured, verdict) = match (self.virtual_host, says) {
            (None, _) => ("as configured", Verdict::Unmeasured),
            (Some(true), Addressing::Path) => ("both", Verdict::More),
            (Some(true), Addressing::VirtualHost) => ("virtual-host", Verdict::Agrees),
            (Some(true), _) => ("both", Verdict::Agrees),
            (Some(false), Addressing::Path | Addressing::None) => ("path", Verdict::Agrees),
            (Some(false), _) => ("path", Verdict::Contradicts),
        };
        finding("access.addressing", measured, word(&says), verdict)
    }

    fn request(&self, row: &Provider) -> Finding {
        let proof = match &row.proof {
            Some(proof) if proof.on_write => format!(", proof `{}`", proof.write_header),
            Some(proof) => format!(", proof `{}` on HEAD", proof.head_header),
            None => ", no proof".to_owned(),
        };
        let says = format!("{}{proof}", word(&row.sse_request));
        let about = "sse.request";
        let Some(aes256) = &self.aes256 else {
            let verdict = match &row.proof {
                Some(_) => contradicts(!self.plain.confirmed()),
                None if self.plain.confirmed() => Verdict::More,
                None => Verdict::Agrees,
            };
            return finding(about, format!("nothing to ask; {}", told(&self.plain)), says, verdict);
        };
        let verdict = match row.sse_request {
            SseRequest::Header | SseRequest::CompatHeader => asked_by_header(row, aes256),
            SseRequest::Default | SseRequest::Unsupported if aes256.confirmed() => Verdict::More,
            SseRequest::Default | SseRequest::Unsupported => Verdict::Agrees,
        };
        finding(about, told(aes256), says, verdict)
    }

    fn at_rest(&self, row: &Provider) -> Finding {
        let encrypts = self.plain.confirmed();
        let verdict = match row.at_rest {
            AtRest::Always if encrypts => Verdict::Agrees,
            AtRest::Always if row.proof.is_some() => Verdict::Contradicts,
            AtRest::Always => Verdict::Unmeasured,
            AtRest::Never if encrypts => Verdict::More,
            _ => Verdict::Agrees,
        };
        let measured = match encrypts {
            true => told(&self.plain),
            false => "no word of encryption where nothing was asked".to_owned(),
        };
        finding("sse.at-rest", measured, word(&row.at_rest), verdict)
    }

    fn copy_keeps(&self, row: &Provider) -> Option<Finding> {
        let measured = self.copy()?;
        let verdict = match (row.copy_keeps, measured) {
            (says, measured) if says == measured => Verdict::Agrees,
            (CopyKeeps::Unknown, _) => Verdict::More,
            (CopyKeeps::No, _) | (CopyKeeps::WithoutEcho, CopyKeeps::Yes) => Verdict::More,
            _ => Verdict::Contradicts,
        };
        Some(finding("sse.copy-keeps", word(&measured), word(&row.copy_keeps), verdict))
    }

    /// What became of the encryption of a copy.
    pub(super) fn copy(&self) -> Option<CopyKeeps> {
        let copy = self.copy.as_ref()?;
        Some(match (copy.write.accepted() && copy.told_on_write(), copy.told_on_head()) {
            (true, true) => CopyKeeps::Yes,
            (false, true) => CopyKeeps::WithoutEcho,
            (_, false) => CopyKeeps::No,
        })
    }

    fn keyed(&self, about: &'static str, asked: &Asked, row: &KeySupport) -> Finding {
        let confirmed = asked.confirmed();
        let nameless = row.key_id == KeyId::Required && !self.kms_key_named;
        let in_the_clear = row.requires_tls && self.plain_http;
        let verdict = match row.support {
            Support::Yes if confirmed => Verdict::Agrees,
            Support::Yes if nameless || in_the_clear => Verdict::Unmeasured,
            Support::Yes => Verdict::Contradicts,
            Support::No | Support::Unknown if confirmed => Verdict::More,
            Support::OptIn | Support::No | Support::Unknown => Verdict::Agrees,
        };
        finding(about, told(asked), word(&row.support), verdict)
    }

    fn create(&self, row: &Provider) -> Finding {
        let reply = &self.create_existing;
        let measured = match reply.accepted() {
            true => "what exists is replaced".to_owned(),
            false => {
                format!("refused ({}), winners of races {:?}", status(reply), self.race_winners)
            }
        };
        let known =
            row.conflict_statuses.is_empty() || row.conflict_statuses.contains(&reply.status);
        let verdict = match (row.conditional_create.works(), self.creates_exclusively()) {
            (true, true) => contradicts(!known),
            (true, false) => Verdict::Contradicts,
            (false, true) => Verdict::More,
            (false, false) => Verdict::Agrees,
        };
        let says = format!("{} {:?}", word(&row.conditional_create), row.conflict_statuses);
        finding("objects.conditional-create", measured, says, verdict)
    }

    fn delete(&self, row: &Provider) -> Finding {
        let verdict = match (row.delete_batch > 1, self.batch_delete) {
            (true, done) => contradicts(!done),
            (false, true) => Verdict::More,
            (false, false) => Verdict::Agrees,
        };
        let measured = if self.batch_delete { "three at once" } else { "one by one" };
        finding("objects.delete", measured, format!("{} at once", row.delete_batch), verdict)
    }

    fn checksum(&self, row: &Provider) -> Option<Finding> {
        let taken = self.crc32c?;
        let verdict = match row.checksum {
            // The first write carried none.
            Checksum::None => Verdict::Agrees,
            Checksum::Crc32c => contradicts(!taken),
            Checksum::Md5 => Verdict::Unmeasured,
        };
        let measured = if taken { "none needed; crc32c is taken" } else { "none needed" };
        Some(finding("objects.checksum", measured, word(&row.checksum), verdict))
    }
}

/// Whether the answer to `AES256` is what a row that sends it foresees.
fn asked_by_header(row: &Provider, aes256: &Asked) -> Verdict {
    let reply = &aes256.write;
    if !reply.accepted() {
        let (code, message) = (reply.code.as_deref(), reply.message.as_deref());
        let answer = Refused {
            status: reply.status,
            code: code.unwrap_or_default(),
            message: message.unwrap_or_default(),
            scope: RefusalScope::Probe,
            mode: &SseMode::Aes256,
        };
        return contradicts(row.refusal(answer).is_none());
    }
    match &row.proof {
        None if aes256.confirmed() => Verdict::More,
        None => Verdict::Agrees,
        Some(proof) => {
            let lacking = (proof.on_write && !aes256.told_on_write())
                || (proof.on_head && !aes256.told_on_head());
            contradicts(lacking)
        }
    }
}

fn claim(about: &'static str, measured: bool, row: bool) -> Finding {
    let word = |yes| if yes { "yes" } else { "no" };
    let verdict = match (row, measured) {
        (true, false) => Verdict::Contradicts,
        (false, true) => Verdict::More,
        _ => Verdict::Agrees,
    };
    finding(about, word(measured), word(row), verdict)
}

/// What no row says, because nothing works without it.
fn must(about: &'static str, measured: bool) -> Finding {
    finding(about, if measured { "yes" } else { "no" }, "", contradicts(!measured))
}

fn contradicts(yes: bool) -> Verdict {
    if yes { Verdict::Contradicts } else { Verdict::Agrees }
}

fn finding(
    about: &'static str,
    measured: impl Into<String>,
    row: impl Into<String>,
    verdict: Verdict,
) -> Finding {
    Finding { about, measured: measured.into(), row: row.into(), verdict }
}

/// What became of a write that asked for encryption, or for none.
fn told(asked: &Asked) -> String {
    let at_write = asked.told_on_write().then_some(asked.write.told.as_deref()).flatten();
    let at_head = asked.head.as_ref().filter(|_| asked.told_on_head());
    let at_head = at_head.and_then(|head| head.told.as_deref());
    match (asked.write.accepted(), at_write, at_head) {
        (false, ..) => format!("refused ({})", status(&asked.write)),
        (true, Some(word), Some(_)) => format!("`{word}` on write and HEAD"),
        (true, Some(word), None) => format!("`{word}` on write"),
        (true, None, Some(word)) => format!("`{word}` on HEAD"),
        (true, None, None) => "taken, and not confirmed".to_owned(),
    }
}

fn status(reply: &Reply) -> String {
    match &reply.code {
        Some(code) => format!("{} {code}", reply.status),
        None => reply.status.to_string(),
    }
}

/// The word that a value has in `providers.toml`.
fn word(value: &impl Serialize) -> String {
    let word = serde_json::to_value(value).ok();
    word.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}
