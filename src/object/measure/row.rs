//! A measurement as a row for a user's matrix: only what was measured is said, the rest is taken
//! from the row that it is based on. Pure.

use std::collections::BTreeMap;

use super::Asked;
use super::Measurement;
use crate::object::sse;
use crate::provider::AtRest;
use crate::provider::CopyKeeps;
use crate::provider::Day;
use crate::provider::KeySupport;
use crate::provider::Provider;
use crate::provider::RegionRule;
use crate::provider::Service;

impl Measurement {
    /// The row as text, named `name`, measured on `today`.
    pub fn toml(&self, name: &str, row: &Provider, today: Day) -> String {
        let mut text = Text::default();
        self.access(row, &mut text);
        self.sse(row, &mut text);
        self.objects(row, &mut text);
        let server = self.server.as_deref().unwrap_or("a server without a name");
        text.render(name, row, &format!("{} at {today}", plain(server)), today)
    }

    fn access(&self, row: &Provider, text: &mut Text) {
        let rule = match self.region_ignored {
            Some(true) => "ignored",
            Some(false) => "required",
            None => return,
        };
        let known = (rule == "ignored") == (row.access.region_rule == RegionRule::Ignored);
        if !known {
            text.says("access", "access", format!("region = \"{rule}\""));
        }
    }

    fn sse(&self, row: &Provider, text: &mut Text) {
        // What a provider documents of every object cannot be measured away.
        let documented = row.at_rest == AtRest::Always;
        if let Some(aes256) = self.aes256.as_ref().filter(|_| row.service == Service::S3) {
            if aes256.confirmed() {
                text.says("sse", "sse-request", "request = \"header\"");
                text.says("sse", "sse-request", "header-value = \"AES256\"");
                self.proof(row, aes256, text);
            } else if !aes256.write.accepted() {
                refusal(aes256, text);
            } else if !documented {
                text.says("sse", "sse-request", "request = \"unsupported\"");
                text.says("sse", "sse-request", "header-value = \"\"");
                let none = "proof = { where = \"none\", on-missing = \"fail\" }";
                text.says("sse", "proof", none);
            }
        }
        if self.plain.confirmed() && !documented {
            text.says("sse", "at-rest", "at-rest = \"bucket-default\"");
        }
        let copy = self.copy().map(|copy| match copy {
            CopyKeeps::Yes => "yes",
            CopyKeeps::WithoutEcho => "without-echo",
            CopyKeeps::No | CopyKeeps::Unknown => "no",
        });
        if let Some(copy) = copy {
            text.says("sse", "copy", format!("copy-keeps = \"{copy}\""));
        }
        let customer_key = self.customer_key.as_ref();
        for (key, asked, support) in [
            ("kms", self.kms.as_ref(), &row.kms),
            ("dsse", self.dsse.as_ref(), &row.dsse),
            ("customer-key", customer_key, &row.customer_key),
        ] {
            if asked.is_some_and(Asked::confirmed) {
                text.says("sse", key, format!("{key} = {}", self.supported(key, support)));
            }
        }
    }

    fn proof(&self, row: &Provider, aes256: &Asked, text: &mut Text) {
        let place = match (aes256.told_on_write(), aes256.told_on_head()) {
            (true, true) => "both",
            (true, false) => "write",
            _ => "head",
        };
        let mut accept = vec!["AES256".to_owned()];
        accept.extend(row.proof.iter().flat_map(|proof| proof.accept.clone()));
        accept.extend(self.plain.head.iter().filter_map(|head| head.told.clone()));
        accept.sort();
        accept.dedup();
        let mut proof = format!("proof = {{ where = \"{place}\"");
        for (told, key) in
            [(aes256.told_on_write(), "write-header"), (aes256.told_on_head(), "head-header")]
        {
            if told {
                proof += &format!(", {key} = \"{}\"", sse::SSE);
            }
        }
        let accept: Vec<_> = accept.iter().map(|word| format!("\"{}\"", plain(word))).collect();
        proof += &format!(", accept = [{}], on-missing = \"fail\" }}", accept.join(", "));
        text.says("sse", "proof", proof);
    }

    fn supported(&self, key: &str, row: &KeySupport) -> String {
        let key_id = match key {
            "customer-key" => "none",
            _ if self.kms_key_named => "required",
            _ => "optional",
        };
        let tls = row.requires_tls && !self.plain_http;
        format!(
            "{{ support = \"yes\", requires-tls = {tls}, key-id = \"{key_id}\", settable = true }}"
        )
    }

    fn objects(&self, row: &Provider, text: &mut Text) {
        if let Some(exclusively) = self.creates_exclusively() {
            text.says("objects", "conditional-create", self.creation(row, exclusively));
        }
        if let Some(update) = self.conditional_update {
            let update = format!("conditional-update = {update}");
            text.says("objects", "conditional-update", update);
        }
        if let Some(batches) = self.batch_delete {
            let batch = if batches { row.delete_batch } else { 1 };
            let md5 = row.delete_needs_md5 && batches;
            let delete = format!("delete = {{ batch = {batch}, needs-md5 = {md5} }}");
            text.says("objects", "delete", delete);
        }
    }

    fn creation(&self, row: &Provider, exclusively: bool) -> String {
        let existing = &self.create_existing;
        let how = match (row.service, exclusively) {
            (Service::Gcs, true) => "generation-match",
            (_, true) => "if-none-match",
            (_, false) if existing.accepted() => "silently-ignored",
            (_, false) => "none",
        };
        let mut conflict = row.conflict_statuses.clone();
        conflict.push(existing.status);
        conflict.sort_unstable();
        conflict.dedup();
        let conflict = match exclusively {
            true => format!(", conflict = {conflict:?}"),
            false => String::new(),
        };
        format!("conditional-create = {{ how = \"{how}\"{conflict} }}")
    }
}

fn refusal(aes256: &Asked, text: &mut Text) {
    let code = aes256.write.code.as_deref();
    let code = code.map(|code| format!("code = \"{}\", ", plain(code))).unwrap_or_default();
    text.says(
        "sse",
        "refusals",
        format!(
            "refusals = [{{ status = {}, {code}scope = \"probe\", meaning = \"the store refuses \
             the encryption header\", hint = \"set it up to encrypt, or set `sse = \\\"none\\\"` \
             for this volume, whose objects stay in plain text then\" }}]",
            aes256.write.status
        ),
    );
}

/// Words of the store's own, without what would end a string.
fn plain(word: &str) -> String {
    word.chars().filter(|each| !each.is_control() && !matches!(each, '"' | '\\')).collect()
}

/// The lines of each section, and the claims they make.
#[derive(Default)]
struct Text {
    sections: BTreeMap<&'static str, Vec<String>>,
    claims: Vec<&'static str>,
}

impl Text {
    fn says(&mut self, section: &'static str, claim: &'static str, line: impl Into<String>) {
        self.sections.entry(section).or_default().push(line.into());
        if !self.claims.contains(&claim) {
            self.claims.push(claim);
        }
    }

    fn render(&self, name: &str, base: &Provider, source: &str, today: Day) -> String {
        let (base, title) = (&base.name, &base.title);
        let mut text = format!(
            "[providers.{name}]\nbased-on = \"{base}\"\ntitle = \"{}, measured\"\n",
            plain(title)
        );
        for (section, lines) in &self.sections {
            text += &format!("\n[providers.{name}.{section}]\n{}\n", lines.join("\n"));
        }
        text += &format!("\n[providers.{name}.evidence]\n");
        for claim in &self.claims {
            text += &format!(
                "{claim} = {{ confidence = \"measured\", kind = \"probe\", \
                 source = \"{source}\", date = \"{today}\" }}\n"
            );
        }
        text
    }
}
