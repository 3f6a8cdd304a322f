//! A daemon's life: from an opened volume to a file system that answers, and back to a volume with
//! everything stored. Knows neither how the process was started nor how FUSE speaks.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::control::Failure;
use super::control::Meanwhile;
use super::control::Reply;
use super::control::Request;
use super::control::Server;
use super::mountpoint;
use super::mountpoint::Detach;
use super::notify;
use super::registry::Claim;
use super::registry::Entry;
use super::registry::Registry;
use super::registry::place_of;
use super::request::StartRequest;
use super::status::MountStatus;
use crate::ambient::Ambient;
use crate::config::MountConfig;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::fuse;
use crate::fuse::Mounted;
use crate::ops::audit::AuditOptions;
use crate::ops::audit::audit;
use crate::ops::open_options;
use crate::ops::rfc3339;
use crate::provider::SseMode;
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
    let mut signals = Signals::new()?;
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
}

/// A `stop` that waits for its reply.
struct StopCall {
    timeout: Duration,
    detach: Detach,
    reply: oneshot::Sender<Reply>,
}

/// What ends a mount, or tries to.
enum Event {
    Stop(StopCall),
    Signal(&'static str),
    Detached,
    Broken(Error),
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
        Ok(Self { volume, vfs, mounted, server, stops, claim })
    }

    async fn live(mut self, signals: &mut Signals) -> Result<()> {
        let mut writable = true;
        loop {
            match self.next_event(signals, writable).await {
                Event::Stop(call) => match self.store_and_unmount(&call).await {
                    Ok(()) => return self.leave(signals, Some(call.reply)).await,
                    Err(error) => {
                        tracing::warn!("not stopped: {error}");
                        let _ = call.reply.send(Reply::Failed(Failure::from(&error)));
                    }
                },
                Event::Signal(name) => {
                    tracing::info!("{name}: storing and unmounting");
                    self.detach_on_signal().await;
                    return self.leave(signals, None).await;
                }
                Event::Detached => return self.leave(signals, None).await,
                Event::Broken(error) if error.kind() == Kind::Fenced => {
                    return Err(self.abandon(error).await);
                }
                Event::Broken(error) => {
                    tracing::error!("nothing can be written any more: {error}");
                    writable = false;
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

    /// Stores while the mount still works, so that a failure leaves everything as it was.
    async fn store_and_unmount(&self, call: &StopCall) -> Result<()> {
        let stored = sync_within(&self.vfs, call.timeout).await;
        match (stored, call.detach) {
            (Err(error), Detach::IfIdle | Detach::Lazily) => return Err(error),
            (Err(error), Detach::Forced) => tracing::warn!("unmounting before the end: {error}"),
            (Ok(()), _) => {}
        }
        notify::tell(notify::State::Stopping);
        match call.detach {
            Detach::IfIdle => match self.mounted.unmount().await {
                Err(error) if error.kind() == Kind::Busy => {
                    Err(mountpoint::busy(self.mounted.dir()))
                }
                other => other,
            },
            Detach::Lazily | Detach::Forced => self.mounted.unmount_lazily().await,
        }
    }

    /// A signal cannot be refused: what is in use is detached lazily.
    async fn detach_on_signal(&self) {
        notify::tell(notify::State::Stopping);
        if let Err(error) = sync_within(&self.vfs, SIGNAL_SYNC_TIMEOUT).await {
            tracing::warn!("still storing: {error}");
        }
        if let Err(busy) = self.mounted.unmount().await {
            tracing::warn!("detaching lazily: {busy}");
            if let Err(error) = self.mounted.unmount_lazily().await {
                tracing::error!("the mount stays: {error}");
            }
        }
    }

    /// Stores what came in until the mount was gone, and tells who asked for the stop. A signal
    /// while it stores ends it: the person at the terminal has decided.
    async fn leave(
        self,
        signals: &mut Signals,
        asked: Option<oneshot::Sender<Reply>>,
    ) -> Result<()> {
        notify::tell(notify::State::Stopping);
        let closed = tokio::select! {
            closed = self.volume.close(LEAVE_TIMEOUT) => closed,
            name = signals.next() => Err(Error::new(
                Kind::Unavailable,
                format!("ended by {name} before everything was stored"),
            )),
        };
        if let Some(asked) = asked {
            let _ = asked.send(Reply::from(match &closed {
                Ok(()) => Ok(Reply::Done),
                Err(error) => Ok(Reply::Failed(Failure::from(error))),
            }));
        }
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
        self.server.finish().await;
        drop(self.claim);
        error
    }
}

/// Answers the control socket.
struct Desk {
    config: VolumeConfig,
    volume: Arc<Volume>,
    vfs: Arc<Vfs>,
    entry: Entry,
    stop: mpsc::Sender<StopCall>,
}

impl Desk {
    async fn answer(self: Arc<Self>, request: Request, meanwhile: Meanwhile) -> Reply {
        Reply::from(self.act(request, meanwhile).await)
    }

    async fn act(&self, request: Request, meanwhile: Meanwhile) -> Result<Reply> {
        match request {
            Request::Audit { options } => self.audit(options, meanwhile).await,
            Request::Status => {
                let status = MountStatus::of(&self.entry, self.volume.status());
                Ok(Reply::Status(Box::new(status)))
            }
            Request::Sync { timeout_ms } => {
                sync_within(&self.vfs, Duration::from_millis(timeout_ms)).await?;
                Ok(Reply::Done)
            }
            Request::Stop { timeout_ms, detach } => {
                let timeout = Duration::from_millis(timeout_ms);
                let (reply, replied) = oneshot::channel();
                let ending = || Error::new(Kind::Busy, "the mount is ending already");
                let call = StopCall { timeout, detach, reply };
                self.stop.try_send(call).map_err(|_| ending())?;
                replied.await.map_err(|_| ending())
            }
            Request::Gc => {
                let (blocks, bytes) = self.volume.gc().await?;
                Ok(Reply::Deleted { blocks, bytes })
            }
            Request::Fsck => Ok(Reply::Findings { findings: self.volume.fsck().await? }),
            Request::SetSse { mode } => {
                let mode: SseMode = mode.parse()?;
                tracing::warn!("the encryption of `{}` is set to `{mode}`", self.entry.volume);
                self.volume.set_own_sse(&self.config, mode).await?;
                Ok(Reply::Done)
            }
        }
    }
}

impl Desk {
    async fn audit(&self, options: AuditOptions, meanwhile: Meanwhile) -> Result<Reply> {
        // One event at a time waits here; the socket's own queue is the buffer.
        let (events, mut happened) = mpsc::channel(1);
        let pass_on = async {
            while let Some(event) = happened.recv().await {
                let _ = meanwhile.send(Reply::Meanwhile { event }).await;
            }
        };
        let work = async {
            let report = audit(&self.volume, &self.config, options, &events).await;
            drop(events);
            report
        };
        let (report, ()) = tokio::join!(work, pass_on);
        report.map(|report| Reply::Audited(Box::new(report)))
    }
}

/// SIGTERM, SIGINT and SIGHUP: each stores everything and ends the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

async fn sync_within(vfs: &Vfs, timeout: Duration) -> Result<()> {
    tokio::time::timeout(timeout, vfs.sync()).await.unwrap_or_else(|_| {
        let sentence = format!("not everything is stored after {} s", timeout.as_secs());
        Err(Error::new(Kind::Unavailable, sentence)
            .hint("`cairnfs status` shows what is dirty and whether the store answers"))
    })
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
