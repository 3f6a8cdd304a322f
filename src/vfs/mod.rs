//! (skeleton) vfs
