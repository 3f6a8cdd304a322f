//! The directory of a mount, seen from outside: its path, does it answer, who holds it, and how it
//! is let go when its daemon is gone. Knows no volume.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use super::mountinfo;
use super::mountinfo::FSTYPE;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// How long a mount may take to say that its daemon is gone; a daemon that lives is not waited for.
const DEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Processes named in an error; more would hide the sentence.
const HOLDERS_MAX: usize = 5;

/// How a mount is let go, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detach {
    /// In use: `Kind::Busy`, and the mount stays.
    IfIdle,
    /// In use: the name goes away at once, the mount with its last user.
    Lazily,
    /// As `Lazily`, also when not everything could be stored in time; the daemon goes on storing.
    Forced,
}

/// The canonical path of a mount point, without asking the file system that is mounted there
/// (it may be dead or away).
pub(super) fn resolve(dir: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(dir).map_err(|cause| unusable(dir, cause.into()))?;
    if let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name())
        && let Ok(parent) = parent.canonicalize()
    {
        let path = parent.join(name);
        if mountinfo::mounted_at(&path)?.is_some() {
            return Ok(path);
        }
    }
    absolute.canonicalize().map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => {
            let sentence = format!("the mount point `{}` does not exist", dir.display());
            Error::new(Kind::NotFound, sentence)
                .hint(format!("create it with `mkdir -p {}`", dir.display()))
        }
        _ => unusable(dir, cause.into()),
    })
}

/// Detaches what a dead daemon left at `dir`; says whether there was something.
pub(super) fn clear_dead(dir: &Path) -> Result<bool> {
    let ours = mountinfo::mounted_at(dir)?.is_some_and(|line| line.fstype == FSTYPE);
    // Attributes may still be cached; statfs(2) always asks the daemon, or finds that it is gone.
    let dead = ours
        && ask(dir, DEAD_TIMEOUT, |dir| rustix::fs::statfs(dir))
            .is_some_and(|asked| asked.is_err_and(|cause| cause == rustix::io::Errno::NOTCONN));
    if dead {
        unmount(dir, Detach::Lazily)?;
    }
    Ok(dead)
}

/// Whether a file system of its own answers at `dir` within `timeout`.
pub(super) fn answers(dir: &Path, timeout: Duration) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|named| named.dev()).ok();
    let parent = dir.parent().and_then(device);
    ask(dir, timeout, device).flatten().is_some_and(|own| Some(own) != parent)
}

/// Asks a file system that may hang, in a thread of its own, since the question cannot be
/// interrupted.
fn ask<T: Send + 'static>(
    dir: &Path,
    timeout: Duration,
    question: impl FnOnce(&Path) -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = mpsc::channel();
    let path = dir.to_path_buf();
    std::thread::spawn(move || tell.send(question(&path)));
    told.recv_timeout(timeout).ok()
}

/// Unmounts `dir` when no daemon of ours does it: as root by umount(8) without its helper, which
/// also forgets the mount's utab entry, otherwise by fusermount3.
pub fn unmount(dir: &Path, detach: Detach) -> Result<()> {
    let (program, options, lazy) = match rustix::process::geteuid().is_root() {
        true => ("umount", "-i", "-l"),
        false => ("fusermount3", "-u", "-z"),
    };
    let ended = Command::new(program)
        .arg(options)
        .args((detach != Detach::IfIdle).then_some(lazy))
        .arg(dir)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| Error::from(cause).while_doing(format!("cannot run {program}")))?;
    if ended.status.success() || mountinfo::mounted_at(dir)?.is_none() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr).trim().replace('\n', "; ");
    match said.contains("busy") {
        true => Err(busy(dir)),
        false => Err(Error::new(Kind::Internal, said)
            .while_doing(format!("cannot unmount `{}`", dir.display()))),
    }
}

/// The error for a mount that is in use, naming who uses it as far as that can be seen.
pub(super) fn busy(dir: &Path) -> Error {
    let error = Error::new(Kind::Busy, format!("`{}` is in use", dir.display()));
    let holders = holders(dir);
    if holders.is_empty() {
        return error.hint("end what uses it, or detach it with `umount -l`");
    }
    error.with("held by", holders.join(", ")).hint("end these processes, or `umount -l`")
}

/// Processes with a working directory, root or open file below `dir`, as `name[pid]`.
fn holders(dir: &Path) -> Vec<String> {
    let own = std::process::id().to_string();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|pid| *pid != own && pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| holds(Path::new("/proc").join(pid), dir))
        .take(HOLDERS_MAX)
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{}[{pid}]", name.trim())
        })
        .collect()
}

fn holds(process: PathBuf, dir: &Path) -> bool {
    let below = |link: PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(dir));
    if below(process.join("cwd")) || below(process.join("root")) {
        return true;
    }
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    files.filter_map(|file| Some(file.ok()?.path())).any(below)
}

fn unusable(dir: &Path, cause: Error) -> Error {
    cause.while_doing(format!("cannot use the mount point `{}`", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_has_one_path_and_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let path = resolve(dir.path()).unwrap();
        assert_eq!(resolve(&path.join("../").join(path.file_name().unwrap())).unwrap(), path);
        std::os::unix::fs::symlink("/proc", path.join("link")).unwrap();
        assert_eq!(resolve(&path.join("link")).unwrap(), Path::new("/proc"));
        let missing = resolve(&path.join("missing")).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        assert!(missing.hint_text().unwrap().starts_with("create it with `mkdir -p "));
    }

    #[test]
    fn nothing_dead_is_found_on_an_ordinary_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!clear_dead(dir.path()).unwrap());
    }

    #[test]
    fn an_ordinary_directory_does_not_answer_as_a_mount() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!answers(dir.path(), Duration::from_secs(10)));
        assert!(answers(Path::new("/proc"), Duration::from_secs(10)));
    }

    #[test]
    fn who_holds_a_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("60").current_dir(dir.path()).spawn().unwrap();
        let held = holders(&dir.path().canonicalize().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(held.iter().any(|name| name.contains(&child.id().to_string())), "{held:?}");
    }
}
