//! Reading frames from the bucket: neighbours share a request, each is verified as soon as it is
//! there, and only what verifies is returned. Does not cache, and does not know files.

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use super::FrameSource;
use super::Land;
use super::arrival::Arrival;
use super::footer::check_header;
use super::footer::open_block;
use super::footer::read_footer;
use super::footer::tail_bytes;
use super::frame::FrameRef;
use super::frame::corrupt;
use super::frame::open_frame;
use super::pack::HEADER_BYTES;
use super::repeat;
use crate::crypto::TagKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Body;
use crate::object::Bucket;
use crate::object::name;
use crate::types::BlockId;
use crate::types::FRAME_BYTES;
use crate::types::Owner;

/// Bytes between two frames that are cheaper to fetch than a second request: two whole frames. On
/// the fastest stores a request takes as long as a megabyte.
const GAP_BYTES_MAX: u64 = 2 * FRAME_BYTES as u64 + 1024;

/// The longest single request.
const RUN_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Requests of one read at once.
const REQUESTS_MAX: usize = 8;

/// How much of a block's end is fetched at first to find its footer in it.
const TAIL_BYTES: u64 = 64 * 1024;

/// Reads blocks of one volume. Cheap to clone.
#[derive(Clone)]
pub struct BlockReader {
    bucket: Bucket,
    key: TagKey,
}

impl BlockReader {
    /// A reader of the volume that `key` belongs to.
    pub fn new(bucket: Bucket, key: TagKey) -> Self {
        Self { bucket, key }
    }

    /// The frames of `block` and their owners by its own account: its header is checked and its
    /// footer verified, the frames are not read.
    pub async fn read_footer(&self, block: BlockId) -> Result<Vec<(FrameRef, Owner)>> {
        let size = self.bucket.head(&name::block(block)).await?.size;
        let head = self.get(block, 0..u64::from(HEADER_BYTES).min(size)).await?;
        check_header(&self.key, block, &head)?;
        let mut tail = self.get(block, size.saturating_sub(TAIL_BYTES)..size).await?;
        let needed = tail_bytes(block, &tail)? as u64;
        if needed > tail.len() as u64 && needed <= size {
            tail = self.get(block, size - needed..size).await?;
        }
        read_footer(&self.key, block, size, &tail)
    }

    /// Verifies the bytes of a whole block.
    pub fn verify(&self, block: BlockId, bytes: &Bytes) -> Result<()> {
        open_block(&self.key, block, bytes).map(drop)
    }

    async fn fetch_run(&self, block: BlockId, frames: &[FrameRef], run: Run, land: &Land<'_>) {
        let Run { range, members } = run;
        let mut arrival = Arrival::new(frames, &members, range.start);
        let mut damaged = Vec::new();
        let mut open =
            |at: usize, sealed: Bytes| match open_frame(&self.key, block, &frames[at], &sealed) {
                Err(error) if error.kind() == Kind::Corrupt => damaged.push((at, error)),
                opened => land(at, opened),
            };
        let mut take = |piece: Bytes| arrival.take(&piece, &mut open);
        let got = self.bucket.get_pieces(&name::block(block), range, &mut take).await;
        match got {
            Err(error) if error.kind() != Kind::Corrupt => {
                arrival.missing().into_iter().for_each(|at| land(at, Err(repeat(&error))));
            }
            // The block was cut: what lies before the cut can still be read, frame by frame.
            Ok(()) | Err(_) => {
                damaged
                    .extend(arrival.missing().into_iter().map(|at| (at, cut(block, &frames[at]))));
            }
        }
        for (at, error) in damaged {
            land(at, self.fetch_again(block, &frames[at], error).await);
        }
    }

    /// A frame that did not verify may have been damaged on its way: it is fetched once more.
    async fn fetch_again(&self, block: BlockId, frame: &FrameRef, first: Error) -> Result<Bytes> {
        tracing::warn!(%block, offset = frame.at, error = %first, "a frame is fetched once more");
        let sealed = self.get(block, u64::from(frame.at)..frame.end()).await?;
        open_frame(&self.key, block, frame, &sealed).inspect_err(|error| {
            tracing::error!(%block, offset = frame.at, %error, "a frame is damaged");
        })
    }

    async fn get(&self, block: BlockId, range: Range<u64>) -> Result<Bytes> {
        let mut body = Body::default();
        self.bucket.get_pieces(&name::block(block), range, &mut |piece| body.push(piece)).await?;
        Ok(body.into_bytes())
    }
}

impl FrameSource for BlockReader {
    async fn fetch(&self, block: BlockId, frames: &[FrameRef], land: &Land<'_>) {
        stream::iter(runs(frames))
            .for_each_concurrent(REQUESTS_MAX, |run| self.fetch_run(block, frames, run, land))
            .await;
    }
}

fn cut(block: BlockId, frame: &FrameRef) -> Error {
    corrupt(block, "a block ends before a frame does").with("offset", frame.at)
}

/// One ranged request, and the places in the question of the frames it answers.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    range: Range<u64>,
    members: Vec<usize>,
}

/// Joins frames that lie close to each other. Every frame is in exactly one run.
fn runs(frames: &[FrameRef]) -> Vec<Run> {
    let mut order: Vec<usize> = (0..frames.len()).collect();
    order.sort_by_key(|&at| frames[at].at);
    let mut runs: Vec<Run> = Vec::new();
    for at in order {
        let (start, end) = (u64::from(frames[at].at), frames[at].end());
        match runs.last_mut() {
            Some(run)
                if start <= run.range.end + GAP_BYTES_MAX
                    && end - run.range.start <= RUN_BYTES_MAX =>
            {
                run.range.end = run.range.end.max(end);
                run.members.push(at);
            }
            _ => runs.push(Run { range: start..end, members: vec![at] }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Codec;

    fn frame(at: u32, stored: u32) -> FrameRef {
        FrameRef { at, stored, plain: stored, codec: Codec::None, index: 0 }
    }

    #[test]
    fn neighbours_share_a_request_and_strangers_do_not() {
        let frames = [frame(1056, 1000), frame(40, 1000), frame(400_000, 8), frame(34_000, 100)];
        let runs = runs(&frames);
        assert_eq!(
            runs,
            [
                Run { range: 40..34_116, members: vec![1, 0, 3] },
                Run { range: 400_000..400_024, members: vec![2] },
            ]
        );
    }

    #[test]
    fn a_request_has_a_limit() {
        let frames: Vec<_> = (0..160).map(|n| frame(40 + n * 131_088, 131_072)).collect();
        let runs = runs(&frames);
        assert!(runs.iter().all(|run| run.range.end - run.range.start <= RUN_BYTES_MAX));
        assert_eq!(runs.iter().map(|run| run.members.len()).sum::<usize>(), 160);
        assert_eq!(runs.len(), 3);
    }
}
