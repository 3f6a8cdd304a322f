//! How a bucket comes about: a volume's config and a policy become a store with its layers.
//! Sends nothing.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Bucket;
use super::Shared;
use super::Store;
use super::answer::Policy;
use super::counts::Counters;
use super::counts::Health;
#[cfg(any(test, feature = "testing"))]
use super::fault::FaultControl;
#[cfg(any(test, feature = "testing"))]
use super::fault::Faults;
use super::layers;
use super::local::LocalStore;
#[cfg(any(test, feature = "testing"))]
use super::loose::LooseStore;
use super::memory::MemoryStore;
use super::operator;
#[cfg(any(test, feature = "testing"))]
use super::rows;
use super::sse;
use super::wire::Wire;
use super::witness::Trust;
use super::witness::Witness;
use crate::ambient::Ambient;
use crate::config::KeyPair;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Provider;
use crate::provider::Service;
use crate::provider::SseMode;
use crate::provider::SseRequest;

impl Bucket {
    /// Builds the operator of `volume` with its layers and the witness.
    /// No request is sent. `policy: None` gives an operator that cannot write at all.
    /// [`Kind::Config`] if the settings do not fit together or the provider cannot encrypt so;
    /// [`Kind::Policy`] if a customer's key may not go there.
    pub fn open(volume: &VolumeConfig, policy: Option<Policy>) -> Result<Self> {
        Self::open_with(volume, policy, keys_of(volume)?.as_ref())
    }

    /// As [`Bucket::open`], but without asking for encryption on the wire: for a store that
    /// encrypts everything and refuses to be asked (`on-refusal = "omit"`).
    pub fn open_without_header(volume: &VolumeConfig, policy: Policy) -> Result<Self> {
        let row = Provider { sse_request: SseRequest::Default, ..(*volume.provider).clone() };
        let volume = VolumeConfig { provider: Arc::new(row), ..volume.clone() };
        Self::open(&volume, Some(policy))
    }

    /// A bucket that can take this one's place in [`Self::follow`], held to the policy that `tried`
    /// is held to: a bucket of the same volume, which the store was seen to meet.
    pub fn successor(&self, volume: &VolumeConfig, tried: &Self) -> Result<Self> {
        let volume = VolumeConfig { provider: tried.shared.row.clone(), ..volume.clone() };
        let keys = keys_of(&volume)?;
        let watch = (self.shared.counters.clone(), self.shared.health.clone());
        Self::watched_by(watch, &volume, tried.shared.policy.clone(), keys.as_ref())
    }

    /// Holds every write from now on, by any clone, to the policy of `next`. What is under way
    /// goes on.
    pub fn follow(&self, next: Self) {
        *self.shared.successor.write() = Some(next);
    }

    /// A bucket over objects in memory, which confirms whatever encryption is asked; for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn memory(store: &MemoryStore, policy: Option<Policy>) -> Self {
        let place = "memory:/".to_owned();
        Self::over(
            Shared::new(watch(), Arc::new(rows::memory()), policy, place),
            Store::Memory(store.clone()),
        )
    }

    /// A bucket over a store that refuses nobody and takes its time; for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn loose(store: &LooseStore, policy: Policy) -> Self {
        let row = Arc::new(rows::memory());
        let shared = Shared::new(watch(), row, Some(policy), "loose:/".to_owned());
        Self::over(shared, Store::Loose(store.clone()))
    }

    /// Puts the seeded fault layer over a bucket; for tests.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> (Self, FaultControl) {
        let control = FaultControl::new(faults);
        (Self { faults: Some(control.clone()), ..self }, control)
    }

    pub(super) fn open_with(
        volume: &VolumeConfig,
        policy: Option<Policy>,
        keys: Option<&KeyPair>,
    ) -> Result<Self> {
        Self::watched_by(watch(), volume, policy, keys)
    }

    fn watched_by(
        watch: Watch,
        volume: &VolumeConfig,
        policy: Option<Policy>,
        keys: Option<&KeyPair>,
    ) -> Result<Self> {
        let row = volume.provider.clone();
        let mode = match &policy {
            Some(policy) => policy.mode.clone(),
            // Objects under a customer's key cannot be read without it.
            None => match &volume.sse {
                Some(key @ SseMode::CustomerKeyFile(_)) => key.clone(),
                _ => SseMode::None,
            },
        };
        sse::required(&row, &mode)?;
        if matches!(mode, SseMode::CustomerKeyFile(_)) {
            // The key itself travels with each request, also with one that reads.
            volume.check_mode(&mode)?;
        }
        let operator = match row.service {
            Service::S3 => operator::s3(volume, &mode, keys)?,
            Service::Gcs => operator::gcs(volume)?,
            Service::Azblob => operator::azblob(volume, &mode, keys)?,
            Service::Fs => return Self::directory(watch, volume, policy),
            Service::Memory => {
                let place = format!("memory:{}/", volume.name);
                let store = Store::Memory(MemoryStore::of_volume(&volume.name));
                return Ok(Self::over(Shared::new(watch, row, policy, place), store));
            }
        };
        let place = format!("{}/{}", volume.bucket, volume.prefix);
        let shared = Shared::new(watch, row.clone(), policy.clone(), place.clone());
        let endpoint = volume.endpoint.as_deref();
        let witness = Witness::new(row.clone(), policy, endpoint, shared.counters.clone())?;
        let operator = layers::stack(operator, witness, shared.health.clone())?;
        let endpoint = endpoint.map(Arc::from);
        let kms_key = match &mode {
            SseMode::Kms(key) | SseMode::Dsse(key) => Some(key.as_str().into()),
            SseMode::None | SseMode::Aes256 | SseMode::CustomerKeyFile(_) => None,
        };
        let wire = Wire { operator, place: place.into(), endpoint, row, kms_key };
        Ok(Self::over(shared, Store::Wire(wire)))
    }

    fn directory(watch: Watch, volume: &VolumeConfig, policy: Option<Policy>) -> Result<Self> {
        let path = volume.path.as_ref().ok_or_else(|| {
            Error::new(Kind::Config, "the volume has no `path`")
                .with("volume", &volume.name)
                .hint("set `path` in the volume's config to a directory")
        })?;
        let root = path.join(&volume.prefix);
        let place = format!("{}/", root.display());
        let shared = Shared::new(watch, volume.provider.clone(), policy, place);
        Ok(Self::over(shared, Store::Local(LocalStore::new(root))))
    }

    fn over(shared: Shared, store: Store) -> Self {
        Self {
            shared: Arc::new(shared),
            store,
            trust: Trust::MayPass,
            #[cfg(any(test, feature = "testing"))]
            faults: None,
        }
    }
}

impl Shared {
    fn new(
        (counters, health): Watch,
        row: Arc<Provider>,
        policy: Option<Policy>,
        place: String,
    ) -> Self {
        Self { row, policy, successor: RwLock::default(), place, counters, health }
    }
}

/// Who counts requests and notes trouble.
type Watch = (Arc<Counters>, Arc<Health>);

fn watch() -> Watch {
    (Arc::default(), Arc::new(Health::new(Ambient::system())))
}

fn keys_of(volume: &VolumeConfig) -> Result<Option<KeyPair>> {
    match volume.provider.service {
        // Keys of S3 that expire are read again by the operator's signer (`renewal`).
        Service::S3 | Service::Azblob => volume.credentials.resolve(),
        Service::Gcs | Service::Fs | Service::Memory => Ok(None),
    }
}
