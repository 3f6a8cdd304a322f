//! The command line: which command is meant, one line each. Does no work.
//!
//! One program under three names: `cairnfs`, `mount.cairnfs` (which is also mount(8)'s helper) and
//! `umount.cairnfs` (umount(8)'s).

mod args;
mod exit;
mod output;
mod fstab;
mod start;
mod stop;
mod status;
mod sync;
mod volume;
mod providers;
mod probe;
mod fsck;
mod gc;
mod audit;
mod iam;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;

use self::args::ConfigArgs;
use self::exit::Outcome;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::mount;

/// Mounts volumes on object storage as file systems, with encryption at rest that is proved.
#[derive(Debug, Parser)]
#[command(name = "cairnfs", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mount a volume; returns when the file system answers
    Start(start::StartArgs),
    /// Store everything, unmount, and wait for the daemon to end
    Stop(stop::StopArgs),
    /// Show what is mounted, and how it is
    Status(status::StatusArgs),
    /// Make everything durable now
    Sync(sync::SyncArgs),
    /// Create, list, show, change or delete volumes
    #[command(subcommand)]
    Volume(volume::VolumeCommand),
    /// Show what each provider can do, and how that is known
    Providers(providers::ProvidersArgs),
    /// Measure what a live bucket does, and compare it with its provider's row
    Probe(probe::ProbeArgs),
    /// Check every invariant of a volume; changes nothing
    Fsck(fsck::FsckArgs),
    /// Delete blocks that nothing refers to
    Gc(gc::GcArgs),
    /// Ask the store how each object is encrypted, and repair on request
    Audit(audit::AuditArgs),
    /// Print the least permissions that a volume needs, for its provider
    Iam(iam::IamArgs),
}

/// Runs the program as its name and arguments say. A panic is an error like others: one sentence.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(output::broken_promise));
    let code = std::panic::catch_unwind(dispatch).unwrap_or(exit::code(Kind::Internal));
    ExitCode::from(code)
}

fn dispatch() -> u8 {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    mount::keep_posture_log();
    let name = arguments.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    if arguments.get(1).is_some_and(|first| first == mount::DAEMON_COMMAND) {
        return mount::run_daemon().map_or_else(|error| exit::code(error.kind()), |()| 0);
    }
    match name.to_str() {
        Some("umount.cairnfs" | "umount.fuse.cairnfs") => {
            helper(stop::umount_helper(&arguments[1..]))
        }
        Some("mount.cairnfs" | "mount.fuse.cairnfs") if is_helper_call(&arguments[1..]) => {
            helper(start::mount_helper(&arguments[1..]))
        }
        _ => person(&arguments),
    }
}

/// Whether mount(8) calls, or somebody who writes as it does: the first word is no command.
fn is_helper_call(arguments: &[OsString]) -> bool {
    let commands = ["start", "stop", "status", "sync", "help"];
    match arguments.first().and_then(|first| first.to_str()) {
        None => !arguments.is_empty(),
        Some("-h" | "-V") => false,
        Some(first) => !first.starts_with("--") && !commands.contains(&first),
    }
}

fn helper(outcome: Result<()>) -> u8 {
    outcome.map_or_else(|error| failed(&error, exit::helper_code), |()| 0)
}

fn person(arguments: &[OsString]) -> u8 {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => run(cli).map_or_else(|error| failed(&error, exit::code), Outcome::code),
        Err(error) if output::usage(&error) => 0,
        Err(_) => exit::code(Kind::Usage),
    }
}

fn failed(error: &Error, code: fn(Kind) -> u8) -> u8 {
    output::failure(error);
    code(error.kind())
}

fn run(cli: Cli) -> Result<Outcome> {
    let config = &cli.config;
    match cli.command {
        Command::Start(args) => start::run(&args, config),
        Command::Stop(args) => stop::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Sync(args) => sync::run(&args),
        Command::Volume(command) => volume::run(command, config),
        Command::Providers(args) => providers::run(&args, config),
        Command::Probe(args) => probe::run(&args, config),
        Command::Fsck(args) => fsck::run(&args, config),
        Command::Gc(args) => gc::run(&args, config),
        Command::Audit(args) => audit::run(&args, config),
        Command::Iam(args) => iam::run(&args, config),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_contract_shows_is_understood() {
        for line in [
            "mount.cairnfs start photos /mnt --sse",
            "mount.cairnfs start photos /mnt --sse=aes256 --read-only --foreground -o noatime",
            "mount.cairnfs start photos /mnt --memory 1GiB --commit-interval 5s --takeover",
            "cairnfs start photos /mnt --readahead 32MiB --create --log-file /tmp/log",
            "cairnfs stop photos --timeout 60s",
            "cairnfs status --json",
            "cairnfs status photos",
            "cairnfs sync /mnt",
            "cairnfs volume create photos --sse aes256 --block-size 4MiB",
            "cairnfs --config c.toml volume list --json",
            "cairnfs volume create scratch --sse --allow-unencrypted",
            "mount.cairnfs start scratch /mnt --sse --allow-unencrypted",
            "cairnfs volume show photos",
            "cairnfs volume set photos --sse none",
            "cairnfs volume delete photos --yes photos",
            "cairnfs providers --json",
            "cairnfs providers show minio",
            "cairnfs probe photos --json --thorough",
            "cairnfs probe photos --toml --kms-key K",
            "cairnfs probe --provider s3 --bucket b --endpoint http://127.0.0.1:9000",
            "cairnfs fsck photos --json",
            "cairnfs audit photos --fix --csv a.csv --html a.html --rate 500 --json",
            "cairnfs iam photos --bucket-policy",
            "cairnfs gc photos --set volumes.photos.region=eu-west-1",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn wrong_usage_is_told() {
        for line in [
            "cairnfs dance",
            "cairnfs start photos",
            "cairnfs stop",
            "cairnfs status -x",
            "cairnfs probe",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn mount_calls_its_helper_and_people_call_commands() {
        let is_helper = |line: &str| {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            is_helper_call(&words)
        };
        assert!(is_helper("photos /mnt -o rw"));
        assert!(is_helper("-o ro photos /mnt"));
        assert!(!is_helper("start photos /mnt"));
        assert!(!is_helper("--config f start photos /mnt"));
        assert!(!is_helper("--help") && !is_helper("-V") && !is_helper(""));
    }
}
