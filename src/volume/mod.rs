//! (skeleton) volume
