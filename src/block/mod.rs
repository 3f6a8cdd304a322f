//! Blocks: immutable objects of file bytes, cut into frames that are read and verified alone.
//! `docs/format.md` draws them.
//!
//! Dirty bytes are gathered in a [`BlockBuilder`], which is pure and says where each frame will
//! lie; [`BlockWriter`] gives the block an id, encodes, checks and stores it; [`BlockReader`]
//! fetches frames and returns only what verifies. A block carries its frames' [`Owner`]s without
//! looking into them: inodes, extents and names belong to `meta`.
//!
//! [`Owner`]: crate::types::Owner

mod frame;
mod pack;
mod footer;
mod rate;
mod writer;
mod arrival;
mod reader;
#[cfg(feature = "testing")]
pub mod sabotage;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;

use std::future::Future;

use bytes::Bytes;

use crate::error::Error;
use crate::error::Result;
use crate::types::BlockId;

pub use footer::OpenedFrame;
pub use footer::check_header;
pub use footer::open_block;
pub use footer::read_footer;
pub use footer::tail_bytes;
pub use frame::Codec;
pub use frame::FrameRef;
pub use frame::open_frame;
pub use pack::BlockBuilder;
pub use pack::Compression;
pub use reader::BlockReader;
pub use writer::BlockWriter;
pub use writer::StoredBlock;
pub use writer::Uploads;

/// Where verified frames come from: the bucket, or something nearer. Cheap to clone.
pub trait FrameSource: Clone + Send + Sync + 'static {
    /// Gives `land` the plain bytes of each of `frames`, all of `block`, with its place among them,
    /// as soon as they are there: once each, in no order. `Kind::NotFound` when the block is gone,
    /// `Kind::Corrupt` when a frame does not verify.
    fn fetch(
        &self,
        block: BlockId,
        frames: &[FrameRef],
        land: &Land<'_>,
    ) -> impl Future<Output = ()> + Send;
}

/// Takes the frames of a fetch.
pub type Land<'a> = dyn Fn(usize, Result<Bytes>) + Send + Sync + 'a;

/// The same failure once more, for each of several readers that waited for one request.
pub fn repeat(error: &Error) -> Error {
    let same = Error::new(error.kind(), error.to_string());
    match error.hint_text() {
        Some(hint) => same.hint(hint.to_owned()),
        None => same,
    }
}
