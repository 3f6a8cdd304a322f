//! What a volume should be: names, and the bytes behind them, in plain maps.

use std::collections::BTreeMap;

/// The directories; they never change.
pub const DIRS: [&str; 2] = ["a", "b"];

/// A name: directory and file.
pub type Path = (usize, u8);

/// One operation.
#[derive(Debug, Clone)]
pub enum Op {
    /// Makes an empty file.
    Create(Path),
    /// Writes `len` bytes of `fill` at `offset`.
    Write { path: Path, offset: usize, len: usize, fill: u8 },
    /// Cuts or grows.
    Truncate(Path, usize),
    /// Zeroes a range, without growing.
    Punch { path: Path, offset: usize, len: usize },
    /// Renames, over a target if there is one.
    Rename(Path, Path),
    /// Another name for the same file.
    Link(Path, Path),
    /// Removes a name.
    Unlink(Path),
    /// Sets an extended attribute.
    Label(Path, u8),
}

/// A file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    pub label: Option<u8>,
}

/// A file system.
#[derive(Debug, Clone, Default)]
pub struct Model {
    names: BTreeMap<Path, usize>,
    files: Vec<File>,
}

/// What can be seen of one: each name, the names that share its file, and the file.
pub type Seen = BTreeMap<Path, (Vec<Path>, File)>;

impl Model {
    /// Whether a name is there.
    pub fn has(&self, path: Path) -> bool {
        self.names.contains_key(&path)
    }

    /// The file behind a name.
    pub fn file(&self, path: Path) -> Option<&File> {
        self.names.get(&path).map(|at| &self.files[*at])
    }

    /// Does an operation; whether it is one that succeeds.
    pub fn apply(&mut self, op: &Op) -> bool {
        match *op {
            Op::Create(path) => {
                if self.has(path) {
                    return false;
                }
                self.files.push(File::default());
                self.names.insert(path, self.files.len() - 1);
                true
            }
            Op::Rename(from, to) => self.rename(from, to),
            Op::Link(from, to) => match (self.names.get(&from), self.has(to)) {
                (Some(&at), false) => self.names.insert(to, at).is_none(),
                _ => false,
            },
            Op::Unlink(path) => self.names.remove(&path).is_some(),
            Op::Write { path, .. }
            | Op::Truncate(path, _)
            | Op::Punch { path, .. }
            | Op::Label(path, _) => match self.names.get(&path) {
                Some(&at) => {
                    change(&mut self.files[at], op);
                    true
                }
                None => false,
            },
        }
    }

    fn rename(&mut self, from: Path, to: Path) -> bool {
        let Some(&at) = self.names.get(&from) else { return false };
        // POSIX rename(): two names of one file stay as they are.
        if self.names.get(&to) != Some(&at) {
            self.names.remove(&from);
            self.names.insert(to, at);
        }
        true
    }

    /// What can be seen.
    pub fn seen(&self) -> Seen {
        let group = |at| self.names.iter().filter(move |(_, other)| **other == at).map(|(p, _)| *p);
        self.names
            .iter()
            .map(|(path, at)| (*path, (group(*at).collect(), self.files[*at].clone())))
            .collect()
    }
}

fn change(file: &mut File, op: &Op) {
    match *op {
        Op::Write { offset, len, fill, .. } => {
            let end = file.bytes.len().max(offset + len);
            file.bytes.resize(end, 0);
            file.bytes[offset..offset + len].fill(fill);
        }
        Op::Truncate(_, size) => file.bytes.resize(size, 0),
        Op::Punch { offset, len, .. } => {
            let end = (offset + len).min(file.bytes.len());
            file.bytes[offset.min(end)..end].fill(0);
        }
        Op::Label(_, label) => file.label = Some(label),
        Op::Create(_) | Op::Rename(..) | Op::Link(..) | Op::Unlink(_) => {}
    }
}
