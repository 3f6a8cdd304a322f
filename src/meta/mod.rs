//! (skeleton) meta

pub mod kv;
