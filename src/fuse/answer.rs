//! How an operation is answered: its future is polled once where the request came in, and what
//! memory knows is answered there (a hand-over to another thread costs more than the operation).
//! What waits for the store is spawned, together with its reply. Knows no operation.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Waker;

use fuser::Errno;
use tokio::runtime::Handle;

use super::errno::errno;
use super::errno::is_fault;
use crate::error::Error;
use crate::error::Result;
use crate::types::Ino;

/// A reply that an error can end.
pub(super) trait Reply: Send + 'static {
    /// Answers with an error.
    fn refuse(self, errno: Errno);
}

macro_rules! replies {
    ($($reply:ident)*) => {$(
        impl Reply for fuser::$reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        }
    )*};
}

replies! {
    ReplyAttr ReplyCreate ReplyData ReplyDirectory ReplyDirectoryPlus ReplyEmpty ReplyEntry
    ReplyLseek ReplyOpen ReplyWrite ReplyXattr
}

/// A request, as the log names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call(pub(super) &'static str, pub(super) Ino);

/// Whether a mount is cut off. Not every kernel connection can be ended; but from then on nobody is
/// told of a success, so that what is acknowledged was done before.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Cuts it off.
    pub(super) fn make(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_made(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Runs `operation` and gives its value to `accept`, or its error to the reply: before this
/// returns if the first poll is enough, else later on the runtime. A panic, here or there, drops
/// the reply, which fuser answers with EIO; the session thread goes on.
pub(super) fn answer<R: Reply, T: Send + 'static>(
    (runtime, cut): (&Handle, &Cut),
    call: Call,
    reply: R,
    operation: impl Future<Output = Result<T>> + Send + 'static,
    accept: impl FnOnce(R, T) + Send + 'static,
) {
    let cut = cut.clone();
    let mut answered = Box::pin(async move {
        match operation.await {
            Ok(_) if cut.is_made() => reply.refuse(Errno::ENOTCONN),
            Ok(value) => accept(reply, value),
            Err(error) => refuse(call, reply, &error),
        }
    });
    let _entered = runtime.enter();
    let mut context = Context::from_waker(Waker::noop());
    match catch_unwind(AssertUnwindSafe(|| answered.as_mut().poll(&mut context))) {
        Ok(poll) if poll.is_ready() => {}
        Ok(_) => drop(runtime.spawn(answered)),
        Err(_) => tracing::error!(operation = call.0, inode = call.1.0, "the operation panicked"),
    }
}

fn refuse(call: Call, reply: impl Reply, error: &Error) {
    if is_fault(error.kind()) {
        tracing::error!(operation = call.0, inode = call.1.0, %error, "answered with EIO");
    }
    reply.refuse(errno(error.kind()));
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::thread::ThreadId;

    use tokio::sync::oneshot;

    use super::*;
    use crate::error::Kind;

    type Seen = (Result<u32, Errno>, ThreadId);

    struct Probe(oneshot::Sender<Seen>);

    impl Probe {
        fn accept(self, value: u32) {
            self.0.send((Ok(value), thread::current().id())).unwrap();
        }
    }

    impl Reply for Probe {
        fn refuse(self, errno: Errno) {
            self.0.send((Err(errno), thread::current().id())).unwrap();
        }
    }

    const CALL: Call = Call("test", Ino::ROOT);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    #[test]
    fn what_is_ready_is_answered_on_the_calling_thread() {
        let (runtime, (sender, mut receiver)) = (runtime(), oneshot::channel());
        answer(
            (runtime.handle(), &Cut::default()),
            CALL,
            Probe(sender),
            async { Ok(7) },
            Probe::accept,
        );
        assert_eq!(receiver.try_recv().unwrap(), (Ok(7), thread::current().id()));
        let (sender, mut receiver) = oneshot::channel();
        let fails = async { Err(Error::new(Kind::NotFound, "nothing is there")) };
        answer((runtime.handle(), &Cut::default()), CALL, Probe(sender), fails, Probe::accept);
        assert_eq!(receiver.try_recv().unwrap(), (Err(Errno::ENOENT), thread::current().id()));
    }

    #[test]
    fn no_success_is_told_once_the_mount_is_cut_off() {
        let (runtime, cut) = (runtime(), Cut::default());
        let (sender, mut receiver) = oneshot::channel();
        let done = async { Ok(7) };
        let told = cut.clone();
        let cut_meanwhile = async move {
            told.make();
            done.await
        };
        answer((runtime.handle(), &cut), CALL, Probe(sender), cut_meanwhile, Probe::accept);
        assert_eq!(receiver.try_recv().unwrap().0, Err(Errno::ENOTCONN));
    }

    #[test]
    fn what_waits_is_answered_by_the_runtime() {
        let (runtime, (sender, mut receiver)) = (runtime(), oneshot::channel());
        let (wake, woken) = oneshot::channel();
        let waits = async { Ok(woken.await.unwrap()) };
        answer((runtime.handle(), &Cut::default()), CALL, Probe(sender), waits, Probe::accept);
        assert!(receiver.try_recv().is_err());
        wake.send(9).unwrap();
        let (result, thread) = runtime.block_on(receiver).unwrap();
        assert_eq!(result, Ok(9));
        assert_ne!(thread, thread::current().id());
    }

    #[test]
    fn a_panic_drops_the_reply_and_leaves_the_session_thread_alive() {
        let (runtime, (sender, mut receiver)) = (runtime(), oneshot::channel());
        let panics = async { panic!("a broken promise") };
        answer((runtime.handle(), &Cut::default()), CALL, Probe(sender), panics, Probe::accept);
        assert_eq!(receiver.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
