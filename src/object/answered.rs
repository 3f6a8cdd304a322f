//! What S3 answers with 200 to listings and batch deletes, before OpenDAL reads it: OpenDAL takes a
//! document of any name, and missing fields, for "no more" or "no failure". Sends nothing.

use std::borrow::Cow;

use http::Response;
use opendal::Buffer;
use opendal::ErrorKind;
use opendal::HttpBody;

use super::counts::Counters;
use super::document;
use super::witness::Seen;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// The code of a page that says that there are more and not where they begin.
pub(super) const NO_TOKEN: &str = "ListingWithoutToken";

/// A document that must not be taken for what was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Lie {
    /// The error document's code, or ours.
    code: Option<String>,
    /// What is wrong, a sentence.
    message: String,
    /// Whether the same request may be answered better soon.
    passes: bool,
}

/// Whether the answer to this S3 call is looked at here.
pub(super) fn concerns(call: &str) -> bool {
    matches!(call, "ListObjects" | "ListObjectsV2" | "ListObjectVersions" | "DeleteObjects")
}

/// Reads an answer whole, and gives it back as OpenDAL may read it, or the error it is.
pub(super) async fn read(
    call: &str,
    answer: Response<HttpBody>,
    counters: &Counters,
) -> opendal::Result<(opendal::Result<Response<HttpBody>>, Seen)> {
    let (parts, mut body) = answer.into_parts();
    let document = body.to_buffer().await?;
    counters.received(document.len());
    let mut seen = Seen { status: Some(parts.status.as_u16()), ..Seen::default() };
    let text = String::from_utf8_lossy(&document.to_bytes()).into_owned();
    let document = match checked(call, &text) {
        Ok(Cow::Borrowed(_)) => document,
        Ok(Cow::Owned(changed)) => Buffer::from(changed),
        Err(lie) => {
            (seen.code, seen.message) = (lie.code, Some(lie.message.clone()));
            let error = opendal::Error::new(ErrorKind::Unexpected, lie.message);
            return Ok((Err(if lie.passes { error.set_temporary() } else { error }), seen));
        }
    };
    let length = document.len() as u64;
    let body = HttpBody::new(futures::stream::iter([Ok(document)]), Some(length));
    Ok((Ok(Response::from_parts(parts, body)), seen))
}

/// The document as OpenDAL may read it.
fn checked<'d>(call: &str, document: &'d str) -> Result<Cow<'d, str>, Lie> {
    let root = document::root_of(document).unwrap_or_default();
    let strange = match call {
        "DeleteObjects" => root != "DeleteResult",
        // A store that does not know the question answers it with a listing without versions.
        "ListObjectVersions" => root == "Error",
        _ => !root.starts_with("List"),
    };
    if strange {
        let text = |tag| inside(document, tag).map(str::to_owned);
        let message = || format!("it answers 200 with `{root}`");
        return Err(Lie {
            code: text("Code"),
            message: text("Message").unwrap_or_else(message),
            passes: true,
        });
    }
    if call == "DeleteObjects" {
        return Ok(document.into());
    }
    if goes_on(call, document) && !says_where(call, document) {
        let message = "a page of the list says that there are more, and not where they begin";
        return Err(Lie {
            code: Some(NO_TOKEN.to_owned()),
            message: message.into(),
            passes: false,
        });
    }
    // OpenDAL drops the first slash of a name in a bucket without a prefix, and would ask about
    // another object; of two it drops one.
    match document.contains("<Key>/") {
        true => Ok(document.replace("<Key>/", "<Key>//").into()),
        false => Ok(document.into()),
    }
}

/// Whether OpenDAL would ask for another page.
fn goes_on(call: &str, document: &str) -> bool {
    match inside(document, "IsTruncated") {
        Some(truncated) => truncated.trim().eq_ignore_ascii_case("true"),
        None => call == "ListObjectVersions",
    }
}

/// Whether it would know where that page begins.
fn says_where(call: &str, document: &str) -> bool {
    let has = |tag| inside(document, tag).is_some_and(|text| !text.is_empty());
    match call {
        "ListObjectsV2" => has("NextContinuationToken"),
        "ListObjectVersions" => has("NextKeyMarker"),
        // Version 1 goes on after the last name.
        _ => has("NextMarker") || has("Key") || document.contains("<CommonPrefixes>"),
    }
}

/// The text of the first element of that name.
fn inside<'d>(document: &'d str, tag: &str) -> Option<&'d str> {
    let open = document.find(&format!("<{tag}>"))? + tag.len() + 2;
    let rest = &document[open..];
    Some(&rest[..rest.find('<')?])
}

/// Notices that a listing goes round: a store names each entry once. Keeps one entry, of every
/// number twice as far as the one before, so that a round of any length is found.
#[derive(Debug, Default)]
pub(super) struct Lap {
    mark: Option<String>,
    since: u64,
    span: u64,
}

impl Lap {
    /// [`Kind::Corrupt`]: this entry came before.
    pub(super) fn pass(&mut self, entry: &str, prefix: &str) -> Result<()> {
        if self.mark.as_deref() == Some(entry) {
            return Err(Error::new(
                Kind::Corrupt,
                "the store lists the same objects over and over",
            )
            .with("prefix", prefix)
            .with("again", entry.trim())
            .hint(LIST_V1));
        }
        self.since += 1;
        if self.since > self.span {
            (self.mark, self.since) = (Some(entry.to_owned()), 0);
            self.span = self.span * 2 + 1;
        }
        Ok(())
    }
}

/// What helps against a store whose second version of listing does not work.
pub(super) const LIST_V1: &str =
    "set `list = \"v1\"` under `[providers.NAME.objects]` in the config, for the volume's row";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_with_200_is_an_error() {
        let error = "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code>\
                     <Message>words</Message></Error>";
        for call in ["ListObjectsV2", "ListObjectVersions", "DeleteObjects"] {
            let lie = checked(call, error).unwrap_err();
            assert_eq!(lie.code.as_deref(), Some("InternalError"));
            assert!(lie.passes && lie.message == "words", "{lie:?}");
        }
        let lie = checked("DeleteObjects", "<html><body>fine</body></html>").unwrap_err();
        assert!(lie.message.contains("`html`"), "{lie:?}");
        assert!(checked("DeleteObjects", "").is_err());
        assert!(checked("ListObjectsV2", "<html><body>log in</body></html>").is_err());
        for fine in ["<DeleteResult/>", "<DeleteResult xmlns=\"x\"><Deleted/></DeleteResult>"] {
            assert!(checked("DeleteObjects", fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_page_says_where_the_next_one_begins_if_there_is_one() {
        let listing = |inside: &str| format!("<ListBucketResult>{inside}</ListBucketResult>");
        let more = "<IsTruncated>true</IsTruncated>";
        let key = "<Contents><Key>a</Key></Contents>";
        for (call, inside, fine) in [
            ("ListObjectsV2", String::new(), true),
            ("ListObjectsV2", "<IsTruncated>false</IsTruncated>".into(), true),
            ("ListObjectsV2", format!("{more}{key}"), false),
            (
                "ListObjectsV2",
                format!("{more}<NextContinuationToken>t</NextContinuationToken>"),
                true,
            ),
            ("ListObjects", format!("{more}{key}"), true),
            ("ListObjects", more.into(), false),
            ("ListObjectVersions", String::new(), false),
            ("ListObjectVersions", more.into(), false),
            ("ListObjectVersions", format!("{more}<NextKeyMarker>a</NextKeyMarker>"), true),
        ] {
            let outcome = checked(call, &listing(&inside)).map(drop);
            assert_eq!(outcome.is_ok(), fine, "{call} {inside}");
            let code = outcome.err().and_then(|lie| lie.code);
            assert!(fine || code.as_deref() == Some(NO_TOKEN));
        }
    }

    #[test]
    fn a_name_that_begins_with_a_slash_stays_another_name() {
        let document = "<ListBucketResult><Contents><Key>/a</Key></Contents></ListBucketResult>";
        assert!(checked("ListObjectsV2", document).unwrap().contains("<Key>//a</Key>"));
    }

    #[test]
    fn a_listing_that_goes_round_is_noticed_whatever_the_round() {
        for (before, round) in [(0, 1), (0, 3), (5, 7), (1_000, 1_000), (17, 2_500)] {
            let mut lap = Lap::default();
            let entry = |at: u64| if at < before { at } else { before + (at - before) % round };
            let found = (0..4 * (before + round))
                .find(|at| lap.pass(&entry(*at).to_string(), "blocks/").is_err());
            assert!(found.is_some_and(|at| at >= before + round), "{before} {round}: {found:?}");
        }
        let mut lap = Lap::default();
        assert!((0..100_000).all(|at| lap.pass(&at.to_string(), "").is_ok()));
    }
}
