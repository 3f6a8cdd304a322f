//! An audit of many objects: its memory does not grow with their number, and its pace is the
//! store's. `CAIRNFS_AUDIT_OBJECTS=100000` measures more than the default; the figures are printed.

use std::process::Stdio;
use std::time::Instant;

use super::support::servers::BUCKET;
use super::support::servers::Key;
use super::support::servers::Minio;
use super::support::tools;
use super::support::volume::NAME;
use super::support::volume::TestVolume;

const OBJECTS_DEFAULT: usize = 3_000;
const WRITERS: usize = 8;

/// What an audit may take at most, however many objects there are.
const MEMORY_KIB_MAX: u64 = 160 * 1024;

/// A figure of a process from `/proc/PID/FILE`, by the word before it; `None` once it has ended.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Processor time in hundredths of a second.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

#[test]
fn an_audit_of_many_objects_takes_bounded_memory() {
    let wanted = std::env::var("CAIRNFS_AUDIT_OBJECTS").ok();
    let objects = wanted.map_or(OBJECTS_DEFAULT, |number| number.parse().unwrap());
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    volume.create(&["--sse"]);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let sse = [("x-amz-server-side-encryption", "AES256")];
                for number in (writer..objects).step_by(WRITERS) {
                    let path = format!("/{BUCKET}/many/{:02x}/{number}", number % 256);
                    let answer = client.send("PUT", &path, "", &sse, b"x").unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.body);
                }
            });
        }
    });

    let dir = volume.scratch("audit");
    let (report, csv) = (dir.join("report.json"), dir.join("rows.csv"));
    let begin = Instant::now();
    let mut auditing = volume
        .command("cairnfs")
        .args(["audit", NAME, "--json", "--csv", csv.to_str().unwrap()])
        .stdout(std::fs::File::create(&report).unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let (pid, mut peak, mut time) = (auditing.id(), 0, 0);
    let ended = tools::wait_for("the audit", std::time::Duration::from_secs(1_800), || {
        peak = peak_kib(pid).unwrap_or(peak);
        time = ticks(pid).unwrap_or(time);
        auditing.try_wait().unwrap()
    });
    let took = begin.elapsed();
    assert_eq!(ended.code(), Some(0), "what is foreign and encrypted is no fault");
    let report = std::fs::read_to_string(&report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["totals"]["foreign"], objects);
    let rows = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(rows.lines().filter(|row| row.starts_with("many/")).count(), objects);
    println!(
        "audit of {objects} objects: {:.1} s, {:.0} objects/s, {} MiB at most, processor {:.1} s",
        took.as_secs_f64(),
        objects as f64 / took.as_secs_f64(),
        peak / 1024,
        time as f64 / 100.0
    );
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB");
}
