//! `audit`: asks the store how each object of a volume is encrypted. The daemon does it where the
//! volume is mounted here; otherwise the volume is opened, to write only for `--fix`.

mod progress;
mod text;
mod csv;
mod html;
mod chart;

use std::fs::File;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use tokio::sync::mpsc;

use self::csv::Csv;
use self::progress::Progress;
use super::args::ConfigArgs;
use super::args::OutputArgs;
use super::exit::Outcome;
use super::output;
use crate::error::Error;
use crate::error::Result;
use crate::mount;
use crate::ops::Access;
use crate::ops::audit::AuditOptions;
use crate::ops::audit::Event;
use crate::ops::audit::Report;
use crate::ops::audit::audit;
use crate::ops::with_volume;
use crate::volume::Volume;

/// Events that wait for a slow terminal or disk.
const EVENTS_MAX: usize = 256;

/// Audits a volume.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// The volume's name
    name: String,
    /// First write again what falls short, and remove superseded versions that do
    #[arg(long)]
    fix: bool,
    /// Write a row for every object and version to this file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the report as one page to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Send so many requests about objects a second at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

/// `audit NAME`.
pub(super) fn run(args: &AuditArgs, config: &ConfigArgs) -> Result<Outcome> {
    let doing = |error: Error| error.while_doing(format!("cannot audit volume `{}`", args.name));
    let mut csv = args.csv.as_deref().map(Csv::create).transpose()?;
    let mut progress = Progress::new(&args.name);
    let mut each = |event: Event| match event {
        Event::Asked { objects, repairing } => progress.asked(objects, repairing),
        Event::Row(row) => csv.iter_mut().for_each(|csv| csv.row(&row)),
    };
    let report = report(args, config, &mut each).map_err(doing)?;
    progress.finish();
    if let Some(csv) = csv {
        csv.finish()?;
    }
    if let Some(path) = &args.html {
        write(path, &html::page(&report))?;
    }
    if args.output.json {
        output::json(&report)?;
    } else {
        output::data(text::text(&report));
    }
    Ok(if report.passed { Outcome::Done } else { Outcome::Faults })
}

fn report(args: &AuditArgs, config: &ConfigArgs, each: &mut dyn FnMut(Event)) -> Result<Report> {
    let options = AuditOptions { fix: args.fix, rows: args.csv.is_some(), rate: args.rate };
    let config = config.load()?.volume(&args.name)?;
    if let Some(mount) = mount::writing_mount(&config)? {
        return mount.audit(options, each);
    }
    let access = if args.fix { Access::Write } else { Access::Read };
    let work = async |volume: &Volume| {
        let (events, mut happened) = mpsc::channel(EVENTS_MAX);
        let working = async {
            let report = audit(volume, &config, options, &events).await;
            drop(events);
            report
        };
        let telling = async {
            while let Some(event) = happened.recv().await {
                each(event);
            }
        };
        tokio::join!(working, telling).0
    };
    mount::runtime()?.block_on(with_volume(&config, access, work))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        file.write_all(text.as_bytes())?;
        file.flush()
    });
    written.map_err(|cause| cannot_write(path, cause))
}

fn cannot_write(path: &Path, cause: std::io::Error) -> Error {
    Error::from(cause).while_doing(format!("cannot write `{}`", path.display()))
}
