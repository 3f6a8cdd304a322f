//! Tenure: the right to be the one writer of a volume, on a store that lets anybody replace
//! anything. All it asks of the store is that a list shows what was put before; it needs no clock.
//!
//! Each claimant writes names of its own, so a request that arrives late, also after its sender
//! was given up, replaces nothing. Whoever begins lists the claims, then the objects, and says in
//! its start which objects count. Whoever writes puts the object, then lists the claims, and
//! acknowledges only if no later claim is there. So either the writer's list sees the claim, or
//! the claim came after that list, and then the claimant's list sees the object.
//!
//! Knows no metadata and no volume's records.

mod claims;
mod follower;
mod lineage;
mod survey;
#[cfg(feature = "testing")]
pub mod simulation;
mod writer;

pub use claims::Claims;
pub use claims::raise;
pub use claims::withdraw;
pub use follower::Follower;
pub use lineage::Element;
pub use lineage::Index;
pub use lineage::Lineage;
pub use survey::Survey;
pub use writer::Tenure;
