//! (skeleton) mount
