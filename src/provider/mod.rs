//! What providers can do: the rows of `providers.toml`, as other layers ask for them.
//! Knows no network and no OpenDAL.

mod capability;
mod sse;
mod evidence;
mod check;
mod notice;
mod row;
mod matrix;
mod markdown;
mod nearest;
#[cfg(test)]
mod tests;

pub use capability::Access;
pub use capability::Addressing;
pub use capability::Api;
pub use capability::Checksum;
pub use capability::ConditionalCreate;
pub use capability::Costs;
pub use capability::Limits;
pub use capability::ListVersion;
pub use capability::PayloadSigning;
pub use capability::Permissions;
pub use capability::RegionRule;
pub use capability::Service;
pub use capability::Signature;
pub use evidence::Claim;
pub use evidence::Confidence;
pub use evidence::Day;
pub use evidence::Evidence;
pub use evidence::EvidenceKind;
pub use matrix::Matrix;
pub use matrix::toml_fault;
pub use nearest::nearest;
pub use nearest::unknown;
pub use row::Provider;
pub use sse::AtRest;
pub use sse::CopyKeeps;
pub use sse::KeyId;
pub use sse::KeySupport;
pub use sse::ModeName;
pub use sse::MultipartWithSse;
pub use sse::OnMissing;
pub use sse::Operation;
pub use sse::RefusalScope;
pub use sse::Refused;
pub use sse::SseMode;
pub use sse::SseOperations;
pub use sse::SseProof;
pub use sse::SseRefusal;
pub use sse::SseRequest;
pub use sse::Support;
