//! Work on a volume without a mount: how it is opened for it, and that it is closed after it.
//! Prints nothing; what a tool finds is a value.

mod open;

pub use open::Access;
pub use open::open_options;
pub use open::with_volume;
