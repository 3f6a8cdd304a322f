//! Many small files, made, looked at, read and removed by several processes at once.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use super::Fault;
use super::Settings;
use super::measure::Measure;
use super::measure::Numbers;
use super::measure::now;

const DIRECTORIES: u64 = 16;

/// What is done to each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Made, written, closed; all of them durable at the end.
    Create,
    /// Asked for its size.
    Stat,
    /// Opened, read, compared, closed.
    Read,
    /// Unlinked; all of them durably gone at the end.
    Remove,
}

/// Does it to all files, from `processes` processes, or, as one of them, to this one's share.
pub fn run(act: Act, dir: &Path, settings: &Settings) -> Result<Measure, Fault> {
    let (files, processes) = (settings.number("files", 10_000)?, settings.number("processes", 4)?);
    let part = settings.number("part", u64::MAX)?;
    let begun = now();
    if part < processes {
        let share = Share { dir, size: settings.number("size", 4096)?, verify: settings.verify() };
        let step = usize::try_from(processes)?;
        (part..files).step_by(step).try_for_each(|file| share.act(act, file))?;
        return Ok(Measure::rate(act.name(), files / processes, begun.elapsed()));
    }
    if act == Act::Create {
        (0..DIRECTORIES).try_for_each(|n| fs::create_dir_all(dir.join(format!("{n}"))))?;
    }
    in_processes(act, dir, settings, processes)?;
    match act {
        Act::Create => File::open(path(dir, files - 1))?.sync_all()?,
        Act::Remove => {
            (0..DIRECTORIES).try_for_each(|n| fs::remove_dir(dir.join(format!("{n}"))))?;
            File::open(dir)?.sync_all()?;
        }
        Act::Stat | Act::Read => {}
    }
    Ok(Measure::rate(act.name(), files, begun.elapsed()))
}

fn in_processes(act: Act, dir: &Path, settings: &Settings, processes: u64) -> Result<(), Fault> {
    let program = std::env::current_exe()?;
    let mut children = Vec::new();
    for part in 0..processes {
        let mut command = Command::new(&program);
        command.arg(act.name()).arg(dir).args(settings.args()).arg(format!("part={part}"));
        children.push(command.stdout(Stdio::null()).spawn()?);
    }
    let mut sound = true;
    for mut child in children {
        sound &= child.wait()?.success();
    }
    if sound { Ok(()) } else { Err("one of the processes failed".into()) }
}

struct Share<'d> {
    dir: &'d Path,
    size: u64,
    verify: bool,
}

impl Share<'_> {
    fn act(&self, act: Act, file: u64) -> Result<(), Fault> {
        let path = path(self.dir, file);
        match act {
            Act::Create => fs::write(path, self.bytes(file)?)?,
            Act::Remove => fs::remove_file(path)?,
            Act::Stat => {
                let size = fs::metadata(&path)?.len();
                if size != self.size {
                    return Err(format!("{} has {size} bytes", path.display()).into());
                }
            }
            Act::Read => {
                let bytes = fs::read(&path)?;
                if self.verify && bytes != self.bytes(file)? {
                    return Err(format!("{} reads back differently", path.display()).into());
                }
            }
        }
        Ok(())
    }

    fn bytes(&self, file: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; usize::try_from(self.size)?];
        Numbers(file).fill(&mut bytes);
        Ok(bytes)
    }
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Stat => "stat",
            Self::Read => "read",
            Self::Remove => "remove",
        }
    }
}

fn path(dir: &Path, file: u64) -> PathBuf {
    dir.join(format!("{}/{file}", file % DIRECTORIES))
}
