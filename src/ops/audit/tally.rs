//! Sums over any number of objects in bounded memory: groups of what is alike, and the first
//! thousand of what falls short. Pure.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::judge;
use super::judge::AGELESS;
use super::judge::AGES;
use super::report::AgeSum;
use super::report::DETAILS_MAX;
use super::report::Finding;
use super::report::Part;
use super::report::Row;
use super::report::Standing;
use super::report::Sum;
use super::report::Totals;
use super::report::Verdict;
use crate::ambient::Timestamp;
use crate::object::name;

/// Groups that are told apart; keys beyond this many are added up under one name.
const GROUPS_MAX: usize = 500;

/// What the keys are called that are not told apart.
const OTHER_KEYS: &str = "(other keys)";

type Group = (Part, Standing, Finding, Verdict);

/// The running sums of an audit.
pub(super) struct Tally {
    now: Timestamp,
    groups: BTreeMap<Group, (u64, u64)>,
    ages: [AgeSum; AGES.len() + 1],
    pub(super) totals: Totals,
    pub(super) offenders: Vec<Row>,
    pub(super) foreign: Vec<String>,
    pub(super) header_seen: bool,
    /// Numbers of states, of which none may be missing.
    states: BTreeSet<u64>,
    state_number: fn(&str) -> Option<u64>,
}

impl Tally {
    /// `state_number` tells the number of a state by its name, as this volume names them.
    pub(super) fn new(now: Timestamp, state_number: fn(&str) -> Option<u64>) -> Self {
        let names = AGES.iter().map(|(_, name)| *name).chain([AGELESS]);
        let sums: Vec<_> =
            names.map(|age| AgeSum { age: age.to_owned(), meets: 0, short: 0, bytes: 0 }).collect();
        Self {
            now,
            groups: BTreeMap::new(),
            ages: sums.try_into().expect("one sum an age"),
            totals: Totals::default(),
            offenders: Vec::new(),
            foreign: Vec::new(),
            header_seen: false,
            states: BTreeSet::new(),
            state_number,
        }
    }

    /// Adds one version.
    pub(super) fn add(&mut self, row: &Row, modified: Option<Timestamp>) {
        self.count(row);
        self.group(row);
        if row.standing != Standing::Marker {
            let at = judge::age(modified, self.now).unwrap_or(AGES.len());
            let sum = &mut self.ages[at];
            sum.bytes += row.bytes;
            *(if row.verdict == Verdict::Meets { &mut sum.meets } else { &mut sum.short }) += 1;
        }
        if row.verdict != Verdict::Meets && self.offenders.len() < DETAILS_MAX {
            self.offenders.push(row.clone());
        }
        if row.standing == Standing::Current {
            self.header_seen |= row.part == Part::Header;
            self.states.extend((self.state_number)(&row.name));
        }
    }

    fn count(&mut self, row: &Row) {
        let totals = &mut self.totals;
        totals.bytes += row.bytes;
        match (row.part, row.standing) {
            (_, Standing::Marker) => totals.markers += 1,
            (Part::Foreign, _) => {
                totals.foreign += 1;
                if self.foreign.len() < DETAILS_MAX && row.standing == Standing::Current {
                    self.foreign.push(row.name.clone());
                }
            }
            (_, Standing::Current) => totals.objects += 1,
            (_, Standing::Superseded) => totals.superseded += 1,
        }
        match row.verdict {
            Verdict::Meets => {}
            Verdict::FallsShort => totals.short += 1,
            Verdict::Unknown => totals.unknown += 1,
        }
    }

    fn group(&mut self, row: &Row) {
        let mut finding = row.finding.clone();
        let full = self.groups.len() >= GROUPS_MAX;
        let group = |finding| (row.part, row.standing, finding, row.verdict);
        if let Finding::Confirmed { mode, key: Some(_) } = &finding
            && full
            && !self.groups.contains_key(&group(finding.clone()))
        {
            finding = Finding::Confirmed { mode: mode.clone(), key: Some(OTHER_KEYS.to_owned()) };
        }
        let sum = self.groups.entry(group(finding)).or_default();
        sum.0 += 1;
        sum.1 += row.bytes;
    }

    /// The groups.
    pub(super) fn sums(&self) -> Vec<Sum> {
        let sum =
            |((part, standing, finding, verdict), (objects, bytes)): (&Group, &(u64, u64))| Sum {
                part: *part,
                standing: *standing,
                finding: finding.clone(),
                verdict: *verdict,
                objects: *objects,
                bytes: *bytes,
            };
        self.groups.iter().map(sum).collect()
    }

    /// The ages at which there is something.
    pub(super) fn ages(&self) -> Vec<AgeSum> {
        self.ages.iter().filter(|sum| sum.meets + sum.short > 0).cloned().collect()
    }

    /// What is missing of the states, which are numbered from 1 without a gap; each gap a sentence.
    pub(super) fn missing_states(&self) -> Vec<String> {
        let named = |number| format!("`{}`", name::state(number));
        let (mut faults, mut next) = (Vec::new(), 1);
        for number in &self.states {
            let last = number.saturating_sub(1);
            if faults.len() == DETAILS_MAX {
                break;
            } else if next == last {
                faults.push(format!("{} is missing", named(next)));
            } else if next < last {
                faults.push(format!("{} to {} are missing", named(next), named(last)));
            }
            next = number.saturating_add(1);
        }
        if self.states.is_empty() {
            faults.push("the volume has no state".to_owned());
        }
        faults
    }

    /// How many versions of this standing fall short, of the parts that `of` picks.
    pub(super) fn short(&self, of: impl Fn(Part) -> bool, standing: Standing) -> u64 {
        let wanted = |(part, its, _, verdict): &Group| {
            of(*part) && *its == standing && *verdict == Verdict::FallsShort
        };
        self.groups.iter().filter(|(group, _)| wanted(group)).map(|(_, (count, _))| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(part: Part, standing: Standing, finding: Finding, verdict: Verdict) -> Row {
        Row {
            name: "cairnfs.state.00000003".into(),
            version: None,
            standing,
            part,
            bytes: 10,
            modified: None,
            finding,
            verdict,
            error: None,
        }
    }

    fn keyed(key: usize) -> Finding {
        Finding::Confirmed { mode: "aws:kms".into(), key: Some(key.to_string()) }
    }

    #[test]
    fn sums_tell_the_volume_from_the_foreign_and_the_present_from_the_past() {
        let mut tally = Tally::new(Timestamp::default(), name::parse_state);
        let (current, old) = (Standing::Current, Standing::Superseded);
        for (part, standing, finding, verdict) in [
            (Part::State, current, keyed(1), Verdict::Meets),
            (Part::Blocks, current, Finding::Absent, Verdict::FallsShort),
            (Part::Blocks, old, Finding::Absent, Verdict::FallsShort),
            (Part::Foreign, current, Finding::Absent, Verdict::FallsShort),
            (Part::Blocks, Standing::Marker, Finding::Empty, Verdict::Meets),
            (Part::Blocks, current, Finding::Unknown, Verdict::Unknown),
        ] {
            tally.add(&row(part, standing, finding, verdict), None);
        }
        let totals = &tally.totals;
        assert_eq!((totals.objects, totals.superseded, totals.markers), (3, 1, 1));
        assert_eq!((totals.foreign, totals.short, totals.unknown), (1, 3, 1));
        let (own, foreign) = (|part| part != Part::Foreign, |part| part == Part::Foreign);
        assert_eq!((tally.short(own, current), tally.short(own, old)), (1, 1));
        assert_eq!(tally.short(foreign, current), 1);
        assert_eq!((tally.offenders.len(), tally.states.first()), (4, Some(&3)));
        assert_eq!(tally.sums().iter().map(|sum| sum.objects).sum::<u64>(), 6);
        let ages = tally.ages();
        assert_eq!((ages.len(), ages[0].meets, ages[0].short), (1, 1, 4));
    }

    fn missing_states(names: &[String]) -> Vec<String> {
        let mut tally = Tally::new(Timestamp::default(), name::parse_state);
        for name in names {
            let row = row(Part::State, Standing::Current, keyed(1), Verdict::Meets);
            tally.add(&Row { name: name.clone(), ..row }, None);
        }
        tally.missing_states()
    }

    #[test]
    fn a_gap_among_the_states_is_told() {
        let of = |numbers: &[u64]| {
            missing_states(&numbers.iter().map(|number| name::state(*number)).collect::<Vec<_>>())
        };
        assert!(of(&[2, 1, 3]).is_empty());
        assert_eq!(of(&[3, 1]), ["`cairnfs.state.00000002` is missing"]);
        assert_eq!(of(&[]), ["the volume has no state"]);
        let far = "`cairnfs.state.00000002` to `cairnfs.state.18446744073709551614` are missing";
        assert_eq!(of(&[1, u64::MAX]), [far], "no work for each number");
        let every_other: Vec<_> = (1..5_000).map(|number| 2 * number).collect();
        assert_eq!(of(&every_other).len(), DETAILS_MAX);
    }

    #[test]
    fn a_name_of_the_other_fencing_mode_is_no_state() {
        let planted = "cairnfs.state.99999999.000000000007-00000000000000ab";
        assert!(missing_states(&[name::state(1), planted.to_owned()]).is_empty());
    }

    #[test]
    fn any_number_of_objects_and_keys_takes_bounded_memory() {
        let mut tally = Tally::new(Timestamp::default(), name::parse_state);
        for at in 0..10 * DETAILS_MAX {
            let row = row(Part::Foreign, Standing::Current, keyed(at), Verdict::FallsShort);
            tally.add(&row, None);
        }
        assert_eq!((tally.offenders.len(), tally.foreign.len()), (DETAILS_MAX, DETAILS_MAX));
        let sums = tally.sums();
        assert_eq!(sums.len(), GROUPS_MAX + 1);
        assert_eq!(sums.iter().map(|sum| sum.objects).sum::<u64>(), tally.totals.foreign);
    }
}
