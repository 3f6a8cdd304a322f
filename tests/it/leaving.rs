//! How a mount is left: lazily, by force, by a signal, while it is in use or its store is away.
//! Whatever was acknowledged is there afterwards, and nobody is told what is not so.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::mounted::Mounted;
use crate::support::mounted::is_mounted;
use crate::support::mounted::is_running;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::tools;
use crate::support::tools::within;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than a signal waits for the store before it detaches.
const SIGNAL_LIMIT: Duration = Duration::from_secs(40);
/// How long something must not happen.
const A_WHILE: Duration = Duration::from_secs(2);
const LINE: &[u8; 8] = b"a line.\n";

/// A log that grows line by line, and how many lines were acknowledged.
struct Log {
    lines: AtomicU64,
    enough: AtomicBool,
}

impl Log {
    fn new() -> Self {
        Self { lines: AtomicU64::new(0), enough: AtomicBool::new(false) }
    }

    fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Appends until it is enough, or until a write fails.
    fn grow(&self, mut file: &File) {
        while !self.enough.load(Ordering::Relaxed) && file.write(LINE).is_ok_and(|n| n == 8) {
            self.lines.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[track_caller]
    fn wait_for_more(&self, more: u64) {
        let wanted = self.lines() + more;
        assert!(within(LIMIT, || self.lines() >= wanted), "the log does not grow");
    }

    #[track_caller]
    fn assert_whole(&self, file: &Path) {
        let (found, written) = (std::fs::metadata(file).unwrap().len() / 8, self.lines());
        assert!(found >= written, "{found} lines are there, and {written} were acknowledged");
    }
}

fn log_file(mounted: &Mounted<'_>) -> File {
    OpenOptions::new().create(true).append(true).open(mounted.path("log")).unwrap()
}

#[test]
fn what_is_written_after_a_lazy_umount_is_there_after_a_remount() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    let (log, file) = (Log::new(), log_file(&mounted));
    std::thread::scope(|scope| {
        scope.spawn(|| log.grow(&file));
        log.wait_for_more(500);
        let dir = mounted.dir().to_str().unwrap();
        let umount = volume.call("umount.cairnfs", &["-l", dir]);
        let gone = !is_mounted(mounted.dir());
        let mut goes_on = false;
        if gone {
            let wanted = log.lines() + 500;
            goes_on = within(Duration::from_secs(20), || log.lines() >= wanted);
        }
        log.enough.store(true, Ordering::Relaxed);
        umount.expect_success("umount -l");
        assert!(gone, "it is still mounted");
        assert!(goes_on, "a lazily detached mount answers its users");
    });
    assert!(is_running(mounted.pid()), "it lives as long as its last user");
    drop(file);
    mounted.wait_for_end();
    drop(mounted);
    let mounted = volume.start(&[]);
    log.assert_whole(&mounted.path("log"));
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn what_was_acknowledged_before_a_signal_ends_a_busy_mount_is_there_after_a_remount() {
    let volume = TestVolume::local();
    let mut mounted = volume.created(&[]);
    // Already detached, it cannot be cut off by its path any more.
    for lazily_before in [false, true] {
        let (log, file) = (Log::new(), log_file(&mounted));
        let before = file.metadata().unwrap().len() / 8;
        std::thread::scope(|scope| {
            scope.spawn(|| log.grow(&file));
            log.wait_for_more(500);
            if lazily_before {
                let dir = mounted.dir().to_str().unwrap();
                volume.call("umount.cairnfs", &["-l", dir]).expect_success("umount -l");
                log.wait_for_more(500);
            }
            mounted.signal("TERM");
            let ended = within(LIMIT, || !is_running(mounted.pid()));
            log.enough.store(true, Ordering::Relaxed);
            assert!(ended, "a signal ends it although it is in use");
        });
        drop(file);
        assert!(!is_mounted(mounted.dir()), "a dead mount is left");
        drop(mounted);
        mounted = volume.start(&[]);
        log.lines.fetch_add(before, Ordering::Relaxed);
        log.assert_whole(&mounted.path("log"));
    }
    mounted.stop();
    volume.assert_sound();
}

/// A volume on a store that hangs, with a file that it has not got.
fn with_a_hanging_store(test: impl FnOnce(&Minio, &TestVolume, Mounted<'_>)) {
    let minio = Minio::start(Key::Absent);
    let volume = TestVolume::minio(&minio);
    let mounted = volume.created(&[]);
    mounted.sync();
    minio.freeze();
    std::fs::write(mounted.path("a"), tools::noise(1, 1 << 20)).unwrap();
    test(&minio, &volume, mounted);
    let mounted = volume.start(&[]);
    assert!(std::fs::read(mounted.path("a")).unwrap() == tools::noise(1, 1 << 20));
    mounted.stop();
    volume.assert_sound();
}

fn spawn(volume: &TestVolume, name: &str, args: &[&str]) -> Child {
    let mut command = volume.command(name);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[track_caller]
fn assert_waits(child: &mut Child, what: &str) {
    assert!(!within(A_WHILE, || child.try_wait().unwrap().is_some()), "{what} does not wait");
}

fn umount_without_helper(dir: &Path) {
    let mut umount = Command::new("umount");
    tools::run(umount.arg("-i").arg(dir), LIMIT).expect_success("umount -i");
}

#[test]
fn a_start_waits_for_a_process_that_still_stores_what_was_mounted_there() {
    with_a_hanging_store(|minio, volume, mounted| {
        umount_without_helper(mounted.dir());
        let dir = mounted.dir().to_str().unwrap();
        let mut start = spawn(volume, "mount.cairnfs", &["start", NAME, dir]);
        assert_waits(&mut start, "start");
        minio.thaw();
        assert!(start.wait().unwrap().success());
        assert!(!is_running(mounted.pid()), "the old process goes on");
        assert!(is_mounted(mounted.dir()), "`start` returned 0, and nothing is mounted");
        volume.call("mount.cairnfs", &["stop", dir]).expect_success("stop");
    });
}

#[test]
fn a_forced_umount_overtakes_one_that_waits_for_the_store() {
    with_a_hanging_store(|minio, volume, mounted| {
        let dir = mounted.dir().to_str().unwrap();
        let mut waiting = spawn(volume, "umount.cairnfs", &[dir]);
        assert_waits(&mut waiting, "umount");
        let forced = volume.call("umount.cairnfs", &["-f", dir]);
        assert!(forced.took < Duration::from_secs(20), "it took {:?}", forced.took);
        forced.expect_success("umount -f");
        assert!(!is_mounted(mounted.dir()));
        assert!(!waiting.wait().unwrap().success(), "it was told of a stop that is not its own");
        assert!(is_running(mounted.pid()), "it goes on storing");
        minio.thaw();
        mounted.wait_for_end();
    });
}

#[test]
fn a_stop_ends_with_its_caller_and_the_mount_goes_on() {
    with_a_hanging_store(|minio, volume, mounted| {
        let dir = mounted.dir().to_str().unwrap();
        let mut waiting = spawn(volume, "umount.cairnfs", &[dir]);
        assert_waits(&mut waiting, "umount");
        waiting.kill().unwrap();
        waiting.wait().unwrap();
        minio.thaw();
        assert!(!within(A_WHILE, || !is_mounted(mounted.dir())), "nobody wants it any more");
        mounted.stop();
    });
}

#[test]
fn further_signals_do_not_end_the_storing_that_the_first_began() {
    with_a_hanging_store(|minio, volume, mounted| {
        let dir = mounted.dir().to_str().unwrap();
        let mut waiting = spawn(volume, "umount.cairnfs", &[dir]);
        assert_waits(&mut waiting, "umount");
        mounted.signal("TERM");
        assert!(within(SIGNAL_LIMIT, || !is_mounted(mounted.dir())), "it waits for the store");
        for name in ["HUP", "TERM", "INT"] {
            mounted.signal(name);
        }
        assert!(!within(A_WHILE, || !is_running(mounted.pid())), "it gave up storing");
        minio.thaw();
        mounted.wait_for_end();
        assert!(waiting.wait().unwrap().success(), "it is stored and unmounted");
    });
}

#[test]
fn a_person_at_the_terminal_can_give_up_storing() {
    let minio = Minio::start(Key::Absent);
    let volume = TestVolume::minio(&minio);
    volume.create(&[]);
    let dir = volume.mount_point("mnt");
    let start = ["start", NAME, dir.to_str().unwrap(), "--foreground"];
    let mut foreground = spawn(&volume, "cairnfs", &start);
    assert!(within(LIMIT, || is_mounted(&dir)), "it is not mounted");
    let listed = || volume.call("cairnfs", &["status", "--json"]).stdout.contains("\"pid\"");
    assert!(within(LIMIT, listed), "status does not list it");
    let mounted = Mounted::adopt(&volume, dir);
    minio.freeze();
    std::fs::write(mounted.path("a"), tools::noise(1, 1 << 20)).unwrap();
    mounted.signal("INT");
    assert!(!within(A_WHILE, || !is_mounted(mounted.dir())), "it waits for the store first");
    mounted.signal("INT");
    assert!(within(Duration::from_secs(10), || !is_mounted(mounted.dir())), "it still waits");
    assert!(!within(A_WHILE, || !is_running(mounted.pid())), "it stores what is left");
    mounted.signal("INT");
    assert!(within(Duration::from_secs(25), || !is_running(mounted.pid())), "it goes on");
    assert!(!foreground.wait().unwrap().success(), "not everything is stored");
    minio.thaw();
}

#[test]
fn a_daemon_keeps_nothing_open_of_what_its_caller_had_open() {
    let volume = TestVolume::local();
    volume.create(&[]);
    let (dir, scratch) = (volume.mount_point("mnt"), volume.scratch("locks"));
    let program = volume.command("cairnfs").get_program().to_str().unwrap().to_owned();
    let script = format!(
        "exec 9>low 10>high; flock 9; flock 10; '{program}' start {NAME} '{}'; exec 9>&- 10>&-; \
         flock -n low true; flock -n high true",
        dir.display()
    );
    let mut shell = Command::new("bash");
    volume.tell(&mut shell);
    shell.args(["-euc", &script]).current_dir(&scratch);
    let ended = tools::run(&mut shell, LIMIT);
    let mounted = Mounted::adopt(&volume, dir);
    ended.expect_success("a lock that only the daemon could hold");
    mounted.stop();
}
