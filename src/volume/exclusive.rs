//! Whether a store creates exclusively, measured: a race of eight for one object. What the matrix
//! says of a store is a claim; a volume rests its one writer on it.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;

use super::record;
use crate::ambient::Ambient;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;

const CONTENDERS: usize = 8;

/// A store that answered the probe before is there, but may be slow: SeaweedFS took more than four
/// seconds for its first eight objects at once, on a busy machine.
const RACE_WITHIN: Duration = Duration::from_secs(20);
const TIDYING_WITHIN: Duration = Duration::from_secs(5);

/// Measures it. [`Kind::Unsupported`]: a second writer could not be kept out.
pub(super) async fn measure(bucket: &Bucket, ambient: &Ambient) -> Result<()> {
    let name = format!("{}race-{}", name::PROBE_PREFIX, record::token(ambient)?);
    let outcome = tokio::time::timeout(RACE_WITHIN, race(bucket, &name)).await;
    let tidying = bucket.delete(std::slice::from_ref(&name));
    if !matches!(tokio::time::timeout(TIDYING_WITHIN, tidying).await, Ok(Ok(()))) {
        tracing::warn!(object = name, "an object of the create race stays behind");
    }
    outcome.unwrap_or_else(|_| {
        let seconds = RACE_WITHIN.as_secs();
        let message = format!("the store did not decide a create race within {seconds} seconds");
        Err(Error::new(Kind::Unavailable, message).hint("try again"))
    })
}

async fn race(bucket: &Bucket, name: &str) -> Result<()> {
    let body = |contender: usize| Bytes::from(format!("contender {contender}"));
    let creates = (0..CONTENDERS).map(|contender| bucket.create(name, body(contender), &[]));
    let outcomes = join_all(creates).await;
    let winner = winner(outcomes.into_iter().map(|outcome| outcome.map(|_| ())))?;
    let listed: Vec<_> = bucket.list(name::PROBE_PREFIX).try_collect().await?;
    if !listed.iter().any(|object| object.name == name) {
        let message = "the store does not list at once what was created";
        return Err(unfit(message).with("object", name));
    }
    let there = bucket.get(name, None, None).await?.map(|got| got.body);
    if there != Some(body(winner)) {
        let message = "the store replaced an object whose creation it had confirmed";
        return Err(unfit(message).with("object", name));
    }
    Ok(())
}

/// The one contender that won, when all others were told that they lost.
fn winner(outcomes: impl Iterator<Item = Result<()>>) -> Result<usize> {
    let (mut winners, mut failure) = (Vec::new(), None);
    for (contender, outcome) in outcomes.enumerate() {
        match outcome {
            Ok(()) => winners.push(contender),
            Err(error) if error.kind() == Kind::Exists => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match (winners.as_slice(), failure) {
        ([winner], None) => Ok(*winner),
        ([_, _, ..], _) => Err(unfit("the store lets several writers create the same object")
            .with("winners", winners.len())),
        (_, Some(failure)) => Err(failure),
        ([], None) => Err(Error::new(Kind::Unavailable, "nobody won a create race")
            .hint("an answer was lost; try again")),
    }
}

fn unfit(message: &'static str) -> Error {
    Error::new(Kind::Unsupported, message)
        .hint("CairnFS cannot keep a second writer out here; see `cairnfs providers` for stores")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::MemoryStore;
    use crate::volume::testing;

    #[tokio::test]
    async fn a_sound_store_has_one_winner_and_keeps_nothing() {
        let bucket = testing::bucket(&MemoryStore::default());
        measure(&bucket, &Ambient::seeded(1)).await.unwrap();
        assert_eq!(bucket.list("").try_collect::<Vec<_>>().await.unwrap().len(), 0);
    }

    #[test]
    fn a_race_is_judged_by_its_winners() {
        let lost = || Err(Error::new(Kind::Exists, "lost"));
        let away = || Err(Error::new(Kind::Unavailable, "away"));
        let kind = |outcomes: Vec<Result<()>>| winner(outcomes.into_iter()).unwrap_err().kind();
        assert_eq!(winner(vec![lost(), Ok(()), lost()].into_iter()).unwrap(), 1);
        assert_eq!(kind(vec![Ok(()), lost(), Ok(())]), Kind::Unsupported);
        assert_eq!(kind(vec![Ok(()), Ok(()), away()]), Kind::Unsupported);
        assert_eq!(kind(vec![lost(), lost()]), Kind::Unavailable);
        assert_eq!(kind(vec![Ok(()), away()]), Kind::Unavailable);
    }
}
