//! What the user chose: defaults < file < environment < flags. Knows no command line parser and
//! no network.

mod units;
mod secret;
mod environment;
mod endpoint;
mod credentials;
mod mount;
mod volume;
mod file;
mod load;
#[cfg(test)]
mod tests;

pub use credentials::Credentials;
pub use credentials::KeyPair;
pub use credentials::open_private;
pub use environment::environment;
pub use load::Config;
pub use mount::MountConfig;
pub use secret::Secret;
pub use units::Size;
pub use units::Span;
pub use volume::Fencing;
pub use volume::SseVerify;
pub use volume::VolumeConfig;

/// How a variable of the environment is looked up; [`environment`] is the process's own.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;
