//! Work on a volume without a mount: how it is opened for it, and that it is closed after it; and
//! tools that work beside a mount as well. Prints nothing; what a tool finds is a value.

mod open;
mod time;
pub mod audit;
pub mod iam;

pub use open::Access;
pub use open::open_options;
pub use open::with_volume;
pub use time::rfc3339;
