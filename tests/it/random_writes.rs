//! Random small writes all over a large file, as databases and virtual disks make them: every page
//! is an extent of its own, and the metadata in the store stays bounded all the same.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

const MIB: u64 = 1 << 20;

/// Bytes of the file; `CAIRNFS_RANDOM_MIB=1024` takes minutes with a debug build.
static FILE_BYTES: LazyLock<u64> = LazyLock::new(|| {
    let wanted = std::env::var("CAIRNFS_RANDOM_MIB").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(128_u64) * MIB
});

/// What one page of 4 KiB may take in the metadata, on the average: its extent's place in a block,
/// its checksum's place, and the share of what describes the blocks; and twice that, since the
/// engine keeps a value that was replaced until it compacts.
const METADATA_BYTES_PER_PAGE: u64 = 96;

/// What the metadata of an empty volume takes, with its log.
const METADATA_BYTES_AT_LEAST: u64 = 4 * MIB;

const FIO_LIMIT: Duration = Duration::from_secs(580);

fn fio(dir: &Path, what: &[&str]) {
    let mut fio = Command::new("fio");
    fio.current_dir(dir).args([
        "--name=pages",
        "--filename=file",
        "--rw=randwrite",
        "--bs=4k",
        "--ioengine=psync",
        "--randrepeat=1",
        "--randseed=7",
        "--verify=crc32c",
        "--verify_fatal=1",
        &format!("--size={}", *FILE_BYTES),
    ]);
    tools::run(fio.args(what), FIO_LIMIT).expect_success("fio");
}

#[test]
fn random_pages_of_a_whole_file_leave_bounded_metadata() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    fio(mounted.dir(), &["--do_verify=0", "--end_fsync=1"]);
    mounted.stop();

    let mounted = volume.start(&[]);
    fio(mounted.dir(), &["--verify_only=1"]);
    let size = std::fs::metadata(mounted.path("file")).unwrap().len();
    assert_eq!(size, *FILE_BYTES);
    mounted.stop();
    // What was moved out of crumbled chunks leaves dead blocks, which the next session deletes.
    volume.call("cairnfs", &["gc", NAME]).expect_success("gc");

    let metadata = tools::bytes_below(&volume.store().join("meta"));
    let blocks = tools::bytes_below(&volume.store().join("blocks"));
    let pages = *FILE_BYTES / 4096;
    println!(
        "{} MiB in random pages: metadata {} KiB ({} bytes a page), blocks {} MiB",
        *FILE_BYTES / MIB,
        metadata / 1024,
        metadata / pages,
        blocks / MIB
    );
    let bound = METADATA_BYTES_AT_LEAST + pages * METADATA_BYTES_PER_PAGE;
    assert!(metadata <= bound, "{metadata} bytes of metadata for {pages} pages, over {bound}");
    volume.assert_sound();
}
