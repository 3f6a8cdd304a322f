//! Counters of requests and postures, and whether the store answers. Shared by all clones.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::answer::Posture;
use crate::ambient::Ambient;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Counts since the bucket was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// PUT and POST requests that create objects.
    pub put: u64,
    /// GET requests of objects.
    pub get: u64,
    /// HEAD requests.
    pub head: u64,
    /// LIST requests.
    pub list: u64,
    /// DELETE requests.
    pub delete: u64,
    /// Bytes sent in bodies.
    pub bytes_sent: u64,
    /// Bytes received in bodies.
    pub bytes_received: u64,
    /// Writes that the store confirmed encrypted.
    pub confirmed: u64,
    /// Writes to a provider that encrypts by default and gives no evidence.
    pub provider_default: u64,
    /// Writes that were asked to be encrypted and are not confirmed.
    pub unconfirmed: u64,
    /// Writes for which nothing was asked.
    pub absent: u64,
    /// The first object that was not confirmed.
    pub first_unconfirmed: Option<String>,
    /// The last one.
    pub last_unconfirmed: Option<String>,
    /// The key that the store named last.
    pub key: Option<String>,
}

/// Whether the store answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreState {
    /// `None`: the last request was answered; otherwise since when the store has been away.
    pub away_since: Option<Timestamp>,
    /// The last error, as a sentence.
    pub last_error: Option<String>,
}

/// What a request does to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
    Describe,
    List,
    Delete,
}

/// The counters behind [`Counts`].
#[derive(Default)]
pub(super) struct Counters {
    put: AtomicU64,
    get: AtomicU64,
    head: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    confirmed: AtomicU64,
    provider_default: AtomicU64,
    unconfirmed: AtomicU64,
    absent: AtomicU64,
    /// The first and the last.
    unconfirmed_names: Mutex<Option<(String, String)>>,
    key: Mutex<Option<String>>,
}

impl Counters {
    pub(super) fn request(&self, access: Access) {
        let counter = match access {
            Access::Write => &self.put,
            Access::Read => &self.get,
            Access::Describe => &self.head,
            Access::List => &self.list,
            Access::Delete => &self.delete,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts a write's posture. Whether it is the first that is not confirmed.
    pub(super) fn posture(&self, object: &str, posture: &Posture) -> bool {
        let counter = match posture {
            Posture::Confirmed { .. } => &self.confirmed,
            Posture::ProviderDefault => &self.provider_default,
            Posture::Unconfirmed => &self.unconfirmed,
            Posture::Absent => &self.absent,
        };
        counter.fetch_add(1, Relaxed);
        match posture {
            Posture::Unconfirmed => {
                let mut names = self.unconfirmed_names.lock();
                let is_first = names.is_none();
                let first = names.take().map_or_else(|| object.to_owned(), |(first, _)| first);
                *names = Some((first, object.to_owned()));
                is_first
            }
            Posture::Confirmed { key: Some(key), .. } => {
                let mut last = self.key.lock();
                if last.as_ref() != Some(key) {
                    *last = Some(key.clone());
                }
                false
            }
            Posture::Confirmed { key: None, .. } | Posture::ProviderDefault | Posture::Absent => {
                false
            }
        }
    }

    pub(super) fn snapshot(&self) -> Counts {
        let unconfirmed = self.unconfirmed_names.lock().clone();
        let (first_unconfirmed, last_unconfirmed) = unconfirmed.unzip();
        Counts {
            put: self.put.load(Relaxed),
            get: self.get.load(Relaxed),
            head: self.head.load(Relaxed),
            list: self.list.load(Relaxed),
            delete: self.delete.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            confirmed: self.confirmed.load(Relaxed),
            provider_default: self.provider_default.load(Relaxed),
            unconfirmed: self.unconfirmed.load(Relaxed),
            absent: self.absent.load(Relaxed),
            first_unconfirmed,
            last_unconfirmed,
            key: self.key.lock().clone(),
        }
    }
}

/// The state behind [`StoreState`]: cheap while the store answers.
pub(super) struct Health {
    ambient: Ambient,
    away: AtomicBool,
    state: Mutex<StoreState>,
    refused: watch::Sender<Option<(Kind, String)>>,
}

impl Health {
    pub(super) fn new(ambient: Ambient) -> Self {
        let refused = watch::Sender::new(None);
        Self { ambient, away: AtomicBool::new(false), state: Mutex::default(), refused }
    }

    /// Takes note of a request's outcome: only [`Kind::Unavailable`] means that nobody answered.
    /// Who waits for a write is told of refused writes; a refused read or delete is its caller's.
    pub(super) fn note<T>(&self, access: Access, outcome: &Result<T>) {
        match outcome {
            Err(error) if error.kind() == Kind::Unavailable => {
                self.trouble(error.to_string());
            }
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::NoSpace) => {
                if access == Access::Write {
                    self.refused.send_replace(Some((error.kind(), error.to_string())));
                }
                self.answered();
            }
            _ => self.answered(),
        }
    }

    fn answered(&self) {
        if self.away.load(Relaxed) {
            let mut state = self.state.lock();
            state.away_since = None;
            self.away.store(false, Relaxed);
        }
    }

    /// What is refused from now on.
    pub(super) fn refusals(&self) -> Refusals {
        Refusals(self.refused.subscribe())
    }

    /// A request was not answered.
    pub(super) fn trouble(&self, sentence: String) {
        let mut state = self.state.lock();
        state.away_since.get_or_insert_with(|| self.ambient.now());
        state.last_error = Some(sentence);
        self.away.store(true, Relaxed);
    }

    pub(super) fn snapshot(&self) -> StoreState {
        self.state.lock().clone()
    }
}

/// Writes that the store refused, each once, the last of several.
#[derive(Debug)]
pub struct Refusals(watch::Receiver<Option<(Kind, String)>>);

impl Refusals {
    /// The next refusal: keys that were withdrawn, a full store.
    pub async fn next(&mut self) -> Error {
        while self.0.changed().await.is_ok() {
            if let Some((kind, reason)) = self.0.borrow_and_update().clone() {
                return Error::new(kind, reason);
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_away_from_the_first_unanswered_request_to_the_next_answer() {
        let health = Health::new(Ambient::seeded(1));
        let away = || Err::<(), _>(Error::new(Kind::Unavailable, "nobody answers"));
        health.note(Access::Write, &away());
        let since = health.snapshot().away_since;
        health.note(Access::Write, &away());
        assert!(since.is_some());
        assert_eq!(health.snapshot().away_since, since);
        health.note(Access::Write, &Err::<(), _>(Error::new(Kind::NotFound, "no such object")));
        assert_eq!(health.snapshot().away_since, None);
        assert_eq!(health.snapshot().last_error.as_deref(), Some("nobody answers"));
    }

    #[tokio::test]
    async fn who_waits_is_told_what_was_refused_since_and_nothing_older() {
        let health = Health::new(Ambient::seeded(1));
        let refused = |words: &'static str| Err::<(), _>(Error::new(Kind::Denied, words));
        health.note(Access::Write, &refused("before"));
        let mut refusals = health.refusals();
        health.note(Access::Write, &refused("now"));
        assert_eq!(refusals.next().await.to_string(), "now");
        health.note(Access::Write, &Ok(()));
        for access in [Access::Read, Access::Describe, Access::List, Access::Delete] {
            health.note(access, &refused("somebody else's"));
        }
        let more = tokio::time::timeout(std::time::Duration::ZERO, refusals.next()).await;
        assert!(more.is_err());
    }

    #[test]
    fn the_first_and_the_last_unconfirmed_object_are_remembered_and_the_last_key() {
        let counters = Counters::default();
        for key in ["k1", "k2"] {
            let (mode, key) = ("aws:kms".to_owned(), Some(key.to_owned()));
            assert!(!counters.posture("k", &Posture::Confirmed { mode, key }));
        }
        assert!(counters.posture("a", &Posture::Unconfirmed));
        assert!(!counters.posture("b", &Posture::Unconfirmed));
        assert!(!counters.posture("c", &Posture::Absent));
        let counts = counters.snapshot();
        assert_eq!((counts.unconfirmed, counts.absent), (2, 1));
        assert_eq!(counts.first_unconfirmed.as_deref(), Some("a"));
        assert_eq!(counts.last_unconfirmed.as_deref(), Some("b"));
        assert_eq!((counts.confirmed, counts.key.as_deref()), (2, Some("k2")));
    }
}
