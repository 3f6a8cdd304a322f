//! From a claim to a tenure: what is there is looked at once, and the start of the claim says what
//! of it counts. Whatever lands later under a name of another claim does not.

use futures::TryStreamExt;

use super::Claims;
use super::Index;
use super::Lineage;
use super::Tenure;
use super::lineage::Start;
use super::writer::lost;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::object::name::ClaimRecord;
use crate::object::name::Sequence;
use crate::object::record;
use crate::types::ClaimId;
use crate::types::VolumeId;

/// What a claim found, before it begins.
pub struct Survey {
    bucket: Bucket,
    volume: VolumeId,
    claim: ClaimId,
    lineage: Lineage,
    index: Index,
    void: Vec<String>,
}

impl Survey {
    /// Of a claim that takes over what is there. [`Kind::Fenced`]: a later claim is there.
    pub async fn of_successor(bucket: &Bucket, volume: VolumeId, claim: ClaimId) -> Result<Self> {
        let claims = Claims::list(bucket).await?;
        if !claims.leaves_alone(claim) {
            return Err(lost(claim));
        }
        let before = match claims.last_started() {
            Some(last) => lineage(bucket, volume, last).await?.ok_or_else(|| lost(claim))?,
            None => Lineage::default(),
        };
        Self::over(bucket, volume, claim, before).await
    }

    /// Of a claim that makes a new volume: nothing that is there counts.
    pub async fn of_founder(bucket: &Bucket, volume: VolumeId, claim: ClaimId) -> Result<Self> {
        Self::over(bucket, volume, claim, Lineage::default()).await
    }

    async fn over(
        bucket: &Bucket,
        volume: VolumeId,
        claim: ClaimId,
        before: Lineage,
    ) -> Result<Self> {
        let (index, void) = look(bucket, &before, &Sequence::ALL).await?;
        let lineage = before.continued(claim, &index);
        let bucket = bucket.clone();
        Ok(Self { bucket, volume, claim, lineage, index, void })
    }

    /// Begins the claim. From the call on it must never be withdrawn, whatever the answer is.
    /// [`Kind::Fenced`]: a later claim came first.
    pub async fn begin(self, at: Timestamp) -> Result<Tenure> {
        let start = record::encode(&Start::new(self.volume, &self.lineage, at))?;
        self.bucket.put(&name::claim(self.claim, ClaimRecord::Started), start).await?;
        let tenure = Tenure::new(self.bucket, self.claim, self.index, self.lineage.own());
        tenure.confirm().await?;
        let earlier = |name: &String| {
            name::parse_claimed(name).is_some_and(|(_, _, by)| by.session < self.claim.session)
        };
        tenure.tidy(self.void.into_iter().filter(earlier).collect()).await;
        Ok(tenure)
    }
}

/// The lineage that the start of `claim` tells; `None`: a later claim has deleted it meanwhile.
/// [`Kind::Corrupt`]: it belongs to another volume.
pub(super) async fn lineage(
    bucket: &Bucket,
    volume: VolumeId,
    claim: ClaimId,
) -> Result<Option<Lineage>> {
    let name = name::claim(claim, ClaimRecord::Started);
    let got = match bucket.get(&name, None, None).await {
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        got => got?,
    };
    let start = Start::decode(claim, &got.map(|got| got.body).unwrap_or_default())?;
    if start.volume != volume {
        let message = "the start of a term belongs to another volume";
        let error = Error::new(Kind::Corrupt, message).with("object", name);
        return Err(error.with("volume", start.volume));
    }
    Ok(Some(start.lineage()))
}

/// Lists sequences, and parts what counts from what is void.
pub(super) async fn look(
    bucket: &Bucket,
    lineage: &Lineage,
    sequences: &[Sequence],
) -> Result<(Index, Vec<String>)> {
    let mut listed = Vec::new();
    for sequence in sequences {
        listed.extend(bucket.list(sequence.prefix()).try_collect::<Vec<_>>().await?);
    }
    Ok(Index::sort(lineage, listed))
}
