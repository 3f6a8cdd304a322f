//! The command line. (skeleton)

/// Runs the program.
pub fn main() -> std::process::ExitCode { todo!() }
