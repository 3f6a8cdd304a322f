//! Who answers the control socket: passes each request on to the volume, the file system, or the
//! one who ends the mount. Knows no sockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::control::Failure;
use super::control::Meanwhile;
use super::control::Reply;
use super::control::Request;
use super::mountpoint::Detach;
use super::registry::Entry;
use super::status::MountStatus;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ops::audit::AuditOptions;
use crate::ops::audit::audit;
use crate::provider::SseMode;
use crate::vfs::Vfs;
use crate::volume::Volume;

/// A `stop` that waits for its reply.
pub(super) struct StopCall {
    /// How long to wait for the store.
    pub timeout: Duration,
    /// What happens when it is in use, or cannot be stored.
    pub detach: Detach,
    /// Closed when the caller went away.
    pub reply: oneshot::Sender<Reply>,
}

impl StopCall {
    /// Tells that it is not done, and why.
    pub(super) fn fail(self, error: &Error) {
        let _ = self.reply.send(Reply::Failed(Failure::from(error)));
    }
}

/// Answers the control socket.
pub(super) struct Desk {
    /// The volume's table in the config.
    pub config: VolumeConfig,
    /// The volume.
    pub volume: Arc<Volume>,
    /// Its file system.
    pub vfs: Arc<Vfs>,
    /// What the registry tells of this mount.
    pub entry: Entry,
    /// Who ends the mount.
    pub stop: mpsc::Sender<StopCall>,
}

impl Desk {
    /// Does what is asked, and tells `meanwhile` what happens before that.
    pub(super) async fn answer(self: Arc<Self>, request: Request, meanwhile: Meanwhile) -> Reply {
        Reply::from(self.act(request, meanwhile).await)
    }

    async fn act(&self, request: Request, meanwhile: Meanwhile) -> Result<Reply> {
        match request {
            Request::Audit { options } => tokio::select! {
                audited = self.audit(options, &meanwhile) => audited,
                () = meanwhile.closed() => Err(gone()),
            },
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
                let call = StopCall { timeout, detach, reply };
                self.stop.try_send(call).map_err(|_| ending())?;
                tokio::select! {
                    reply = replied => reply.map_err(|_| ending()),
                    // With `replied` goes what tells the mount that somebody waits.
                    () = meanwhile.closed() => Err(gone()),
                }
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

    async fn audit(&self, options: AuditOptions, meanwhile: &Meanwhile) -> Result<Reply> {
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

/// The error for whoever asks for a stop while another one is under way.
pub(super) fn ending() -> Error {
    Error::new(Kind::Busy, "the mount is ending already")
        .hint("`cairnfs status` shows how far it is; `umount -f` does not wait for the store")
}

fn gone() -> Error {
    Error::new(Kind::Unavailable, "whoever asked went away")
}

/// Makes everything durable, or says after `timeout` that it is not.
pub(super) async fn sync_within(vfs: &Vfs, timeout: Duration) -> Result<()> {
    tokio::time::timeout(timeout, vfs.sync()).await.unwrap_or_else(|_| {
        let sentence = format!("not everything is stored after {} s", timeout.as_secs());
        Err(Error::new(Kind::Unavailable, sentence)
            .hint("`cairnfs status` shows what is dirty and whether the store answers"))
    })
}
