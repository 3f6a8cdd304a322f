//! The kernel's protocol in front of a [`Vfs`](crate::vfs::Vfs), and the mount that carries it.
//!
//! The node id is the inode number, so there is no lookup table. Locks stay in the kernel (one
//! machine has the volume), and so do permissions (`default_permissions`). Nothing here knows how
//! a volume is stored.

mod convert;
mod errno;
mod answer;
mod reply;
mod kernel;
mod adapter;
mod mountpoint;
mod device;
mod notify;
mod search;
mod session;

pub use self::device::MountOptions;
pub use self::mountpoint::Occupied;
pub use self::mountpoint::check_mount_point;

pub use self::session::Mounted;
pub use self::session::mount;
