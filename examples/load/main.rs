//! The load of `scripts/bench.sh`: workloads on a directory, each measured and printed as one line
//! of JSON, and the report that lays the lines of all systems side by side. Knows no file system.
//!
//! ```text
//! load WORKLOAD DIR [key=value ...]      load report DIR
//! ```

mod files;
mod measure;
mod report;
mod streams;
mod tree;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use measure::Measure;

/// What went wrong, as a sentence.
pub type Fault = Box<dyn Error>;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "error: load {}: {error}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), Fault> {
    let [workload, dir, settings @ ..] = args else {
        return Err("usage: load WORKLOAD DIR [key=value ...]".into());
    };
    let (dir, settings) = (Path::new(dir), Settings::parse(settings)?);
    let mut out = std::io::stdout();
    match workload.as_str() {
        "report" => out.write_all(report::text(dir)?.as_bytes())?,
        "make-tar" => tree::make_tar(dir, settings.number("files", 5_600)?)?,
        _ => {
            for measure in measured(workload, dir, &settings)? {
                writeln!(out, "{}", measure.json())?;
            }
        }
    }
    Ok(())
}

fn measured(workload: &str, dir: &Path, settings: &Settings) -> Result<Vec<Measure>, Fault> {
    let bytes = settings.number("bytes", 1 << 30)?;
    let count = |default| settings.number("count", default);
    Ok(match workload {
        "create" => vec![files::run(files::Act::Create, dir, settings)?],
        "stat" => vec![files::run(files::Act::Stat, dir, settings)?],
        "read" => vec![files::run(files::Act::Read, dir, settings)?],
        "remove" => vec![files::run(files::Act::Remove, dir, settings)?],
        "directories" => tree::directories(dir, count(2_000)?)?,
        "untar" => vec![tree::untar(dir, Path::new(settings.text("tar")?))?],
        "write-stream" => vec![streams::write(dir, bytes)?],
        "read-stream" => vec![streams::read(dir, settings)?],
        "random-read" => vec![streams::random_read(dir, count(4_000)?, settings)?],
        "random-write" => vec![streams::random_write(dir, count(4_000)?)?],
        "fsync" => vec![streams::append_and_fsync(dir, count(100)?)?],
        _ => return Err("there is no such workload".into()),
    })
}

/// The `key=value` arguments.
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    fn parse(args: &[String]) -> Result<Self, Fault> {
        let pairs = args.iter().map(|arg| {
            let (key, value) = arg.split_once('=').ok_or_else(|| format!("`{arg}` has no `=`"))?;
            Ok((key.to_owned(), value.to_owned()))
        });
        Ok(Self(pairs.collect::<Result<_, Fault>>()?))
    }

    /// A number, or its default.
    pub fn number(&self, key: &str, default: u64) -> Result<u64, Fault> {
        self.0.get(key).map_or(Ok(default), |value| {
            value.parse().map_err(|_| format!("`{key}` is not a number").into())
        })
    }

    /// A text that must be given.
    pub fn text(&self, key: &str) -> Result<&str, Fault> {
        self.0.get(key).map(String::as_str).ok_or_else(|| format!("`{key}=` is missing").into())
    }

    /// Whether bytes are compared; the empty file system stores none.
    pub fn verify(&self) -> bool {
        self.0.get("verify").is_none_or(|value| value != "no")
    }

    /// The arguments again.
    pub fn args(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}"))
    }
}
