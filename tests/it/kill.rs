//! `kill -9` of the mount under load, again and again, with many files: the volume is ready
//! quickly and sound, and holds every write that was acknowledged as durable.

use std::collections::BTreeMap;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::support::mounted::Mounted;
use crate::support::tools;
use crate::support::tools::Numbers;
use crate::support::volume::TestVolume;

const ROUNDS: u64 = 20;
const FILES: u64 = 100_000;
const READY_LIMIT: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(120);
const RECORD: usize = 64;

/// What was acknowledged as durable so far, over all rounds.
#[derive(Default)]
struct Promised {
    /// Each file's seed and size.
    files: Mutex<BTreeMap<String, (u64, usize)>>,
    /// Records in the log that is written with O_DSYNC.
    records: AtomicU64,
    /// Rows that SQLite said were committed.
    rows: AtomicU64,
}

#[test]
fn what_was_acknowledged_survives_twenty_kills_among_a_hundred_thousand_files() {
    let volume = TestVolume::local();
    let mut mounted = volume.created(&[]);
    fill(&mounted);
    let promised = Promised::default();
    let mut numbers = Numbers::new(1);
    for round in 0..ROUNDS {
        let pause = Duration::from_millis(100 + numbers.below(900));
        load_until_killed(&mounted, &promised, round, pause);
        mounted.kill9();
        let begun = Instant::now();
        mounted = volume.start(&[]);
        let ready = begun.elapsed();
        assert!(ready <= READY_LIMIT, "round {round}: ready only after {ready:?}");
        verify(&mounted, &promised, round);
    }
    let files = promised.files.lock().unwrap().len();
    let (records, rows) = (promised.records.into_inner(), promised.rows.into_inner());
    assert!(files > 20 && records > 20 && rows > 20, "{files} files, {records}, {rows}: no load");
    let left: u64 = (0..100).map(|dir| count(&mounted.path(&format!("fill/{dir}")))).sum();
    assert_eq!(left, FILES, "files that nobody touched");
    mounted.stop();
    volume.assert_sound();
}

/// The many files, durable before the first kill.
fn fill(mounted: &Mounted<'_>) {
    std::fs::create_dir(mounted.path("fill")).unwrap();
    std::fs::create_dir(mounted.path("acked")).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            scope.spawn(move || {
                for dir in (worker..100).step_by(4) {
                    std::fs::create_dir(mounted.path(&format!("fill/{dir}"))).unwrap();
                    for n in 0..FILES / 100 {
                        let path = mounted.path(&format!("fill/{dir}/{n}"));
                        std::fs::write(path, n.to_le_bytes()).unwrap();
                    }
                }
            });
        }
    });
    let create = "pragma journal_mode=wal; create table t(n integer primary key)";
    tools::shell(mounted.dir(), &format!("sqlite3 data.db '{create}'"), LIMIT);
    mounted.sync();
}

/// Keeps the mount busy in four ways and kills its daemon in the middle.
fn load_until_killed(mounted: &Mounted<'_>, promised: &Promised, round: u64, pause: Duration) {
    let killed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| fsync_files(mounted, promised, round));
        scope.spawn(|| append_records(&mounted.path("log"), promised));
        scope.spawn(|| commit_rows(mounted.dir(), promised));
        scope.spawn(|| {
            // Not acknowledged, so never looked for: work for the daemon alone.
            for n in 0.. {
                let path = mounted.path(&format!("noise {}", n % 50));
                let wrote = std::fs::write(&path, tools::noise(n, 100_000));
                if wrote.and_then(|()| std::fs::rename(&path, mounted.path("noise"))).is_err() {
                    return;
                }
            }
        });
        // Not a wait for a condition: the moment of the kill is what the rounds vary.
        tools::within(pause, || killed.load(Ordering::Relaxed));
        killed.store(true, Ordering::Relaxed);
        mounted.signal("KILL");
        mounted.wait_for_end();
    });
}

fn fsync_files(mounted: &Mounted<'_>, promised: &Promised, round: u64) {
    let mut numbers = Numbers::new(round);
    for n in 0.. {
        let name = format!("acked/{round} {n}");
        let size = usize::try_from(numbers.below(300_000)).unwrap();
        let seed = numbers.next();
        let written = File::create(mounted.path(&name)).and_then(|mut file| {
            file.write_all(&tools::noise(seed, size))?;
            file.sync_all()
        });
        if written.is_err() {
            return;
        }
        promised.files.lock().unwrap().insert(name, (seed, size));
    }
}

/// Appends numbered records with O_DSYNC: each write that returns is a promise.
fn append_records(path: &Path, promised: &Promised) {
    let dsync = i32::try_from(rustix::fs::OFlags::DSYNC.bits()).unwrap();
    let mut options = OpenOptions::new();
    options.create(true).append(true).custom_flags(dsync);
    let Ok(mut log) = options.open(path) else { return };
    // An unacknowledged record of the round before may be there too: go on after it.
    let Ok(length) = log.metadata().map(|meta| meta.len()) else { return };
    for n in length / RECORD as u64.. {
        if log.write_all(&record(n)).is_err() {
            return;
        }
        promised.records.store(n + 1, Ordering::Relaxed);
    }
}

fn record(n: u64) -> [u8; RECORD] {
    let mut record = [b'.'; RECORD];
    let text = format!("record {n}\n");
    record[..text.len()].copy_from_slice(text.as_bytes());
    record
}

/// Lets SQLite commit rows one by one; what it prints after a commit is a promise.
fn commit_rows(dir: &Path, promised: &Promised) {
    let from = promised.rows.load(Ordering::Relaxed) + 1;
    let script: String = (from..from + 20_000)
        .map(|n| format!("insert or ignore into t values({n}); select {n};\n"))
        .collect();
    let child = Command::new("stdbuf")
        .args(["-oL", "sqlite3", "-bail", "-cmd", ".timeout 5000"])
        .args(["-cmd", "pragma synchronous=full", "data.db"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return };
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
    for line in output.lines() {
        let Some(n) = line.ok().and_then(|line| line.parse().ok()) else { break };
        promised.rows.store(n, Ordering::Relaxed);
    }
    let _it_may_be_stuck_no_longer = child.kill();
    let _reaped = child.wait();
    let _broken_pipe = writer.join();
}

#[track_caller]
fn verify(mounted: &Mounted<'_>, promised: &Promised, round: u64) {
    for (name, (seed, size)) in promised.files.lock().unwrap().iter() {
        // Those of earlier rounds are read again only now and then.
        if name.starts_with(&format!("acked/{round} ")) || round % 5 == 4 {
            let bytes = std::fs::read(mounted.path(name))
                .unwrap_or_else(|error| panic!("round {round}: {name}: {error}"));
            let same = bytes == tools::noise(*seed, *size);
            assert!(same, "round {round}: {name} reads differently ({} bytes)", bytes.len());
        }
    }
    let log = std::fs::read(mounted.path("log")).unwrap_or_default();
    let records = promised.records.load(Ordering::Relaxed);
    for n in 0..records {
        let at = usize::try_from(n).unwrap() * RECORD;
        let found = log.get(at..at + RECORD);
        assert_eq!(found, Some(&record(n)[..]), "round {round}: record {n} of {records}");
    }
    let query = "sqlite3 data.db 'pragma integrity_check; select coalesce(max(n), 0) from t'";
    let answer = tools::shell(mounted.dir(), query, LIMIT);
    let (check, rows) = answer.trim().split_once('\n').unwrap();
    assert_eq!(check, "ok", "round {round}");
    let promised_rows = promised.rows.load(Ordering::Relaxed);
    assert!(rows.parse::<u64>().unwrap() >= promised_rows, "round {round}: rows are missing");
    promised.rows.store(rows.parse().unwrap(), Ordering::Relaxed);
}

fn count(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().inspect(|entry| assert!(entry.is_ok())).count() as u64
}
