//! What the store sees of small files and what an fsync waits for: counts and times with limits.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::support::s3_double::S3Double;
use crate::support::tools;
use crate::support::volume::TestVolume;

#[test]
fn ten_thousand_small_files_are_at_most_sixty_puts_and_survive_a_kill() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let mounted = volume.start(&[]);
    double.forget();
    for dir in 0..10 {
        std::fs::create_dir(mounted.path(&format!("{dir}"))).unwrap();
    }
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let mounted = &mounted;
            scope.spawn(move || {
                for n in (worker..10_000_u64).step_by(4) {
                    let path = mounted.path(&format!("{}/{n}", n % 10));
                    std::fs::write(path, tools::noise(n, 4096)).unwrap();
                }
            });
        }
    });
    File::open(mounted.path("0/0")).unwrap().sync_all().unwrap();
    let puts = double.puts();
    mounted.kill9();
    assert!(puts.len() <= 60, "{} PUTs", puts.len());
    let stored: u64 = puts.iter().map(|put| put.bytes_in).sum();
    assert!(stored < 60_000_000, "{stored} bytes stored for 41 million of data");
    let mounted = volume.start(&[]);
    for n in 0..10_000_u64 {
        let path = mounted.path(&format!("{}/{n}", n % 10));
        assert!(std::fs::read(path).unwrap() == tools::noise(n, 4096), "file {n} differs");
    }
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn an_fsync_beside_a_stream_waits_for_little_of_it() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let mounted = volume.start(&[]);
    double.throttle(Some(50_000_000));
    let ended = AtomicBool::new(false);
    let mut waits = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mebibyte = tools::noise(1, 1 << 20);
            // A gibibyte, again and again, so that no append is without the stream beside it.
            let stream = File::create(mounted.path("stream")).unwrap();
            for written in (0..1024).cycle() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                stream.write_all_at(&mebibyte, written << 20).unwrap();
            }
        });
        let mut options = OpenOptions::new();
        let mut log = options.create(true).append(true).open(mounted.path("log")).unwrap();
        let mut waits = Vec::new();
        for _ in 0..100 {
            log.write_all(&[7; 512]).unwrap();
            let begun = Instant::now();
            log.sync_all().unwrap();
            waits.push(begun.elapsed());
        }
        ended.store(true, Ordering::Relaxed);
        waits
    });
    waits.sort();
    assert!(waits[98] <= Duration::from_millis(1500), "p99 {:?} of {waits:?}", waits[98]);
    double.throttle(None);
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn a_small_fsync_is_one_round_trip_of_the_store() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let mounted = volume.start(&[]);
    let mut options = OpenOptions::new();
    let mut log = options.create(true).append(true).open(mounted.path("log")).unwrap();
    log.sync_all().unwrap();
    let round_trip = Duration::from_millis(100);
    double.latency(round_trip);
    let mut waits = Vec::new();
    for _ in 0..20 {
        log.write_all(&[7; 512]).unwrap();
        let begun = Instant::now();
        log.sync_all().unwrap();
        waits.push(begun.elapsed());
    }
    waits.sort();
    assert!(waits[10] < round_trip * 3 / 2, "median {:?} of {waits:?}", waits[10]);
    double.latency(Duration::ZERO);
    drop(log);
    mounted.stop();
}
