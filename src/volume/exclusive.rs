//! How a store can keep a second writer out, measured: what the matrix says of it is a claim, and
//! a volume rests its one writer on it.
//!
//! Two measurements, each in rounds of eight contenders at once. OpenDAL's transport speaks
//! HTTP/1.1, so that eight requests at once are eight connections. A **create race**: of eight
//! that create one object exclusively, one may win. A **sight**: of eight that each put an object
//! and then list, each must see its own, and of any two at least one must see the other; that is
//! all that read-back fencing asks of a store.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;
use futures::future::try_join_all;

use super::header::FencingMode;
use super::record;
use crate::ambient::Ambient;
use crate::config::Fencing;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;

const CONTENDERS: usize = 8;

/// Rounds of each measurement when a volume is made; a thorough probe takes more.
const ROUNDS: u32 = 3;

/// A store that answered the probe before is there, but may be slow: SeaweedFS took more than four
/// seconds for its first eight objects at once, on a busy machine.
const WITHIN: Duration = Duration::from_secs(40);
const TIDYING_WITHIN: Duration = Duration::from_secs(5);

/// What create races showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Races {
    /// Rounds that were decided.
    pub rounds: u32,
    /// Rounds in which several contenders were told that they had created the object, or in which
    /// another one's bytes were there afterwards.
    pub shared: u32,
    /// Rounds after which the object was not listed.
    pub unlisted: u32,
}

/// What lists after writes showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sights {
    /// Rounds made.
    pub rounds: u32,
    /// Contenders that did not see their own object.
    pub own_missed: u32,
    /// Pairs of which neither saw the other.
    pub pairs_missed: u32,
}

impl Races {
    /// Whether a store that raced so keeps a second writer out by itself.
    pub fn exclude(&self) -> bool {
        self.rounds > 0 && self.shared == 0 && self.unlisted == 0
    }
}

impl Sights {
    /// Whether read-back fencing works on a store that listed so.
    pub fn suffice(&self) -> bool {
        self.rounds > 0 && self.own_missed == 0 && self.pairs_missed == 0
    }
}

/// Races `rounds` times; ends at the first round that decides against the store.
pub async fn race(bucket: &Bucket, rounds: u32, ambient: &Ambient) -> Result<Races> {
    let mut races = Races::default();
    while races.rounds < rounds && (races.rounds == 0 || races.exclude()) {
        let name = format!("{}race-{}", name::PROBE_PREFIX, record::token(ambient)?);
        let raced = race_once(bucket, &name, &mut races).await;
        tidy(bucket, &[name]).await;
        raced?;
    }
    Ok(races)
}

/// Puts and lists `rounds` times; ends at the first round that decides against the store.
pub async fn look(bucket: &Bucket, rounds: u32, ambient: &Ambient) -> Result<Sights> {
    let mut sights = Sights::default();
    while sights.rounds < rounds && (sights.rounds == 0 || sights.suffice()) {
        let prefix = format!("{}sight-{}/", name::PROBE_PREFIX, record::token(ambient)?);
        let names: Vec<_> = (0..CONTENDERS).map(|number| format!("{prefix}{number}")).collect();
        let looks = names.iter().map(|name| put_and_list(bucket, &prefix, name));
        let seen = try_join_all(looks).await;
        tidy(bucket, &names).await;
        count(&names, &seen?, &mut sights);
    }
    Ok(sights)
}

/// Chooses how a new volume keeps a second writer out. [`Kind::Unsupported`]: it cannot.
pub(super) async fn choose(
    bucket: &Bucket,
    asked: Fencing,
    ambient: &Ambient,
) -> Result<FencingMode> {
    let choosing = choose_unbounded(bucket, asked, ambient);
    tokio::time::timeout(WITHIN, choosing).await.unwrap_or_else(|_| {
        let seconds = WITHIN.as_secs();
        let message = format!("the store did not decide a create race within {seconds} seconds");
        Err(Error::new(Kind::Unavailable, message).hint("try again"))
    })
}

async fn choose_unbounded(
    bucket: &Bucket,
    asked: Fencing,
    ambient: &Ambient,
) -> Result<FencingMode> {
    let documented = bucket.provider().conditional_create.works();
    if documented && asked != Fencing::ReadBack {
        let races = race(bucket, ROUNDS, ambient).await?;
        if races.exclude() {
            return Ok(FencingMode::ConditionalCreate);
        }
        if asked == Fencing::ConditionalCreate {
            let message = "the store lets several writers create the same object";
            return Err(Error::new(Kind::Unsupported, message)
                .with("rounds", races.shared)
                .hint("leave `fencing` to `auto`, or set it to `read-back`"));
        }
        tracing::warn!(?races, "the store does not refuse what exists, though the matrix says so");
    }
    let sights = look(bucket, ROUNDS, ambient).await?;
    if sights.suffice() {
        return Ok(FencingMode::ReadBack);
    }
    let (message, count) = match sights.own_missed {
        0 => ("the store's lists do not agree on what was written before", sights.pairs_missed),
        own => ("the store does not list at once what was written", own),
    };
    Err(Error::new(Kind::Unsupported, message)
        .with("misses", count)
        .hint("CairnFS cannot keep a second writer out here; see `cairnfs providers` for stores"))
}

async fn race_once(bucket: &Bucket, name: &str, races: &mut Races) -> Result<()> {
    let body = |contender: usize| Bytes::from(format!("contender {contender}"));
    let creates = (0..CONTENDERS).map(|contender| bucket.create(name, body(contender), &[]));
    let outcomes = join_all(creates).await;
    let winners = winners(outcomes.into_iter().map(|outcome| outcome.map(|_| ())))?;
    let listed: Vec<_> = bucket.list(name::PROBE_PREFIX).try_collect().await?;
    let there = bucket.get(name, None, None).await?.map(|got| got.body);
    races.rounds += 1;
    races.unlisted += u32::from(!listed.iter().any(|object| object.name == name));
    let sole = winners.len() == 1 && there == Some(body(winners[0]));
    races.shared += u32::from(!sole);
    Ok(())
}

/// The contenders that won; an error if the race was not decided.
fn winners(outcomes: impl Iterator<Item = Result<()>>) -> Result<Vec<usize>> {
    let (mut winners, mut failure) = (Vec::new(), None);
    for (contender, outcome) in outcomes.enumerate() {
        match outcome {
            Ok(()) => winners.push(contender),
            Err(error) if error.kind() == Kind::Exists => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match (winners.len(), failure) {
        (0 | 1, Some(failure)) => Err(failure),
        (0, None) => Err(Error::new(Kind::Unavailable, "nobody won a create race")
            .hint("an answer was lost; try again")),
        _ => Ok(winners),
    }
}

async fn put_and_list(bucket: &Bucket, prefix: &str, name: &str) -> Result<Vec<String>> {
    bucket.put(name, Bytes::from(name.to_owned())).await?;
    bucket.list(prefix).map_ok(|object| object.name).try_collect().await
}

fn count(names: &[String], seen: &[Vec<String>], sights: &mut Sights) {
    let sees = |who: usize, whom: usize| seen[who].contains(&names[whom]);
    sights.rounds += 1;
    for one in 0..names.len() {
        sights.own_missed += u32::from(!sees(one, one));
        for other in one + 1..names.len() {
            sights.pairs_missed += u32::from(!sees(one, other) && !sees(other, one));
        }
    }
}

async fn tidy(bucket: &Bucket, names: &[String]) {
    let tidying = bucket.delete(names);
    if !matches!(tokio::time::timeout(TIDYING_WITHIN, tidying).await, Ok(Ok(()))) {
        tracing::warn!(objects = ?names, "objects of a measurement stay behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::MemoryStore;
    use crate::volume::testing;

    #[tokio::test]
    async fn a_sound_store_has_one_winner_shows_what_was_put_and_keeps_nothing() {
        let (bucket, ambient) = (testing::bucket(&MemoryStore::default()), Ambient::seeded(1));
        let races = race(&bucket, 5, &ambient).await.unwrap();
        assert_eq!((races, races.exclude()), (Races { rounds: 5, ..Races::default() }, true));
        let sights = look(&bucket, 5, &ambient).await.unwrap();
        assert_eq!((sights, sights.suffice()), (Sights { rounds: 5, ..Sights::default() }, true));
        assert_eq!(bucket.list("").try_collect::<Vec<_>>().await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn the_mode_is_what_the_store_can_and_the_config_allows() {
        let (bucket, ambient) = (testing::bucket(&MemoryStore::default()), Ambient::seeded(1));
        for (asked, chosen) in [
            (Fencing::Auto, FencingMode::ConditionalCreate),
            (Fencing::ConditionalCreate, FencingMode::ConditionalCreate),
            (Fencing::ReadBack, FencingMode::ReadBack),
        ] {
            assert_eq!(choose(&bucket, asked, &ambient).await.unwrap(), chosen);
        }
    }

    #[test]
    fn a_race_is_judged_by_its_winners() {
        let lost = || Err(Error::new(Kind::Exists, "lost"));
        let away = || Err(Error::new(Kind::Unavailable, "away"));
        let judged =
            |outcomes: Vec<Result<()>>| winners(outcomes.into_iter()).map_err(|error| error.kind());
        assert_eq!(judged(vec![lost(), Ok(()), lost()]), Ok(vec![1]));
        assert_eq!(judged(vec![Ok(()), lost(), Ok(())]), Ok(vec![0, 2]));
        assert_eq!(judged(vec![Ok(()), Ok(()), away()]), Ok(vec![0, 1]));
        assert_eq!(judged(vec![lost(), lost()]), Err(Kind::Unavailable));
        assert_eq!(judged(vec![Ok(()), away()]), Err(Kind::Unavailable));
    }

    #[test]
    fn two_who_do_not_see_each_other_decide_against_a_store() {
        let names: Vec<_> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let seen = |who: [&[&str]; 3]| -> Vec<Vec<String>> {
            who.iter().map(|seen| seen.iter().map(|&name| name.to_owned()).collect()).collect()
        };
        let judged = |seen: Vec<Vec<String>>| {
            let mut sights = Sights::default();
            count(&names, &seen, &mut sights);
            (sights.own_missed, sights.pairs_missed, sights.suffice())
        };
        assert_eq!(judged(seen([&["a"], &["a", "b"], &["a", "b", "c"]])), (0, 0, true));
        assert_eq!(judged(seen([&["a", "c"], &["b", "c"], &["c"]])), (0, 1, false));
        assert_eq!(judged(seen([&["a", "b"], &["a", "c"], &["a", "c"]])), (1, 0, false));
    }
}
