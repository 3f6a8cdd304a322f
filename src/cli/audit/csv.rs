//! The full list of an audit as a table of comma-separated values, row by row.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use super::cannot_write;
use super::text::word;
use crate::error::Result;
use crate::ops::audit::Finding;
use crate::ops::audit::Row;

const HEAD: &str = "name,version,standing,part,bytes,modified,posture,mode,key,verdict,error";

/// A file of rows. The first failure is told at the end.
pub(super) struct Csv {
    path: PathBuf,
    file: BufWriter<File>,
    failure: Option<io::Error>,
}

impl Csv {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|cause| cannot_write(path, cause))?;
        let mut csv = Self { path: path.into(), file: BufWriter::new(file), failure: None };
        csv.line(HEAD);
        Ok(csv)
    }

    pub(super) fn row(&mut self, row: &Row) {
        self.line(&line(row));
    }

    pub(super) fn finish(mut self) -> Result<()> {
        let done = match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.file.flush(),
        };
        done.map_err(|cause| cannot_write(&self.path, cause))
    }

    fn line(&mut self, line: &str) {
        if self.failure.is_none() {
            self.failure = writeln!(self.file, "{line}").err();
        }
    }
}

fn line(row: &Row) -> String {
    let (mode, key) = match &row.finding {
        Finding::Confirmed { mode, key } => (mode.as_str(), key.as_deref().unwrap_or_default()),
        _ => ("", ""),
    };
    let fields = [
        row.name.as_str(),
        row.version.as_deref().unwrap_or_default(),
        &word(&row.standing),
        &word(&row.part),
        &row.bytes.to_string(),
        row.modified.as_deref().unwrap_or_default(),
        super::text::posture(&row.finding),
        mode,
        key,
        &word(&row.verdict),
        row.error.as_deref().unwrap_or_default(),
    ];
    fields.map(field).join(",")
}

/// Quoted where it must be. What a spreadsheet would take for a formula gets a `'` in front: names
/// of foreign objects are anybody's.
fn field(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !formula && !text.contains([',', '"', '\n', '\r']) {
        return text.into();
    }
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\"")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::audit::Part;
    use crate::ops::audit::Standing;
    use crate::ops::audit::Verdict;

    #[test]
    fn a_row_has_the_fields_of_the_head_and_no_field_breaks_out() {
        let row = Row {
            name: "=1,\"2\"".into(),
            version: Some("v1".into()),
            standing: Standing::Superseded,
            part: Part::Foreign,
            bytes: 7,
            modified: None,
            finding: Finding::Confirmed { mode: "aws:kms".into(), key: Some("k".into()) },
            verdict: Verdict::FallsShort,
            error: None,
        };
        let expected = "\"'=1,\"\"2\"\"\",v1,superseded,foreign,7,,confirmed,aws:kms,k,\
                        falls-short,";
        assert_eq!(line(&row), expected);
        let plain = line(&Row { name: "a".into(), ..row });
        assert_eq!(plain.split(',').count(), HEAD.split(',').count());
    }
}
