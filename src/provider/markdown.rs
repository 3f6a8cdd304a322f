//! The matrix as the table of `docs/providers.md`; a test keeps the two equal.

use std::fmt::Write;

use crate::provider::AtRest;
use crate::provider::ConditionalCreate;
use crate::provider::Confidence;
use crate::provider::Matrix;
use crate::provider::Provider;
use crate::provider::SseRequest;
use crate::provider::Support;

impl Matrix {
    /// The rows as a Markdown table.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| provider | store | `--sse` sends | encrypted without asking | proof | \
             KMS / DSSE / own key | create-if-absent | batch delete | deleted objects | \
             confidence |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in self.providers() {
            writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} / {} / {} | {} | {} | {} | {} |",
                row.name,
                store(row),
                request(row),
                at_rest(row),
                proof(row),
                support(row.kms.support, row.kms.settable),
                support(row.dsse.support, row.dsse.settable),
                support(row.customer_key.support, row.customer_key.settable),
                create(row.conditional_create),
                row.delete_batch,
                deleted(row),
                confidence(row),
            )
            .expect("a string takes all text");
        }
        text
    }
}

fn store(row: &Provider) -> String {
    match &row.not_yet {
        Some(_) => format!("{} (no volumes yet)", row.title),
        None => row.title.clone(),
    }
}

fn request(row: &Provider) -> &'static str {
    match (row.sse_request, row.omit_on_refusal) {
        (SseRequest::Header, false) => "header",
        (SseRequest::Header, true) => "header, omitted if refused",
        (SseRequest::CompatHeader, _) => "header (S3 compatibility)",
        (SseRequest::Default, _) => "nothing: always encrypted",
        (SseRequest::Unsupported, _) => "an error",
    }
}

fn at_rest(row: &Provider) -> String {
    let text = match row.at_rest {
        AtRest::Always => "always",
        AtRest::BucketDefault => "by the bucket's default",
        AtRest::ServerConfig => "by the server's setting",
        AtRest::Never => "never",
        AtRest::Unknown => "unknown",
    };
    match row.at_rest_since {
        Some(since) => format!("{text}, since {since}"),
        None => text.to_owned(),
    }
}

fn proof(row: &Provider) -> String {
    let Some(proof) = &row.proof else {
        return if row.encrypts_anyway() { "documentation" } else { "none" }.to_owned();
    };
    match (proof.on_write, proof.on_head) {
        (true, true) if proof.write_header == proof.head_header => {
            format!("`{}`", proof.write_header)
        }
        (true, true) => format!("`{}`, `{}`", proof.write_header, proof.head_header),
        (true, false) => format!("`{}`", proof.write_header),
        (false, _) => format!("`{}` on HEAD", proof.head_header),
    }
}

fn support(support: Support, settable: bool) -> &'static str {
    match (support, settable) {
        (Support::Yes, true) => "yes",
        (Support::OptIn, true) => "opt-in",
        (Support::Yes | Support::OptIn, false) => "not from here",
        (Support::No, _) => "no",
        (Support::Unknown, _) => "?",
    }
}

fn create(how: ConditionalCreate) -> &'static str {
    match how {
        ConditionalCreate::IfNoneMatch => "`If-None-Match`",
        ConditionalCreate::GenerationMatch => "generation",
        ConditionalCreate::HardLink => "hard link",
        ConditionalCreate::Native => "native",
        ConditionalCreate::None => "no: read back",
        ConditionalCreate::SilentlyIgnored => "ignored: read back",
    }
}

fn deleted(row: &Provider) -> String {
    let Some(costs) = &row.costs else { return "are gone".to_owned() };
    match (costs.minimum_days, costs.soft_delete_days, costs.hides_deleted) {
        (0, 0, false) => "are gone".to_owned(),
        (_, _, true) => "hidden, and charged".to_owned(),
        (0, days, false) => format!("kept {days} days, and charged"),
        (days, _, false) => format!("charged to the end of {days} days"),
    }
}

fn confidence(row: &Provider) -> &'static str {
    match row.confidence() {
        Confidence::Measured => "measured",
        Confidence::Documented => "documented",
        Confidence::Assumed => "assumed",
    }
}
