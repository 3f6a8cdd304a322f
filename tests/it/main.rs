//! Everything that is tested through the binary, a mount or a server: one test binary, because
//! each one links the whole crate again.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic, its helpers too")]
#![expect(clippy::disallowed_methods, reason = "tests wait for real processes, by the real clock")]

mod support;

mod doubles;
mod main_job;
mod wire;
mod pace;
mod requests;
mod real_input;
mod kill;
mod two_writers;
mod posix;
mod direct_io;
mod random_writes;
mod big_directory;
mod bad_input;
mod crash;
