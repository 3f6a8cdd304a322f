//! A tree like that of a program's source: packed into a tar without any file system, unpacked by
//! tar(1); and directories made, renamed and removed.

use std::fs;
use std::fs::File;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::Fault;
use super::measure::Measure;
use super::measure::Numbers;
use super::measure::now;

/// A tar counts in blocks of this size.
const BLOCK_BYTES: usize = 512;
const FILES_OF_A_DIRECTORY: u64 = 20;
const TREE: &str = "tree";

/// Makes, renames and removes directories, one process, on a tree that memory knows.
pub fn directories(dir: &Path, count: u64) -> Result<Vec<Measure>, Fault> {
    let top = dir.join("directories");
    fs::create_dir(&top)?;
    let (before, after) = (|n| top.join(format!("before-{n}")), |n| top.join(format!("after-{n}")));
    let begun = now();
    (0..count).try_for_each(|n| fs::create_dir(before(n)))?;
    let mkdir = Measure::rate("mkdir", count, begun.elapsed());
    let begun = now();
    (0..count).try_for_each(|n| fs::rename(before(n), after(n)))?;
    let rename = Measure::rate("rename", count, begun.elapsed());
    let begun = now();
    (0..count).try_for_each(|n| fs::remove_dir(after(n)))?;
    let rmdir = Measure::rate("rmdir", count, begun.elapsed());
    fs::remove_dir(top)?;
    Ok(vec![mkdir, rename, rmdir])
}

/// Unpacks a tar and makes it durable.
pub fn untar(dir: &Path, tar: &Path) -> Result<Measure, Fault> {
    let begun = now();
    let ended = Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(dir).status()?;
    if !ended.success() {
        return Err("tar failed".into());
    }
    File::open(dir.join(TREE).join("0/0.rs"))?.sync_all()?;
    let took = begun.elapsed();
    let files = fs::read_dir(dir.join(TREE))?.count() as u64 * FILES_OF_A_DIRECTORY;
    Ok(Measure::whole("untar", files, took))
}

/// Writes a tar of about `files` files: 8 KiB on average, none above 64 KiB.
pub fn make_tar(path: &Path, files: u64) -> Result<(), Fault> {
    let mut tar = BufWriter::new(File::create(path)?);
    let mut numbers = Numbers(4);
    header(&mut tar, &format!("{TREE}/"), 0, b'5')?;
    for dir in 0..files.div_ceil(FILES_OF_A_DIRECTORY) {
        header(&mut tar, &format!("{TREE}/{dir}/"), 0, b'5')?;
        for file in 0..FILES_OF_A_DIRECTORY {
            let doublings = numbers.next() % 8;
            let size = usize::try_from(200 + numbers.next() % (500 << doublings))?;
            let mut bytes = vec![0; size];
            numbers.fill(&mut bytes);
            header(&mut tar, &format!("{TREE}/{dir}/{file}.rs"), size, b'0')?;
            bytes.resize(size.next_multiple_of(BLOCK_BYTES), 0);
            tar.write_all(&bytes)?;
        }
    }
    tar.write_all(&[0; 2 * BLOCK_BYTES])?;
    tar.flush()?;
    Ok(())
}

/// An entry's header, as POSIX.1-1988 lays it out (ustar).
fn header(tar: &mut impl Write, name: &str, size: usize, kind: u8) -> Result<(), Fault> {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, if kind == b'5' { b"0000755" } else { b"0000644" });
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"14000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.write_all(&block)?;
    Ok(())
}
