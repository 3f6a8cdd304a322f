//! The small records of a local volume, rewritten as another machine or a later version would
//! have written them (`docs/format.md`, "Records": a line of JSON, a line with its BLAKE3 hash).

use std::path::Path;

use serde_json::Value;

/// Changes a record in place, its hash included.
#[track_caller]
pub fn rewrite(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut record = read(path);
    change(&mut record);
    write(path, &record);
}

/// Reads a record's document.
#[track_caller]
pub fn read(path: &Path) -> Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(text.lines().next().unwrap_or("")).unwrap()
}

/// Writes a record.
#[track_caller]
pub fn write(path: &Path, record: &Value) {
    let line = format!("{record}\n");
    let hash = blake3::hash(line.as_bytes()).to_hex();
    // The file may be a hard link of another name: replace it, never write into it.
    let _was_not_there = std::fs::remove_file(path);
    std::fs::write(path, format!("{line}{hash}\n")).unwrap();
}
