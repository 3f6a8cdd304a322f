//! The state: what may change in a volume's life. Each change is one new object; the highest
//! number holds. Drawn in `docs/format.md`, "Records" and "Feature sets".

use std::collections::BTreeSet;

use futures::TryStreamExt;
use serde::Deserialize;
use serde::Serialize;

use super::header::FencingMode;
use super::header::Header;
use super::record;
use super::record::Record;
use super::record::USE_NEWER;
use crate::ambient::Ambient;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::object::name::Sequence;
use crate::object::tenure::Follower;
use crate::object::tenure::Tenure;
use crate::provider::SseMode;
use crate::types::VolumeId;

/// The feature of a volume whose deletion has begun.
pub(super) const DELETING: &str = "deleting";

const COMPAT: [&str; 0] = [];
const RO_COMPAT: [&str; 0] = [];
const INCOMPAT: [&str; 1] = [DELETING];

/// What a volume uses, by what a release that does not know a name may still do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Features {
    /// Everything.
    pub(super) compat: BTreeSet<String>,
    /// Read.
    pub(super) ro_compat: BTreeSet<String>,
    /// Nothing.
    pub(super) incompat: BTreeSet<String>,
}

/// What new blocks are compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compression {
    /// Nothing.
    None,
}

/// A volume's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// The volume's id.
    #[serde(with = "record::text")]
    pub(super) volume: VolumeId,
    /// The number in the object's name, from 1.
    pub(super) number: u64,
    /// What the volume uses.
    pub(super) features: Features,
    /// The encryption that every mount asks for.
    pub(super) sse: SseMode,
    /// What new blocks are compressed with.
    pub(super) compression: Compression,
    /// When it was written, in seconds since 1970; for people.
    pub(super) written: i64,
}

impl Record for State {
    const MAGIC: &'static str = "cairnfs.state";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "volume state";
}

/// What somebody wants to do with a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Only read.
    Read,
    /// Read and write.
    Write,
    /// End a deletion, or begin one.
    Delete,
}

impl State {
    /// The first state of a new volume.
    pub(super) fn first(volume: VolumeId, sse: SseMode, ambient: &Ambient) -> Self {
        Self {
            volume,
            number: 1,
            features: Features::default(),
            sse,
            compression: Compression::None,
            written: ambient.now().seconds,
        }
    }

    /// The state after this one, so far the same.
    pub(super) fn next(&self, ambient: &Ambient) -> Self {
        Self { number: self.number + 1, written: ambient.now().seconds, ..self.clone() }
    }

    /// Whether this program may do `purpose` with volume `volume`.
    pub(super) fn check_features(&self, volume: &str, purpose: Purpose) -> Result<()> {
        let refused = |feature: &str| {
            Error::new(Kind::Unsupported, format!("volume `{volume}` uses feature `{feature}`"))
        };
        let unknown = |used: &BTreeSet<String>, known: &[&str]| {
            used.iter().find(|feature| !known.contains(&feature.as_str())).cloned()
        };
        if let Some(feature) = unknown(&self.features.incompat, &INCOMPAT) {
            return Err(refused(&feature).hint(USE_NEWER));
        }
        if self.features.incompat.contains(DELETING) && purpose != Purpose::Delete {
            let message = format!("the deletion of volume `{volume}` has begun and did not end");
            return Err(Error::new(Kind::NotFound, message)
                .hint(format!("run `cairnfs volume delete {volume}` again")));
        }
        match unknown(&self.features.ro_compat, &RO_COMPAT) {
            Some(feature) if purpose != Purpose::Read => {
                Err(refused(&feature).hint("use a newer cairnfs, or mount it with `--read-only`"))
            }
            _ => {
                if let Some(feature) = unknown(&self.features.compat, &COMPAT) {
                    tracing::info!(volume, feature, "the volume has a feature that is ignored");
                }
                Ok(())
            }
        }
    }

    fn decode(number: u64, name: &str, bytes: &[u8]) -> Result<Self> {
        let state: Self = record::decode(name, bytes)?;
        if state.number == number { Ok(state) } else { Err(record::damaged::<Self>(name)) }
    }
}

/// The numbers of all states there are.
pub(super) async fn numbers(bucket: &Bucket) -> Result<BTreeSet<u64>> {
    let objects = bucket.list(name::STATE_PREFIX);
    objects
        .map_ok(|object| name::parse_state(&object.name))
        .try_filter_map(async |n| Ok(n))
        .try_collect()
        .await
}

/// The state that holds; `None` if there is none.
pub(super) async fn latest(bucket: &Bucket, header: &Header) -> Result<Option<State>> {
    let volume = header.id;
    let last = match header.fencing {
        FencingMode::ConditionalCreate => {
            numbers(bucket).await?.last().map(|number| (*number, name::state(*number)))
        }
        FencingMode::ReadBack => {
            let states = Follower::new(bucket.clone(), volume, &[Sequence::State]);
            states.refresh().await?;
            let last = states.all(Sequence::State).last().map(|(number, _)| *number);
            last.and_then(|number| Some((number, states.find(Sequence::State, number)?.0)))
        }
    };
    let Some((number, name)) = last else { return Ok(None) };
    let got = bucket.get(&name, None, None).await?;
    let state = State::decode(number, &name, &got.map(|got| got.body).unwrap_or_default())?;
    if state.volume != volume {
        return Err(Error::new(Kind::Corrupt, "the state belongs to another volume")
            .with("object", name)
            .with("volume", state.volume));
    }
    Ok(Some(state))
}

/// Records a state; through `tenure` where the store cannot refuse a second writer.
/// [`Kind::Conflict`]: somebody else recorded another one of the same number.
pub(super) async fn create(bucket: &Bucket, tenure: Option<&Tenure>, state: &State) -> Result<()> {
    let (name, body) = (name::state(state.number), record::encode(state)?);
    if let Some(tenure) = tenure {
        let created = tenure.create(Sequence::State, state.number, body).await;
        return created.map_err(|error| match error.kind() {
            Kind::Exists => changed_meanwhile(name),
            _ => error,
        });
    }
    match bucket.create(&name, body.clone(), &[]).await {
        Err(error) if error.kind() == Kind::Exists => {
            // After a lost answer it may be ours.
            let there = bucket.get(&name, None, None).await?;
            if there.is_some_and(|there| there.body == body) {
                return Ok(());
            }
            Err(changed_meanwhile(name))
        }
        created => created.map(|_| ()),
    }
}

fn changed_meanwhile(name: String) -> Error {
    Error::new(Kind::Conflict, "somebody else changed the volume at the same time")
        .with("object", name)
        .hint("try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::first(VolumeId([7; 16]), SseMode::Aes256, &Ambient::seeded(1))
    }

    #[test]
    fn a_state_survives_the_round_trip_and_no_damage_does() {
        let modes = ["none", "aes256", "kms:K", "dsse:K", "customer-key-file:/k"];
        for mode in modes {
            let state = State { sse: mode.parse().unwrap(), ..state() };
            let bytes = record::encode(&state).unwrap();
            assert_eq!(State::decode(1, "state", &bytes).unwrap(), state);
            assert!(State::decode(2, "state", &bytes).is_err());
            record::refuses_all_damage::<State>(&bytes);
        }
    }

    #[test]
    fn the_stored_form_never_changes() {
        let bytes = record::encode(&state()).unwrap();
        let line = std::str::from_utf8(&bytes).unwrap().lines().next().unwrap();
        let id = "07".repeat(16);
        assert_eq!(
            line,
            format!(
                "{{\"magic\":\"cairnfs.state\",\"version\":1,\"volume\":\"{id}\",\"number\":1,\
                 \"features\":{{\"compat\":[],\"ro_compat\":[],\"incompat\":[]}},\
                 \"sse\":\"aes256\",\"compression\":\"none\",\"written\":1700000000}}"
            )
        );
    }

    #[test]
    fn an_unknown_feature_forbids_what_its_set_says() {
        let with = |set: fn(&mut Features) -> &mut BTreeSet<String>, feature: &str| {
            let mut state = state();
            set(&mut state.features).insert(feature.to_owned());
            [Purpose::Read, Purpose::Write, Purpose::Delete]
                .map(|purpose| state.check_features("v", purpose).is_ok())
        };
        assert_eq!(with(|features| &mut features.compat, "new"), [true, true, true]);
        assert_eq!(with(|features| &mut features.ro_compat, "new"), [true, false, false]);
        assert_eq!(with(|features| &mut features.incompat, "new"), [false, false, false]);
        assert_eq!(with(|features| &mut features.incompat, DELETING), [false, false, true]);
    }
}
