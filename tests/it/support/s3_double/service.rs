//! The double's answers: what Amazon S3 says to each request, or what a worse store would say.
//! Knows no socket. An object written without the SSE header counts as not encrypted, so that
//! only what was asked for can be proved.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Action;
use super::BUCKET;
use super::Conditions;
use super::Encryption;
use super::State;
use super::store::Condition;
use super::store::Object;
use super::store::Refused;
use super::xml;

const SSE: &str = "x-amz-server-side-encryption";
const SSE_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const XML_TOP: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// A request, taken apart.
pub struct Asked {
    pub action: Action,
    pub bucket: String,
    pub key: String,
    pub query: BTreeMap<String, String>,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Asked {
    /// Takes the head of a request apart; the body comes later.
    pub fn parse(head: &http::request::Parts) -> Self {
        let path = head.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query: BTreeMap<_, _> = head
            .uri
            .query()
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (percent_decode(name), percent_decode(&value.replace('+', "%20"))))
            .collect();
        let headers = head.headers.clone();
        let mut key = percent_decode(key);
        let action = action(&head.method, &key, &query, headers.contains_key("x-amz-copy-source"));
        if action == Action::ListObjects {
            key = query.get("prefix").cloned().unwrap_or_default();
        }
        Self { action, bucket: percent_decode(bucket), key, query, headers, body: Bytes::new() }
    }

    /// A header's value, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn kept_headers(&self) -> Vec<(String, String)> {
        let kept = |name: &str| {
            name == "content-type" || name == SSE_KEY || name.starts_with("x-amz-meta-")
        };
        self.headers
            .iter()
            .filter(|(name, _)| kept(name.as_str()))
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect()
    }

    fn condition(&self) -> Condition {
        if self.header("if-none-match") == Some("*") {
            Condition::Absent
        } else {
            self.header("if-match").map_or(Condition::None, |etag| Condition::Is(etag.to_owned()))
        }
    }
}

fn action(
    method: &http::Method,
    key: &str,
    query: &BTreeMap<String, String>,
    copies: bool,
) -> Action {
    let upload = query.contains_key("uploadId");
    match (method.as_str(), key.is_empty()) {
        ("GET", true) if !query.contains_key("location") => Action::ListObjects,
        ("POST", true) if query.contains_key("delete") => Action::DeleteObjects,
        ("PUT", false) if upload => Action::UploadPart,
        ("PUT", false) if copies => Action::CopyObject,
        ("PUT", false) => Action::PutObject,
        ("GET", false) => Action::GetObject,
        ("HEAD", false) => Action::HeadObject,
        ("DELETE", false) if upload => Action::AbortMultipartUpload,
        ("DELETE", false) => Action::DeleteObject,
        ("POST", false) if query.contains_key("uploads") => Action::CreateMultipartUpload,
        ("POST", false) if upload => Action::CompleteMultipartUpload,
        _ => Action::Other,
    }
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Content-Length where it is not the body's: the answer to HEAD.
    pub length: Option<u64>,
}

impl Reply {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), length: None }
    }

    fn xml(text: &str) -> Self {
        let mut reply = Self::new(200).with("content-type", "application/xml");
        reply.body = format!("{XML_TOP}{text}").into();
        reply
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An error as S3 words it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let mut reply = Self::xml(&format!(
            "<Error><Code>{code}</Code><Message>{message}</Message><RequestId>1</RequestId></Error>"
        ));
        reply.status = status;
        reply
    }
}

/// The answer to a request.
pub fn reply(state: &mut State, asked: &Asked) -> Reply {
    refusal(state, asked).unwrap_or_else(|| match asked.action {
        Action::PutObject => put(state, asked),
        Action::CopyObject => copy(state, asked),
        Action::GetObject | Action::HeadObject => get(state, asked),
        Action::ListObjects => told(state, asked).unwrap_or_else(|| list(state, asked)),
        Action::DeleteObject => {
            state.store.remove(&asked.key);
            Reply::new(204)
        }
        Action::DeleteObjects => delete_many(state, asked),
        Action::CreateMultipartUpload => begin_upload(state, asked),
        Action::UploadPart => add_part(state, asked),
        Action::CompleteMultipartUpload => end_upload(state, asked),
        Action::AbortMultipartUpload => {
            state.store.abort_upload(asked.query("uploadId"));
            Reply::new(204)
        }
        Action::Other => Reply::new(200),
    })
}

/// What is refused before anything is looked at.
fn refusal(state: &State, asked: &Asked) -> Option<Reply> {
    let Some(authorization) = asked.header("authorization") else {
        return Some(Reply::error(403, "AccessDenied", "Access Denied"));
    };
    let names = |id| authorization.contains(&format!("Credential={id}/"));
    if !state.mood.access_keys.iter().any(names) {
        let message = "The AWS Access Key Id you provided does not exist in our records.";
        return Some(Reply::error(403, "InvalidAccessKeyId", message));
    }
    if asked.bucket != BUCKET {
        let message = "The specified bucket does not exist";
        return Some(Reply::error(404, "NoSuchBucket", message));
    }
    if asked.action == Action::DeleteObjects && !state.mood.has_batch_deletes {
        return Some(Reply::error(501, "NotImplemented", "The operation is not implemented."));
    }
    let sse = asked.header(SSE);
    if state.mood.encryption == Encryption::KeyDisabled && needs_key(state, asked) {
        let message = "arn:aws:kms:us-east-1:1:key/k1 is disabled.";
        return Some(Reply::error(400, "KMS.DisabledException", message));
    }
    if !asked.action.creates() {
        let message = "x-amz-server-side-encryption header is not supported for this operation.";
        return sse.map(|_| Reply::error(400, "InvalidArgument", message));
    }
    let Some(sse) = sse else {
        let demanded = state.mood.demands_encryption;
        return demanded.then(|| Reply::error(403, "AccessDenied", "Access Denied"));
    };
    if !matches!(sse, "AES256" | "aws:kms" | "aws:kms:dsse") {
        let message = "The encryption method specified is not supported";
        return Some(Reply::error(400, "InvalidArgument", message));
    }
    let (status, code, message) = match state.mood.encryption {
        Encryption::Echo
        | Encryption::Ignore
        | Encryption::KeyDisabled
        | Encryption::StopConfirmingAfter(_) => return None,
        Encryption::Refuse501 => {
            (501, "NotImplemented", "Server side encryption specified but KMS is not configured")
        }
        Encryption::Refuse400 => (
            400,
            "InvalidArgument",
            "Request specifies Server Side Encryption but server configuration does not support \
             this.",
        ),
        Encryption::Refuse500 => {
            (500, "InternalError", "We encountered an internal error, please try again.")
        }
    };
    Some(Reply::error(status, code, message))
}

fn needs_key(state: &State, asked: &Asked) -> bool {
    let under_key = |sse: Option<&str>| sse.is_some_and(|sse| sse.starts_with("aws:kms"));
    let stored = || state.store.get(&asked.key).and_then(|object| object.sse.as_deref());
    match asked.action {
        Action::GetObject => under_key(stored()),
        action => action.creates() && under_key(asked.header(SSE)),
    }
}

/// The encryption that a creation really gets.
fn granted(state: &mut State, asked: &Asked) -> Option<String> {
    let wanted = asked.header(SSE)?.to_owned();
    match state.mood.encryption {
        Encryption::Echo => Some(wanted),
        Encryption::StopConfirmingAfter(creations) if state.confirmed < creations => {
            state.confirmed += 1;
            Some(wanted)
        }
        _ => None,
    }
}

fn confirmed(reply: Reply, sse: Option<&str>) -> Reply {
    match sse {
        Some(sse) => reply.with(SSE, sse),
        None => reply,
    }
}

fn put(state: &mut State, asked: &Asked) -> Reply {
    let condition = match (state.mood.conditions, asked.condition()) {
        (_, Condition::None) | (Conditions::Ignored, _) => Condition::None,
        (Conditions::Refused, _) => {
            let message = "A header you provided implies functionality that is not implemented.";
            return Reply::error(501, "NotImplemented", message);
        }
        (Conditions::Contended, _) if state.contended.insert(asked.key.clone()) => {
            let message = "A conflicting conditional operation is currently in progress.";
            return Reply::error(409, "ConditionalRequestConflict", message);
        }
        (Conditions::Kept | Conditions::Contended, condition) => condition,
    };
    match state.store.admits(&asked.key, &condition) {
        Ok(()) => {}
        Err(Refused::Precondition) => return precondition_failed(),
        Err(Refused::NoSuchKey) => return no_such_key(),
    }
    let sse = granted(state, asked);
    let etag =
        state.store.insert(&asked.key, asked.body.clone(), sse.clone(), asked.kept_headers());
    let reply = match asked.header(SSE_KEY) {
        Some(key) if sse.is_some() => Reply::new(200).with(SSE_KEY, key),
        _ => Reply::new(200),
    };
    confirmed(reply.with("etag", &etag), sse.as_deref())
}

fn copy(state: &mut State, asked: &Asked) -> Reply {
    let source = percent_decode(asked.header("x-amz-copy-source").unwrap_or(""));
    let source = source.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    let Some(object) = state.store.get(source).cloned() else { return no_such_key() };
    let sse = granted(state, asked);
    let etag = state.store.insert(&asked.key, object.bytes, sse.clone(), object.headers);
    let text = format!("<CopyObjectResult><ETag>{}</ETag></CopyObjectResult>", xml::escape(&etag));
    confirmed(Reply::xml(&text), sse.as_deref())
}

fn get(state: &State, asked: &Asked) -> Reply {
    let Some(object) = state.store.get(&asked.key) else {
        return if asked.action == Action::HeadObject { Reply::new(404) } else { no_such_key() };
    };
    if asked.header("if-none-match").is_some_and(|etags| etags.contains(&object.etag)) {
        return Reply::new(304).with("etag", &object.etag);
    }
    if asked.header("if-match").is_some_and(|etag| etag != object.etag) {
        return precondition_failed();
    }
    let size = object.bytes.len();
    let range = match asked.header("range").map(|range| byte_range(range, size)) {
        Some(None) => return Reply::error(416, "InvalidRange", "The range is not satisfiable"),
        Some(Some(range)) => Some(range),
        None => None,
    };
    let mut reply = described(Reply::new(200), object);
    reply.body = object.bytes.clone();
    if let Some((from, to)) = range {
        reply = reply.with("content-range", &format!("bytes {from}-{}/{size}", to - 1));
        reply.status = 206;
        reply.body = object.bytes.slice(from..to);
    }
    if asked.action == Action::HeadObject {
        reply.length = Some(reply.body.len() as u64);
        reply.body = Bytes::new();
    }
    reply
}

fn described(mut reply: Reply, object: &Object) -> Reply {
    reply.headers.extend(object.headers.iter().cloned());
    let reply = reply
        .with("etag", &object.etag)
        .with("accept-ranges", "bytes")
        .with("last-modified", &xml::http_date(object.modified));
    confirmed(reply, object.sse.as_deref())
}

fn list(state: &State, asked: &Asked) -> Reply {
    let max = asked.query("max-keys").parse().unwrap_or(1000_usize).min(1000);
    let token = asked.query("continuation-token");
    let after = if token.is_empty() { asked.query("start-after") } else { token };
    let page = state.store.page(&asked.key, asked.query("delimiter"), after, max);
    let count = page.objects.len() + page.prefixes.len();
    let mut text = format!(
        "<ListBucketResult><Name>{BUCKET}</Name><Prefix>{}</Prefix><KeyCount>{count}</KeyCount>\
         <MaxKeys>{max}</MaxKeys><IsTruncated>{}</IsTruncated>",
        xml::escape(&asked.key),
        page.next.is_some()
    );
    for (key, object) in &page.objects {
        text += &format!(
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag>\
             <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
            xml::escape(key),
            xml::iso_date(object.modified),
            xml::escape(&object.etag),
            object.bytes.len()
        );
    }
    for prefix in &page.prefixes {
        let prefix = xml::escape(prefix);
        text += &format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>");
    }
    if let Some(next) = &page.next {
        let next = xml::escape(next);
        text += &format!("<NextContinuationToken>{next}</NextContinuationToken>");
    }
    Reply::xml(&(text + "</ListBucketResult>"))
}

/// What the double was told to say to a question about the bucket.
fn told(state: &State, asked: &Asked) -> Option<Reply> {
    let (status, text) =
        asked.query.keys().find_map(|question| state.mood.bucket_answers.get(question))?;
    let mut reply = Reply::xml(text);
    reply.status = *status;
    Some(reply)
}

fn delete_many(state: &mut State, asked: &Asked) -> Reply {
    let mut text = String::from("<DeleteResult>");
    for key in xml::texts(&String::from_utf8_lossy(&asked.body), "Key") {
        state.store.remove(&key);
        text += &format!("<Deleted><Key>{}</Key></Deleted>", xml::escape(&key));
    }
    Reply::xml(&(text + "</DeleteResult>"))
}

fn begin_upload(state: &mut State, asked: &Asked) -> Reply {
    let sse = granted(state, asked);
    let id = state.store.begin_upload(&asked.key, sse.clone(), asked.kept_headers());
    let text = format!(
        "<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{}</Key>\
         <UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
        xml::escape(&asked.key)
    );
    confirmed(Reply::xml(&text), sse.as_deref())
}

fn add_part(state: &mut State, asked: &Asked) -> Reply {
    let number = asked.query("partNumber").parse().unwrap_or(0);
    match state.store.add_part(asked.query("uploadId"), number, asked.body.clone()) {
        Some(etag) => Reply::new(200).with("etag", &etag),
        None => no_such_upload(),
    }
}

fn end_upload(state: &mut State, asked: &Asked) -> Reply {
    match state.store.admits(&asked.key, &asked.condition()) {
        Ok(()) => {}
        Err(Refused::Precondition) => return precondition_failed(),
        Err(Refused::NoSuchKey) => return no_such_key(),
    }
    let Some(etag) = state.store.end_upload(asked.query("uploadId")) else {
        return no_such_upload();
    };
    let text = format!(
        "<CompleteMultipartUploadResult><Key>{}</Key><ETag>{}</ETag>\
         </CompleteMultipartUploadResult>",
        xml::escape(&asked.key),
        xml::escape(&etag)
    );
    Reply::xml(&text)
}

fn precondition_failed() -> Reply {
    let message = "At least one of the pre-conditions you specified did not hold";
    Reply::error(412, "PreconditionFailed", message)
}

fn no_such_key() -> Reply {
    Reply::error(404, "NoSuchKey", "The specified key does not exist.")
}

fn no_such_upload() -> Reply {
    Reply::error(404, "NoSuchUpload", "The specified upload does not exist.")
}

/// The half-open range that `bytes=…` means in `size` bytes; `None`: it means none of them.
fn byte_range(header: &str, size: usize) -> Option<(usize, usize)> {
    let (from, to) = header.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from.parse::<usize>().ok(), to.parse::<usize>().ok()) {
        (Some(from), Some(last)) => (from, (last + 1).min(size)),
        (Some(from), None) => (from, size),
        (None, Some(tail)) => (size.saturating_sub(tail), size),
        (None, None) => return None,
    };
    (from < to).then_some((from, to))
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = if *first == b'%' { tail.get(..2) } else { None };
        let decoded = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
