//! The binary: one program under three names (`cairnfs`, `mount.cairnfs`, `umount.cairnfs`).

use std::process::ExitCode;

fn main() -> ExitCode {
    cairnfs::cli::main()
}
