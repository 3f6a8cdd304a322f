//! `iam`: the least permissions that a volume needs. Reaches no network.

use clap::Args;

use super::args::ConfigArgs;
use super::exit::Outcome;
use super::output;
use crate::error::Error;
use crate::error::Result;
use crate::ops::iam;
use crate::ops::iam::Purpose;
use crate::provider::SseMode;

/// Prints permissions.
#[derive(Debug, Args)]
pub(super) struct IamArgs {
    /// The volume's name
    name: String,
    /// Only what a read-only mount and an audit need
    #[arg(long, conflicts_with = "bucket_policy")]
    read_only: bool,
    /// The bucket's own policy instead: deny uploads without encryption, and requests without TLS
    #[arg(long)]
    bucket_policy: bool,
    /// The encryption that the volume was created with, where the config does not say it
    #[arg(long, value_name = "MODE")]
    sse: Option<SseMode>,
}

/// `iam NAME`.
pub(super) fn run(args: &IamArgs, config: &ConfigArgs) -> Result<Outcome> {
    let doing = |error: Error| {
        error.while_doing(format!("cannot tell the permissions of volume `{}`", args.name))
    };
    let config = config.load()?.volume(&args.name)?;
    if let Some(mode) = &args.sse {
        config.check_mode(mode).map_err(doing)?;
    }
    let mode = args.sse.as_ref().or(config.sse.as_ref());
    let document = match (args.bucket_policy, args.read_only) {
        (true, _) => iam::bucket_policy(&config, mode),
        (false, true) => iam::permissions(&config, mode, Purpose::Read),
        (false, false) => iam::permissions(&config, mode, Purpose::Write),
    };
    let document = document.map_err(doing)?;
    output::say(document.hint);
    match document.text {
        Some(text) => output::data(text),
        None => output::json(&document.json)?,
    }
    Ok(Outcome::Done)
}
