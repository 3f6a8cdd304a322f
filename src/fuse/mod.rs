//! (skeleton) fuse
