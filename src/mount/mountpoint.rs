//! The directory a volume is mounted on: may it be used, does it answer, who holds it, and how it
//! is let go. Knows no volume.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use tokio::process::Command;

use super::mountinfo;
use super::mountinfo::FSTYPE;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// How long a helper program (mount, umount, fusermount3) may take.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);

/// Processes named in an error; more would hide the sentence.
const HOLDERS_MAX: usize = 5;

/// Whether a directory with entries may be mounted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// They would be hidden: an error.
    Refuse,
    /// `-o nonempty`.
    Hide,
}

/// How a mount is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
pub fn resolve(dir: &Path) -> Result<PathBuf> {
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
            Error::new(Kind::NotFound, sentence).hint(format!("mkdir -p {}", dir.display()))
        }
        _ => unusable(dir, cause.into()),
    })
}

/// Whether a volume can be mounted on `dir` (resolved): a directory, empty, nothing mounted there.
pub fn check(dir: &Path, contents: Contents) -> Result<()> {
    if let Some(there) = mountinfo::mounted_at(dir)? {
        let (dir, what) = (dir.display(), there.source.to_string_lossy().into_owned());
        return Err(Error::new(
            Kind::Busy,
            format!("`{dir}` is a mount point already: {} `{what}` is there", there.fstype),
        )
        .hint(format!("unmount it (`umount {dir}`), or choose another directory")));
    }
    let named = fs::metadata(dir).map_err(|cause| unusable(dir, cause.into()))?;
    if !named.is_dir() {
        let sentence = format!("the mount point `{}` is not a directory", dir.display());
        return Err(Error::new(Kind::NotDirectory, sentence).hint("mount on a directory"));
    }
    let mut entries = fs::read_dir(dir).map_err(|cause| unusable(dir, cause.into()))?;
    if contents == Contents::Refuse && entries.next().is_some() {
        let sentence = format!("the mount point `{}` is not empty", dir.display());
        return Err(Error::new(Kind::NotEmpty, sentence)
            .hint("empty it, choose another, or hide its entries with `-o nonempty`"));
    }
    Ok(())
}

/// Detaches what a dead daemon left at `dir`; says whether there was something.
pub async fn clear_dead(dir: &Path) -> Result<bool> {
    let ours = mountinfo::mounted_at(dir)?.is_some_and(|line| line.fstype == FSTYPE);
    let dead = ours && fs::metadata(dir).is_err_and(|cause| is_disconnected(&cause));
    if dead {
        unmount(dir, Detach::Lazily).await?;
        tracing::info!("detached the mount that a dead daemon left at `{}`", dir.display());
    }
    Ok(dead)
}

/// Whether a file system of ours answers at `dir` within `timeout`.
pub fn answers(dir: &Path, timeout: Duration) -> bool {
    let (tell, told) = mpsc::channel();
    let path = dir.to_path_buf();
    // A stat of a file system that hangs cannot be interrupted: it hangs in a thread of its own.
    std::thread::spawn(move || {
        let device = |path: &Path| fs::metadata(path).map(|named| named.dev()).ok();
        let parent = path.parent().and_then(device);
        let _ = tell.send(device(&path).is_some_and(|own| Some(own) != parent));
    });
    told.recv_timeout(timeout).unwrap_or(false)
}

/// Unmounts `dir`. As root by umount(8), which also removes the entry of [`register`]; otherwise by
/// fusermount3, which may do it for the user who mounted.
pub async fn unmount(dir: &Path, detach: Detach) -> Result<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut umount = Command::new("umount");
        umount.arg("-i").args((detach != Detach::IfIdle).then_some("-l"));
        umount
    } else {
        let mut fusermount = Command::new("fusermount3");
        fusermount.arg("-u").args((detach != Detach::IfIdle).then_some("-z"));
        fusermount
    };
    command.arg(dir);
    match run(command).await {
        Ok(()) => Ok(()),
        Err(_) if mountinfo::mounted_at(dir)?.is_none() => Ok(()),
        Err(text) if text.contains("busy") => Err(busy(dir)),
        Err(text) => Err(Error::new(Kind::Internal, text)
            .while_doing(format!("cannot unmount `{}`", dir.display()))),
    }
}

/// Tells umount(8) to call `umount.cairnfs` for this mount: it looks for a helper only when
/// `/run/mount/utab` names one, and neither mount(8) nor fusermount3 writes that entry.
pub async fn register(volume: &str, dir: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut command = Command::new("mount");
    command.args(["-i", "-f", "-t", FSTYPE, "-o", "helper=cairnfs,uhelper=cairnfs", "--"]);
    command.arg(volume).arg(dir);
    if let Err(text) = run(command).await {
        tracing::warn!("umount will not wait for `{}` to be stored: {text}", dir.display());
    }
}

/// Runs a program to its end; the error is what it said.
async fn run(mut command: Command) -> Result<(), String> {
    command.env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    match tokio::time::timeout(PROGRAM_TIMEOUT, command.output()).await {
        Err(_) => Err(format!("{program} does not end")),
        Ok(Err(cause)) => Err(format!("{program} cannot be run: {cause}")),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Err(if said.is_empty() { format!("{program}: {}", output.status) } else { said })
        }
    }
}

fn busy(dir: &Path) -> Error {
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

fn is_disconnected(cause: &std::io::Error) -> bool {
    cause.kind() == ErrorKind::NotConnected
        || cause.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error())
}

fn unusable(dir: &Path, cause: Error) -> Error {
    cause.while_doing(format!("cannot use the mount point `{}`", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_must_be_an_empty_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = resolve(dir.path()).unwrap();
        check(&path, Contents::Refuse).unwrap();
        let missing = resolve(&path.join("missing")).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        fs::write(path.join("file"), "").unwrap();
        assert_eq!(check(&path, Contents::Refuse).unwrap_err().kind(), Kind::NotEmpty);
        check(&path, Contents::Hide).unwrap();
        let file = check(&path.join("file"), Contents::Hide).unwrap_err();
        assert_eq!(file.kind(), Kind::NotDirectory);
        assert_eq!(check(Path::new("/proc"), Contents::Hide).unwrap_err().kind(), Kind::Busy);
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
        let mut child =
            std::process::Command::new("sleep").arg("60").current_dir(dir.path()).spawn().unwrap();
        let held = holders(&dir.path().canonicalize().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(held.iter().any(|name| name.contains(&child.id().to_string())), "{held:?}");
    }
}
