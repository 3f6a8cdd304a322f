//! (skeleton) cache
