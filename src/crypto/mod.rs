//! (skeleton) crypto
