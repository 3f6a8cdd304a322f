//! Reads the compiled-in rows, and a user's rows over them. Unknown keys, claims without evidence
//! and dates in the future are errors.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use crate::ambient::Ambient;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Day;
use crate::provider::Provider;
use crate::provider::row::RawRow;
use crate::provider::unknown;

/// The compiled-in files, in the order in which rows may rest on each other.
const BUILTIN: [(&str, &str); 2] = [
    ("providers.toml", include_str!("../../providers.toml")),
    ("providers-compatible.toml", include_str!("../../providers-compatible.toml")),
];

/// The whole matrix: the compiled-in rows, and the user's.
#[derive(Debug, Clone)]
pub struct Matrix {
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    provider: Arc<Provider>,
    /// The row as text had it, so that a later one can change parts of it.
    table: toml::Table,
}

/// A file that may hold more than rows; the rest is its reader's business.
#[derive(Deserialize)]
struct Rows {
    #[serde(default)]
    providers: BTreeMap<String, Spanned<RawRow>>,
}

impl Matrix {
    /// The compiled-in matrix.
    pub fn builtin() -> Result<Self> {
        // What was true when this was built stays so on a machine whose clock is behind; a test
        // holds the compiled-in dates against the calendar.
        let never = "9999-12-31".parse()?;
        BUILTIN.into_iter().try_fold(Self { rows: Vec::new() }, |matrix, (origin, text)| {
            matrix.with_rows(text, origin, never)
        })
    }

    /// The text of the compiled-in rows, file after file.
    pub fn builtin_text() -> String {
        BUILTIN.iter().map(|(_, text)| *text).collect()
    }

    /// Adds the rows in the `[providers.NAME]` tables of `text`, or changes rows of that name.
    /// A new row may start from another one: `based-on = "s3"`. What a row says needs evidence
    /// in that row. `origin` names the file in errors. Other tables of the text are not read.
    pub fn with_user_file(self, text: &str, origin: &str) -> Result<Self> {
        self.with_rows(text, origin, Day::of(Ambient::system().now()))
    }

    /// The row of that name, or an error that names the nearest and lists all.
    pub fn provider(&self, name: &str) -> Result<Arc<Provider>> {
        match self.row(name) {
            Some(row) => Ok(row.provider.clone()),
            None => Err(unknown("provider", name, &self.names())),
        }
    }

    /// All rows, in the file's order, the user's new ones last.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.rows.iter().map(|row| &row.provider)
    }

    fn names(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.provider.name.as_str()).collect()
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.provider.name == name)
    }

    fn with_rows(mut self, text: &str, origin: &str, today: Day) -> Result<Self> {
        let stated: Rows =
            toml::from_str(text).map_err(|cause| toml_fault(text, origin, &cause))?;
        let tables: toml::Table =
            toml::from_str(text).map_err(|cause| toml_fault(text, origin, &cause))?;
        let mut stated: Vec<_> = stated.providers.into_iter().collect();
        stated.sort_by_key(|(_, row)| row.span().start);
        for (name, row) in stated {
            let at = format!("{origin}:{}: row `{name}`", line_of(text, row.span().start));
            let table = tables["providers"][&name].as_table().expect("it was read as a row");
            self.put(&name, row.get_ref(), table, today).map_err(|error| error.while_doing(at))?;
        }
        Ok(self)
    }

    fn put(&mut self, name: &str, stated: &RawRow, own: &toml::Table, today: Day) -> Result<()> {
        check_evidence(stated, today)?;
        let base = match &stated.based_on {
            Some(base) => {
                let row = self.row(base);
                Some(row.ok_or_else(|| unknown("provider", base, &self.names()))?)
            }
            None => self.row(name),
        };
        let mut table = base.map(|row| row.table.clone()).unwrap_or_default();
        if let Some(base) = &stated.based_on {
            borrow_evidence(&mut table, base);
        }
        merge(&mut table, own);
        table.remove("based-on");
        let complete: RawRow = table.clone().try_into().map_err(|cause: toml::de::Error| {
            Error::new(Kind::Config, cause.message().to_owned())
        })?;
        let row = Row { provider: Arc::new(complete.complete(name)?), table };
        match self.rows.iter_mut().find(|row| row.provider.name == name) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
        Ok(())
    }
}

/// What is taken from another row is assumed of this one, however well it is known of that one.
fn borrow_evidence(table: &mut toml::Table, base: &str) {
    let claims = table.get_mut("evidence").and_then(toml::Value::as_table_mut);
    for (_, evidence) in claims.into_iter().flatten() {
        let Some(evidence) = evidence.as_table_mut() else { continue };
        for (key, value) in [
            ("confidence", "assumed".to_owned()),
            ("kind", "none".to_owned()),
            ("source", format!("taken from row `{base}`")),
        ] {
            evidence.insert(key.to_owned(), value.into());
        }
    }
}

/// Lays `own` over `base`: tables of a row key by key, all else whole.
fn merge(base: &mut toml::Table, own: &toml::Table) {
    for (key, value) in own {
        match (base.get_mut(key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => {
                old.extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

fn check_evidence(row: &RawRow, today: Day) -> Result<()> {
    let name = |claim| {
        let text = toml::Value::try_from(claim).expect("a claim is a word");
        text.as_str().unwrap_or_default().to_owned()
    };
    let claims = row.claims();
    for claim in &claims {
        let Some(evidence) = row.evidence.get(claim) else {
            let claim = name(claim);
            return Err(Error::new(Kind::Config, format!("claim `{claim}` has no evidence")).hint(
                format!(
                    "add `{claim} = {{ confidence = \"assumed\", kind = \"none\", \
                     date = \"2026-11-24\" }}` to the row's `evidence`, or better"
                ),
            ));
        };
        evidence
            .check(today)
            .map_err(|error| error.while_doing(format!("claim `{}`", name(claim))))?;
    }
    match row.evidence.keys().find(|claim| !claims.contains(claim)) {
        Some(claim) => {
            let message = format!("there is evidence for `{}`, which it does not say", name(claim));
            Err(Error::new(Kind::Config, message))
        }
        None => Ok(()),
    }
}

/// The error for a text that does not read as TOML, or not as what is expected: file, line, and
/// for an unknown name the nearest known one and all that are allowed.
pub fn toml_fault(text: &str, origin: &str, cause: &toml::de::Error) -> Error {
    let at = match cause.span() {
        Some(span) => format!("{origin}:{}", line_of(text, span.start)),
        None => origin.to_owned(),
    };
    let message = cause.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    for (start, what) in [("unknown field", "key"), ("unknown variant", "value")] {
        if let (true, Some((name, known))) = (message.starts_with(start), quoted.split_first()) {
            return unknown(what, name, known).while_doing(at);
        }
    }
    Error::new(Kind::Config, message.replace('\n', ", "))
        .while_doing(at)
        .hint("correct the file there; it is TOML")
}

/// The number of the line that holds byte `at`, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
