//! Everything that is tested through the binary, a mount or a server: one test binary, because
//! each one links the whole crate again.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic, its helpers too")]
#![expect(clippy::disallowed_methods, reason = "tests wait for real processes, by the real clock")]

mod support;

mod doubles;
mod main_job;
mod stores;
mod probe;
mod wire;
mod pace;
mod requests;
mod starting;
mod real_input;
mod kill;
mod leaving;
mod two_writers;
mod beside;
mod read_back;
mod renewal;
mod policy;
mod unprivileged;
mod posix;
mod direct_io;
mod random_writes;
mod big_directory;
mod memory;
mod bad_input;
mod audit;
mod matrix;
mod keys;
mod kernel_cache;
mod seven;
mod audit_fix;
mod audit_keys;
mod odd_bucket;
mod audit_page;
mod audit_scale;
mod crash;
