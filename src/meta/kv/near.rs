//! Which questions to the engine come in company: who asks for one key of a neighbourhood (a
//! directory, inodes that were made together) often asks for the next. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

/// Neighbourhoods that are remembered.
const REMEMBERED: usize = 32;

/// So often a neighbourhood is scanned; what is larger than that is not read whole by chance.
const SCANS_MAX: u32 = 64;

/// The neighbourhoods that were asked for last, each known by the key it ends before.
#[derive(Default)]
pub(super) struct Neighbourhoods(VecDeque<(Bytes, u32)>);

impl Neighbourhoods {
    /// Notes a question. Whether it is worth asking for the keys after it too: from the second
    /// question on, and not for ever.
    pub(super) fn come_in_company(&mut self, end: &Bytes) -> bool {
        if let Some((_, scans)) = self.0.iter_mut().find(|(known, _)| known == end) {
            *scans += 1;
            return *scans <= SCANS_MAX;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((end.clone(), 0));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbourhood_is_scanned_from_the_second_question_on_and_not_for_ever() {
        let mut known = Neighbourhoods::default();
        let (one, other) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
        assert!(!known.come_in_company(&one) && !known.come_in_company(&other));
        let scans = (0..1_000).filter(|_| known.come_in_company(&one));
        assert_eq!(scans.count(), SCANS_MAX as usize);
        assert!(known.come_in_company(&other));
        for number in 0..REMEMBERED {
            known.come_in_company(&Bytes::from(format!("x{number}")));
        }
        assert!(!known.come_in_company(&other), "it was forgotten");
    }
}
