//! A daemon's life: from an opened volume to a file system that answers, and back to a volume with
//! everything stored. Knows neither how the process was started nor how FUSE speaks.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::control::Failure;
use super::control::Reply;
use super::control::Server;
use super::desk::Desk;
use super::desk::StopCall;
use super::desk::ending;
use super::desk::sync_within;
use super::mountpoint;
use super::mountpoint::Detach;
use super::notify;
use super::registry::Claim;
use super::registry::Entry;
use super::registry::Registry;
use super::registry::place_of;
use super::request::StartRequest;
use super::signals::Foreground;
use super::signals::Signals;
use crate::ambient::Ambient;
use crate::config::MountConfig;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::fuse;
use crate::fuse::Mounted;
use crate::ops::open_options;
use crate::ops::rfc3339;
use crate::vfs::Vfs;
use crate::volume::CreateOptions;
use crate::volume::Volume;

/// How long the process goes on storing after the mount is gone, when nobody gave it less.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long a signal waits for the store before the mount is detached; storing goes on after that.
const SIGNAL_SYNC_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a block when nobody chose.
const BLOCK_BYTES_DEFAULT: u32 = 4 * 1024 * 1024;

/// Mounts the volume, calls `ready` with what a person should know when it answers, and returns
/// when everything is stored and the mount is gone.
pub(super) async fn serve(
    request: &StartRequest,
    registry: &Registry,
    ready: impl FnOnce(&[String]),
) -> Result<()> {
    let claim = registry.claim(&request.dir)?;
    if mountpoint::clear_dead(&request.dir)? {
        tracing::info!("detached what a dead daemon left at `{}`", request.dir.display());
    }
    fuse::check_mount_point(&request.dir, occupied(request))?;
    let config = request.load_config()?.volume(&request.volume)?;
    let options = request.mount_config(&config)?;
    // Relative paths are read by now; a daemon must not hold the directory it was started in.
    std::env::set_current_dir("/")?;
    let foreground = request.foreground || options.foreground;
    let mut signals = Signals::new(if foreground { Foreground::Yes } else { Foreground::No })?;
    let volume = tokio::select! {
        opened = open(request, &options, &config) => opened?,
        name = signals.next() => return Err(interrupted(name)),
    };
    let notices = volume.notices().to_vec();
    let vfs = Vfs::new(volume.clone());
    if !vfs.read_only()
        && let Err(error) = vfs.reap_orphans().await
    {
        tracing::warn!("what was unlinked while it was open stays: {error}");
    }
    let mount = match Mount::start(request, &options, config, (volume.clone(), vfs), claim) {
        Ok(mount) => mount,
        Err(error) => {
            // Nothing was written yet; closing only gives the volume free for the next mount.
            if let Err(unclosed) = volume.close(SIGNAL_SYNC_TIMEOUT).await {
                tracing::warn!("the volume is not closed: {unclosed}");
            }
            return Err(error);
        }
    };
    ready(&notices);
    notify::tell(notify::State::Ready);
    tracing::info!("mounted `{}` at `{}`", request.volume, request.dir.display());
    let outcome = mount.live(&mut signals).await;
    match &outcome {
        Ok(()) => tracing::info!("stored and unmounted `{}`", request.volume),
        Err(error) => tracing::error!("`{}` ended: {error}", request.volume),
    }
    outcome
}

async fn open(
    request: &StartRequest,
    options: &MountConfig,
    config: &VolumeConfig,
) -> Result<Arc<Volume>> {
    let ambient = Ambient::system();
    let open_with = open_options(options, config, &request.dir);
    let opened = Volume::open(config, open_with, ambient.clone()).await;
    match opened {
        Err(error) if error.kind() == Kind::NotFound && request.create => {
            let wanted =
                CreateOptions { sse: config.asked_mode(options), block_bytes: BLOCK_BYTES_DEFAULT };
            Volume::create(config, wanted, &ambient).await?;
            tracing::info!("created volume `{}`", request.volume);
            Volume::open(config, open_options(options, config, &request.dir), ambient).await
        }
        Err(error) if error.kind() == Kind::NotFound => Err(error.hint(format!(
            "create it with `cairnfs volume create {}`, or start with `--create`",
            request.volume
        ))),
        other => other,
    }
}

/// A mount that answers.
struct Mount {
    volume: Arc<Volume>,
    vfs: Arc<Vfs>,
    mounted: Mounted,
    server: Server,
    stops: mpsc::Receiver<StopCall>,
    claim: Claim,
    tree: Tree,
    /// Who is told when everything is stored.
    waiting: Vec<StopCall>,
}

/// Whether the mount has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tree {
    On,
    /// Taken off while it was in use; its users are answered until the last one ends.
    Off,
}

/// What ends a mount, or tries to.
enum Event {
    Stop(StopCall),
    Signal(&'static str),
    Detached,
    Broken(Error),
}

/// What comes after a stop.
enum Next {
    /// The mount goes on.
    Live,
    /// Nobody uses it any more.
    Leave,
    /// A signal overtook it.
    Signal(&'static str),
}

impl Mount {
    fn start(
        request: &StartRequest,
        options: &MountConfig,
        config: VolumeConfig,
        (volume, vfs): (Arc<Volume>, Arc<Vfs>),
        claim: Claim,
    ) -> Result<Self> {
        let (stop, stops) = mpsc::channel(1);
        let entry = entry(request, options, &config);
        let desk = Desk { config, volume: volume.clone(), vfs: vfs.clone(), entry, stop };
        let desk = Arc::new(desk);
        let clerk = desk.clone();
        let answer = move |asked, meanwhile| clerk.clone().answer(asked, meanwhile);
        let server = Server::start(&claim.socket(), answer)?;
        let fuse_options = request.fuse_options(options);
        let runtime = Handle::current();
        // It looks at the new mount, whose answers may need this thread: it is told to step aside.
        let mounted = tokio::task::block_in_place(|| {
            fuse::mount(vfs.clone(), &request.dir, &fuse_options, runtime)
        })?;
        if let Err(error) = claim.publish(&desk.entry) {
            mountpoint::unmount(&request.dir, Detach::Lazily)?;
            return Err(error);
        }
        let (tree, waiting) = (Tree::On, Vec::new());
        Ok(Self { volume, vfs, mounted, server, stops, claim, tree, waiting })
    }

    async fn live(mut self, signals: &mut Signals) -> Result<()> {
        let mut writable = true;
        loop {
            let next = match self.next_event(signals, writable).await {
                Event::Stop(call) => self.stop(call, signals).await,
                Event::Signal(name) => Next::Signal(name),
                Event::Detached => Next::Leave,
                Event::Broken(error) if error.kind() == Kind::Fenced => {
                    return Err(self.abandon(error).await);
                }
                Event::Broken(error) => {
                    tracing::error!("nothing can be written any more: {error}");
                    writable = false;
                    Next::Live
                }
            };
            match next {
                Next::Live => {}
                Next::Leave => return self.leave(signals).await,
                Next::Signal(name) => {
                    tracing::info!("{name}: storing and unmounting");
                    self.detach_on_signal(signals).await;
                    return self.leave(signals).await;
                }
            }
        }
    }

    async fn next_event(&mut self, signals: &mut Signals, writable: bool) -> Event {
        tokio::select! {
            Some(call) = self.stops.recv() => Event::Stop(call),
            name = signals.next() => Event::Signal(name),
            () = self.mounted.wait() => Event::Detached,
            error = self.volume.broken(), if writable => Event::Broken(error),
        }
    }

    /// Stores while the mount still works, so that a failure leaves everything as it was. The store
    /// may be away for long: a later call that is not weaker takes this one's place, and a caller
    /// that goes away, a signal, or the end of the mount ends the waiting.
    async fn stop(&mut self, mut call: StopCall, signals: &mut Signals) -> Next {
        let vfs = self.vfs.clone();
        loop {
            let mut storing = pin!(sync_within(&vfs, call.timeout));
            let later = loop {
                tokio::select! {
                    stored = &mut storing => return self.detach(call, stored).await,
                    Some(later) = self.stops.recv() => match later.detach >= call.detach {
                        true => break later,
                        false => later.fail(&ending()),
                    },
                    () = call.reply.closed() => {
                        tracing::info!("not stopped: whoever asked for it went away");
                        return Next::Live;
                    }
                    name = signals.next() => {
                        self.waiting.push(call);
                        return Next::Signal(name);
                    }
                    () = self.mounted.wait() => {
                        self.waiting.push(call);
                        self.answer_forced();
                        return Next::Leave;
                    }
                }
            };
            call.fail(&Error::new(Kind::Busy, "a later request to stop took this one's place"));
            call = later;
        }
    }

    /// Takes the mount off as the call wants it, and replies unless everything is stored soon.
    async fn detach(&mut self, call: StopCall, stored: Result<()>) -> Next {
        let is_stored = stored.is_ok();
        match stored {
            Err(error) if call.detach == Detach::Forced => {
                tracing::warn!("unmounting before the end: {error}");
            }
            Err(error) => return self.stays(call, &error),
            Ok(()) => {}
        }
        if self.tree == Tree::On && is_stored {
            match self.mounted.unmount().await {
                Ok(()) => {
                    self.waiting.push(call);
                    return Next::Leave;
                }
                Err(error) if error.kind() == Kind::Busy && call.detach != Detach::IfIdle => {
                    tracing::info!("in use, so detached lazily: {error}");
                }
                Err(error) if error.kind() == Kind::Busy => {
                    return self.stays(call, &mountpoint::busy(self.mounted.dir()));
                }
                Err(error) => return self.stays(call, &error),
            }
        }
        match (self.tree, call.detach) {
            (Tree::Off, Detach::IfIdle) => {
                let error = detached(self.mounted.dir());
                return self.stays(call, &error);
            }
            (Tree::Off, Detach::Lazily | Detach::Forced) => {}
            (Tree::On, _) => match self.mounted.unmount_lazily().await {
                Ok(()) => self.tree = Tree::Off,
                Err(error) => return self.stays(call, &error),
            },
        }
        // Its users are still answered: what they write is stored as ever, and once more when
        // the last one has ended.
        let _ = call.reply.send(Reply::Detached);
        Next::Live
    }

    fn stays(&self, call: StopCall, error: &Error) -> Next {
        tracing::warn!("not stopped: {error}");
        call.fail(error);
        Next::Live
    }

    /// A signal cannot be refused: what is in use is cut off.
    async fn detach_on_signal(&mut self, signals: &mut Signals) {
        notify::tell(notify::State::Stopping);
        let vfs = self.vfs.clone();
        let mut storing = pin!(sync_within(&vfs, SIGNAL_SYNC_TIMEOUT));
        loop {
            tokio::select! {
                stored = &mut storing => {
                    if let Err(error) = stored {
                        tracing::warn!("still storing: {error}");
                    }
                    break;
                }
                Some(call) = self.stops.recv() => {
                    let forced = call.detach == Detach::Forced;
                    self.waiting.push(call);
                    if forced {
                        break;
                    }
                }
                () = signals.impatience() => {
                    tracing::warn!("unmounting at once; another Ctrl-C gives up storing");
                    break;
                }
                () = self.mounted.wait() => break,
            }
        }
        self.cut_off().await;
        self.answer_forced();
    }

    /// Whoever forces it does not wait for the store.
    fn answer_forced(&mut self) {
        for call in self.waiting.extract_if(.., |call| call.detach == Detach::Forced) {
            let _ = call.reply.send(Reply::Detached);
        }
    }

    /// Ends the mount although it may be in use. Then nobody is answered any more first of all:
    /// what is acknowledged while the volume is being closed would not be stored.
    async fn cut_off(&self) {
        if self.tree == Tree::On {
            match self.mounted.unmount().await {
                Ok(()) => return,
                Err(busy) => tracing::warn!("cutting off who uses it: {busy}"),
            }
        }
        if let Err(error) = self.mounted.abort().await {
            tracing::warn!("the kernel keeps the connection until this process ends: {error}");
        }
        if self.tree == Tree::Off {
            return;
        }
        if let Err(error) = self.mounted.unmount_lazily().await {
            tracing::warn!("not detached: {error}");
        }
        // A connection that has ended already is no reason to leave its mount.
        let dir = self.mounted.dir().to_path_buf();
        let cleared = spawn_blocking(move || mountpoint::clear_dead(&dir)).await;
        if let Ok(Err(error)) = cleared {
            tracing::error!("the mount stays: {error}");
        }
    }

    /// Stores what came in until the mount was gone, and tells who waits for it. Only a person at
    /// the terminal ends that before, by one more Ctrl-C.
    async fn leave(mut self, signals: &mut Signals) -> Result<()> {
        notify::tell(notify::State::Stopping);
        signals.drain();
        let closed = {
            let mut closing = pin!(self.volume.close(LEAVE_TIMEOUT));
            loop {
                tokio::select! {
                    closed = &mut closing => break closed,
                    () = signals.impatience() => break Err(Error::new(
                        Kind::Unavailable,
                        "ended by SIGINT before everything was stored",
                    )),
                    Some(call) = self.stops.recv() => match call.detach {
                        Detach::IfIdle | Detach::Lazily => self.waiting.push(call),
                        Detach::Forced => drop(call.reply.send(Reply::Detached)),
                    },
                }
            }
        };
        for waiting in self.waiting {
            let _ = waiting.reply.send(match &closed {
                Ok(()) => Reply::Done,
                Err(error) => Reply::Failed(Failure::from(error)),
            });
        }
        // Whoever asks from now on is told that it is ending.
        drop(self.stops);
        self.server.finish().await;
        drop(self.claim);
        closed
    }

    /// Somebody else owns the volume: nothing here may answer from a cache any more.
    async fn abandon(self, error: Error) -> Error {
        notify::tell(notify::State::Stopping);
        if let Err(left) = self.mounted.abort().await {
            tracing::error!("the mount is not cut off: {left}");
        }
        drop((self.waiting, self.stops));
        self.server.finish().await;
        drop(self.claim);
        error
    }
}

fn detached(dir: &Path) -> Error {
    Error::new(Kind::Busy, format!("`{}` is detached already, and still in use", dir.display()))
        .hint("it ends with its last user; a SIGTERM to its process cuts them off")
}

fn interrupted(name: &str) -> Error {
    Error::new(Kind::Unavailable, format!("ended by {name} before it was mounted"))
}

fn occupied(request: &StartRequest) -> fuse::Occupied {
    if request.nonempty { fuse::Occupied::Cover } else { fuse::Occupied::Refuse }
}

fn entry(request: &StartRequest, options: &MountConfig, config: &VolumeConfig) -> Entry {
    let (provider, bucket, prefix) = place_of(config);
    Entry {
        volume: request.volume.clone(),
        mountpoint: request.dir.clone(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: rfc3339(Ambient::system().now()),
        read_only: options.read_only,
        provider,
        bucket,
        prefix,
        endpoint: config.endpoint.clone(),
    }
}
