//! The `local` provider: a directory whose writes are atomic and durable when they return.
//!
//! OpenDAL's `fs` service shows torn objects or overwrites on create, and never syncs a directory.
//! Here a body is written to `.tmp/`, synced, and given its name by link(2), which refuses to
//! replace, or rename(2), which replaces; then the directory is synced. Knows no policy.

use std::collections::HashSet;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::answer::Demand;
use super::answer::ObjectMeta;
use super::answer::Tag;
use super::body::Body;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Where bodies wait for their name; not listed, and no object can be called so.
const TEMPORARY: &str = ".tmp";

/// A temporary file older than this was left behind by a crash.
const TEMPORARY_AGE_MAX: Duration = Duration::from_hours(24);

/// Objects that a listing reads ahead of its consumer.
const LISTED_AHEAD_MAX: usize = 1024;

/// A directory of objects. Clones share it.
#[derive(Clone)]
pub(super) struct LocalStore(Arc<Root>);

struct Root {
    path: PathBuf,
    /// Directories that exist durably.
    known: Mutex<HashSet<PathBuf>>,
    temporaries: AtomicU64,
}

impl LocalStore {
    /// A store below `path`, which the first write creates.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(Root { path, known: Mutex::default(), temporaries: AtomicU64::new(0) }))
    }

    pub(super) async fn write(
        &self,
        name: &str,
        body: Body,
        demand: &Demand,
    ) -> Result<Option<Tag>> {
        let exclusive = match demand {
            Demand::Nothing => false,
            Demand::Absence => true,
            Demand::Version(_) => {
                return Err(Error::new(Kind::Unsupported, "a directory cannot compare versions"));
            }
        };
        self.blocking("write", name, move |root, name| root.write(name, &body, exclusive)).await
    }

    pub(super) async fn get(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        unless: Option<&Tag>,
    ) -> Result<Option<(Body, ObjectMeta)>> {
        let unless = unless.cloned();
        self.blocking("read", name, move |root, name| root.get(name, range, unless.as_ref())).await
    }

    pub(super) async fn head(&self, name: &str) -> Result<ObjectMeta> {
        self.blocking("describe", name, |root, name| Ok(describe(name, &object(&root.path(name))?)))
            .await
    }

    pub(super) async fn delete(&self, names: &[String]) -> Result<()> {
        let names = names.to_vec();
        let first = names.first().cloned().unwrap_or_default();
        self.blocking("delete", &first, move |root, _| root.delete(&names)).await
    }

    pub(super) fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        let (found, listed) = mpsc::channel(LISTED_AHEAD_MAX);
        let (root, prefix) = (self.0.clone(), prefix.to_owned());
        tokio::task::spawn_blocking(move || {
            let below = prefix.rsplit_once('/').map_or("", |(directory, _)| directory);
            if let Err(cause) = root.walk(below, &prefix, &found) {
                let failure = sentence("list", &root.path(below), cause);
                // Nobody is left to tell when the receiver is gone.
                let _ = found.blocking_send(Err(failure));
            }
        });
        futures::stream::unfold(listed, async |mut listed| {
            listed.recv().await.map(|object| (object, listed))
        })
        .boxed()
    }

    /// Removes what crashed writers left in `.tmp/`, a day after its last change.
    pub(super) async fn sweep_temporaries(&self) -> Result<()> {
        self.blocking("sweep", TEMPORARY, |root, _| root.sweep_temporaries()).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        name: &str,
        work: impl FnOnce(&Root, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (root, name) = (self.0.clone(), name.to_owned());
        let done = tokio::task::spawn_blocking(move || {
            work(&root, &name).map_err(|cause| sentence(doing, &root.path(&name), cause))
        });
        done.await.map_err(|cause| {
            Error::new(Kind::Internal, "a file operation broke off").because(cause)
        })?
    }
}

impl Root {
    /// `name` has passed `name::check`, so it stays below the root.
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn write(&self, name: &str, body: &Body, exclusive: bool) -> io::Result<Option<Tag>> {
        self.write_named(name, body, exclusive).map_err(|cause| {
            if cause.kind() != io::ErrorKind::NotFound {
                return cause;
            }
            // A directory we made is gone: unmounted, or removed by somebody.
            self.known.lock().clear();
            io::Error::other("a directory disappeared")
        })
    }

    fn write_named(&self, name: &str, body: &Body, exclusive: bool) -> io::Result<Option<Tag>> {
        let target = self.path(name);
        let directory = target.parent().unwrap_or(&self.path);
        let temporary = self.write_temporary(body)?;
        let named = self.ensure_directory(directory).and_then(|()| {
            if exclusive {
                fs::hard_link(&temporary.path, &target)
            } else {
                fs::rename(&temporary.path, &target)
            }
        });
        if exclusive || named.is_err() {
            // What is left after a crash here is swept a day later.
            let _ = fs::remove_file(&temporary.path);
        }
        named?;
        sync_directory(directory)?;
        Ok(Some(tag(&temporary.metadata)))
    }

    fn write_temporary(&self, body: &Body) -> io::Result<Temporary> {
        let directory = self.path.join(TEMPORARY);
        self.ensure_directory(&directory)?;
        loop {
            let number = self.temporaries.fetch_add(1, Relaxed);
            let path = directory.join(format!("{}-{number}", std::process::id()));
            // Nobody else's: what stands in a file of mode 0600 must not be read here.
            match File::options().write(true).create_new(true).mode(0o600).open(&path) {
                // Another machine, or a dead process of the same number, uses this name.
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(cause),
                Ok(mut file) => {
                    let written = body.pieces().iter().try_for_each(|piece| file.write_all(piece));
                    let written = written.and_then(|()| file.sync_all());
                    let described = written.and_then(|()| file.metadata());
                    if described.is_err() {
                        let _ = fs::remove_file(&path);
                    }
                    return Ok(Temporary { path, metadata: described? });
                }
            }
        }
    }

    /// Creates a directory so that it, and the way to it, survive a power loss.
    fn ensure_directory(&self, directory: &Path) -> io::Result<()> {
        if self.known.lock().contains(directory) {
            return Ok(());
        }
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let parent = directory.parent().ok_or(cause)?;
                self.ensure_directory(parent)?;
                return self.ensure_directory(directory);
            }
            created => created?,
        }
        // Also when it existed: whoever made it may not have synced it yet.
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent)?;
        }
        self.known.lock().insert(directory.to_owned());
        Ok(())
    }

    fn get(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        unless: Option<&Tag>,
    ) -> io::Result<Option<(Body, ObjectMeta)>> {
        let file = File::open(self.path(name))?;
        let meta = describe(name, &regular(file.metadata()?)?);
        if unless.is_some() && meta.tag.as_ref() == unless {
            return Ok(None);
        }
        let range = range.unwrap_or(0..meta.size);
        if range.start > range.end || range.end > meta.size {
            let past = format!("bytes {range:?} are asked of an object of {} bytes", meta.size);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, past));
        }
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut body = vec![0; length];
        file.read_exact_at(&mut body, range.start)?;
        Ok(Some((Bytes::from(body).into(), meta)))
    }

    fn delete(&self, names: &[String]) -> io::Result<()> {
        let mut changed = HashSet::new();
        for name in names {
            let path = self.path(name);
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
            changed.extend(path.parent().map(Path::to_owned));
        }
        changed.iter().try_for_each(|directory| match sync_directory(directory) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced,
        })
    }

    /// Sends the objects below the directory `below` whose names begin with `prefix`.
    fn walk(
        &self,
        below: &str,
        prefix: &str,
        found: &mpsc::Sender<Result<ObjectMeta>>,
    ) -> io::Result<()> {
        let entries = match fs::read_dir(self.path(below)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let file_name = entry.file_name();
            // Objects have text for names; anything else is not ours.
            let Some(tail) = file_name.to_str() else { continue };
            let name = if below.is_empty() { tail.to_owned() } else { format!("{below}/{tail}") };
            if name == TEMPORARY || !name.starts_with(prefix) {
                continue;
            }
            let metadata = match entry.metadata() {
                // Deleted since the directory was read.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_dir() {
                self.walk(&name, prefix, found)?;
            } else if metadata.is_file() {
                let object = Ok(describe(&name, &metadata));
                if found.blocking_send(object).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn sweep_temporaries(&self) -> io::Result<()> {
        let entries = match fs::read_dir(self.path.join(TEMPORARY)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let now = crate::ambient::system_time();
        for entry in entries {
            let entry = entry?;
            let age = entry.metadata().and_then(|meta| meta.modified()).ok();
            let age = age.and_then(|modified| now.duration_since(modified).ok());
            if age.is_some_and(|age| age > TEMPORARY_AGE_MAX) {
                // Another mount may sweep the same file.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

struct Temporary {
    path: PathBuf,
    metadata: fs::Metadata,
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn object(path: &Path) -> io::Result<fs::Metadata> {
    regular(fs::metadata(path)?)
}

/// A directory is no object: to ask for it is to ask for what does not exist.
fn regular(metadata: fs::Metadata) -> io::Result<fs::Metadata> {
    if metadata.is_file() { Ok(metadata) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn describe(name: &str, metadata: &fs::Metadata) -> ObjectMeta {
    ObjectMeta {
        name: name.to_owned(),
        size: metadata.len(),
        modified: Some(Timestamp {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
        }),
        tag: Some(tag(metadata)),
        attributes: Vec::new(),
    }
}

/// Each write makes a new inode; time and size tell a reused number.
fn tag(metadata: &fs::Metadata) -> Tag {
    let (ino, size) = (metadata.ino(), metadata.len());
    Tag(format!("{ino:x}-{:x}.{:x}-{size:x}", metadata.mtime(), metadata.mtime_nsec()))
}

fn sentence(doing: &str, path: &Path, cause: io::Error) -> Error {
    let shown = path.display();
    let (kind, what) = match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            return Error::new(Kind::NotFound, "no such object").with("file", shown);
        }
        io::ErrorKind::AlreadyExists => {
            return Error::new(Kind::Exists, "the object exists already").with("file", shown);
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (Kind::NoSpace, "the disk is full")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (Kind::Denied, "the system does not allow it")
        }
        io::ErrorKind::UnexpectedEof => (Kind::Corrupt, "the object is shorter than it should be"),
        io::ErrorKind::InvalidFilename => (Kind::NameTooLong, "the name is too long"),
        _ => (Kind::Unavailable, "the disk does not do it"),
    };
    let failure = Error::new(kind, format!("cannot {doing} `{shown}`: {what}")).because(cause);
    match kind {
        Kind::NoSpace => failure.hint("free some space on the volume's disk; writes then go on"),
        Kind::Denied => failure.hint("give the mount's user write access to the directory"),
        _ => failure,
    }
}
