//! One mount from its handshake to its end: the session threads, what is tuned beside them, and
//! the ways to take it off. Knows nothing of operations.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fuser::Config;
use fuser::Filesystem;
use fuser::Notifier;
use fuser::Session;
use fuser::SessionACL;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::adapter::Adapter;
use super::answer::Cut;
use super::device;
use super::device::Detach;
use super::device::MountOptions;
use super::kernel::Writeback;
use super::mountpoint::check_mount_point;
use super::mountpoint::status;
use super::notify;
use super::notify::DeviceNumber;
use super::notify::Forget;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::Ino;
use crate::vfs::Vfs;

/// Two, so that one slow answer does not stop the mount; more would wake each other up.
const SESSION_THREADS: usize = 2;

/// The readahead of a mount: the size of one request.
const READ_AHEAD_KIB: u32 = 1024;

/// What a fenced mount waits for the kernel to forget.
const FORGET_WITHIN: Duration = Duration::from_secs(2);

/// A volume that is mounted.
pub struct Mounted {
    vfs: Arc<Vfs>,
    cut: Cut,
    session: Running,
}

/// A session's threads, seen from outside.
#[derive(Clone)]
struct Running {
    dir: PathBuf,
    device: DeviceNumber,
    notifier: Notifier,
    /// The connection, for what fuser has no message for.
    connection: Arc<OwnedFd>,
    ended: watch::Receiver<bool>,
}

/// Mounts `vfs` at `dir` and answers the kernel from then on. What waits for the store runs on
/// `runtime`. Blocks for some milliseconds and looks at the new mount: not for the only worker.
///
/// # Errors
/// Those of [`check_mount_point`], `Usage` for an unknown option, and what the kernel or
/// fusermount3 refuse.
pub fn mount(
    vfs: Arc<Vfs>,
    dir: &Path,
    options: &MountOptions,
    runtime: Handle,
) -> Result<Mounted> {
    let writeback = if options.writeback { Writeback::On } else { Writeback::Off };
    let cut = Cut::default();
    let adapter = Adapter::new(vfs.clone(), runtime, cut.clone(), writeback);
    let forget = adapter.forget();
    Ok(Mounted { vfs, cut, session: start(adapter, dir, options, &forget)? })
}

impl Mounted {
    /// The mount point's absolute path.
    pub fn dir(&self) -> &Path {
        &self.session.dir
    }

    /// Ends when the kernel has let go of the mount, whoever took it off.
    pub async fn wait(&self) {
        self.session.wait().await;
    }

    /// Takes the mount off and waits for its end. It stores nothing: call `Vfs::sync` before.
    ///
    /// # Errors
    /// `Busy` when files are open there, or something is mounted over it. The mount goes on.
    pub async fn unmount(&self) -> Result<()> {
        self.session.unmount().await
    }

    /// Takes the mount off the tree at once; [`Mounted::wait`] ends when its last user is gone.
    pub async fn unmount_lazily(&self) -> Result<()> {
        self.session.blocking(|session| session.detach(Detach::Lazily)).await
    }

    /// Makes the kernel forget every page and attribute it may hold.
    pub async fn invalidate_all(&self) -> Result<()> {
        let inodes = self.vfs.cached_inodes();
        self.session
            .blocking(move |session| {
                session.invalidate(&inodes);
                Ok(())
            })
            .await
    }

    /// Cuts the mount off, for a volume that is not ours any more, or is about to be closed: every
    /// request fails, and no cache answers any more. The dead mount stays, so that nobody writes
    /// into the directory below it; `umount` takes it off.
    ///
    /// # Errors
    /// What the system refuses; the mount may then still be seen, but is not answered.
    pub async fn abort(&self) -> Result<()> {
        let (inodes, cut) = (self.vfs.cached_inodes(), self.cut.clone());
        self.session
            .blocking(move |session| {
                session.forget_within_reason(inodes);
                cut.make();
                session.abort()
            })
            .await
    }
}

impl Running {
    async fn wait(&self) {
        // An error says that the sender is gone, and the session with it.
        let mut ended = self.ended.clone();
        drop(ended.wait_for(|ended| *ended).await);
    }

    async fn unmount(&self) -> Result<()> {
        self.blocking(|session| session.detach(Detach::Unused)).await?;
        self.wait().await;
        Ok(())
    }

    async fn blocking(
        &self,
        work: impl FnOnce(&Self) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let session = self.clone();
        spawn_blocking(move || work(&session)).await.unwrap_or_else(|cause| {
            Err(Error::new(Kind::Internal, "the unmounting thread is gone").because(cause))
        })
    }

    fn detach(&self, detach: Detach) -> Result<()> {
        if *self.ended.borrow() {
            return Ok(());
        }
        self.check_on_top()?;
        device::detach(&self.dir, detach)
    }

    fn abort(&self) -> Result<()> {
        if *self.ended.borrow() {
            return Ok(());
        }
        let covered = self.check_on_top();
        notify::abort(self.device).or_else(|error| {
            tracing::debug!(%error, "the connection has no abort file");
            covered.and_then(|()| device::cut_off(&self.dir))
        })
    }

    /// Makes the kernel forget names, and the pages and attributes of `inodes`. That waits for
    /// locked pages, whose requests nobody may answer any more: so not for long.
    fn forget_within_reason(&self, inodes: Vec<Ino>) {
        let session = self.clone();
        let (done, waited) = std::sync::mpsc::channel();
        let forgetting = thread::spawn(move || {
            if let Err(error) = notify::forget_names(&session.connection) {
                tracing::warn!(%error, "the kernel goes on knowing names until it is asked again");
            }
            session.invalidate(&inodes);
            // Nobody may wait for it any more.
            let _nobody_waits = done.send(());
        });
        if waited.recv_timeout(FORGET_WITHIN).is_err() {
            tracing::warn!("the kernel forgets the rest when its requests are cut off");
            drop(forgetting);
        }
    }

    /// Unmounting goes by path, and must not hit what was mounted over this mount.
    fn check_on_top(&self) -> Result<()> {
        if device_number(&self.dir)? == self.device {
            return Ok(());
        }
        let message = format!("something else is mounted at `{}` now", self.dir.display());
        Err(Error::new(Kind::Busy, message).hint("unmount that first"))
    }

    fn invalidate(&self, inodes: &[Ino]) {
        let kept = notify::invalidate(&self.notifier, inodes);
        if kept > 0 {
            tracing::warn!(kept, "the kernel did not drop all that it has of some inodes");
        }
    }
}

fn start(
    filesystem: impl Filesystem,
    dir: &Path,
    options: &MountOptions,
    forget: &Forget,
) -> Result<Running> {
    let dir = check_mount_point(dir, options.occupied)?;
    let device = device::attach(&dir, options)?;
    let started = shake_hands(filesystem, device, &dir, forget);
    if started.is_err()
        && let Err(error) = device::detach(&dir, Detach::Lazily)
    {
        tracing::warn!(%error, "a mount that did not start is left");
    }
    let running = started?;
    if let Err(error) = notify::read_ahead(running.device, READ_AHEAD_KIB) {
        tracing::info!(%error, "the readahead stays at the kernel's default");
    }
    if let Err(error) = device::register(&running.dir, options) {
        tracing::warn!(%error, "`umount` will not wait until everything is stored");
    }
    Ok(running)
}

fn shake_hands(
    filesystem: impl Filesystem,
    device: OwnedFd,
    dir: &Path,
    forget: &Forget,
) -> Result<Running> {
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(SESSION_THREADS);
    let connection = Arc::new(device.try_clone()?);
    let session = Session::from_fd(filesystem, device, SessionACL::All, config)
        .map_err(|cause| Error::new(Kind::Internal, "the kernel does not agree").because(cause))?;
    let notifier = session.notifier();
    forget.begin(notifier.clone());
    let (sender, ended) = watch::channel(false);
    thread::Builder::new().name("fuse-session".to_owned()).spawn(move || {
        if let Err(error) = session.run() {
            tracing::error!(%error, "the session with the kernel failed");
        }
        sender.send_replace(true);
    })?;
    let dir = dir.to_owned();
    Ok(Running { device: device_number(&dir)?, dir, notifier, connection, ended })
}

fn device_number(dir: &Path) -> Result<DeviceNumber> {
    let status = status(dir)?;
    Ok(DeviceNumber { major: status.stx_dev_major, minor: status.stx_dev_minor })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::process::Command;
    use std::time::Duration;

    use fuser::FileHandle;
    use fuser::INodeNo;
    use fuser::KernelConfig;
    use fuser::ReplyAttr;
    use fuser::Request;

    use super::*;
    use crate::fuse::convert::bare_attr;
    use crate::fuse::kernel::Trust;
    use crate::fuse::kernel::negotiate;
    use crate::vfs::FileKind;

    /// An empty directory.
    struct Empty;

    impl Filesystem for Empty {
        fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
            negotiate(config, Writeback::On, Trust::Lasting)
        }

        fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
            reply.attr(&Duration::ZERO, &bare_attr(Ino::ROOT, FileKind::Directory));
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    fn mounted(dir: &Path) -> Running {
        let options = MountOptions { fsname: "fake,volume".into(), ..Default::default() };
        start(Empty, dir, &options, &Forget::default()).unwrap()
    }

    fn lines(path: &str, dir: &Path) -> Vec<String> {
        let (text, dir) = (fs::read_to_string(path).unwrap_or_default(), dir.to_str().unwrap());
        text.lines().filter(|line| line.contains(dir)).map(str::to_owned).collect()
    }

    #[test]
    fn a_mount_shows_its_type_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, session) = (runtime(), mounted(dir.path()));
        let shown = lines("/proc/self/mounts", dir.path());
        assert!(shown[0].starts_with("fake,volume ") && shown[0].contains(" fuse.cairnfs "));
        let number = session.device;
        let bdi = format!("/sys/class/bdi/{}:{}/read_ahead_kb", number.major, number.minor);
        assert_eq!(fs::read_to_string(bdi).unwrap().trim(), "1024");
        assert!(lines("/run/mount/utab", dir.path())[0].contains("uhelper=cairnfs"));
        let busy =
            start(Empty, dir.path(), &MountOptions::default(), &Forget::default()).err().unwrap();
        assert_eq!(busy.kind(), Kind::Busy);

        let held = fs::File::open(dir.path()).unwrap();
        let refused = runtime.block_on(session.unmount()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Busy, "{refused}");
        drop(held);
        runtime.block_on(session.unmount()).unwrap();
        assert!(lines("/proc/self/mounts", dir.path()).is_empty());
        assert!(lines("/run/mount/utab", dir.path()).is_empty());
        runtime.block_on(session.unmount()).unwrap();
    }

    #[test]
    fn an_unmount_from_outside_ends_the_session_and_touches_no_later_mount() {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, first) = (runtime(), mounted(dir.path()));
        assert!(Command::new("umount").arg("-i").arg(dir.path()).status().unwrap().success());
        let second = mounted(dir.path());
        runtime.block_on(first.wait());
        assert_eq!(lines("/proc/self/mounts", dir.path()).len(), 1);
        runtime.block_on(second.unmount()).unwrap();
    }

    #[test]
    fn an_aborted_mount_answers_nobody_and_hides_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, session) = (runtime(), mounted(dir.path()));
        let held = fs::File::open(dir.path()).unwrap();
        session.forget_within_reason(vec![Ino::ROOT]);
        session.abort().unwrap();
        for gone in [held.metadata(), fs::metadata(dir.path())] {
            assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotConnected);
        }
        runtime.block_on(session.wait());
        drop(held);
        assert!(Command::new("umount").arg("-i").arg(dir.path()).status().unwrap().success());
        assert!(check_mount_point(dir.path(), Default::default()).is_ok());
    }
}
