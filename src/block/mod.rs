//! (skeleton) block
