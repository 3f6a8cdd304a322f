//! (skeleton) ops
