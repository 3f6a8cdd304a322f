//! What is said in the background: one `tracing` subscriber that writes to stderr, to a file or to
//! the journal. Knows nothing of what is said, and prints no command's result (`cli/output.rs`).

mod bounded;
mod journal;
mod posture;

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

pub use journal::present as journal_present;
pub use posture::keep_posture_log;
pub use posture::posture;
pub use posture::posture_log;

/// Our own words from `info`, everybody else's from `warn`.
const FILTER_DEFAULT: &str = "warn,cairnfs=info";

/// Where the log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The terminal, or whoever started us in the foreground.
    Stderr,
    /// A file, appended to without a bound; its rotation is the administrator's.
    File(PathBuf),
    /// A file that starts again at [`bounded::BYTES_MAX`], for machines without a journal.
    BoundedFile(PathBuf),
    /// The journal's socket.
    Journal,
}

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it goes.
    pub target: Target,
    /// An `EnvFilter` directive (`debug`, `cairnfs=trace`); `None`: ours from `info`.
    pub filter: Option<String>,
}

/// Installs the log of this process and sends panics there. A second call fails.
pub fn init(settings: &Settings) -> Result<()> {
    let directives = settings.filter.as_deref().unwrap_or(FILTER_DEFAULT);
    let filter = EnvFilter::try_new(directives).map_err(|cause| {
        Error::new(Kind::Config, "the log filter cannot be understood")
            .with("filter", directives)
            .because(cause)
            .hint("write it like `info` or `cairnfs=debug,warn`")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let installed = match &settings.target {
        Target::Stderr => lines.with_writer(std::io::stderr).with_target(false).try_init(),
        Target::File(path) => lines.with_writer(Mutex::new(append(path)?)).try_init(),
        Target::BoundedFile(path) => {
            lines.with_writer(Mutex::new(bounded::Bounded::open(path)?)).try_init()
        }
        Target::Journal => lines
            .with_writer(BoxMakeWriter::new(journal::Journal::connect()?))
            .without_time()
            .with_level(false)
            .with_target(false)
            .try_init(),
    };
    installed.map_err(|_| Error::new(Kind::Internal, "the log is installed already"))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no message");
        tracing::error!("a promise of the program was broken at {place}: {text}");
    }));
    Ok(())
}

fn append(path: &PathBuf) -> Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|cause| {
        Error::from(cause).while_doing(format!("cannot open the log file `{}`", path.display()))
    })
}
