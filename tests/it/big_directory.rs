//! A directory of very many entries, listed while others unlink in it: no survivor is missing, and
//! none is seen twice.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;

use crate::support::volume::TestVolume;

const ENTRIES_BY_DEFAULT: usize = 100_000;

/// How many entries; `CAIRNFS_BIG_DIRECTORY=1000000` takes some five minutes with a debug build.
static ENTRIES: LazyLock<usize> = LazyLock::new(|| {
    let wanted = std::env::var("CAIRNFS_BIG_DIRECTORY").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(ENTRIES_BY_DEFAULT)
});

const WORKERS: usize = 4;

#[test]
fn very_many_entries_are_listed_once_each_while_others_unlink() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    let dir = mounted.path("big");
    std::fs::create_dir(&dir).unwrap();
    fill(&dir);
    let seen = list_while_unlinking(&dir);
    assert_listed_once(&seen, "while others unlink");
    mounted.stop();

    let mounted = volume.start(&[]);
    let seen = list(&mounted.path("big"));
    assert_listed_once(&seen, "after a remount");
    let gone = seen.iter().enumerate().filter(|(n, _)| is_doomed(*n)).all(|(_, seen)| *seen == 0);
    assert!(gone, "an unlinked entry came back");
    mounted.stop();
    volume.assert_sound();
}

/// Whether the entry is unlinked while the directory is listed.
fn is_doomed(n: usize) -> bool {
    n.is_multiple_of(3)
}

fn fill(dir: &Path) {
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                for n in (worker..*ENTRIES).step_by(WORKERS) {
                    // One request each; opening and closing would make it four.
                    let path = dir.join(format!("entry {n}"));
                    let mode = Mode::from_raw_mode(0o644);
                    rustix::fs::mknodat(CWD, path, FileType::RegularFile, mode, 0).unwrap();
                }
            });
        }
    });
}

fn list_while_unlinking(dir: &Path) -> Vec<u8> {
    let begun = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let begun = &begun;
            scope.spawn(move || {
                while !begun.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                for n in (worker..*ENTRIES).step_by(2).filter(|n| is_doomed(*n)) {
                    std::fs::remove_file(dir.join(format!("entry {n}"))).unwrap();
                }
            });
        }
        list_telling(dir, &begun)
    })
}

fn list(dir: &Path) -> Vec<u8> {
    list_telling(dir, &AtomicBool::new(false))
}

/// How often each entry is seen by one listing; `begun` is set after the first entry.
fn list_telling(dir: &Path, begun: &AtomicBool) -> Vec<u8> {
    let mut seen = vec![0_u8; *ENTRIES];
    for entry in std::fs::read_dir(dir).unwrap() {
        begun.store(true, Ordering::Relaxed);
        let name = entry.unwrap().file_name().into_string().unwrap();
        let n: usize = name.strip_prefix("entry ").unwrap().parse().unwrap();
        seen[n] += 1;
    }
    begun.store(true, Ordering::Relaxed);
    seen
}

#[track_caller]
fn assert_listed_once(seen: &[u8], when: &str) {
    let missing = seen.iter().enumerate().filter(|(n, seen)| **seen == 0 && !is_doomed(*n));
    let missing: Vec<_> = missing.map(|(n, _)| n).collect();
    let doubled: Vec<_> = (0..*ENTRIES).filter(|n| seen[*n] > 1).collect();
    assert!(
        missing.is_empty() && doubled.is_empty(),
        "{when}: {} missing, first {:?}; {} doubled, first {:?}",
        missing.len(),
        missing.first(),
        doubled.len(),
        doubled.first()
    );
}
