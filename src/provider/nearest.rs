//! The nearest known name to a mistyped one, and the sentence around it.

use crate::error::Error;
use crate::error::Kind;

/// The candidate fewest edits away from `name`, if it is near enough to be a slip of the hand.
pub fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let wanted = name.to_lowercase().replace('_', "-");
    candidates
        .iter()
        .map(|candidate| (edits(&wanted, &candidate.to_lowercase()), *candidate))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, candidate)| {
            *edits <= candidate.len().max(wanted.len()) / 3 + 1 && *edits < candidate.len()
        })
        .map(|(_, candidate)| candidate)
}

/// The error for a name that is not among `known`: the nearest one, and all of them.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let message = match nearest(name, known) {
        Some(near) => format!("unknown {what} `{name}`, did you mean `{near}`?"),
        None => format!("unknown {what} `{name}`"),
    };
    let error = Error::new(Kind::Config, message);
    if known.is_empty() { error } else { error.hint(format!("known are {list}")) }
}

/// Levenshtein's distance, with a swap of neighbours counted as one edit.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let change = above[j] + usize::from(a != b);
            let mut least = change.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                let swapped: &Vec<usize> = &before;
                least = least.min(swapped[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let known = ["amazon-s3", "minio", "wasabi", "s3", "gcs"];
        assert_eq!(nearest("mino", &known), Some("minio"));
        assert_eq!(nearest("miino", &known), Some("minio"));
        assert_eq!(nearest("AMAZON_S3", &known), Some("amazon-s3"));
        assert_eq!(nearest("quux-and-more", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_and_all() {
        let error = unknown("provider", "mino", &["minio", "s3"]);
        assert_eq!(error.to_string(), "unknown provider `mino`, did you mean `minio`?");
        assert_eq!(error.hint_text(), Some("known are `minio`, `s3`"));
    }
}
