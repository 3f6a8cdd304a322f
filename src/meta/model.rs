//! Random operations on names agree with plain maps, through epochs and remounts.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::test_runner::Config;
use proptest::test_runner::TestRunner;

use super::Fate;
use super::Meta;
use super::NewNode;
use super::OpenFiles;
use super::RenameMode;
use super::fixture::Bed;
use super::fixture::file_name;
use super::value::Inode;
use super::value::mode;
use crate::ambient::Ambient;
use crate::error::Kind;
use crate::types::Ino;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const KINDS: [u32; 4] = [mode::DIRECTORY, mode::DIRECTORY, mode::REGULAR, mode::SYMLINK];
const MODES: [RenameMode; 3] = [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange];

/// Numbers choose among what exists when the step is made.
#[derive(Debug, Clone)]
enum Step {
    Make(usize, usize, usize),
    Link(usize, usize, usize),
    Unlink(usize, usize),
    Rmdir(usize, usize),
    Rename(usize, usize, usize, usize, usize),
    Open(usize),
    Close,
    Commit,
    Remount,
}

fn step() -> impl Strategy<Value = Step> {
    let n = || any::<usize>();
    prop_oneof![
        6 => (n(), n(), n()).prop_map(|(dir, name, kind)| Step::Make(dir, name, kind)),
        2 => (n(), n(), n()).prop_map(|(node, dir, name)| Step::Link(node, dir, name)),
        2 => (n(), n()).prop_map(|(dir, name)| Step::Unlink(dir, name)),
        2 => (n(), n()).prop_map(|(dir, name)| Step::Rmdir(dir, name)),
        6 => (n(), n(), n(), n(), n())
            .prop_map(|(from, a, to, b, mode)| Step::Rename(from, a, to, b, mode)),
        1 => n().prop_map(Step::Open),
        1 => Just(Step::Close),
        1 => Just(Step::Commit),
        1 => Just(Step::Remount),
    ]
}

type Outcome = Result<(), Kind>;

#[derive(Default)]
struct Model {
    dirs: BTreeMap<Ino, BTreeMap<&'static str, Ino>>,
    kinds: BTreeMap<Ino, u32>,
    /// Directories and files that were removed while open.
    orphans: BTreeSet<Ino>,
    open: BTreeSet<Ino>,
}

impl Model {
    fn new() -> Self {
        let mut model = Self::default();
        model.dirs.insert(Ino::ROOT, BTreeMap::new());
        model.kinds.insert(Ino::ROOT, mode::DIRECTORY);
        model
    }

    fn dir(&self, pick: usize) -> Ino {
        *self.dirs.keys().nth(pick % self.dirs.len()).unwrap()
    }

    fn node(&self, pick: usize) -> Ino {
        *self.kinds.keys().nth(pick % self.kinds.len()).unwrap()
    }

    fn is_dir(&self, ino: Ino) -> bool {
        self.kinds[&ino] == mode::DIRECTORY
    }

    fn get(&self, dir: Ino, name: &'static str) -> Result<Ino, Kind> {
        self.dirs[&dir].get(name).copied().ok_or(Kind::NotFound)
    }

    fn names_of(&self, ino: Ino) -> usize {
        self.dirs.values().flat_map(BTreeMap::values).filter(|other| **other == ino).count()
    }

    fn is_below(&self, ino: Ino, top: Ino) -> bool {
        ino == top
            || self
                .dirs
                .iter()
                .find(|(_, entries)| entries.values().any(|other| *other == ino))
                .is_some_and(|(dir, _)| self.is_below(*dir, top))
    }

    /// What goes with the last name.
    fn drop_name(&mut self, ino: Ino) -> Fate {
        if self.names_of(ino) > 0 {
            return Fate::Linked;
        }
        self.dirs.remove(&ino);
        self.kinds.remove(&ino);
        match self.open.contains(&ino) {
            true => {
                self.orphans.insert(ino);
                Fate::Orphan
            }
            false => Fate::Removed,
        }
    }

    fn rename(
        &mut self,
        (from, name): (Ino, &'static str),
        (to, new_name): (Ino, &'static str),
        mode: RenameMode,
    ) -> Outcome {
        let source = self.get(from, name)?;
        let target = self.get(to, new_name).ok();
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Kind::Exists),
            (RenameMode::Exchange, None) => return Err(Kind::NotFound),
            (_, Some(target)) if target == source => return Ok(()),
            (RenameMode::Replace, Some(target)) => {
                match (self.is_dir(source), self.is_dir(target)) {
                    (true, false) => return Err(Kind::NotDirectory),
                    (false, true) => return Err(Kind::IsDirectory),
                    _ => {}
                }
            }
            _ => {}
        }
        let swapped = target.filter(|_| mode == RenameMode::Exchange);
        let loops = |moved: Ino, dir| self.is_dir(moved) && self.is_below(dir, moved);
        if loops(source, to) || swapped.is_some_and(|target| loops(target, from)) {
            return Err(Kind::Invalid);
        }
        if mode == RenameMode::Replace
            && target.is_some_and(|ino| self.dirs.get(&ino).is_some_and(|dir| !dir.is_empty()))
        {
            return Err(Kind::NotEmpty);
        }
        self.dirs.get_mut(&from).unwrap().remove(name);
        self.dirs.get_mut(&to).unwrap().insert(new_name, source);
        match (swapped, target) {
            (Some(target), _) => {
                self.dirs.get_mut(&from).unwrap().insert(name, target);
            }
            (None, Some(target)) => {
                self.drop_name(target);
            }
            (None, None) => {}
        }
        Ok(())
    }
}

async fn run(steps: &[Step]) {
    let (mut bed, mut model) = (Bed::new().await, Model::new());
    for step in steps {
        let (real, expected) = apply(&mut bed, &mut model, step).await;
        assert_eq!(real, expected, "{step:?}");
        if matches!(step, Step::Commit | Step::Remount) {
            bed.assert_sound().await;
        }
    }
    bed.assert_sound().await;
    compare(&bed, &model).await;
    bed.commit().await;
    compare(&bed.reopened().await, &model).await;
}

async fn apply(bed: &mut Bed, model: &mut Model, step: &Step) -> (Outcome, Outcome) {
    let name = |pick: usize| NAMES[pick % NAMES.len()];
    match *step {
        Step::Make(dir, at, kind) => {
            let (dir, name, kind) = (model.dir(dir), name(at), KINDS[kind % KINDS.len()]);
            let expected = model.get(dir, name).map_or(Ok(()), |_| Err(Kind::Exists));
            let made = bed.make(dir, name, kind).await;
            if let Ok(ino) = made {
                model.dirs.get_mut(&dir).unwrap().insert(name, ino);
                model.kinds.insert(ino, kind);
                if kind == mode::DIRECTORY {
                    model.dirs.insert(ino, BTreeMap::new());
                }
            }
            (made.map(|_| ()).map_err(|error| error.kind()), expected)
        }
        Step::Link(node, dir, at) => {
            let (node, dir, name) = (model.node(node), model.dir(dir), name(at));
            let expected = match (model.is_dir(node), model.get(dir, name)) {
                (true, _) => Err(Kind::NotOwner),
                (false, Ok(_)) => Err(Kind::Exists),
                (false, Err(_)) => {
                    model.dirs.get_mut(&dir).unwrap().insert(name, node);
                    Ok(())
                }
            };
            let linked = bed.meta.link(node, dir, &file_name(name)).await;
            (linked.map(|_| ()).map_err(|error| error.kind()), expected)
        }
        Step::Unlink(dir, at) => {
            remove(bed, model, (model.dir(dir), name(at)), mode::REGULAR).await
        }
        Step::Rmdir(dir, at) => {
            remove(bed, model, (model.dir(dir), name(at)), mode::DIRECTORY).await
        }
        Step::Rename(from, a, to, b, at) => {
            let (from, to, mode) = (model.dir(from), model.dir(to), MODES[at % MODES.len()]);
            let (old, new) = (file_name(name(a)), file_name(name(b)));
            let expected = model.rename((from, name(a)), (to, name(b)), mode);
            let real = bed.meta.rename((from, &old), (to, &new), mode, &bed.open).await;
            (real.map(|_| ()).map_err(|error| error.kind()), expected)
        }
        Step::Open(node) => {
            let ino = model.node(node);
            model.open.insert(ino);
            bed.handles.open.lock().insert(ino);
            (Ok(()), Ok(()))
        }
        Step::Close => {
            close_all(bed, model).await;
            (Ok(()), Ok(()))
        }
        Step::Commit => {
            bed.commit().await;
            (Ok(()), Ok(()))
        }
        Step::Remount => {
            bed.commit().await;
            *bed = bed.reopened().await;
            close_all(bed, model).await;
            (Ok(()), Ok(()))
        }
    }
}

async fn remove(
    bed: &Bed,
    model: &mut Model,
    (dir, name): (Ino, &'static str),
    how: u32,
) -> (Outcome, Outcome) {
    let expected = match model.get(dir, name) {
        Err(kind) => Err(kind),
        Ok(ino) if how == mode::REGULAR && model.is_dir(ino) => Err(Kind::IsDirectory),
        Ok(ino) if how == mode::DIRECTORY && !model.is_dir(ino) => Err(Kind::NotDirectory),
        Ok(ino) if model.dirs.get(&ino).is_some_and(|dir| !dir.is_empty()) => Err(Kind::NotEmpty),
        Ok(ino) => {
            model.dirs.get_mut(&dir).unwrap().remove(name);
            Ok(model.drop_name(ino))
        }
    };
    let name = file_name(name);
    let real = match how {
        mode::DIRECTORY => bed.meta.rmdir(dir, &name, &bed.open).await,
        _ => bed.meta.unlink(dir, &name, &bed.open).await,
    };
    let real = real.map(|dropped| dropped.fate).map_err(|error| error.kind());
    assert_eq!(real, expected);
    (real.map(|_| ()), expected.map(|_| ()))
}

async fn close_all(bed: &Bed, model: &mut Model) {
    bed.handles.open.lock().clear();
    model.open.clear();
    assert_eq!(bed.meta.orphans().await.unwrap(), Vec::from_iter(model.orphans.iter().copied()));
    for ino in std::mem::take(&mut model.orphans) {
        bed.meta.reap(ino, &bed.open).await.unwrap();
    }
}

async fn compare(bed: &Bed, model: &Model) {
    for (dir, entries) in &model.dirs {
        let listed = bed.meta.readdir(*dir, 0, 100).await.unwrap();
        let real: BTreeMap<_, _> = listed.iter().map(|entry| (&entry.name, entry.ino)).collect();
        let names: Vec<_> = entries.keys().map(|name| file_name(name)).collect();
        assert_eq!(real, names.iter().zip(entries.values().copied()).collect());
        for (name, ino) in names.iter().zip(entries.values()) {
            let (found, inode) = bed.meta.lookup(*dir, name).await.unwrap();
            assert_eq!((found, inode.mode & mode::TYPE), (*ino, model.kinds[ino]));
        }
    }
}

#[test]
fn random_operations_agree_with_plain_maps() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&proptest::collection::vec(step(), 1..80), |steps| {
            runtime.block_on(run(&steps));
            Ok(())
        })
        .unwrap();
}

/// One actor's share of a crowd: random operations in three directories, errors expected.
async fn act(meta: Arc<Meta>, open: Arc<dyn OpenFiles>, dirs: [Ino; 3], seed: u64) {
    let chance = Ambient::seeded(seed);
    for _ in 0..300 {
        let mut dice = [0; 5];
        chance.fill(&mut dice).unwrap();
        let [from, to, a, b, what] = dice.map(usize::from);
        let (from, to) = (dirs[from % 3], dirs[to % 3]);
        let (name, other) = (file_name(NAMES[a % 4]), file_name(NAMES[b % 4]));
        let kind = KINDS[b % KINDS.len()];
        let shape = |_: &Inode, _| {
            let target = Bytes::new();
            Ok(NewNode { mode: kind, uid: 0, gid: 0, rdev: 0, target, xattrs: Vec::new() })
        };
        match what % 6 {
            0 | 1 => drop(meta.make(from, &name, shape).await),
            2 => drop(meta.unlink(from, &name, &open).await),
            3 => drop(meta.rmdir(from, &name, &open).await),
            4 => {
                let mode = MODES[what % MODES.len()];
                drop(meta.rename((from, &name), (to, &other), mode, &open).await);
            }
            _ => {
                if let Ok((ino, _)) = meta.lookup(from, &name).await {
                    drop(meta.link(ino, to, &other).await);
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_leaves_every_epoch_sound() {
    let mut bed = Bed::new().await;
    let dirs = [
        Ino::ROOT,
        bed.make(Ino::ROOT, "left", mode::DIRECTORY).await.unwrap(),
        bed.make(Ino::ROOT, "right", mode::DIRECTORY).await.unwrap(),
    ];
    let actors: Vec<_> = (0..8)
        .map(|seed| tokio::spawn(act(bed.meta.clone(), bed.open.clone(), dirs, seed)))
        .collect();
    while !actors.iter().all(tokio::task::JoinHandle::is_finished) {
        bed.commit().await;
        tokio::task::yield_now().await;
    }
    futures::future::try_join_all(actors).await.unwrap();
    bed.assert_sound().await;
    bed.commit().await;
    bed.reopened().await.assert_sound().await;
}
