//! One large file: written, read in order, read and written at random; and a log of small appends.
//! Each page of 4 KiB begins with its own number, so that a reader sees a misplaced one.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::Fault;
use super::Settings;
use super::measure::Measure;
use super::measure::Numbers;
use super::measure::now;

const CHUNK_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;
const APPEND_BYTES: usize = 512;
const STREAM: &str = "stream";

/// Writes the stream and makes it durable.
pub fn write(dir: &Path, bytes: u64) -> Result<Measure, Fault> {
    let mut chunk = vec![0; CHUNK_BYTES];
    Numbers(1).fill(&mut chunk);
    let chunks = bytes / CHUNK_BYTES as u64;
    let begun = now();
    let mut stream = File::create(dir.join(STREAM))?;
    for n in 0..chunks {
        for (at, page) in (n * 256..).zip(chunk.chunks_mut(PAGE_BYTES)) {
            page[..8].copy_from_slice(&at.to_le_bytes());
        }
        stream.write_all(&chunk)?;
    }
    stream.sync_all()?;
    Ok(Measure::stream("write-stream", chunks * CHUNK_BYTES as u64, begun.elapsed()))
}

/// Reads the stream from its beginning to its end.
pub fn read(dir: &Path, settings: &Settings) -> Result<Measure, Fault> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let begun = now();
    let mut stream = File::open(dir.join(STREAM))?;
    let chunks = stream.metadata()?.len() / CHUNK_BYTES as u64;
    for n in 0..chunks {
        stream.read_exact(&mut chunk)?;
        for (at, page) in (n * 256..).zip(chunk.chunks(PAGE_BYTES)) {
            check(at, page, settings)?;
        }
    }
    Ok(Measure::stream("read-stream", chunks * CHUNK_BYTES as u64, begun.elapsed()))
}

/// Reads pages at random places, one after the other.
pub fn random_read(dir: &Path, count: u64, settings: &Settings) -> Result<Measure, Fault> {
    let stream = File::open(dir.join(STREAM))?;
    let pages = stream.metadata()?.len() / PAGE_BYTES as u64;
    let (mut numbers, mut page) = (Numbers(2), [0; PAGE_BYTES]);
    let begun = now();
    for _ in 0..count {
        let at = numbers.next() % pages;
        stream.read_exact_at(&mut page, at * PAGE_BYTES as u64)?;
        check(at, &page, settings)?;
    }
    Ok(Measure::rate("random-read", count, begun.elapsed()))
}

/// Writes pages at random places, and makes them durable together.
pub fn random_write(dir: &Path, count: u64) -> Result<Measure, Fault> {
    let stream = OpenOptions::new().write(true).open(dir.join(STREAM))?;
    let pages = stream.metadata()?.len() / PAGE_BYTES as u64;
    let (mut numbers, mut page) = (Numbers(3), [0; PAGE_BYTES]);
    numbers.fill(&mut page);
    let begun = now();
    for _ in 0..count {
        let at = numbers.next() % pages;
        page[..8].copy_from_slice(&at.to_le_bytes());
        stream.write_all_at(&page, at * PAGE_BYTES as u64)?;
    }
    stream.sync_all()?;
    Ok(Measure::rate("random-write", count, begun.elapsed()))
}

/// Appends to a log, durable each time.
pub fn append_and_fsync(dir: &Path, count: u64) -> Result<Measure, Fault> {
    let mut log = OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    log.sync_all()?;
    let mut waits = Vec::new();
    for _ in 0..count {
        log.write_all(&[7; APPEND_BYTES])?;
        let begun = now();
        log.sync_all()?;
        waits.push(begun.elapsed());
    }
    Ok(Measure::latencies("fsync", waits))
}

fn check(at: u64, page: &[u8], settings: &Settings) -> Result<(), Fault> {
    if settings.verify() && page[..8] != at.to_le_bytes() {
        return Err(format!("page {at} of the stream reads back differently").into());
    }
    Ok(())
}
