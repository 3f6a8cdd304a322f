//! A walk over everything below a volume's prefix: each version is listed, asked about by a HEAD,
//! and judged. Many at once, at a pace. Changes nothing.

use std::sync::Arc;

use futures::FutureExt;
use futures::Stream;
use futures::StreamExt;

use super::judge;
use super::pace::Pace;
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
        let survey = self.clone();
        self.bucket
            .list_all("", &self.versions)
            .map(move |version| {
                let survey = survey.clone();
                async move { survey.judge(version?).await }.boxed()
            })
            .buffer_unordered(ASKED_AT_ONCE)
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

    /// What is known of a version's encryption; `None`: it is gone. Only a store that does not
    /// answer ends the walk.
    async fn ask(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Option<(Finding, Option<Error>)>> {
        self.pace.turn().await;
        match self.bucket.examine(name, version).await {
            Ok(examined) => {
                let finding = judge::finding(self.bucket.provider(), examined.posture);
                Ok(Some((finding, None)))
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) if error.kind() == Kind::Unavailable => Err(error),
            Err(error) => Ok(Some((Finding::Unknown, Some(error)))),
        }
    }
}

/// Whether `--fix` can do something about a version.
pub(super) fn falls_short(row: &Row) -> bool {
    row.verdict == Verdict::FallsShort
}
