//! Blocks from outside: what goes in comes out, and nothing else does.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert;
use proptest::prop_assert_eq;
use proptest::proptest;
use proptest::sample::Index;

use super::*;
use crate::crypto::TagKey;
use crate::crypto::checksum;
use crate::error::Kind;
use crate::types::ContentId;
use crate::types::FRAME_BYTES;
use crate::types::Ino;
use crate::types::Owner;
use crate::types::SessionId;
use crate::types::VolumeId;
use crate::types::WriteSeq;

const BLOCK_BYTES: u32 = 1 << 20;

fn key() -> TagKey {
    TagKey::new(VolumeId([3; 16]))
}

fn id(random: u8) -> BlockId {
    BlockId::new(SessionId(77), [random; 11])
}

fn owner(seq: u64) -> Owner {
    Owner { ino: Ino(1 << 40), content: ContentId(9), offset: seq * 7, seq: WriteSeq(seq) }
}

/// A block of frames, each cut into pieces of at most `piece` bytes.
fn pack(frames: &[Vec<u8>], piece: usize) -> BlockBuilder {
    let mut builder = BlockBuilder::new(BLOCK_BYTES, Compression::None);
    for (seq, frame) in (0..).zip(frames) {
        builder.push(owner(seq), frame.chunks(piece).map(Bytes::copy_from_slice).collect());
    }
    builder
}

fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 1..1500), 1..12)
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(frames in frames(), piece in 1usize..2000) {
        let builder = pack(&frames, piece);
        let block = builder.encode(&key(), id(1)).unwrap().into_bytes();
        prop_assert_eq!(block.len() as u64, builder.object_bytes());
        let opened = open_block(&key(), id(1), &block).unwrap();
        prop_assert!(builder.frames().eq(opened.iter().map(|(frame, owner, _)| (*frame, *owner))));
        prop_assert!(frames.iter().eq(opened.iter().map(|(_, _, bytes)| bytes)));
    }

    #[test]
    fn any_flipped_bit_is_found(frames in frames(), at in any::<Index>(), bit in 0u8..8) {
        let mut block = pack(&frames, 4096).encode(&key(), id(1)).unwrap().into_bytes().to_vec();
        let at = at.index(block.len());
        block[at] ^= 1 << bit;
        let error = open_block(&key(), id(1), &block.into()).unwrap_err();
        prop_assert_eq!(error.kind(), Kind::Corrupt);
    }

    #[test]
    fn a_cut_block_is_found(frames in frames(), at in any::<Index>()) {
        let block = pack(&frames, 4096).encode(&key(), id(1)).unwrap().into_bytes();
        let block = block.slice(..at.index(block.len()));
        prop_assert_eq!(open_block(&key(), id(1), &block).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn foreign_bytes_are_refused(bytes in vec(any::<u8>(), 0..300), frames in 0u32..9) {
        let mut bytes = bytes;
        bytes.extend((frames * 41).to_be_bytes());
        bytes.extend(frames.to_be_bytes());
        bytes.extend(b"CAIRNEND");
        prop_assert!(read_footer(&key(), id(1), bytes.len() as u64, &bytes).is_err());
        prop_assert!(open_block(&key(), id(1), &bytes.into()).is_err());
    }
}

#[test]
fn a_frame_opens_only_in_its_own_place() {
    let frames = [vec![5; 100], vec![5; 100]];
    let builder = pack(&frames, 4096);
    let block = builder.encode(&key(), id(1)).unwrap().into_bytes();
    let (frame, _) = builder.frames().next().unwrap();
    let start = frame.at as usize;
    let sealed = block.slice(start..start + frame.sealed_bytes());
    assert_eq!(open_frame(&key(), id(1), &frame, &sealed).unwrap(), frames[0]);

    let other_volume = TagKey::new(VolumeId([4; 16]));
    assert!(open_frame(&other_volume, id(1), &frame, &sealed).is_err());
    assert!(open_frame(&key(), id(2), &frame, &sealed).is_err());
    let second = FrameRef { index: 1, ..frame };
    let error = open_frame(&key(), id(1), &second, &sealed).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains(&format!("block {}, offset 40", id(1))), "{error}");
    let shorter = FrameRef { stored: 99, plain: 99, ..frame };
    assert!(open_frame(&key(), id(1), &shorter, &sealed.slice(1..)).is_err());
}

#[test]
fn a_block_opens_only_under_its_own_id() {
    let block = pack(&[vec![1; 10]], 10).encode(&key(), id(1)).unwrap().into_bytes();
    assert!(open_block(&key(), id(2), &block).is_err());
    let other_session = BlockId::new(SessionId(78), [1; 11]);
    assert!(open_block(&key(), other_session, &block).is_err());
}

#[test]
fn a_builder_says_what_fits() {
    let mut builder = BlockBuilder::new(2 * FRAME_BYTES, Compression::None);
    let full = Bytes::from(vec![0; FRAME_BYTES as usize]);
    assert!(builder.is_empty() && builder.fits(FRAME_BYTES));
    builder.push(owner(1), vec![full.clone()]);
    let second = builder.push(owner(2), vec![full]);
    assert_eq!((second.index, second.at), (1, 40 + FRAME_BYTES + 16));
    assert_eq!(builder.len(), 2 * FRAME_BYTES);
    assert!(!builder.fits(1));
}

#[test]
fn the_stored_form_never_changes() {
    let frames = [vec![1; 3], vec![2; 2000], b"cairn".to_vec()];
    let block = pack(&frames, 4096).encode(&key(), id(9)).unwrap().into_bytes();
    let sum = checksum(&block).map(|byte| format!("{byte:02x}")).concat();
    assert_eq!(sum, "87c6d0cbd7c2f16e4e1c6f9f72b0d165f32bff589b2a9d008cb10549aec77604");
}

#[test]
fn an_unknown_codec_and_a_newer_layout_are_refused() {
    assert_eq!(Codec::from_id(Codec::None.id()).unwrap(), Codec::None);
    assert_eq!(Codec::from_id(1).unwrap_err().kind(), Kind::Corrupt);
    let mut block = pack(&[vec![1; 10]], 10).encode(&key(), id(1)).unwrap().into_bytes().to_vec();
    block[11] = 2;
    let error = check_header(&key(), id(1), &block).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}
