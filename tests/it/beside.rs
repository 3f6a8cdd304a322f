//! A read-only mount beside a writer: it sees what the writer made durable, and blocks that the
//! writer deleted are no errors.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::tools;
use crate::support::volume::TestVolume;

/// The reader looks every ten seconds, and the kernel believes it for one more.
const SOON: Duration = Duration::from_secs(15);

const SIZE: usize = 3 << 20;

/// The blocks that hold more than small files.
fn large_blocks(volume: &TestVolume) -> Vec<PathBuf> {
    let dirs = std::fs::read_dir(volume.store().join("blocks")).unwrap();
    let files = dirs.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap());
    let large = files.map(Result::unwrap).filter(|file| file.metadata().unwrap().len() > 1 << 20);
    large.map(|file| file.path()).collect()
}

#[test]
fn a_reader_beside_a_writer_sees_its_changes_within_seconds() {
    let volume = TestVolume::local();
    let writer = volume.created(&[]);
    let (old, new) = (tools::noise(1, SIZE), tools::noise(2, SIZE));
    std::fs::write(writer.path("file"), &old).unwrap();
    // In an epoch of its own, so that no block holds small files too.
    writer.sync();
    std::fs::write(writer.path("gone"), b"x").unwrap();
    writer.sync();

    let reader = volume.start_at("reader", &["--read-only"]);
    let held = File::open(reader.path("file")).unwrap();
    let mut page = [0; 4096];
    held.read_exact_at(&mut page, 0).unwrap();
    assert!(page == old[..4096]);
    assert!(std::fs::metadata(reader.path("gone")).is_ok());
    assert_eq!(std::fs::metadata(reader.path("made")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(reader.dir()).unwrap().count(), 2);

    for round in 0..2 {
        let bytes = if round == 0 { &new } else { &old };
        let before = large_blocks(&volume);
        assert!(!before.is_empty());
        // In place: the old bytes go block by block.
        let file = File::options().write(true).open(writer.path("file")).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        writer.sync();
        if round == 0 {
            std::fs::remove_file(writer.path("gone")).unwrap();
            std::fs::write(writer.path("made"), b"y").unwrap();
        }
        writer.sync();
        let deleted = tools::within(SOON, || before.iter().all(|block| !block.exists()));
        assert!(deleted, "the writer keeps blocks that nothing is in");

        // What the reader has not cached of the old block is nowhere any more.
        let mut tail = vec![0; SIZE / 2];
        held.read_exact_at(&mut tail, (SIZE / 2) as u64).unwrap();
        let seen = tools::within(SOON, || {
            held.read_exact_at(&mut page, 0).unwrap();
            let whole = std::fs::read(reader.path("file")).unwrap();
            whole == *bytes && page == bytes[..4096]
        });
        assert!(seen, "in round {round} the reader did not see what was written");
    }
    assert_eq!(std::fs::metadata(reader.path("gone")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read(reader.path("made")).unwrap(), b"y");
    let listed = std::fs::read_dir(reader.dir()).unwrap();
    let mut names: Vec<_> = listed.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["file", "made"]);
    drop(held);
    reader.stop();
    writer.stop();
    volume.assert_sound();
}
