//! The tables: the lines of JSON that `scripts/bench.sh` collected, one file for each system, laid
//! side by side as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Fault;

/// The systems in the order of their columns: the file's name and the column's.
const SYSTEMS: [(&str, &str); 5] = [
    ("cairnfs", "CairnFS"),
    ("cairnfs-local", "CairnFS, directory"),
    ("juicefs", "JuiceFS"),
    ("nullfs", "empty FUSE"),
    ("rawstore", "raw store"),
];

/// The rows in their order: a measurement's name and what the row says.
const ROWS: [(&str, &str); 13] = [
    ("create", "4 KiB files created by 4 processes, durable"),
    ("read", "the same read, cold"),
    ("stat", "the same stat, cold"),
    ("remove", "the same removed, durable"),
    ("mkdir", "mkdir"),
    ("rename", "rename"),
    ("rmdir", "rmdir"),
    ("untar", "tar unpacked, durable"),
    ("write-stream", "one stream written, durable"),
    ("read-stream", "the same read, cold"),
    ("random-read", "random 4 KiB reads, cold"),
    ("random-write", "random 4 KiB writes, then fsync"),
    ("fsync", "fsync of a 512-byte append, p50 (p99)"),
];

type Results = BTreeMap<&'static str, BTreeMap<String, Value>>;

/// The report on what lies in `dir`.
pub fn text(dir: &Path) -> Result<String, Fault> {
    let mut results = Results::new();
    for (system, _) in SYSTEMS {
        let Ok(text) = fs::read_to_string(dir.join(format!("{system}.jsonl"))) else { continue };
        let of_system = results.entry(system).or_default();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line)?;
            of_system.insert(value["name"].as_str().unwrap_or_default().to_owned(), value);
        }
    }
    let mut text = String::new();
    speeds(&mut text, &results)?;
    costs(&mut text, &results)?;
    memory(&mut text, &results)?;
    Ok(text)
}

fn speeds(text: &mut String, results: &Results) -> Result<(), Fault> {
    let columns = SYSTEMS.map(|(_, title)| format!(" {title} |")).concat();
    writeln!(text, "| what | unit |{columns} × JuiceFS | of empty FUSE | of raw store |")?;
    writeln!(text, "|---|---|{}", "---:|".repeat(SYSTEMS.len() + 3))?;
    for (name, title) in ROWS {
        let find = |system: &str| results.get(system)?.get(name);
        let Some(ours) = find("cairnfs") else { continue };
        let unit = ours["unit"].as_str().unwrap_or_default();
        write!(text, "| {title} | {unit} |")?;
        for (system, _) in SYSTEMS {
            write!(text, " {} |", find(system).map_or("–".to_owned(), value))?;
        }
        let times = |system| find(system).and_then(|other| better(ours, other));
        let ratio = times("juicefs").map_or("–".to_owned(), |ratio| format!("{ratio:.1}"));
        let share = |system| {
            times(system).map_or("–".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0))
        };
        writeln!(text, " {ratio} | {} | {} |", share("nullfs"), share("rawstore"))?;
    }
    Ok(())
}

/// How many times better one is than the other, whether more or less is better.
fn better(ours: &Value, other: &Value) -> Option<f64> {
    let (mine, its) = (ours["value"].as_f64()?, other["value"].as_f64()?);
    let less_is_better = matches!(ours["unit"].as_str(), Some("s" | "ms"));
    let ratio = if less_is_better { its / mine } else { mine / its };
    ratio.is_finite().then_some(ratio)
}

fn value(measure: &Value) -> String {
    let shown = |value: f64| match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    let text = shown(measure["value"].as_f64().unwrap_or_default());
    match measure["p99"].as_f64() {
        Some(p99) => format!("{text} ({})", shown(p99)),
        None => text,
    }
}

/// Requests that the store saw, and CPU time of the file system's processes.
fn costs(text: &mut String, results: &Results) -> Result<(), Fault> {
    const WITH_REQUESTS: [&str; 3] = ["cairnfs", "cairnfs-local", "juicefs"];
    let columns = SYSTEMS.iter().filter(|(system, _)| WITH_REQUESTS.contains(system));
    let titles: String = columns.clone().map(|(_, title)| format!(" {title} |")).collect();
    writeln!(text, "\n| PUT / GET requests, CPU seconds |{titles}")?;
    writeln!(text, "|---|{}", "---:|".repeat(WITH_REQUESTS.len()))?;
    let rows = ROWS.iter().filter(|(name, _)| !matches!(*name, "rename" | "rmdir"));
    for (name, title) in rows {
        let title = if *name == "mkdir" { "mkdir, rename, rmdir together" } else { *title };
        write!(text, "| {title} |")?;
        for (system, _) in columns.clone() {
            let cost = results.get(system).and_then(|of_system| of_system.get(*name));
            match cost.map(|cost| (&cost["put"], &cost["get"], cost["cpu_seconds"].as_f64())) {
                Some((put, get, Some(cpu))) => write!(text, " {put} / {get}, {cpu:.1} s |")?,
                _ => write!(text, " – |")?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn memory(text: &mut String, results: &Results) -> Result<(), Fault> {
    writeln!(text, "\n| peak memory of the file system's processes | MiB |\n|---|---:|")?;
    for (system, title) in SYSTEMS {
        let peak = results.get(system).and_then(|of_system| of_system.get("peak-memory"));
        if let Some(kib) = peak.and_then(|peak| peak["kib"].as_u64()) {
            writeln!(text, "| {title} | {} |", kib / 1024)?;
        }
    }
    Ok(())
}
