//! `--memory` is a promise to the machine: in a control group that allows little more, the daemon
//! lives through streams, many small files, cold reads and large listings.

use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;

use crate::support::cgroup::Cgroup;
use crate::support::mounted::Mounted;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::tools;
use crate::support::tools::Numbers;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

const MIB: u64 = 1 << 20;

const MEMORY_MIB: u64 = 256;

/// What the daemon may take beside `--memory` (docs/user-guide.md): its program, threads and
/// connections, and what the allocator holds back.
const MARGIN_MIB: u64 = 64;

const STREAMS: u64 = 4;
const STREAM_BYTES: u64 = 128 * MIB;
const SMALL_FILES: u64 = 4_000;
const SMALL_BYTES: usize = 2048;
const EMPTY_FILES: u64 = 40_000;
const WORKERS: usize = 4;

#[test]
fn a_daemon_lives_in_little_more_than_the_memory_it_was_given() {
    let minio = Minio::start(Key::Absent);
    let volume = TestVolume::minio(&minio);
    volume.create(&[]);
    let group = Cgroup::new((MEMORY_MIB + MARGIN_MIB) * MIB);

    let mounted = start_in(&group, &volume);
    watched(&group, &mounted, "write streams", |at| in_parallel(|worker| write(at, worker)));
    watched(&group, &mounted, "write small files", write_small_files);
    watched(&group, &mounted, "make empty files", make_empty_files);
    watched(&group, &mounted, "list with attributes", list);
    mounted.stop();

    let mounted = start_in(&group, &volume);
    watched(&group, &mounted, "list cold", list);
    watched(&group, &mounted, "read streams", |at| in_parallel(|worker| read(at, worker)));
    watched(&group, &mounted, "read at random", |at| in_parallel(|worker| read_pages(at, worker)));
    watched(&group, &mounted, "read small files", read_small_files);
    watched(&group, &mounted, "remove everything", |at| {
        std::fs::remove_dir_all(at.join("empty")).unwrap();
        std::fs::remove_dir_all(at.join("small")).unwrap();
    });
    mounted.stop();
    assert_eq!(group.kills(), 0, "the kernel killed a process of the group");
    volume.assert_sound();
}

#[track_caller]
fn start_in<'v>(group: &Cgroup, volume: &'v TestVolume) -> Mounted<'v> {
    let dir = volume.mount_point("mnt");
    let mut call = volume.command("mount.cairnfs");
    call.args(["start", NAME]).arg(&dir).args(["--memory", &format!("{MEMORY_MIB}MiB")]);
    tools::run(&mut group.inside(&call), std::time::Duration::from_secs(60))
        .expect_success("start");
    let mounted = Mounted::adopt(volume, dir);
    assert!(group.holds(mounted.pid()), "the daemon is not in the group");
    mounted
}

/// Runs a load, and checks that the daemon has lived through it.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the peaks are shown with `--nocapture`")]
fn watched(group: &Cgroup, mounted: &Mounted<'_>, load: &str, run: impl FnOnce(&Path)) {
    let begun = std::time::Instant::now();
    run(mounted.dir());
    mounted.sync();
    let resident = tools::resident_bytes(mounted.pid());
    println!(
        "{load}: {:?}, peak resident {} MiB, the group now {} MiB, at most {} MiB",
        begun.elapsed(),
        resident / MIB,
        group.now_bytes() / MIB,
        group.peak_bytes() / MIB,
    );
    assert_eq!(group.kills(), 0, "{load}: the kernel killed the daemon");
    let bound = MEMORY_MIB + MARGIN_MIB;
    assert!(resident <= bound * MIB, "{load}: {resident} bytes resident, over {bound} MiB");
}

fn in_parallel(work: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        let work = &work;
        (0..STREAMS).for_each(|worker| drop(scope.spawn(move || work(worker))));
    });
}

fn stream(at: &Path, worker: u64) -> std::path::PathBuf {
    at.join(format!("stream {worker}"))
}

fn write(at: &Path, worker: u64) {
    let mebibyte = tools::noise(worker, 1 << 20);
    let mut file = File::create(stream(at, worker)).unwrap();
    for _ in 0..STREAM_BYTES / MIB {
        file.write_all(&mebibyte).unwrap();
    }
}

fn read(at: &Path, worker: u64) {
    let expected = tools::noise(worker, 1 << 20);
    let mut file = File::open(stream(at, worker)).unwrap();
    let mut mebibyte = vec![0; 1 << 20];
    for n in 0..STREAM_BYTES / MIB {
        file.read_exact(&mut mebibyte).unwrap();
        assert!(mebibyte == expected, "stream {worker} differs in MiB {n}");
    }
}

fn read_pages(at: &Path, worker: u64) {
    let expected = tools::noise(worker, 1 << 20);
    let file = File::open(stream(at, worker)).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let mut numbers = Numbers::new(worker);
    let mut page = vec![0; 4096];
    for _ in 0..1000 {
        let offset = numbers.below(STREAM_BYTES / 4096) * 4096;
        file.read_exact_at(&mut page, offset).unwrap();
        let within = usize::try_from(offset % MIB).unwrap();
        assert!(page == expected[within..within + 4096], "stream {worker} differs at {offset}");
    }
}

fn write_small_files(at: &Path) {
    std::fs::create_dir(at.join("small")).unwrap();
    in_parallel(|worker| {
        for n in (worker..SMALL_FILES).step_by(WORKERS) {
            std::fs::write(at.join(format!("small/{n}")), tools::noise(n, SMALL_BYTES)).unwrap();
        }
    });
}

fn read_small_files(at: &Path) {
    in_parallel(|worker| {
        for n in (worker..SMALL_FILES).step_by(WORKERS) {
            let bytes = std::fs::read(at.join(format!("small/{n}"))).unwrap();
            assert!(bytes == tools::noise(n, SMALL_BYTES), "small file {n} differs");
        }
    });
}

fn make_empty_files(at: &Path) {
    std::fs::create_dir(at.join("empty")).unwrap();
    in_parallel(|worker| {
        for n in (worker..EMPTY_FILES).step_by(WORKERS) {
            let path = at.join(format!("empty/a name of some length, as people give it {n}"));
            let mode = Mode::from_raw_mode(0o644);
            rustix::fs::mknodat(CWD, path, FileType::RegularFile, mode, 0).unwrap();
        }
    });
}

fn list(at: &Path) {
    let mut count = 0;
    for entry in std::fs::read_dir(at.join("empty")).unwrap() {
        entry.unwrap().metadata().unwrap();
        count += 1;
    }
    assert_eq!(count, EMPTY_FILES);
}
