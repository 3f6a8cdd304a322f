//! `providers`: the matrix, with the rows that the config adds or changes. Reaches no network.

use clap::Args;
use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::args::ConfigArgs;
use super::args::OutputArgs;
use super::exit::Outcome;
use super::output;
use crate::error::Result;
use crate::provider::Evidence;
use crate::provider::Provider;

/// Shows what providers can do.
#[derive(Debug, Args)]
pub(super) struct ProvidersArgs {
    #[command(subcommand)]
    command: Option<ProvidersCommand>,
    #[command(flatten)]
    output: OutputArgs,
    /// Print the table of `docs/providers.md`
    #[arg(long)]
    markdown: bool,
}

#[derive(Debug, Subcommand)]
enum ProvidersCommand {
    /// Show one provider, with the evidence for each claim
    Show {
        /// The provider's name
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// `providers [show NAME]`.
pub(super) fn run(args: &ProvidersArgs, config: &ConfigArgs) -> Result<Outcome> {
    let config = config.load()?;
    let matrix = config.matrix();
    match &args.command {
        Some(ProvidersCommand::Show { name, output }) => {
            show(&*matrix.provider(name)?, output.json || args.output.json)?;
        }
        None if args.markdown => output::data(matrix.markdown().trim_end()),
        None if args.output.json => {
            output::json(&matrix.providers().map(|row| row_json(row)).collect::<Vec<_>>())?;
        }
        None => {
            let head = [
                "PROVIDER",
                "STORE",
                "ASKED BY",
                "AT REST",
                "CREATE IF ABSENT",
                "CONFIDENCE",
                "LOOKED AT",
            ];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            rows.extend(matrix.providers().map(|row| summary(row)));
            output::data(output::table(&rows));
        }
    }
    Ok(Outcome::Done)
}

/// A row of the list: what matters most, and how far it can be relied on.
fn summary(row: &Provider) -> Vec<String> {
    vec![
        row.name.clone(),
        row.title.clone(),
        word(&row.sse_request),
        word(&row.at_rest),
        word(&row.conditional_create),
        word(&row.confidence()),
        row.looked_at().to_string(),
    ]
}

fn show(row: &Provider, as_json: bool) -> Result<()> {
    if as_json {
        return output::json(&row_json(row));
    }
    let Value::Object(fields) = row_json(row) else { return Ok(()) };
    let plain = fields.iter().filter(|(name, _)| *name != "evidence");
    let rows: Vec<_> = plain.map(|(name, value)| vec![name.clone(), plainly(value)]).collect();
    output::data(output::table(&rows));
    let head = ["CLAIM", "CONFIDENCE", "DATE", "SOURCE"].map(str::to_owned).to_vec();
    let mut claims = vec![head];
    claims.extend(row.evidence.iter().map(|(claim, evidence)| {
        let Evidence { confidence, date, source, .. } = evidence;
        vec![word(claim), word(confidence), date.to_string(), source.clone()]
    }));
    output::data(format!("\n{}", output::table(&claims)));
    Ok(())
}

fn row_json(row: &Provider) -> Value {
    json!({
        "name": row.name,
        "title": row.title,
        "service": row.service,
        "api": row.api,
        "deployment_dependent": row.deployment_dependent,
        "not_yet": row.not_yet,
        "endpoint": row.endpoint,
        "region": row.region,
        "access": row.access,
        "sse_request": row.sse_request,
        "at_rest": row.at_rest,
        "at_rest_since": row.at_rest_since.map(|day| day.to_string()),
        "operations": row.operations,
        "copy_keeps": row.copy_keeps,
        "proof": row.proof,
        "refusals": row.refusals,
        "omit_on_refusal": row.omit_on_refusal,
        "kms": row.kms,
        "dsse": row.dsse,
        "customer_key": row.customer_key,
        "bucket_default_probe": row.bucket_default_probe,
        "checksum": row.checksum,
        "delete_batch": row.delete_batch,
        "delete_needs_md5": row.delete_needs_md5,
        "list_version": row.list_version,
        "conditional_create": row.conditional_create,
        "conflict_statuses": row.conflict_statuses,
        "conditional_update": row.conditional_update,
        "limits": row.limits,
        "costs": row.costs,
        "evidence": row.evidence,
    })
}

/// The word that a value has in `providers.toml`.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).map(|value| plainly(&value)).unwrap_or_default()
}

fn plainly(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Object(fields) => {
            let parts = fields.iter().map(|(name, value)| format!("{name} {}", plainly(value)));
            parts.collect::<Vec<_>>().join(", ")
        }
        Value::Array(values) => values.iter().map(plainly).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
