//! The signals that a daemon listens to. Knows nothing of what they end.

use futures::FutureExt;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::error::Result;

/// SIGTERM, SIGINT and SIGHUP: each stores everything and ends the process. None ends it by itself
/// while this lives.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    foreground: bool,
}

impl Signals {
    /// Listens from now on; `foreground` when a person at a terminal sends SIGINT.
    pub(super) fn new(foreground: Foreground) -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            foreground: foreground == Foreground::Yes,
        })
    }

    /// The next one, by name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }

    /// The next Ctrl-C of a person at the terminal: it alone can mean that waiting is over. A
    /// service manager sends SIGTERM and SIGHUP together, and a closing terminal SIGHUP besides.
    pub(super) async fn impatience(&mut self) {
        match self.foreground {
            true => drop(self.interrupt.recv().await),
            false => std::future::pending().await,
        }
    }

    /// Forgets those that came already.
    pub(super) fn drain(&mut self) {
        while self.next().now_or_never().is_some() {}
    }
}

/// Whether a daemon has the terminal of who started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreground {
    /// It stayed in the caller's process.
    Yes,
    /// It is a process of its own.
    No,
}
