//! Which objects count, where a store cannot refuse a second writer: the start of a claim says
//! what it owns and what it took over, and the names of objects say who wrote them. Pure. Drawn in
//! `docs/format.md`, "What a claim owns".

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::ambient::Timestamp;
use crate::error::Result;
use crate::object::ObjectMeta;
use crate::object::name;
use crate::object::name::Sequence;
use crate::object::record;
use crate::object::record::Record;
use crate::types::ClaimId;
use crate::types::VolumeId;

/// The first number of each sequence that a claim owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firsts {
    wal: u64,
    manifest: u64,
    compactions: u64,
    state: u64,
}

impl Firsts {
    /// Of a volume that has nothing yet.
    pub const OF_A_VOLUME: Self = Self { wal: 1, manifest: 1, compactions: 1, state: 1 };

    /// That of one sequence.
    pub fn of(&self, sequence: Sequence) -> u64 {
        match sequence {
            Sequence::Wal => self.wal,
            Sequence::Manifest => self.manifest,
            Sequence::Compactions => self.compactions,
            Sequence::State => self.state,
        }
    }
}

/// A claim and where its objects begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reign {
    #[serde(with = "record::text")]
    claim: ClaimId,
    owns: Firsts,
}

/// That a claim has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    #[serde(with = "record::text")]
    pub(super) volume: VolumeId,
    #[serde(with = "record::text")]
    claim: ClaimId,
    owns: Firsts,
    before: Vec<Reign>,
    started: i64,
}

impl Record for Start {
    const MAGIC: &'static str = "cairnfs.term.start";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "start of a term";
}

impl Start {
    pub(super) fn new(volume: VolumeId, lineage: &Lineage, at: Timestamp) -> Self {
        let (last, before) = lineage.0.split_last().expect("a start belongs to somebody");
        let Reign { claim, owns } = *last;
        Self { volume, claim, owns, before: before.to_vec(), started: at.seconds }
    }

    /// Reads the start of `claim`.
    pub(super) fn decode(claim: ClaimId, bytes: &[u8]) -> Result<Self> {
        let name = name::claim(claim, name::ClaimRecord::Started);
        let start: Self = record::decode(&name, bytes)?;
        let reigns = start.lineage().0;
        let rises = reigns.windows(2).all(|pair| {
            let not_lower = |s: Sequence| pair[0].owns.of(s) <= pair[1].owns.of(s);
            pair[0].claim.session < pair[1].claim.session
                && Sequence::ALL.into_iter().all(not_lower)
        });
        if start.claim == claim && rises { Ok(start) } else { Err(record::damaged::<Self>(&name)) }
    }

    pub(super) fn lineage(&self) -> Lineage {
        let own = Reign { claim: self.claim, owns: self.owns };
        Lineage(self.before.iter().copied().chain([own]).collect())
    }
}

/// The claims that follow one another, the oldest first: each took over what those before left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage(Vec<Reign>);

impl Lineage {
    /// Whose object number `number` of a sequence is.
    pub fn owner(&self, sequence: Sequence, number: u64) -> Option<ClaimId> {
        let owner = self.0.iter().rev().find(|reign| reign.owns.of(sequence) <= number);
        owner.map(|reign| reign.claim)
    }

    /// The lineage that `claim` begins over what `index` holds; claims that left nothing drop out.
    pub(super) fn continued(&self, claim: ClaimId, index: &Index) -> Self {
        let held = index.claims();
        let mut reigns: Vec<_> =
            self.0.iter().copied().filter(|reign| held.contains(&reign.claim)).collect();
        reigns.push(Reign { claim, owns: index.ends(self.floor()) });
        Self(reigns)
    }

    /// Numbers below were given out before, whatever of them is still there.
    fn floor(&self) -> Firsts {
        self.0.last().map_or(Firsts::OF_A_VOLUME, |reign| reign.owns)
    }

    /// Where each sequence of the last claim begins.
    pub(super) fn own(&self) -> Firsts {
        self.floor()
    }

    /// Whether an object of `claim` was left out by a claim that came after it.
    fn voids(&self, sequence: Sequence, number: u64, claim: ClaimId) -> bool {
        let mut later = self.0.iter().filter(|reign| reign.claim.session > claim.session);
        later.any(|reign| reign.owns.of(sequence) <= number)
    }
}

/// An object that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Who wrote it.
    pub claim: ClaimId,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, as the store says, or this machine when it is the writer.
    pub modified: Option<Timestamp>,
}

/// The objects of all sequences that count, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index([BTreeMap<u64, Element>; 4]);

impl Index {
    /// Parts what was listed into what counts and the names of what is void.
    pub(super) fn sort(
        lineage: &Lineage,
        listed: impl IntoIterator<Item = ObjectMeta>,
    ) -> (Self, Vec<String>) {
        let (mut index, mut void) = (Self::default(), Vec::new());
        for object in listed {
            // Foreign objects are left alone.
            let Some((sequence, number, claim)) = name::parse_claimed(&object.name) else {
                continue;
            };
            if lineage.owner(sequence, number) == Some(claim) {
                let (size, modified) = (object.size, object.modified);
                index.insert(sequence, number, Element { claim, size, modified });
            } else {
                void.push(object.name);
            }
        }
        (index, void)
    }

    /// The object of that number.
    pub fn get(&self, sequence: Sequence, number: u64) -> Option<Element> {
        self.0[sequence as usize].get(&number).copied()
    }

    /// All objects of a sequence.
    pub fn all(&self, sequence: Sequence) -> &BTreeMap<u64, Element> {
        &self.0[sequence as usize]
    }

    pub(super) fn insert(&mut self, sequence: Sequence, number: u64, element: Element) {
        self.0[sequence as usize].insert(number, element);
    }

    pub(super) fn remove(&mut self, sequence: Sequence, number: u64) {
        self.0[sequence as usize].remove(&number);
    }

    fn claims(&self) -> BTreeSet<ClaimId> {
        self.0.iter().flat_map(|sequence| sequence.values().map(|found| found.claim)).collect()
    }

    /// The first free number of each sequence, at least that of `floor`.
    fn ends(&self, floor: Firsts) -> Firsts {
        let end = |sequence: Sequence| {
            let last = self.all(sequence).last_key_value().map_or(0, |(number, _)| *number);
            floor.of(sequence).max(last + 1)
        };
        Firsts {
            wal: end(Sequence::Wal),
            manifest: end(Sequence::Manifest),
            compactions: end(Sequence::Compactions),
            state: end(Sequence::State),
        }
    }

    /// Whether `lineage` leaves out an object of this index: then what was read from here is not
    /// part of the volume's history.
    pub(super) fn is_contradicted_by(&self, lineage: &Lineage) -> bool {
        Sequence::ALL.into_iter().any(|sequence| {
            let mut elements = self.all(sequence).iter();
            elements.any(|(number, element)| lineage.voids(sequence, *number, element.claim))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SessionId;

    fn claim(session: u64) -> ClaimId {
        ClaimId { session: SessionId(session), nonce: session * 11 }
    }

    fn object(sequence: Sequence, number: u64, session: u64) -> ObjectMeta {
        let name = name::claimed(sequence, number, claim(session));
        ObjectMeta { name, size: 1, modified: None, tag: None, attributes: Vec::new() }
    }

    fn wal(number: u64, session: u64) -> ObjectMeta {
        object(Sequence::Wal, number, session)
    }

    fn writers(index: &Index) -> Vec<(u64, u64)> {
        let all = index.all(Sequence::Wal).iter();
        all.map(|(number, element)| (*number, element.claim.session.0)).collect()
    }

    #[test]
    fn what_lands_after_a_successor_looked_is_void() {
        let first = Lineage::default().continued(claim(1), &Index::default());
        let (seen, void) = Index::sort(&first, [wal(1, 1), wal(2, 1)]);
        assert_eq!((writers(&seen), void.len()), (vec![(1, 1), (2, 1)], 0));
        let second = first.continued(claim(3), &seen);
        assert_eq!(second.own().of(Sequence::Wal), 3);
        let late = [wal(1, 1), wal(2, 1), wal(3, 1), wal(3, 3), wal(1, 2)];
        let (index, void) = Index::sort(&second, late);
        assert_eq!(writers(&index), [(1, 1), (2, 1), (3, 3)]);
        assert_eq!(void, [wal(3, 1).name, wal(1, 2).name]);
    }

    #[test]
    fn a_claim_of_which_nothing_is_left_drops_out_and_its_numbers_do_not_come_back() {
        let first = Lineage::default().continued(claim(1), &Index::default());
        let (seen, _) = Index::sort(&first, [wal(7, 1), object(Sequence::State, 1, 1)]);
        let second = first.continued(claim(2), &seen);
        let (left, _) = Index::sort(&second, [object(Sequence::State, 1, 1)]);
        let third = second.continued(claim(3), &left);
        assert_eq!(
            third.0.iter().map(|reign| reign.claim).collect::<Vec<_>>(),
            [claim(1), claim(3)]
        );
        assert_eq!(third.own().of(Sequence::Wal), 8);
        assert_eq!(third.own().of(Sequence::State), 2);
    }

    #[test]
    fn a_reader_notices_that_it_read_what_does_not_count() {
        let first = Lineage::default().continued(claim(1), &Index::default());
        let (seen, _) = Index::sort(&first, [wal(1, 1)]);
        let second = first.continued(claim(2), &seen);
        assert!(!seen.is_contradicted_by(&second));
        let (more, _) = Index::sort(&first, [wal(1, 1), wal(2, 1)]);
        assert!(more.is_contradicted_by(&second));
    }

    #[test]
    fn a_start_survives_the_round_trip_and_no_damage_does() {
        let first = Lineage::default().continued(claim(1), &Index::default());
        let (seen, _) = Index::sort(&first, [wal(1, 1)]);
        let lineage = first.continued(claim(2), &seen);
        let at = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
        let start = Start::new(VolumeId([7; 16]), &lineage, at);
        let bytes = record::encode(&start).unwrap();
        let read = Start::decode(claim(2), &bytes).unwrap();
        assert_eq!((read.lineage(), &read), (lineage, &start));
        assert!(Start::decode(claim(3), &bytes).is_err());
        record::refuses_all_damage::<Start>(&bytes);
    }

    #[test]
    fn the_stored_form_of_a_start_never_changes() {
        let lineage = Lineage::default().continued(claim(1), &Index::default());
        let at = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
        let bytes = record::encode(&Start::new(VolumeId([7; 16]), &lineage, at)).unwrap();
        let line = std::str::from_utf8(&bytes).unwrap().lines().next().unwrap();
        let id = "07".repeat(16);
        assert_eq!(
            line,
            format!(
                "{{\"magic\":\"cairnfs.term.start\",\"version\":1,\"volume\":\"{id}\",\
                 \"claim\":\"000000000001-000000000000000b\",\"owns\":{{\"wal\":1,\
                 \"manifest\":1,\"compactions\":1,\"state\":1}},\"before\":[],\
                 \"started\":1700000000}}"
            )
        );
    }
}
