//! One life of a volume, the same at every store: created, mounted, written, killed, mounted again,
//! read back, checked.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use super::mounted::Mounted;
use super::tools;
use super::volume::TestVolume;

const SMALL: u64 = 40;
const STREAM_BYTES: usize = 9 << 20;

/// Creates the volume with `--sse`, works on it, kills the daemon after an fsync, and finds all of
/// it again. Returns the status before the kill.
#[track_caller]
pub fn whole_life(volume: &TestVolume) -> Value {
    volume.create(&["--sse"]);
    let mounted = volume.start(&["--sse"]);
    work(&mounted);
    let status = mounted.status();
    mounted.kill9();
    let mounted = volume.start(&[]);
    find(mounted.dir());
    std::fs::remove_file(mounted.path("stream")).unwrap();
    mounted.stop();
    volume.assert_sound();
    status
}

/// Small files, a stream, renames and removals, all durable at the end.
pub fn work(mounted: &Mounted<'_>) {
    std::fs::create_dir(mounted.path("dir")).unwrap();
    for n in 0..SMALL {
        let path = mounted.path(&format!("dir/{n}"));
        std::fs::write(&path, tools::noise(n, small_bytes(n))).unwrap();
    }
    for n in (0..SMALL).step_by(4) {
        std::fs::rename(mounted.path(&format!("dir/{n}")), mounted.path(&format!("{n}"))).unwrap();
        std::fs::remove_file(mounted.path(&format!("dir/{}", n + 1))).unwrap();
    }
    let mut stream = File::create(mounted.path("stream")).unwrap();
    stream.write_all(&tools::noise(SMALL, STREAM_BYTES)).unwrap();
    stream.sync_all().unwrap();
    mounted.sync();
}

/// Panics unless what `work` left is there.
#[track_caller]
pub fn find(dir: &Path) {
    for n in 0..SMALL {
        let path = if n % 4 == 0 { dir.join(n.to_string()) } else { dir.join(format!("dir/{n}")) };
        match (std::fs::read(&path), n % 4) {
            (Err(error), 1) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
            (Ok(_), 1) => panic!("{} came back", path.display()),
            (read, _) => {
                let bytes = read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert!(bytes == tools::noise(n, small_bytes(n)), "{} differs", path.display());
            }
        }
    }
    let stream = std::fs::read(dir.join("stream")).unwrap();
    assert!(stream == tools::noise(SMALL, STREAM_BYTES), "the stream differs");
}

fn small_bytes(n: u64) -> usize {
    usize::try_from(n * 509).expect("a small number")
}
