//! The daemon's birth: this program runs itself again, detached, and waits until the other one says
//! that the file system answers, or why it does not. Knows neither FUSE nor volumes.
//!
//! The request goes to the child's stdin and the report comes from its stdout, each a line of JSON.
//! A second process instead of a fork: a process with threads cannot fork and go on.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Write;
use std::os::fd::RawFd;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::control::Failure;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// The first argument that the child is called with; not a command for people.
pub const COMMAND: &str = "daemon";

/// What a child reports, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// The file system answers. Holds what a person should know, as sentences.
    Ready(Vec<String>),
    /// It will not.
    Failed(Failure),
}

/// Runs `program daemon LABEL…` detached with `request`, and waits at most `patience` for its
/// report; returns what a person should know. The labels only name the process in `ps`; `log`
/// says where its log is.
pub(super) fn spawn<R: Serialize>(
    mut program: Command,
    labels: &[&str],
    request: &R,
    patience: Duration,
    log: &str,
) -> Result<Vec<String>> {
    let started = |cause: std::io::Error| Error::from(cause).while_doing("cannot start the daemon");
    let mut line = serde_json::to_vec(request)
        .map_err(|cause| Error::new(Kind::Internal, "a request has no JSON").because(cause))?;
    line.push(b'\n');
    // Nothing of the caller's terminal or pipes stays open in the daemon.
    let mut child = program
        .arg(COMMAND)
        .args(labels)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(started)?;
    let sent = child.stdin.take().map(|mut stdin| stdin.write_all(&line));
    let Some(stdout) = child.stdout.take() else {
        return Err(Error::new(Kind::Internal, "the daemon has no pipe"));
    };
    // A child that died at once breaks the pipe; its end is told by `report` below.
    if let Some(Err(cause)) = sent
        && cause.kind() != ErrorKind::BrokenPipe
    {
        return Err(started(cause));
    }
    match read_report(stdout, patience) {
        Some(Ok(Report::Ready(notices))) => Ok(notices),
        Some(Ok(Report::Failed(failure))) => {
            let _ = child.wait();
            Err(failure.into())
        }
        Some(Err(_)) => Err(ended(&mut child).hint(format!("its log says why: {log}"))),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            let sentence = format!("the daemon is not ready after {} s", patience.as_secs());
            Err(Error::new(Kind::Unavailable, sentence).hint(format!("its log says why: {log}")))
        }
    }
}

/// Detaches this process from its caller's session and open files, and reads the request. Only for
/// a process that has opened nothing itself.
pub(super) fn adopt<R: DeserializeOwned>() -> Result<R> {
    close_inherited();
    // Fails only for a process that leads a group already: then it is detached enough.
    let _ = rustix::process::setsid();
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|cause| Error::from(cause).while_doing("the daemon has no request"))?;
    serde_json::from_str(&line).map_err(|cause| {
        Error::new(Kind::Usage, "`daemon` is not for people")
            .because(cause)
            .hint("use `cairnfs start`")
    })
}

/// Closes what the caller had open beside the three streams: its locks and pipes would last as long
/// as the mount.
fn close_inherited() {
    let Ok(listing) = fs::read_dir("/proc/self/fd") else { return };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let numbers: Vec<RawFd> = listing.filter_map(|entry| number(entry.ok()?)).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The listing's own one is closed by now.
        let _ = nix::unistd::close(number);
    }
}

/// Tells whoever started this process; that nobody listens any more is no fault.
pub(super) fn report(report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    }
}

/// The report, `Some(Err)` when the child ended without one, `None` when it is late.
fn read_report(stdout: ChildStdout, patience: Duration) -> Option<Result<Report, ()>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let report = read.ok().and_then(|_| serde_json::from_str(&line).ok());
        let _ = tell.send(report.ok_or(()));
    });
    told.recv_timeout(patience).ok()
}

fn ended(child: &mut Child) -> Error {
    let how = match child.wait() {
        Ok(status) => status.to_string(),
        Err(cause) => cause.to_string(),
    };
    Error::new(Kind::Internal, format!("the daemon ended before it was ready, with {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A daemon that is a line of shell; `daemon` and the labels become `$0`, `$1`, ….
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    #[test]
    fn a_ready_daemon_has_read_its_request() {
        let script = r#"read line; [ "$line" = '"hello"' ] && echo '{"ready":["so"]}'"#;
        let notices = spawn(shell(script), &["photos", "/mnt"], &"hello", PATIENCE, "").unwrap();
        assert_eq!(notices, ["so"]);
    }

    #[test]
    fn the_daemons_own_sentence_and_hint_come_back() {
        let failure = Failure::from(&Error::new(Kind::Busy, "no key service").hint("give it one"));
        let line = serde_json::to_string(&Report::Failed(failure)).unwrap();
        let error = spawn(shell(&format!("echo '{line}'")), &[], &1, PATIENCE, "/log").unwrap_err();
        assert_eq!(error.to_string(), "no key service");
        assert_eq!(error.hint_text(), Some("give it one"));
    }

    #[test]
    fn a_daemon_that_dies_is_told_at_once() {
        let error = spawn(shell("exit 9"), &[], &1, PATIENCE, "/log").unwrap_err();
        assert!(error.to_string().contains("ended before it was ready"), "{error}");
        assert!(error.to_string().contains('9'), "{error}");
        assert_eq!(error.hint_text(), Some("its log says why: /log"));
    }

    #[test]
    fn a_daemon_that_is_late_is_ended() {
        let error =
            spawn(shell("exec sleep 60"), &[], &1, Duration::from_millis(50), "/log").unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
    }
}
