//! Random reads, writes and truncations with O_DIRECT (which the fsx program cannot open), beside
//! a second, buffered handle of the same file; every read agrees with a plain vector.

use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::support::tools;
use crate::support::tools::Numbers;
use crate::support::volume::TestVolume;

const OPERATIONS: u64 = 100_000;
const LENGTH_MAX: u64 = 1 << 20;
const SPAN_MAX: u64 = 64 << 10;

#[test]
fn direct_and_buffered_reads_and_writes_agree_with_a_plain_vector() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    let model = exercise(&mounted.path("file"), 1);
    mounted.stop();
    volume.assert_sound();
    let mounted = volume.start(&[]);
    assert!(std::fs::read(mounted.path("file")).unwrap() == model, "after a remount");
    mounted.stop();
}

#[test]
fn direct_and_buffered_handles_agree_with_the_writeback_cache() {
    let volume = TestVolume::local();
    volume.create(&[]);
    let mounted = volume.start(&["-o", "writeback"]);
    let model = exercise(&mounted.path("file"), 2);
    mounted.stop();
    let mounted = volume.start(&[]);
    assert!(std::fs::read(mounted.path("file")).unwrap() == model, "after a remount");
    mounted.stop();
}

fn exercise(path: &Path, seed: u64) -> Vec<u8> {
    let flag = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
    let open = |flags| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).custom_flags(flags);
        options.open(path).unwrap()
    };
    let (direct, buffered) = (open(flag), open(0));
    let mut model: Vec<u8> = Vec::new();
    let mut numbers = Numbers::new(seed);
    for step in 0..OPERATIONS {
        let offset = numbers.below(LENGTH_MAX - SPAN_MAX);
        let span = 1 + numbers.below(SPAN_MAX);
        let file = if numbers.below(4) == 0 { &buffered } else { &direct };
        match numbers.below(20) {
            0..=9 => check(file, &model, offset, span, step),
            10..=18 => write(file, &mut model, offset, &tools::noise(step, as_size(span))),
            _ => {
                file.set_len(offset).unwrap();
                model.resize(as_size(offset), 0);
            }
        }
    }
    assert!(std::fs::read(path).unwrap() == model, "at the end");
    model
}

fn write(file: &File, model: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    file.write_all_at(bytes, offset).unwrap();
    let (from, to) = (as_size(offset), as_size(offset) + bytes.len());
    if model.len() < to {
        model.resize(to, 0);
    }
    model[from..to].copy_from_slice(bytes);
}

#[track_caller]
fn check(file: &File, model: &[u8], offset: u64, span: u64, step: u64) {
    let mut bytes = vec![0; as_size(span)];
    let mut filled = 0;
    loop {
        let count = file.read_at(&mut bytes[filled..], offset + filled as u64).unwrap();
        filled += count;
        if count == 0 || filled == bytes.len() {
            break;
        }
    }
    let from = as_size(offset).min(model.len());
    let to = (from + bytes.len()).min(model.len());
    assert_eq!(filled, to - from, "step {step}: length of the read at {offset}");
    assert!(bytes[..filled] == model[from..to], "step {step}: bytes at {offset}, {span} long");
}

fn as_size(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
