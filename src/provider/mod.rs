//! What providers can do: the rows of `providers.toml`, as other layers ask for them.
//! Knows no network and no OpenDAL.

mod capability;
mod matrix;

pub use capability::AtRest;
pub use capability::ConditionalCreate;
pub use capability::Service;
pub use capability::SseMode;
pub use capability::SseProof;
pub use capability::SseRefusal;
pub use capability::SseRequest;
pub use matrix::Matrix;
pub use matrix::Provider;
