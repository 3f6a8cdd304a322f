//! The posture log: what became of a volume's encryption, in a file that is only ever appended to.
//! In it stand changes of policy, the first write of a mount that the store did not confirm, and
//! stores that are not asked because they refuse to be. Knows no policy.

use std::fmt::Display;
use std::fs::DirBuilder;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::time::SystemTime;

static LOG: OnceLock<PathBuf> = OnceLock::new();

/// This process keeps its posture log at `path`. The first call counts.
pub fn keep_posture_log(path: PathBuf) {
    LOG.get_or_init(|| path);
}

/// Where this process keeps its posture log, if it keeps one.
pub fn posture_log() -> Option<&'static Path> {
    LOG.get().map(PathBuf::as_path)
}

/// Logs an event, a sentence, and appends it to the posture log. A log that cannot be written is
/// logged and stops nothing.
pub fn posture(event: impl Display) {
    tracing::warn!("{event}");
    let Some(path) = posture_log() else { return };
    if let Err(error) = append(path, &event) {
        tracing::error!(%error, "the posture log `{}` cannot be written", path.display());
    }
}

/// One write, so that lines of several processes do not mix; opened each time, so that the file
/// may be rotated.
fn append(path: &Path, event: &impl Display) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    }
    let mut line = String::new();
    SystemTime.format_time(&mut Writer::new(&mut line)).map_err(std::io::Error::other)?;
    line.push_str(&format!(" [{}] {event}\n", std::process::id()));
    let mut file = OpenOptions::new().create(true).append(true).mode(0o644).open(path)?;
    file.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_added_and_none_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/cairnfs/posture.log");
        for event in ["first", "second"] {
            append(&path, &event).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("20") && lines[0].ends_with("] first"), "{text}");
        assert!(lines[1].ends_with("] second"), "{text}");
    }
}
