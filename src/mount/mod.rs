//! Mounts on this machine. The composition root: here a volume, its file system and FUSE meet, in a
//! process of their own. Parses no arguments and prints nothing.

pub mod control;
pub mod daemon;
pub mod mountinfo;
pub mod mountpoint;
pub mod notify;
pub mod registry;
pub mod status;
