//! `status`: shows each mount. Reads no storage; it asks the daemons.

use clap::Args;

use super::args::OutputArgs;
use super::exit::Outcome;
use super::output;
use super::output::bytes;
use crate::error::Result;
use crate::mount;
use crate::mount::Live;
use crate::mount::Mount;
use crate::mount::MountStatus;

/// Shows what is mounted.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// A volume or a mount point; without it, all
    #[arg(value_name = "VOLUME|DIR")]
    what: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// `status [VOLUME|DIR]`.
pub(super) fn run(args: &StatusArgs) -> Result<Outcome> {
    let mounts = match &args.what {
        Some(what) => mount::find(what)?,
        None => mount::list()?,
    };
    let all: Vec<_> = mounts.iter().map(Mount::status).collect();
    match (args.output.json, all.is_empty()) {
        (true, _) => output::json(&all)?,
        (false, true) => output::say("nothing is mounted"),
        (false, false) => {
            output::data(all.iter().map(text).collect::<Vec<_>>().join("\n\n"));
        }
    }
    Ok(Outcome::Done)
}

fn text(status: &MountStatus) -> String {
    let place = format!("{}{}{}", status.bucket, slash(&status.prefix), status.prefix);
    let access = if status.read_only { ", read-only" } else { "" };
    let mut lines = vec![
        format!("{} at {}{access}", status.volume, status.mountpoint.display()),
        format!("  {} {place}", status.provider),
        format!("  since {}, process {}", status.since, status.pid),
    ];
    if let Some(why) = &status.unreachable {
        lines.push(format!("  no answer: {why}"));
    }
    lines.extend(status.live.iter().flat_map(live));
    lines.join("\n")
}

fn live(live: &Live) -> Vec<String> {
    let (sse, epoch, memory) = (&live.sse, &live.epoch, &live.memory);
    let mut lines = vec![
        format!("  store     {}", live.store.state),
        format!(
            "  stored    epoch {}, {} s ago; {} not stored yet",
            epoch.committed,
            epoch.age_seconds,
            bytes(epoch.dirty_bytes)
        ),
        format!(
            "  sse       {} ({}): {} confirmed, {} by the provider's default, {} unconfirmed, \
             {} not asked for",
            sse.asked, sse.verify, sse.confirmed, sse.provider_default, sse.unconfirmed, sse.absent
        ),
        format!("  memory    {} of {}", bytes(memory.used_bytes), bytes(memory.limit_bytes)),
    ];
    lines.extend(live.store.last_error.iter().map(|error| format!("  last error: {error}")));
    lines.extend(sse.key.iter().map(|key| format!("  key       {key}")));
    lines.extend(sse.first_unconfirmed.iter().map(|name| format!("  unconfirmed since: {name}")));
    lines.extend(sse.last_unconfirmed.iter().map(|name| format!("  unconfirmed last: {name}")));
    lines.extend(sse.posture_log.iter().map(|log| format!("  sse log   {}", log.display())));
    lines.extend(live.broken.iter().map(|why| format!("  nothing can be written: {why}")));
    lines
}

fn slash(prefix: &str) -> &'static str {
    if prefix.is_empty() { "" } else { "/" }
}
