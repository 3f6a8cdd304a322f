//! An S3 server inside the test process: it answers as Amazon S3 does (or, told so, as worse
//! stores do), breaks on demand, and records every request. It checks no signature, only that
//! there is one and that it names the key id it knows.

mod server;
mod service;
mod store;
pub mod xml;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::oneshot;

pub use service::Asked;
use store::Store;

/// The only bucket.
pub const BUCKET: &str = "bucket";
/// The access key id that is answered unless [`S3Double::take_keys`] says others.
pub const ACCESS_KEY: &str = "double-key";
/// Its secret; any secret is taken.
pub const SECRET_KEY: &str = "double-secret";

/// How the server treats `x-amz-server-side-encryption` on requests that create an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Encrypts and confirms, as Amazon S3 does.
    Echo,
    /// Answers 200 and does nothing, as an old radosgw does.
    Ignore,
    /// 501 NotImplemented: MinIO without a key.
    Refuse501,
    /// 400 InvalidArgument: Ceph RGW without a vault.
    Refuse400,
    /// 500 InternalError on every try: SeaweedFS without a key.
    Refuse500,
    /// 400 KMS.DisabledException to everything that needs the named key: creations that ask for it
    /// and reads of what lies under it.
    KeyDisabled,
    /// Confirms this many creations, then none, though all answers are 200.
    StopConfirmingAfter(u64),
}

/// How the server treats `If-None-Match` and `If-Match` on writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// 412 when they are not met.
    Kept,
    /// As `Kept`, after one 409 ConditionalRequestConflict for each key: Amazon S3 in a race.
    Contended,
    /// 501 NotImplemented, whether they are met or not: Backblaze B2.
    Refused,
    /// Not looked at.
    Ignored,
}

/// Whether the server answers at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It answers.
    There,
    /// It accepts and closes each connection without a word.
    Gone,
    /// It says 503 SlowDown to everything.
    Busy,
}

/// What a request asked for, by its S3 name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// One object, written whole.
    PutObject,
    /// One object, copied inside the store.
    CopyObject,
    /// One object or a range of it.
    GetObject,
    /// One object's headers.
    HeadObject,
    /// A page of names.
    ListObjects,
    /// One object removed.
    DeleteObject,
    /// Many objects removed.
    DeleteObjects,
    /// The start of an upload in parts.
    CreateMultipartUpload,
    /// One part.
    UploadPart,
    /// The end of an upload in parts.
    CompleteMultipartUpload,
    /// An upload in parts given up.
    AbortMultipartUpload,
    /// Anything about the bucket itself, or unknown.
    Other,
}

impl Action {
    /// Whether the request creates an object, so that Amazon S3 takes the SSE header on it.
    pub fn creates(self) -> bool {
        matches!(self, Self::PutObject | Self::CopyObject | Self::CreateMultipartUpload)
    }
}

/// One request as it came in, and how it was answered.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it asked for.
    pub action: Action,
    /// The object's key; for a list, the prefix.
    pub key: String,
    /// The `authorization` header, which names the access key id.
    pub authorization: String,
    /// The SSE header it carried.
    pub sse: Option<String>,
    /// Status of the answer; 0 when there was none.
    pub status: u16,
    /// Body bytes received.
    pub bytes_in: u64,
}

/// The switches, as the tests set them.
#[derive(Debug)]
struct Mood {
    encryption: Encryption,
    presence: Presence,
    access_keys: Vec<String>,
    demands_encryption: bool,
    conditions: Conditions,
    has_batch_deletes: bool,
    /// Status and document by the question's name (`versioning`).
    bucket_answers: BTreeMap<String, (u16, String)>,
    latency: Duration,
    bytes_per_second: Option<u64>,
    /// Each request of this ordinal, or of a multiple of it, is told to come back later.
    busy_at_every: Option<usize>,
    /// PUTs still to come until one is applied and its answer lost; the answer of the next is 1.
    lose_answer_of_put: Option<u64>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    store: Store,
    record: Vec<Seen>,
    confirmed: u64,
    /// Keys whose conditional write met another one already.
    contended: BTreeSet<String>,
    /// When the throttled wire is free again.
    wire_free: Option<Instant>,
}

/// A running double; it ends when this is dropped.
pub struct S3Double {
    state: Arc<Mutex<State>>,
    endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl S3Double {
    /// Starts on a free loopback port, with an empty bucket, answering as Amazon S3 does and
    /// refusing creations without the SSE header only when told so.
    pub fn start() -> Self {
        let mood = Mood {
            encryption: Encryption::Echo,
            presence: Presence::There,
            access_keys: vec![ACCESS_KEY.to_owned()],
            demands_encryption: false,
            conditions: Conditions::Kept,
            has_batch_deletes: true,
            bucket_answers: BTreeMap::new(),
            latency: Duration::ZERO,
            bytes_per_second: None,
            busy_at_every: None,
            lose_answer_of_put: None,
        };
        let state = State {
            mood,
            store: Store::default(),
            record: Vec::new(),
            confirmed: 0,
            contended: BTreeSet::new(),
            wire_free: None,
        };
        let state = Arc::new(Mutex::new(state));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let shared = state.clone();
        let thread = std::thread::spawn(move || server::run(listener, shared, stopped));
        Self { state, endpoint, stop: Some(stop), thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sets how the SSE header is answered from now on.
    pub fn encryption(&self, encryption: Encryption) {
        let mut state = self.state();
        state.confirmed = 0;
        state.mood.encryption = encryption;
    }

    /// Sets whether the server answers.
    pub fn presence(&self, presence: Presence) {
        self.state().mood.presence = presence;
    }

    /// From now on requests with these access key ids are answered, and no others.
    pub fn take_keys(&self, ids: &[&str]) {
        self.state().mood.access_keys = ids.iter().map(|id| (*id).to_owned()).collect();
    }

    /// From now on a creation without the SSE header gets 403, as under a bucket policy.
    pub fn demand_encryption(&self) {
        self.state().mood.demands_encryption = true;
    }

    /// Sets how conditions on writes are treated from now on.
    pub fn conditions(&self, conditions: Conditions) {
        self.state().mood.conditions = conditions;
    }

    /// From now on conditions on writes are not looked at.
    pub fn ignore_conditions(&self) {
        self.conditions(Conditions::Ignored);
    }

    /// From now on DeleteObjects gets 501, as from Google's S3 compatibility.
    pub fn refuse_batch_deletes(&self) {
        self.state().mood.has_batch_deletes = false;
    }

    /// From now on a question about the bucket (`versioning`, `acl`) is answered so.
    pub fn say(&self, question: &str, status: u16, document: &str) {
        let answer = (status, document.to_owned());
        self.state().mood.bucket_answers.insert(question.to_owned(), answer);
    }

    /// Stores an object that nobody encrypted, under any key.
    pub fn plant(&self, key: &str, bytes: &[u8]) {
        self.state().store.insert(key, bytes.to_vec().into(), None, Vec::new());
    }

    /// Each request waits this long before its answer.
    pub fn latency(&self, latency: Duration) {
        self.state().mood.latency = latency;
    }

    /// All bodies together pass at this rate; `None`: as fast as they come.
    pub fn throttle(&self, bytes_per_second: Option<u64>) {
        self.state().mood.bytes_per_second = bytes_per_second;
    }

    /// Every `nth` request, counted from the last [`S3Double::forget`], gets 503 SlowDown.
    pub fn busy_at_every(&self, nth: usize) {
        assert!(nth > 0, "requests are counted from 1");
        self.state().mood.busy_at_every = Some(nth);
    }

    /// The `nth` PUT from now (1 is the next) is applied, and its connection closed unanswered.
    pub fn lose_answer_of_put(&self, nth: u64) {
        assert!(nth > 0, "PUTs are counted from 1");
        self.state().mood.lose_answer_of_put = Some(nth);
    }

    /// All requests so far, in the order in which they were complete.
    pub fn record(&self) -> Vec<Seen> {
        self.state().record.clone()
    }

    /// Forgets the record.
    pub fn forget(&self) {
        self.state().record.clear();
    }

    /// The requests that created an object, or tried.
    pub fn puts(&self) -> Vec<Seen> {
        self.seen(|seen| seen.action.creates())
    }

    /// The creations that carried no SSE header.
    pub fn puts_without_sse(&self) -> Vec<Seen> {
        self.seen(|seen| seen.action.creates() && seen.sse.is_none())
    }

    /// The requests that carried the SSE header where Amazon S3 answers 400 to it.
    pub fn others_with_sse(&self) -> Vec<Seen> {
        self.seen(|seen| !seen.action.creates() && seen.sse.is_some())
    }

    /// How many requests asked for `action`.
    pub fn count(&self, action: Action) -> usize {
        self.seen(|seen| seen.action == action).len()
    }

    /// Every key stored, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.state().store.keys()
    }

    /// The stored bytes of an object.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.state().store.bytes(key)
    }

    /// Keys whose object is not encrypted.
    pub fn unencrypted(&self) -> Vec<String> {
        self.state().store.unencrypted()
    }

    fn seen(&self, wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        self.state().record.iter().filter(|seen| wanted(seen)).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for S3Double {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
