//! The daemon's socket: one request and one reply per connection, each a line of JSON; before the
//! reply, lines that tell what happens meanwhile. Everything has a deadline. A caller that closes
//! its side has gone away. Knows no volume: who answers is a function.

use std::future::Future;
use std::io::BufRead;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Caller;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;

use super::mountpoint::Detach;
use super::status::MountStatus;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ops::audit::AuditOptions;
use crate::ops::audit::Event;
use crate::ops::audit::Report;

/// A request is a line of at most this many bytes.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// How long a caller may take to send its line, or to take the reply.
const LINE_TIMEOUT: Duration = Duration::from_secs(10);
/// Callers answered at once; further ones wait in the socket's queue.
const CALLERS_MAX: usize = 32;
/// Lines that wait for a slow caller; whoever tells more waits for it.
const LINES_MAX: usize = 256;

/// What a daemon can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub(super) enum Request {
    /// What `status` shows.
    Status,
    /// Make everything durable.
    Sync {
        /// When to give up, in milliseconds.
        timeout_ms: u64,
    },
    /// Store everything, unmount, end.
    Stop {
        /// When to give up storing, in milliseconds.
        timeout_ms: u64,
        /// What happens when it is in use, or cannot be stored.
        detach: Detach,
    },
    /// Delete blocks that nothing names.
    Gc,
    /// Check every invariant.
    Fsck,
    /// Ask the store about every object, and repair on request.
    Audit {
        /// What is wanted.
        options: AuditOptions,
    },
    /// Record another encryption mode.
    SetSse {
        /// As in the config: `none`, `aes256`, `kms:KEY`, …
        mode: String,
    },
}

/// What a daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub(super) enum Reply {
    /// It is done.
    Done,
    /// The answer to `Stop`: the mount is off the tree, and the daemon goes on until its last user
    /// ends and everything is stored.
    Detached,
    /// The answer to `Status`.
    Status(Box<MountStatus>),
    /// The answer to `Gc`.
    Deleted {
        /// Blocks.
        blocks: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// The answer to `Fsck`: a sentence per fault.
    Findings {
        /// The sentences.
        findings: Vec<String>,
    },
    /// Something happened meanwhile; the reply is still to come.
    Meanwhile {
        /// What it was.
        event: Event,
    },
    /// The answer to `Audit`.
    Audited(Box<Report>),
    /// It is not done.
    Failed(Failure),
}

/// Where a handler tells what happens before its reply; closed when the caller went away.
pub(super) type Meanwhile = mpsc::Sender<Reply>;

/// An error that crosses a process boundary: its sentence, its hint, and what a caller acts on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The sentence.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Whether it is `Kind::Usage`, `Kind::Busy` or another.
    kind: FailureKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FailureKind {
    Usage,
    Busy,
    Other,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let kind = match error.kind() {
            Kind::Usage => FailureKind::Usage,
            Kind::Busy => FailureKind::Busy,
            _ => FailureKind::Other,
        };
        Self { message: error.to_string(), hint: error.hint_text().map(str::to_owned), kind }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            FailureKind::Usage => Kind::Usage,
            FailureKind::Busy => Kind::Busy,
            FailureKind::Other => Kind::Internal,
        };
        let error = Error::new(kind, failure.message);
        match failure.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<Result<Reply>> for Reply {
    fn from(outcome: Result<Reply>) -> Self {
        outcome.unwrap_or_else(|error| Reply::Failed(Failure::from(&error)))
    }
}

/// A socket that is being answered.
pub(super) struct Server {
    finish: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds `path` for its owner alone and answers each request by `handler`.
    pub(super) fn start<F, A>(path: &Path, handler: F) -> Result<Self>
    where
        F: Fn(Request, Meanwhile) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Reply> + Send + 'static,
    {
        let refused = |cause: std::io::Error| {
            let doing = format!("cannot open the control socket `{}`", path.display());
            Error::from(cause).while_doing(doing)
        };
        let listener = UnixListener::bind(path).map_err(refused)?;
        // The run directory is closed to others, so nobody connects between these two lines.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(refused)?;
        let (finish, finished) = oneshot::channel();
        let task = tokio::spawn(accept(listener, handler, finished));
        Ok(Self { finish, task })
    }

    /// Takes no new caller and waits, for a moment, until the present ones have their replies.
    pub(super) async fn finish(self) {
        let _ = self.finish.send(());
        if tokio::time::timeout(LINE_TIMEOUT, self.task).await.is_err() {
            tracing::warn!("a caller of the control socket did not take its reply");
        }
    }
}

async fn accept<F, A>(listener: UnixListener, handler: F, mut finished: oneshot::Receiver<()>)
where
    F: Fn(Request, Meanwhile) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Reply> + Send + 'static,
{
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut finished => break,
            Some(_) = callers.join_next() => {}
            accepted = listener.accept(), if callers.len() < CALLERS_MAX => match accepted {
                Ok((stream, _)) => {
                    callers.spawn(answer(stream, handler.clone()));
                }
                Err(cause) => {
                    // Out of descriptors, say: it passes, and a busy loop would not help.
                    tracing::warn!("the control socket does not accept: {cause}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
        }
    }
    drop(listener);
    while callers.join_next().await.is_some() {}
}

async fn answer<F, A>(stream: UnixStream, handler: F)
where
    F: Fn(Request, Meanwhile) -> A,
    A: Future<Output = Reply>,
{
    if let Err(cause) = converse(stream, handler).await {
        tracing::debug!("a caller of the control socket went away: {cause}");
    }
}

async fn converse<F, A>(mut stream: UnixStream, handler: F) -> std::io::Result<()>
where
    F: Fn(Request, Meanwhile) -> A,
    A: Future<Output = Reply>,
{
    let caller = stream.peer_cred()?.uid();
    if caller != 0 && caller != rustix::process::geteuid().as_raw() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    let mut line = String::new();
    let mut limited = tokio::io::BufReader::new((&mut stream).take(REQUEST_BYTES_MAX));
    tokio::time::timeout(LINE_TIMEOUT, limited.read_line(&mut line)).await??;
    let reply = match serde_json::from_str(&line) {
        Ok(request) => {
            let (meanwhile, told) = mpsc::channel(LINES_MAX);
            attend(&mut stream, told, handler(request, meanwhile)).await?
        }
        Err(cause) => Reply::Failed(Failure::from(
            &Error::new(Kind::Usage, "the daemon does not know this request")
                .because(cause)
                .hint("program and daemon are of different versions: stop and start the mount"),
        )),
    };
    write_line(&mut stream, &reply).await
}

/// Waits for the reply and passes on what is told before it. When the caller goes away the handler
/// can know it by its closed channel, and ends by itself: not everything may be broken off.
async fn attend(
    stream: &mut UnixStream,
    mut told: mpsc::Receiver<Reply>,
    reply: impl Future<Output = Reply>,
) -> std::io::Result<Reply> {
    let (mut from, mut to) = stream.split();
    let mut reply = std::pin::pin!(reply);
    let (mut ignored, mut here) = ([0; 64], true);
    let reply = loop {
        tokio::select! {
            Some(event) = told.recv() => write_line(&mut to, &event).await?,
            read = from.read(&mut ignored), if here => if !matches!(read, Ok(1..)) {
                here = false;
                told.close();
            },
            reply = &mut reply => break reply,
        }
    };
    while let Ok(event) = told.try_recv() {
        write_line(&mut to, &event).await?;
    }
    Ok(reply)
}

async fn write_line(stream: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(reply)?;
    bytes.push(b'\n');
    tokio::time::timeout(LINE_TIMEOUT, stream.write_all(&bytes)).await?
}

/// Asks the daemon at `socket` and waits `patience` for the reply. A `Failed` one is the error.
pub(super) fn call(socket: &Path, request: &Request, patience: Duration) -> Result<Reply> {
    call_told(socket, request, patience, &mut drop)
}

/// The same, and tells `each` what happens meanwhile.
pub(super) fn call_told(
    socket: &Path,
    request: &Request,
    patience: Duration,
    each: &mut dyn FnMut(Event),
) -> Result<Reply> {
    let failed = |cause: std::io::Error| match cause.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Error::new(Kind::Unavailable, "the daemon does not answer in time")
        }
        ErrorKind::PermissionDenied => Error::new(Kind::Access, "only its user or root may ask")
            .hint("run the command as the user who mounted"),
        _ => Error::new(Kind::Unavailable, "the daemon cannot be asked").because(cause),
    };
    let mut lines = BufReader::new(send(socket, request, patience).map_err(failed)?);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).map_err(failed)?;
        match serde_json::from_str(&line) {
            Ok(Reply::Meanwhile { event }) => each(event),
            Ok(Reply::Failed(failure)) => return Err(failure.into()),
            Ok(reply) => return Ok(reply),
            Err(_) if line.is_empty() => {
                return Err(Error::new(Kind::Unavailable, "the daemon ended before it answered")
                    .hint("its log says why: `journalctl -t cairnfs`, or its --log-file"));
            }
            Err(cause) => {
                return Err(
                    Error::new(Kind::Internal, "the daemon's answer has no sense").because(cause)
                );
            }
        }
    }
}

fn send(socket: &Path, request: &Request, timeout: Duration) -> std::io::Result<Caller> {
    let mut stream = Caller::connect(socket)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(LINE_TIMEOUT))?;
    let mut bytes = serde_json::to_vec(request)?;
    bytes.push(b'\n');
    stream.write_all(&bytes)?;
    Ok(stream)
}

/// Whole milliseconds, saturating.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(path: &Path, request: Request) -> Result<Reply> {
        let path = path.to_path_buf();
        let deadline = Duration::from_secs(5);
        tokio::task::spawn_blocking(move || call(&path, &request, deadline)).await.unwrap()
    }

    async fn fake(request: Request, meanwhile: Meanwhile) -> Reply {
        match request {
            Request::Fsck => {
                for objects in 1..=3 {
                    let event = Event::Asked { objects, repairing: false };
                    meanwhile.send(Reply::Meanwhile { event }).await.unwrap();
                }
                Reply::Done
            }
            Request::Gc => Reply::Deleted { blocks: 2, bytes: 9 },
            Request::Sync { timeout_ms } => {
                Reply::from(Err(
                    Error::new(Kind::Busy, format!("not in {timeout_ms} ms")).hint("wait")
                ))
            }
            _ => Reply::Done,
        }
    }

    #[tokio::test]
    async fn a_daemon_answers_over_its_socket_and_its_errors_keep_their_hints() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let server = Server::start(&path, fake).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let deleted = ask(&path, Request::Gc).await.unwrap();
        assert_eq!(deleted, Reply::Deleted { blocks: 2, bytes: 9 });
        let refused = ask(&path, Request::Sync { timeout_ms: 5 }).await.unwrap_err();
        assert_eq!((refused.kind(), refused.hint_text()), (Kind::Busy, Some("wait")));
        assert_eq!(refused.to_string(), "not in 5 ms");
        server.finish().await;
        let gone = ask(&path, Request::Status).await.unwrap_err();
        assert_eq!(gone.kind(), Kind::Unavailable);
    }

    #[tokio::test]
    async fn what_happens_meanwhile_is_told_before_the_reply() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let _server = Server::start(&path, fake).unwrap();
        let asking = tokio::task::spawn_blocking(move || {
            let mut told = Vec::new();
            let deadline = Duration::from_secs(5);
            let reply = call_told(&path, &Request::Fsck, deadline, &mut |event| told.push(event));
            (reply.unwrap(), told)
        });
        let (reply, told) = asking.await.unwrap();
        assert_eq!(reply, Reply::Done);
        let asked = |objects| Event::Asked { objects, repairing: false };
        assert_eq!(told, [asked(1), asked(2), asked(3)]);
    }

    #[tokio::test]
    async fn a_handler_can_know_that_its_caller_went_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let (tell, mut told) = mpsc::channel(1);
        let handler = move |_, meanwhile: Meanwhile| {
            let tell = tell.clone();
            async move {
                meanwhile.closed().await;
                tell.send(()).await.unwrap();
                Reply::Done
            }
        };
        let _server = Server::start(&path, handler).unwrap();
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"{\"request\":\"gc\"}\n").await.unwrap();
        drop(stream);
        told.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_nobody_knows_is_answered_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let _server = Server::start(&path, fake).unwrap();
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"{\"request\":\"dance\"}\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("does not know this request"), "{text}");
    }

    #[test]
    fn every_request_and_reply_survives_its_line() {
        let mode = "aes256".to_owned();
        for request in [
            Request::Status,
            Request::Stop { timeout_ms: 60_000, detach: Detach::Lazily },
            Request::SetSse { mode },
        ] {
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        }
        let findings = Reply::Findings { findings: vec!["a block is missing".into()] };
        let line = serde_json::to_string(&findings).unwrap();
        assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), findings);
    }
}
