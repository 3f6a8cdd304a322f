//! The witness: next to the wire, it refuses a write that lacks what the policy demands before it
//! leaves, and reads the evidence of encryption from the answer. It cannot sign, so it sends
//! nothing of its own; what it saw goes to the waiting call through a task-local.

use std::sync::Arc;

use futures::StreamExt;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use opendal::Buffer;
use opendal::ErrorKind;
use opendal::HttpBody;
use opendal::HttpTransport;
use opendal::HttpTransporter;
use opendal::raw::Operation;
use opendal::raw::ServiceOperation;
use opendal::raw::oio::ReadStream;
use parking_lot::Mutex;

use super::answer::Policy;
use super::answer::Posture;
use super::answered;
use super::counts::Access;
use super::counts::Counters;
use super::rules;
use super::sse;
use super::sse::Evidence;
use super::sse::Required;
use crate::error::Result;
use crate::provider::Provider;
use crate::provider::RefusalScope;
use crate::provider::Refused;
use crate::provider::Service;
use crate::provider::SseMode;
use crate::provider::SseRefusal;

/// Requests of which an object is made in parts. Stores refuse the encryption header on them,
/// and the evidence of the whole is not in any of their answers.
const PARTS: &[&str] =
    &["CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"];
const AZURE_PARTS: &[&str] = &["PutBlock", "PutBlockFromUrl", "PutBlockList", "AppendBlock"];

/// Error documents are short; more than this of one is not read (bytes).
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// More of a store's own words are not told (characters).
const WORDS_MAX: usize = 400;

tokio::task_local! {
    /// The call that waits for the answers; OpenDAL sends plain requests in the caller's task.
    static CALL: Call;
}

/// Whether what looks like a refusal of encryption is one: passing trouble may look the same,
/// except when the very first write of a mount meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Only what the row calls a refusal at any time is one.
    MayPass,
    /// The mount's probe: so is what the row knows of its first write.
    Probe,
    /// A measurement: the answers themselves are wanted.
    Measure,
}

/// What the last answer to a call said.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The HTTP status; `None`: nobody answered.
    pub status: Option<u16>,
    /// The code in the error document (`NoSuchBucket`).
    pub code: Option<String>,
    /// The error document's own sentence.
    pub message: Option<String>,
    /// What the answer proves, to a write or a HEAD.
    pub posture: Option<Posture>,
    /// The store refused encryption for good.
    pub refusal: Option<SseRefusal>,
    /// Why the request was not sent.
    pub blocked: Option<String>,
    /// The answer's headers, for a measurement.
    pub headers: Option<HeaderMap>,
}

impl Seen {
    /// Whether the store passes on what its key service says (`KMS.DisabledException`, MinIO:
    /// `kms:KeyNotFound`).
    pub(super) fn is_of_the_key_service(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        code.starts_with("KMS.") || code.starts_with("kms:")
    }
}

#[derive(Clone)]
struct Call {
    trust: Trust,
    seen: Arc<Mutex<Seen>>,
}

/// Runs a call so that what the witness sees of it is returned beside its result.
pub(super) async fn watched<T>(trust: Trust, call: impl Future<Output = T>) -> (T, Seen) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let result = CALL.scope(Call { trust, seen: seen.clone() }, call).await;
    let seen = seen.lock().clone();
    (result, seen)
}

/// A transport that watches another one.
pub(super) struct Witness {
    row: Arc<Provider>,
    policy: Option<Policy>,
    required: Vec<Required>,
    /// The store's host, by which a request without OpenDAL's marks is known to be the store's.
    host: Option<String>,
    counters: Arc<Counters>,
    inner: HttpTransporter,
}

impl Witness {
    /// A witness over OpenDAL's own transport; [`crate::error::Kind::Config`] if the row cannot
    /// do what `policy` asks.
    pub(super) fn new(
        row: Arc<Provider>,
        policy: Option<Policy>,
        endpoint: Option<&str>,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let required = match &policy {
            Some(policy) => sse::required(&row, &policy.mode)?,
            None => Vec::new(),
        };
        let endpoint = endpoint.and_then(|endpoint| endpoint.parse::<http::Uri>().ok());
        let host = endpoint.and_then(|uri| uri.host().map(str::to_owned));
        Ok(Self { row, policy, required, host, counters, inner: HttpTransporter::default() })
    }

    /// The same witness over another transport.
    pub(super) fn watching(self, inner: HttpTransporter) -> Self {
        Self { inner, ..self }
    }

    /// What a request does to the store; `None`: it goes elsewhere (for credentials).
    fn access(&self, request: &Request<Buffer>) -> Option<Access> {
        match request.extensions().get::<Operation>() {
            Some(Operation::Read) => Some(Access::Read),
            Some(Operation::Stat) => Some(Access::Describe),
            Some(Operation::List) => Some(Access::List),
            Some(Operation::Delete) => Some(Access::Delete),
            Some(_) => Some(Access::Write),
            None => self.unmarked(request),
        }
    }

    /// A request that OpenDAL did not mark: an object's if it goes to the store and names one.
    fn unmarked(&self, request: &Request<Buffer>) -> Option<Access> {
        let (ours, asked) = (self.host.as_deref()?, request.uri().host()?);
        let to_store = asked == ours || asked.ends_with(&format!(".{ours}"));
        if !to_store || request.uri().path().len() <= 1 {
            return None;
        }
        match *request.method() {
            Method::GET => Some(Access::Read),
            Method::HEAD => Some(Access::Describe),
            Method::DELETE => Some(Access::Delete),
            _ => Some(Access::Write),
        }
    }

    /// Why a request must not leave, if it must not.
    fn objection(&self, trust: Trust, access: Access, request: &Request<Buffer>) -> Option<String> {
        let changes = matches!(access, Access::Write | Access::Delete);
        if changes && self.policy.is_none() {
            return Some("this operator may only read".to_owned());
        }
        let named = request.extensions().get::<ServiceOperation>().map_or("", |named| named.0);
        let headers = request.headers();
        let forbidden = || rules::forbidden(&self.row, self.mode(), access, named, headers);
        // A measurement asks whether the row is right to forbid it.
        if let Some(why) = (trust != Trust::Measure).then(forbidden).flatten() {
            return Some(why);
        }
        if access != Access::Write {
            return None;
        }
        if PARTS.contains(&named) || AZURE_PARTS.contains(&named) {
            return Some(format!("{named} would store an object in parts"));
        }
        let lacking = sse::missing(&self.required, headers)?;
        Some(format!("the write does not carry `{}` as the policy demands", lacking.header))
    }

    fn mode(&self) -> &SseMode {
        self.policy.as_ref().map_or(&SseMode::None, |policy| &policy.mode)
    }

    /// The row's rule that this answer is a refusal of encryption for good, if it is one.
    fn refusal(&self, trust: Trust, access: Access, seen: &Seen) -> Option<SseRefusal> {
        if access != Access::Write || *self.mode() == SseMode::None {
            return None;
        }
        let answer = Refused {
            status: seen.status?,
            code: seen.code.as_deref().unwrap_or_default(),
            message: seen.message.as_deref().unwrap_or_default(),
            scope: match trust {
                Trust::MayPass => RefusalScope::Always,
                Trust::Probe | Trust::Measure => RefusalScope::Probe,
            },
            mode: self.mode(),
        };
        self.row.refusal(answer).cloned()
    }

    /// Reads an error document, and gives the answer back, cut if it is endless.
    async fn read_error(
        &self,
        answer: Response<HttpBody>,
    ) -> opendal::Result<(Response<HttpBody>, Seen)> {
        let (parts, body) = answer.into_parts();
        let document = beginning(body, DOCUMENT_BYTES_MAX).await?;
        let length = document.len() as u64;
        let text = String::from_utf8_lossy(&document.to_bytes()).into_owned();
        let seen = Seen {
            status: Some(parts.status.as_u16()),
            code: error_code(&parts.headers, &text),
            message: between(&text, "<Message>", "</Message>").map(|words| one_line(&words)),
            ..Seen::default()
        };
        let body = HttpBody::new(futures::stream::iter([Ok(document)]), Some(length));
        Ok((Response::from_parts(parts, body), seen))
    }

    async fn watch(
        &self,
        access: Access,
        request: Request<Buffer>,
    ) -> opendal::Result<Response<HttpBody>> {
        let call = CALL.try_with(Call::clone).ok();
        let trust = call.as_ref().map_or(Trust::MayPass, |call| call.trust);
        let note = |seen: Seen| {
            if let Some(call) = &call {
                *call.seen.lock() = seen;
            }
        };
        if let Some(objection) = self.objection(trust, access, &request) {
            note(Seen { blocked: Some(objection.clone()), ..Seen::default() });
            return Err(opendal::Error::new(ErrorKind::Unsupported, objection));
        }
        note(Seen::default());
        self.counters.request(access);
        self.counters.sent(request.body().len());
        let named = request.extensions().get::<ServiceOperation>().map_or("", |named| named.0);
        let answer = self.inner.fetch(request).await?;
        let headers = (trust == Trust::Measure).then(|| answer.headers().clone());
        if is_error(answer.status()) {
            let (answer, mut seen) = self.read_error(answer).await?;
            seen.headers = headers;
            seen.refusal = self.refusal(trust, access, &seen);
            let refused = seen.refusal.clone();
            note(seen);
            return match refused {
                None => Ok(answer),
                Some(rule) => Err(opendal::Error::new(ErrorKind::PermissionDenied, rule.meaning)),
            };
        }
        if self.row.service == Service::S3 && answered::concerns(named) {
            let (answer, seen) = answered::read(named, answer, &self.counters).await?;
            note(Seen { headers, ..seen });
            return answer;
        }
        let evidence = match access {
            Access::Write => Some(Evidence::Write),
            Access::Describe => Some(Evidence::Head),
            _ => None,
        };
        let judge = |evidence| sse::judge(&self.row, self.mode(), evidence, answer.headers());
        #[cfg(feature = "testing")]
        let judge = |evidence| match super::sabotage::witness_is_off() {
            true => Posture::Confirmed { mode: "AES256".to_owned(), key: None },
            false => judge(evidence),
        };
        note(Seen {
            status: Some(answer.status().as_u16()),
            posture: evidence.map(judge),
            headers,
            ..Seen::default()
        });
        let counters = self.counters.clone();
        Ok(answer.map(|body| {
            body.map_inner(|stream| {
                Box::new(stream.inspect(move |chunk| {
                    counters.received(chunk.as_ref().map_or(0, Buffer::len));
                }))
            })
        }))
    }
}

impl HttpTransport for Witness {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        match self.access(&request) {
            Some(access) => self.watch(access, request).await,
            None => self.inner.fetch(request).await,
        }
    }
}

/// 304 is the answer to a condition, and has no document; other redirections are not followed
/// (`layers`), so they are the end of the call.
fn is_error(status: StatusCode) -> bool {
    !status.is_success() && status != StatusCode::NOT_MODIFIED
}

fn error_code(headers: &HeaderMap, document: &str) -> Option<String> {
    let named = headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
    let code = named.map(str::to_owned).or_else(|| between(document, "<Code>", "</Code>"));
    code.map(|code| one_line(&code))
}

/// The first bytes of a body, about `bytes_max` of them.
async fn beginning(mut body: HttpBody, bytes_max: usize) -> opendal::Result<Buffer> {
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    while bytes < bytes_max {
        let piece = body.read().await?;
        if piece.is_empty() {
            break;
        }
        bytes += piece.len();
        pieces.extend(piece);
    }
    Ok(Buffer::from(pieces))
}

/// A stranger's words, fit for a log and a terminal.
fn one_line(words: &str) -> String {
    let plain = words.chars().map(|each| if each.is_control() { ' ' } else { each });
    plain.take(WORDS_MAX).collect()
}

fn between(text: &str, open: &str, close: &str) -> Option<String> {
    let rest = &text[text.find(open)? + open.len()..];
    Some(rest[..rest.find(close)?].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::rows;

    struct Nowhere;

    impl HttpTransport for Nowhere {
        async fn fetch(&self, _: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
            panic!("nothing may be sent");
        }
    }

    fn witness(mode: Option<SseMode>) -> Witness {
        let (row, counters) = (Arc::new(rows::minio()), Arc::default());
        let nowhere = HttpTransporter::new(Nowhere);
        let endpoint = Some("http://127.0.0.1:9000");
        Witness::new(row, mode.map(rows::policy), endpoint, counters).unwrap().watching(nowhere)
    }

    fn request(
        method: &str,
        marks: Option<(Operation, &'static str)>,
        header: Option<&str>,
    ) -> Request<Buffer> {
        let mut request = Request::builder().method(method).uri("http://127.0.0.1:9000/bucket/a");
        if let Some((operation, named)) = marks {
            request = request.extension(operation).extension(ServiceOperation(named));
        }
        if let Some(value) = header {
            request = request.header(sse::SSE, value);
        }
        request.body(Buffer::new()).unwrap()
    }

    #[test]
    fn a_write_leaves_only_with_what_the_policy_demands() {
        let aes = Some(SseMode::Aes256);
        let (put, copy) = ((Operation::Write, "PutObject"), (Operation::Copy, "CopyObject"));
        let part = (Operation::Write, "UploadPart");
        let complete = (Operation::Write, "CompleteMultipartUpload");
        let cases = [
            (&aes, "PUT", Some(put), Some("AES256"), true),
            (&aes, "PUT", Some(copy), Some("AES256"), true),
            (&aes, "PUT", Some(put), None, false),
            (&aes, "PUT", Some(put), Some("aws:kms"), false),
            (&aes, "PUT", Some(copy), None, false),
            (&aes, "PUT", None, None, false),
            (&aes, "PUT", Some(part), Some("AES256"), false),
            (&aes, "POST", Some(complete), Some("AES256"), false),
            (&aes, "GET", Some((Operation::Read, "GetObject")), None, true),
            (&aes, "POST", Some((Operation::Delete, "DeleteObjects")), None, true),
            (&Some(SseMode::None), "PUT", Some(put), None, true),
            (&Some(SseMode::None), "PUT", Some(part), None, false),
            (&None, "PUT", Some(put), Some("AES256"), false),
            (&None, "DELETE", Some((Operation::Delete, "DeleteObject")), None, false),
            (&None, "GET", Some((Operation::Read, "GetObject")), None, true),
        ];
        for (mode, method, marks, header, leaves) in cases {
            let (witness, request) = (witness(mode.clone()), request(method, marks, header));
            let access = witness.access(&request).unwrap();
            let objection = witness.objection(Trust::MayPass, access, &request);
            assert_eq!(objection.is_none(), leaves, "{mode:?} {method} {marks:?} {header:?}");
        }
    }

    #[test]
    fn a_measurement_may_ask_for_what_the_row_forbids() {
        let mut witness = witness(Some(SseMode::None));
        witness.row = Arc::new(rows::row("wasabi"));
        let mut put = request("PUT", Some((Operation::Write, "PutObject")), None);
        put.headers_mut().insert("if-none-match", http::HeaderValue::from_static("*"));
        let objection = |trust| witness.objection(trust, Access::Write, &put);
        assert!(objection(Trust::MayPass).is_some());
        assert_eq!(objection(Trust::Measure), None);
    }

    #[tokio::test]
    async fn what_must_not_leave_is_never_sent_and_the_caller_learns_why() {
        let witness = witness(Some(SseMode::Aes256));
        let put = request("PUT", Some((Operation::Write, "PutObject")), None);
        let (result, seen) = watched(Trust::MayPass, witness.fetch(put)).await;
        assert!(!result.err().unwrap().is_temporary());
        assert!(seen.blocked.unwrap().contains(sse::SSE));
    }

    #[test]
    fn what_may_pass_is_a_refusal_only_while_probing() {
        let mut witness = witness(Some(SseMode::Aes256));
        let seen = |status, code: &str| Seen {
            status: Some(status),
            code: Some(code.to_owned()),
            ..Seen::default()
        };
        for (trust, seen, refused) in [
            (Trust::Probe, seen(500, "InternalError"), true),
            (Trust::MayPass, seen(500, "InternalError"), false),
            (Trust::MayPass, seen(501, "NotImplemented"), true),
            (Trust::Probe, seen(503, "SlowDown"), false),
            (Trust::Probe, seen(400, "InvalidArgument"), true),
            (Trust::MayPass, seen(400, "InvalidArgument"), false),
        ] {
            let name = if seen.status == Some(501) { "minio" } else { "s3" };
            witness.row = Arc::new(rows::row(name));
            let rule = witness.refusal(trust, Access::Write, &seen);
            assert_eq!(rule.is_some(), refused, "{trust:?} {seen:?}");
        }
    }

    #[tokio::test]
    async fn an_endless_error_document_is_cut() {
        let piece = || Ok(Buffer::from(vec![b'x'; 10_000]));
        let endless = futures::stream::iter(std::iter::repeat_with(piece));
        let read = beginning(HttpBody::new(endless, None), DOCUMENT_BYTES_MAX).await.unwrap();
        assert_eq!(read.len(), 70_000);
        let whole = HttpBody::new(futures::stream::iter([piece(), piece()]), Some(20_000));
        assert_eq!(beginning(whole, DOCUMENT_BYTES_MAX).await.unwrap().len(), 20_000);
        assert_eq!(one_line("a\nb\u{1b}[2J"), "a b [2J");
        assert_eq!(one_line(&"ü".repeat(1000)).chars().count(), WORDS_MAX);
    }

    #[test]
    fn a_refusal_is_known_by_its_message_and_its_mode_too() {
        let rule = |row: &str, mode: &SseMode, code: &str, message: &str| {
            let mut witness = witness(Some(SseMode::Aes256));
            witness.row = Arc::new(rows::row(row));
            witness.policy = Some(rows::policy(mode.clone()));
            let status = if code == "AccessDenied" { 403 } else { 400 };
            let (code, message) = (Some(code.to_owned()), Some(message.to_owned()));
            let seen = Seen { status: Some(status), code, message, ..Seen::default() };
            witness.refusal(Trust::Probe, Access::Write, &seen).map(|rule| rule.hint)
        };
        let vault = rule(
            "ceph-rgw",
            &SseMode::Aes256,
            "InvalidArgument",
            "Request specifies Server Side Encryption, but no vault",
        );
        assert!(vault.unwrap().contains("rgw_crypt_sse_s3_backend"));
        let kms = SseMode::Kms("k".to_owned());
        let key = rule("ceph-rgw", &kms, "InvalidArgument", "");
        assert!(key.unwrap().contains("a key the gateway knows"));
        let own = SseMode::CustomerKeyFile("/k".into());
        let blocked = rule("amazon-s3", &own, "AccessDenied", "Access Denied");
        assert!(blocked.unwrap().contains("BlockedEncryptionTypes"));
        assert_eq!(rule("amazon-s3", &kms, "AccessDenied", "Access Denied"), None);
    }
}
