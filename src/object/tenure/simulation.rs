//! Claimants of one volume on the worst store there may be, in simulated time: they take over from
//! one another, write, delete, pause, give up and die at any point. One seed, one schedule.
//!
//! What must hold: whatever was acknowledged is in the view of everybody who begins or reads
//! later, with the bytes that were acknowledged; and nobody acknowledges a write that he began
//! after another claim had begun. Time must be paused in the runtime this runs in.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Claims;
use super::Follower;
use super::Survey;
use super::Tenure;
use super::claims;
use crate::ambient::Ambient;
use crate::config::SseVerify;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::LooseStore;
use crate::object::MemoryStore;
use crate::object::Policy;
use crate::object::name::Sequence;
use crate::provider::SseMode;
use crate::types::ClaimId;
use crate::types::SessionId;
use crate::types::VolumeId;

const VOLUME: VolumeId = VolumeId([7; 16]);
const LIVES: usize = 3;
const WRITES_MAX: u64 = 12;
/// The newest objects that nobody deletes: an engine keeps at least its last ones.
const KEPT: u64 = 2;

/// What a schedule did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Claims that began.
    pub begun: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Writers that were fenced.
    pub fenced: u64,
}

/// Runs the schedule of `seed` with so many claimants at once; an error is the promise broken.
pub async fn run(seed: u64, claimants: u64) -> Result<Tally> {
    let objects = MemoryStore::new(Ambient::seeded(seed));
    let world = Arc::new(World {
        loose: LooseStore::new(objects.clone(), seed),
        objects,
        state: Mutex::default(),
    });
    let lives = (0..claimants).map(|number| {
        let ambient = Ambient::seeded(seed ^ ((number + 1) << 48));
        tokio::spawn(live(world.clone(), ambient))
    });
    let mut tasks: Vec<_> = lives.collect();
    tasks.push(tokio::spawn(follow(world.clone(), Ambient::seeded(seed ^ (99 << 48)))));
    for task in tasks {
        task.await.map_err(|cause| broken("a claimant died of itself").because(cause))??;
    }
    // Everything that is still on its way arrives.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calm = Bucket::memory(&world.objects, Some(policy()));
    let claim = claim_next(&calm, &Ambient::seeded(seed)).await?;
    let claim = claim.ok_or_else(|| broken("nobody is there, and yet the claim is contested"))?;
    let survey = Survey::of_successor(&calm, VOLUME, claim).await?;
    let tenure = survey.begin(Ambient::seeded(seed).now()).await?;
    world.check(&tenure)?;
    let mut tally = world.state.lock().tally;
    tally.begun += 1;
    Ok(tally)
}

struct World {
    objects: MemoryStore,
    loose: LooseStore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By place in `Sequence::ALL` and number.
    acknowledged: BTreeMap<(usize, u64), (ClaimId, Bytes)>,
    deleted: BTreeSet<(usize, u64)>,
    last_begun: Option<SessionId>,
    tally: Tally,
}

impl World {
    fn bucket(&self) -> Bucket {
        Bucket::loose(&self.loose, policy())
    }

    /// That everything acknowledged so far by sessions before that of `tenure` is in its view, as
    /// it was.
    fn check(&self, tenure: &Tenure) -> Result<()> {
        let state = self.state.lock();
        for (&(place, number), (by, body)) in &state.acknowledged {
            let later = by.session > tenure.claim().session;
            if later || state.deleted.contains(&(place, number)) {
                continue;
            }
            let sequence = Sequence::ALL[place];
            let lost = |what: &str| {
                broken(what).with("sequence", sequence.prefix()).with("number", number)
            };
            let found = tenure.find(sequence, number);
            let (name, _) = found.ok_or_else(|| lost("a write is not in the view"))?;
            let there = self.objects.get(&name, None, None);
            let there = there
                .map_err(|cause| lost("an acknowledged write is not stored").because(cause))?;
            if there.is_none_or(|(there, _)| there.into_bytes() != *body) {
                return Err(lost("an acknowledged write has other bytes"));
            }
        }
        Ok(())
    }

    fn last_begun(&self) -> Option<SessionId> {
        self.state.lock().last_begun
    }

    fn begun(&self, tenure: &Tenure) -> Result<()> {
        let mut state = self.state.lock();
        state.tally.begun += 1;
        state.last_begun = state.last_begun.max(Some(tenure.claim().session));
        drop(state);
        self.check(tenure)
    }

    fn acknowledged(
        &self,
        tenure: &Tenure,
        (sequence, number, body): (Sequence, u64, Bytes),
        last_begun_before: Option<SessionId>,
    ) -> Result<()> {
        if last_begun_before > Some(tenure.claim().session) {
            return Err(broken("a writer acknowledges though a later one had begun")
                .with("claim", tenure.claim()));
        }
        let mut state = self.state.lock();
        state.tally.acknowledged += 1;
        let before = state.acknowledged.insert((sequence as usize, number), (tenure.claim(), body));
        match before {
            Some(_) => Err(broken("one number was acknowledged twice").with("number", number)),
            None => Ok(()),
        }
    }
}

/// One claimant, through a few lives.
async fn live(world: Arc<World>, ambient: Ambient) -> Result<()> {
    let bucket = world.bucket();
    for _ in 0..LIVES {
        pause(&ambient, 3_000).await?;
        let Ok(Some(claim)) = claim_next(&bucket, &ambient).await else { continue };
        let survey = Survey::of_successor(&bucket, VOLUME, claim).await;
        let gives_up = draw(&ambient)? % 8 == 0;
        let Some(survey) = survey.ok().filter(|_| !gives_up) else {
            claims::withdraw(&bucket, claim).await;
            continue;
        };
        pause(&ambient, 500).await?;
        let Ok(tenure) = survey.begin(ambient.now()).await else { continue };
        world.begun(&tenure)?;
        write(&world, &tenure, &ambient).await?;
    }
    Ok(())
}

async fn claim_next(bucket: &Bucket, ambient: &Ambient) -> Result<Option<ClaimId>> {
    let session = Claims::list(bucket).await?.next_session();
    let claim = ClaimId { session, nonce: draw(ambient)? };
    Ok(claims::raise(bucket, claim, "claim".into()).await?.then_some(claim))
}

/// Writes until it is fenced or has had enough.
async fn write(world: &World, tenure: &Tenure, ambient: &Ambient) -> Result<()> {
    for _ in 0..draw(ambient)? % WRITES_MAX {
        let sequence = Sequence::ALL[usize::from(draw(ambient)? % 3 == 0)];
        let number = tenure.all(sequence).last().map_or(0, |(number, _)| *number) + 1;
        let body = Bytes::from(format!("{} {number} {}", tenure.claim(), draw(ambient)?));
        let last_begun = world.last_begun();
        match persist(tenure, sequence, number, &body, ambient).await {
            Ok(()) => world.acknowledged(tenure, (sequence, number, body), last_begun)?,
            Err(error) if error.kind() == Kind::Fenced => {
                world.state.lock().tally.fenced += 1;
                return Ok(());
            }
            // Given up, or somebody of this process was first.
            Err(_) => {}
        }
        if draw(ambient)? % 4 == 0 {
            delete_old(world, tenure, sequence).await;
        }
        pause(ambient, 400).await?;
    }
    Ok(())
}

/// Tries a create again, as an engine does, and sometimes gives up: then the next one has other
/// bytes for the same number.
async fn persist(
    tenure: &Tenure,
    sequence: Sequence,
    number: u64,
    body: &Bytes,
    ambient: &Ambient,
) -> Result<()> {
    loop {
        let create = tenure.create(sequence, number, body.clone());
        let patience = Duration::from_millis(100 + draw(ambient)? % 60_000);
        let created = tokio::time::timeout(patience, create).await;
        match created {
            Ok(Err(error)) if error.kind() == Kind::Unavailable && draw(ambient)? % 3 != 0 => {}
            Ok(created) => return created,
            Err(_) => return Err(Error::new(Kind::Unavailable, "dropped on the way")),
        }
    }
}

async fn delete_old(world: &World, tenure: &Tenure, sequence: Sequence) {
    let all = tenure.all(sequence);
    let newest = all.last().map_or(0, |(number, _)| *number);
    let Some((oldest, _)) = all.first().copied().filter(|(n, _)| n + KEPT < newest) else { return };
    // Before the request: it may be applied whatever the answer is.
    world.state.lock().deleted.insert((sequence as usize, oldest));
    let deleted = tenure.delete(sequence, oldest).await;
    if deleted.is_err_and(|error| error.kind() == Kind::Fenced) {
        world.state.lock().tally.fenced += 1;
    }
}

/// A reader: what was acknowledged before it looks, it sees.
async fn follow(world: Arc<World>, ambient: Ambient) -> Result<()> {
    let fresh = || Follower::new(world.bucket(), VOLUME, &Sequence::ALL);
    let mut follower = fresh();
    for _ in 0..20 {
        pause(&ambient, 2_000).await?;
        let before = world.state.lock().acknowledged.clone();
        match follower.refresh().await {
            Ok(()) => {
                let deleted = world.state.lock().deleted.clone();
                for (place, number) in before.into_keys().filter(|key| !deleted.contains(key)) {
                    if follower.find(Sequence::ALL[place], number).is_none() {
                        return Err(broken("a reader misses a write").with("number", number));
                    }
                }
            }
            Err(error) if error.kind() == Kind::Stale => follower = fresh(),
            Err(_) => {}
        }
    }
    Ok(())
}

async fn pause(ambient: &Ambient, millis: u64) -> Result<()> {
    let draw = draw(ambient)?;
    let factor = if draw % 10 == 0 { 20 } else { 1 };
    tokio::time::sleep(Duration::from_micros(draw % (millis * 1_000) * factor)).await;
    Ok(())
}

fn draw(ambient: &Ambient) -> Result<u64> {
    let mut bytes = [0; 8];
    ambient.fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn policy() -> Policy {
    Policy { mode: SseMode::None, verify: SseVerify::Warn }
}

fn broken(what: &str) -> Error {
    Error::new(Kind::Internal, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schedules per number of claimants.
    const SEEDS: u64 = 1_000;

    fn all(claimants: u64) -> Tally {
        let mut sum = Tally::default();
        for seed in 0..SEEDS {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().unwrap();
            let tally = runtime.block_on(run(seed, claimants));
            let tally = tally.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            sum.begun += tally.begun;
            sum.acknowledged += tally.acknowledged;
            sum.fenced += tally.fenced;
        }
        // The schedules are worth something: takeovers, writes and fences happen in them.
        assert!(sum.begun > 2 * SEEDS && sum.acknowledged > 4 * SEEDS && sum.fenced > SEEDS / 2);
        sum
    }

    #[test]
    fn two_claimants_never_both_acknowledge_and_lose_nothing() {
        println!("{:?}", all(2));
    }

    #[test]
    fn three_claimants_never_both_acknowledge_and_lose_nothing() {
        println!("{:?}", all(3));
    }

    #[test]
    fn one_seed_is_one_schedule() {
        let tally = |seed| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().unwrap();
            runtime.block_on(run(seed, 3)).unwrap()
        };
        assert_eq!(tally(5), tally(5));
    }
}
