//! A walk over everything below a volume's prefix: each version is listed, asked about by a HEAD,
//! and judged, in the order of the listing. Many at once, at a pace, with patience. Changes
//! nothing.

use std::future::ready;
use std::sync::Arc;

use futures::FutureExt;
use futures::Stream;
use futures::StreamExt;
use futures::TryStreamExt;

use super::judge;
use super::report::Finding;
use super::report::Row;
use super::report::Standing;
use super::report::Verdict;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::Told;
use crate::object::Version;
use crate::ops::rfc3339;
use crate::provider::SseMode;
use crate::volume::Pace;

/// Objects asked about at once.
const ASKED_AT_ONCE: usize = 48;

/// What a walk needs.
#[derive(Clone)]
pub(super) struct Survey {
    /// A bucket that cannot write, so that it judges what the store did and not what was asked.
    pub(super) bucket: Bucket,
    pub(super) asked: SseMode,
    pub(super) pace: Arc<Pace>,
    pub(super) versions: Told<()>,
}

/// A version that was judged; `None` where it was deleted before it could be asked about.
pub(super) type Judged = Option<(Row, Option<Timestamp>)>;

impl Survey {
    /// Everything below the prefix, judged.
    pub(super) fn walk(&self) -> impl Stream<Item = Result<Judged>> + Send + use<> {
        self.below("")
    }

    /// The versions of one object, judged.
    pub(super) fn versions_of(
        &self,
        name: &str,
    ) -> impl Stream<Item = Result<Judged>> + Send + use<> {
        let name = name.to_owned();
        self.below(&name.clone()).try_filter(move |judged| {
            ready(judged.as_ref().is_some_and(|(row, _)| row.name == name))
        })
    }

    fn below(&self, prefix: &str) -> impl Stream<Item = Result<Judged>> + Send + use<> {
        let survey = self.clone();
        self.bucket
            .list_all(prefix, &self.versions)
            .map(move |version| {
                let survey = survey.clone();
                async move { survey.judge(version?).await }.boxed()
            })
            .buffered(ASKED_AT_ONCE)
    }

    async fn judge(&self, version: Version) -> Result<Judged> {
        let standing = judge::standing(version.standing);
        let Version { meta, id, .. } = version;
        let (finding, error) = match standing {
            Standing::Marker => (Finding::Empty, None),
            Standing::Current => match self.ask(&meta.name, None).await? {
                Some(found) => found,
                None => return Ok(None),
            },
            Standing::Superseded => match self.ask(&meta.name, id.as_deref()).await? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let row = self.bucket.provider();
        let verdict = judge::verdict(row, &self.asked, &finding);
        let row = Row {
            part: judge::part(&meta.name),
            name: meta.name,
            version: id,
            standing,
            bytes: meta.size,
            modified: meta.modified.map(rfc3339),
            finding,
            verdict,
            error: error.as_ref().map(Error::to_string),
        };
        Ok(Some((row, meta.modified)))
    }

    /// What is known of a version's encryption; `None`: it is gone. Only a store that answers
    /// nothing any more ends the walk.
    async fn ask(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Option<(Finding, Option<Error>)>> {
        match self.pace.patiently(|| self.bucket.examine(name, version)).await {
            Ok(examined) => {
                let finding = judge::finding(self.bucket.provider(), examined.posture);
                Ok(Some((finding, None)))
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) if error.kind() == Kind::Unavailable && self.pace.is_in_vain() => Err(error),
            Err(error) => Ok(Some((Finding::Unknown, Some(error)))),
        }
    }
}

/// Whether `--fix` can do something about a version.
pub(super) fn falls_short(row: &Row) -> bool {
    row.verdict == Verdict::FallsShort
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::MemoryStore;
    use crate::object::fault::Faults;

    fn survey(faults: Faults) -> (Survey, crate::object::fault::FaultControl) {
        let (bucket, control) = Bucket::memory(&MemoryStore::default(), None).with_faults(faults);
        let pace = Arc::new(Pace::new(None).hasty());
        let versions = Told::No("in memory".to_owned());
        (Survey { bucket, asked: SseMode::Aes256, pace, versions }, control)
    }

    #[tokio::test]
    async fn an_object_that_finds_no_answer_is_unknown_and_only_a_store_that_is_away_ends_it() {
        let (survey, control) = survey(Faults::default());
        control.set_away(true);
        let (finding, error) = survey.ask("a", None).await.unwrap().unwrap();
        assert_eq!((finding, error.unwrap().kind()), (Finding::Unknown, Kind::Unavailable));
        let mut asked = 1;
        while survey.ask("a", None).await.is_ok() {
            asked += 1;
        }
        assert!(asked > 40, "{asked}");
        control.set_away(false);
        assert!(survey.ask("a", None).await.unwrap().is_none(), "it is not there");
    }

    #[tokio::test]
    async fn an_object_that_is_refused_for_a_while_is_asked_about_again() {
        let (survey, _) = survey(Faults { seed: 7, error_rate_permille: 500, ..Faults::default() });
        for _ in 0..20 {
            // There is no such object, which an answer says.
            assert!(survey.ask("a", None).await.unwrap().is_none());
        }
    }
}
