//! Keys that expire: whoever gave them is asked again before they do. Knows no request; the signer
//! asks for keys before each one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqsign_aws_v4::Credential;
use reqsign_core::Context;
use reqsign_core::ProvideCredential;
use reqsign_core::time::Timestamp as SignerTime;

use crate::ambient::Ambient;
use crate::ambient::Timestamp;
use crate::config::Credentials;
use crate::config::KeyPair;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Keys are renewed so long before they expire, or at half their life if that is later.
const BEFORE_EXPIRY: Duration = Duration::from_secs(120);

/// Between two tries to renew keys that are still good.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What the signer is told of how long keys are good, whatever is true. It keeps keys that are good
/// for two minutes to itself, and refuses those that are not good for ten seconds; in between it
/// asks here before each request.
const TOLD_LIFE: Duration = Duration::from_secs(60);

/// The keys of a volume, which are read again from where they came from.
#[derive(Debug, Clone)]
pub(super) struct Renewal {
    source: Credentials,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Clone)]
struct Held {
    keys: KeyPair,
    expires: Timestamp,
    renew_at: Timestamp,
    /// Somebody reads new ones.
    being_renewed: bool,
}

impl Renewal {
    /// Begins with `keys`; `None` if these do not expire.
    pub(super) fn of(source: &Credentials, keys: &KeyPair) -> Option<Self> {
        let held = Held::new(keys.clone(), now())?;
        Some(Self { source: source.clone(), held: Arc::new(Mutex::new(held)) })
    }

    async fn keys(&self) -> Result<KeyPair> {
        let mut held = self.held.lock().clone();
        if now() < held.renew_at {
            return Ok(held.keys);
        }
        if now() < held.expires {
            // Whoever gives new ones may take a minute, and these will do meanwhile.
            if !std::mem::replace(&mut self.held.lock().being_renewed, true) {
                let renewal = self.clone();
                tokio::spawn(async move { renewal.renew().await });
            }
            return Ok(held.keys);
        }
        self.renew().await.map_err(|error| error.while_doing("the volume's keys have expired"))?;
        held = self.held.lock().clone();
        Ok(held.keys)
    }

    /// Reads new keys.
    async fn renew(&self) -> Result<()> {
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || source.resolve()).await;
        let read = read.unwrap_or_else(|cause| {
            Err(Error::new(Kind::Internal, "the reading of keys was given up").because(cause))
        });
        let mut held = self.held.lock();
        held.being_renewed = false;
        match read {
            Ok(Some(keys)) => {
                tracing::info!("the volume's keys were renewed");
                *held = Held::after_renewal(keys, now());
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "the volume's keys are not renewed yet");
                held.renew_at = later(now(), AGAIN_AFTER);
                Err(error)
            }
            Ok(None) => Err(Error::new(Kind::Internal, "the volume's keys came from nowhere")),
        }
    }
}

impl ProvideCredential for Renewal {
    type Credential = Credential;

    async fn provide_credential(&self, _: &Context) -> reqsign_core::Result<Option<Credential>> {
        let keys = self.keys().await;
        let keys = keys.map_err(|error| reqsign_core::Error::credential_invalid(error.to_string()));
        Ok(Some(credential(&keys?)))
    }
}

impl Held {
    fn new(keys: KeyPair, now: Timestamp) -> Option<Self> {
        let expires = keys.expires?;
        let life = u64::try_from(expires.seconds - now.seconds).unwrap_or(0);
        let early = BEFORE_EXPIRY.min(Duration::from_secs(life) / 2);
        let renew_at = later(now, Duration::from_secs(life) - early);
        Some(Self { keys, expires, renew_at, being_renewed: false })
    }

    /// Keys that take the place of these; they are kept for ever if they do not expire.
    fn after_renewal(keys: KeyPair, now: Timestamp) -> Self {
        Self::new(keys.clone(), now).unwrap_or_else(|| {
            let never = Timestamp { seconds: i64::MAX, nanoseconds: 0 };
            Self { keys, expires: never, renew_at: never, being_renewed: false }
        })
    }
}

fn credential(keys: &KeyPair) -> Credential {
    Credential {
        access_key_id: keys.access_key_id.clone(),
        secret_access_key: keys.secret_access_key.expose().to_owned(),
        session_token: keys.session_token.as_ref().map(|token| token.expose().to_owned()),
        expires_in: Some(SignerTime::now() + TOLD_LIFE),
    }
}

fn now() -> Timestamp {
    Ambient::system().now()
}

fn later(instant: Timestamp, by: Duration) -> Timestamp {
    let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds: instant.seconds.saturating_add(seconds), ..instant }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const NOW: Timestamp = Timestamp { seconds: 1_000_000, nanoseconds: 5 };

    fn keys(life_seconds: Option<i64>) -> KeyPair {
        let expires = life_seconds.map(|life| Timestamp { seconds: NOW.seconds + life, ..NOW });
        KeyPair {
            access_key_id: "id".to_owned(),
            secret_access_key: Secret::new("secret".to_owned()),
            session_token: None,
            expires,
        }
    }

    #[test]
    fn keys_are_renewed_in_time_and_not_at_every_request() {
        let renewed_after = |life| {
            let held = Held::new(keys(Some(life)), NOW).unwrap();
            held.renew_at.seconds - NOW.seconds
        };
        assert_eq!(renewed_after(3600), 3480);
        assert_eq!(renewed_after(100), 50);
        assert_eq!(renewed_after(-5), 0);
    }

    #[test]
    fn keys_that_do_not_expire_are_kept() {
        assert!(Held::new(keys(None), NOW).is_none());
        let kept = Held::after_renewal(keys(None), NOW);
        assert_eq!(kept.renew_at.seconds, i64::MAX);
    }

    #[tokio::test]
    async fn keys_that_are_still_good_serve_while_no_new_ones_are_to_be_had() {
        let failing = |life| {
            let expires = later(now(), Duration::from_secs(life));
            let keys = KeyPair { expires: Some(expires), ..keys(None) };
            let held = Held { keys, expires, renew_at: now(), being_renewed: false };
            let source = Credentials::Command("sleep 1; exit 3".to_owned());
            Renewal { source, held: Arc::new(Mutex::new(held)) }
        };
        let good = failing(3600);
        let at_once = tokio::time::timeout(Duration::from_millis(900), good.keys()).await;
        let kept = at_once.expect("nobody waits for the command").unwrap();
        assert_eq!(kept.access_key_id, "id");
        while good.held.lock().being_renewed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(good.held.lock().renew_at > now(), "the command runs once, not at every request");
        let error = failing(0).keys().await.unwrap_err().to_string();
        assert!(error.starts_with("the volume's keys have expired: "), "{error}");
    }
}
