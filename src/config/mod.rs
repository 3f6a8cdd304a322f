//! What the user chose: defaults < file < environment < flags. (skeleton)

mod secret;
mod volume;

pub use secret::Secret;
pub use volume::Credentials;
pub use volume::Fencing;
pub use volume::KeyPair;
pub use volume::SseVerify;
pub use volume::VolumeConfig;
