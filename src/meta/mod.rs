//! (skeleton) meta
