//! `probe`: measures a live bucket and compares it with its provider's row.

use clap::ArgGroup;
use clap::Args;
use serde_json::json;

use super::args::ConfigArgs;
use super::exit::Outcome;
use super::output;
use crate::ambient::Ambient;
use crate::config::Config;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Result;
use crate::mount;
use crate::object::Finding;
use crate::object::Measure;
use crate::object::Measurement;
use crate::object::Verdict;
use crate::provider::Day;

/// Rounds of the create race, and with `--thorough`.
const RACES: usize = 1;
const RACES_THOROUGH: usize = 20;

/// Measures a bucket; writes some small objects and deletes them again.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["name", "provider"]))]
pub(super) struct ProbeArgs {
    /// A volume of the config; or say where with --provider and --bucket
    name: Option<String>,
    /// The row of the matrix to compare with
    #[arg(long, requires = "bucket", value_name = "ROW")]
    provider: Option<String>,
    /// The bucket or container
    #[arg(long, requires = "provider")]
    bucket: Option<String>,
    /// Below which prefix of the bucket
    #[arg(long, requires = "provider")]
    prefix: Option<String>,
    /// Where the store answers
    #[arg(long, requires = "provider", value_name = "URL")]
    endpoint: Option<String>,
    /// The bucket's region
    #[arg(long, requires = "provider")]
    region: Option<String>,
    /// Azure's storage account
    #[arg(long, requires = "provider")]
    account: Option<String>,
    /// Oracle's namespace
    #[arg(long, requires = "provider")]
    namespace: Option<String>,
    /// Take the keys from $PREFIX_ACCESS_KEY_ID and $PREFIX_SECRET_ACCESS_KEY
    #[arg(long, requires = "provider", value_name = "PREFIX", conflicts_with = "keys_file")]
    keys_env: Option<String>,
    /// Take the keys from a file
    #[arg(long, requires = "provider", value_name = "FILE")]
    keys_file: Option<String>,
    /// Allow http:// to other machines
    #[arg(long, requires = "provider")]
    plain_http: bool,
    /// A key of the store's key service to ask for
    #[arg(long, value_name = "KEY")]
    kms_key: Option<String>,
    /// Take more time, to catch what happens only now and then
    #[arg(long)]
    thorough: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print a row for the matrix, as the config file takes it
    #[arg(long, conflicts_with = "json")]
    toml: bool,
}

/// `probe …`.
pub(super) fn run(args: &ProbeArgs, config: &ConfigArgs) -> Result<Outcome> {
    let volume = volume(args, &config.load()?)?;
    let place = args.name.clone().unwrap_or_else(|| volume.bucket.clone());
    let doing = |error: Error| error.while_doing(format!("cannot measure `{place}`"));
    let measure = Measure {
        kms_key: args.kms_key.clone(),
        races: if args.thorough { RACES_THOROUGH } else { RACES },
    };
    let ambient = Ambient::system();
    let measuring = Measurement::of(&volume, &measure, &ambient);
    let measured = mount::runtime()?.block_on(measuring).map_err(doing)?;
    let row = &volume.provider;
    let findings = measured.findings(row);
    for object in &measured.left_behind {
        output::say(format!("cannot delete object `{object}` again"));
    }
    if args.toml {
        let name = format!("{}-measured", row.name);
        output::data(measured.toml(&name, row, Day::of(ambient.now())).trim_end());
    } else if args.json {
        output::json(&json!({
            "volume": args.name,
            "provider": row.name,
            "endpoint": volume.endpoint,
            "bucket": volume.bucket,
            "findings": findings,
            "measured": measured,
        }))?;
    } else {
        output::data(output::table(&lines(&findings)));
    }
    let count = findings.iter().filter(|each| each.verdict == Verdict::Contradicts).count();
    let faults = count > 0 || !measured.left_behind.is_empty();
    if count > 0 {
        let hint = "`--toml` prints a row that fits";
        output::say(format!("the row `{}` is contradicted: {count}; {hint}", row.name));
    }
    Ok(if faults { Outcome::Faults } else { Outcome::Done })
}

fn volume(args: &ProbeArgs, config: &Config) -> Result<VolumeConfig> {
    if let Some(name) = &args.name {
        return config.volume(name);
    }
    let keys = [
        ("provider", &args.provider),
        ("bucket", &args.bucket),
        ("prefix", &args.prefix),
        ("endpoint", &args.endpoint),
        ("region", &args.region),
        ("account", &args.account),
        ("namespace", &args.namespace),
        ("credentials.env", &args.keys_env),
        ("credentials.file", &args.keys_file),
    ];
    let given = keys.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
    let plain_http = args.plain_http.then_some(("plain-http", "true"));
    config.described(&given.chain(plain_http).collect::<Vec<_>>())
}

fn lines(findings: &[Finding]) -> Vec<Vec<String>> {
    let head = ["WHAT", "MEASURED", "THE ROW SAYS", ""].map(str::to_owned).to_vec();
    let mut lines = vec![head];
    lines.extend(findings.iter().map(|finding| {
        let verdict = match finding.verdict {
            Verdict::Agrees => "agrees",
            Verdict::Contradicts => "CONTRADICTS",
            Verdict::More => "more than the row says",
            Verdict::Unmeasured => "not measured",
        };
        let says = if finding.row.is_empty() { "-" } else { &finding.row };
        let measured = if finding.measured.is_empty() { "-" } else { &finding.measured };
        [finding.about, measured, says, verdict].map(str::to_owned).to_vec()
    }));
    lines
}
