//! Real work on a mount: a git clone, an unpacked source tree, a build, a database. Unmounted and
//! mounted again, all of it is as it was; on a directory, and on MinIO with encryption.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::mounted::Mounted;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::tools;
use crate::support::volume::TestVolume;

const LIMIT: Duration = Duration::from_secs(600);
const ROWS: u32 = 300;

#[test]
fn real_work_survives_a_remount_on_a_directory() {
    let volume = TestVolume::local();
    volume.create(&[]);
    real_work(&volume);
}

#[test]
fn real_work_survives_a_remount_on_minio_with_encryption() {
    let minio = Minio::start(Key::Present);
    let volume = TestVolume::minio(&minio);
    volume.create(&["--sse"]);
    real_work(&volume);
}

fn real_work(volume: &TestVolume) {
    let mounted = volume.start(&[]);
    let repository = clone_this_repository(&mounted);
    unpack_sources(volume, &mounted);
    build_a_crate(&mounted);
    let database = fill_a_database(&mounted);
    let before = tools::tree(mounted.dir());
    assert!(before.len() > 2_000, "only {} files", before.len());
    mounted.stop();

    let mounted = volume.start(&[]);
    tools::assert_same_tree(&before, &tools::tree(mounted.dir()));
    tools::shell(&repository, "git fsck --full --strict && git status --porcelain", LIMIT);
    let checked = format!("sqlite3 '{}' 'pragma integrity_check; select count(*) from t'", {
        database.display()
    });
    assert_eq!(tools::shell(mounted.dir(), &checked, LIMIT), format!("ok\n{ROWS}\n"));
    tools::shell(&mounted.path("crate"), "./target/debug/built | grep -qx 42", LIMIT);
    tools::shell(&mounted.path("crate"), "touch src/main.rs && cargo build --offline", LIMIT);
    mounted.stop();
    volume.assert_sound();
}

/// Clones this repository by copying its objects (no hard links to outside), and works in it.
fn clone_this_repository(mounted: &Mounted<'_>) -> PathBuf {
    let from = env!("CARGO_MANIFEST_DIR");
    let script = format!(
        "git -c safe.directory='*' clone --quiet --no-hardlinks '{from}' repository
         cd repository
         git config user.name Test && git config user.email test@localhost
         git checkout --quiet -b topic
         for n in 1 2 3 4 5; do
             echo \"$n\" >>README.md && git add -A && git commit --quiet -m \"change $n\"
         done
         git gc --quiet && git checkout --quiet - && git merge --quiet topic"
    );
    tools::shell(mounted.dir(), &script, LIMIT);
    mounted.path("repository")
}

/// Packs the sources of some dependencies (thousands of files) and unpacks them on the mount.
fn unpack_sources(volume: &TestVolume, mounted: &Mounted<'_>) {
    let mut crates = cargo_sources();
    crates.sort();
    let mut list = Vec::new();
    let mut files = 0;
    for dir in crates {
        if files > 3_000 {
            break;
        }
        files += count_files(&dir);
        list.push(format!("'{}'", dir.file_name().unwrap().to_str().unwrap()));
    }
    assert!(files > 1_500, "the registry holds only {files} files; build the tests with cargo");
    let archive = volume.scratch("archives").join("sources.tar");
    let archive = archive.display();
    let pack = format!("tar cf '{archive}' {}", list.join(" "));
    tools::shell(&registry(), &pack, LIMIT);
    std::fs::create_dir(mounted.path("sources")).unwrap();
    let unpack = format!("tar xf '{archive}' && tar df '{archive}'");
    tools::shell(&mounted.path("sources"), &unpack, LIMIT);
}

/// The directory of cargo that holds the sources of the dependencies.
fn registry() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let sources = home.expect("cargo has a home").join("registry/src");
    let mut indexes = std::fs::read_dir(&sources).unwrap().map(|entry| entry.unwrap().path());
    indexes.next().unwrap_or_else(|| panic!("{} is empty", sources.display()))
}

fn cargo_sources() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(registry()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir() && count_files(path) < 400).collect()
}

fn count_files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}

/// Builds a small crate on the mount, its target directory included.
fn build_a_crate(mounted: &Mounted<'_>) {
    let script = "cargo init --quiet --vcs none --name built crate
         cd crate
         for n in $(seq 20); do
             echo \"pub fn f$n() -> u64 { $n }\" >src/m$n.rs
             echo \"mod m$n;\" >>src/main.rs
         done
         sed -i 's/println!.*/println!(\"{}\", m20::f20() * 2 + 2);/' src/main.rs
         cargo build --offline --quiet
         ./target/debug/built | grep -qx 42";
    tools::shell(mounted.dir(), script, LIMIT);
}

/// Writes a database in WAL mode, one durable transaction a row, with a second reader beside.
fn fill_a_database(mounted: &Mounted<'_>) -> PathBuf {
    let script = format!(
        "sqlite3 data.db 'pragma journal_mode=wal; create table t(id integer primary key, x)' \
         | grep -qx wal
         (for n in $(seq {ROWS}); do
             echo \"insert into t values($n, hex(randomblob(200)));\"
         done) | sqlite3 -cmd 'pragma synchronous=full' data.db &
         for n in 1 2 3 4 5; do
             sqlite3 -cmd '.timeout 20000' data.db 'select count(*) from t' >/dev/null
         done
         wait $!
         sqlite3 data.db 'pragma wal_checkpoint(truncate)' >/dev/null"
    );
    tools::shell(mounted.dir(), &script, LIMIT);
    mounted.path("data.db")
}
