//! Counters of requests and postures, and whether the store answers. Shared by all clones.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;

use super::answer::Posture;
use crate::ambient::Ambient;
use crate::ambient::Timestamp;
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
    first_unconfirmed: Mutex<Option<String>>,
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

    pub(super) fn posture(&self, object: &str, posture: &Posture) {
        let counter = match posture {
            Posture::Confirmed { .. } => &self.confirmed,
            Posture::ProviderDefault => &self.provider_default,
            Posture::Unconfirmed => &self.unconfirmed,
            Posture::Absent => &self.absent,
        };
        counter.fetch_add(1, Relaxed);
        if *posture == Posture::Unconfirmed {
            self.first_unconfirmed.lock().get_or_insert_with(|| object.to_owned());
        }
    }

    pub(super) fn snapshot(&self) -> Counts {
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
            first_unconfirmed: self.first_unconfirmed.lock().clone(),
        }
    }
}

/// The state behind [`StoreState`]: cheap while the store answers.
pub(super) struct Health {
    ambient: Ambient,
    away: AtomicBool,
    state: Mutex<StoreState>,
}

impl Health {
    pub(super) fn new(ambient: Ambient) -> Self {
        Self { ambient, away: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Takes note of a call's outcome: only [`Kind::Unavailable`] means that nobody answered.
    pub(super) fn note<T>(&self, outcome: &Result<T>) {
        match outcome {
            Err(error) if error.kind() == Kind::Unavailable => {
                self.trouble(error.to_string());
            }
            _ if self.away.load(Relaxed) => {
                let mut state = self.state.lock();
                state.away_since = None;
                self.away.store(false, Relaxed);
            }
            _ => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_store_is_away_from_the_first_unanswered_request_to_the_next_answer() {
        let health = Health::new(Ambient::seeded(1));
        let away = || Err::<(), _>(Error::new(Kind::Unavailable, "nobody answers"));
        health.note(&away());
        let since = health.snapshot().away_since;
        health.note(&away());
        assert!(since.is_some());
        assert_eq!(health.snapshot().away_since, since);
        health.note(&Err::<(), _>(Error::new(Kind::NotFound, "no such object")));
        assert_eq!(health.snapshot().away_since, None);
        assert_eq!(health.snapshot().last_error.as_deref(), Some("nobody answers"));
    }

    #[test]
    fn the_first_unconfirmed_object_is_remembered() {
        let counters = Counters::default();
        for object in ["a", "b"] {
            counters.posture(object, &Posture::Unconfirmed);
        }
        counters.posture("c", &Posture::Absent);
        let counts = counters.snapshot();
        assert_eq!((counts.unconfirmed, counts.absent), (2, 1));
        assert_eq!(counts.first_unconfirmed.as_deref(), Some("a"));
    }
}
