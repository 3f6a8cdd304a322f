//! CairnFS mounts volumes on object storage as POSIX file systems.
//!
//! The modules stand in reading order; each uses only those above it (`tests/tidy.rs` checks).
//! `docs/architecture.md` is the map, `docs/format.md` draws every stored byte.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a failing test may panic"))]

pub mod error;
pub mod types;
pub mod ambient;
pub mod telemetry;
pub mod provider;
pub mod crypto;
pub mod config;
pub mod object;
pub mod block;
pub mod meta;
pub mod cache;
pub mod volume;
pub mod vfs;
pub mod fuse;
pub mod ops;
pub mod mount;
pub mod cli;
