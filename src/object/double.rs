//! A small S3 server for tests. It records each request, and behaves like the stores that
//! `providers.toml` describes: also like those that lie about encryption.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::sse::SSE;

/// How the double treats encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Writes and HEADs confirm; the header on anything but a write is refused with 400.
    Amazon,
    /// Only HEADs confirm.
    ConfirmsByHead,
    /// The header is accepted and ignored.
    Ignores,
    /// Whatever has one of these in its query is answered with this status and document.
    Says(&'static [(&'static str, u16, &'static str)]),
    /// Every write is answered with this status and code.
    Refuses(u16, &'static str),
    /// Every request is sent on, with this status, to the same path elsewhere.
    Redirects(u16, SocketAddr),
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub sse: Option<String>,
}

struct Object {
    body: Bytes,
    sse: Option<String>,
    tag: String,
    attribute: Option<String>,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    objects: BTreeMap<String, Object>,
    writes: u64,
}

/// A running double; it ends with its test's runtime.
#[derive(Clone)]
pub(super) struct Double {
    pub address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    state: Arc<Mutex<State>>,
}

/// The user metadata that the double keeps.
const ATTRIBUTE: &str = "x-amz-meta-put-id";

impl Double {
    pub(super) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let double = Self {
            address: listener.local_addr().unwrap(),
            manner: Arc::new(Mutex::new(manner)),
            state: Arc::default(),
        };
        let serving = double.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let double = serving.clone();
                let service = service_fn(move |request| {
                    let double = double.clone();
                    async move { Ok::<_, Infallible>(double.answer(request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        double
    }

    pub(super) fn behave(&self, manner: Manner) {
        *self.manner.lock() = manner;
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.state.lock().records.clone()
    }

    /// Stores an object that nobody encrypted, under any key.
    pub(super) fn plant(&self, key: &str, body: &'static str) {
        let (tag, body) = ("\"0\"".to_owned(), body.into());
        let object = Object { body, sse: None, tag, attribute: None };
        self.state.lock().objects.insert(key.to_owned(), object);
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let header =
            |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let sse = header(SSE);
        let manner = *self.manner.lock();
        let mut state = self.state.lock();
        state.records.push(Record {
            method: parts.method.clone(),
            target: parts.uri.to_string(),
            sse: sse.clone(),
        });
        if let Manner::Redirects(status, elsewhere) = manner {
            let location = format!("http://{elsewhere}{}", parts.uri);
            return reply(status, &[("location", Some(location))], Bytes::new());
        }
        let query = parts.uri.query().unwrap_or("");
        let name = parts.uri.path().trim_start_matches("/bucket").trim_start_matches('/');
        if let Manner::Says(scripts) = manner
            && let Some((_, status, document)) =
                scripts.iter().find(|(asked, ..)| query.contains(asked))
        {
            return reply(*status, &[], Bytes::from_static(document.as_bytes()));
        }
        if sse.is_some() && parts.method != Method::PUT {
            return error(400, "InvalidArgument");
        }
        match parts.method {
            Method::PUT => {
                if let Manner::Refuses(status, code) = manner {
                    return error(status, code);
                }
                let there = state.objects.get(name).map(|object| object.tag.clone());
                let lost = header("if-none-match").is_some() && there.is_some();
                let stale = header("if-match").is_some_and(|tag| Some(tag) != there);
                if lost || stale {
                    return error(412, "PreconditionFailed");
                }
                state.writes += 1;
                let tag = format!("\"{}\"", state.writes);
                let kept = sse.filter(|_| manner != Manner::Ignores);
                let told = kept.clone().filter(|_| manner == Manner::Amazon);
                let attribute = header(ATTRIBUTE);
                let object = Object { body, sse: kept, tag: tag.clone(), attribute };
                state.objects.insert(name.to_owned(), object);
                reply(200, &[("etag", Some(tag)), (SSE, told)], Bytes::new())
            }
            Method::GET if query.contains("list-type=2") => listing(&state, query),
            Method::GET | Method::HEAD => {
                let Some(object) = state.objects.get(name) else { return error(404, "NoSuchKey") };
                let head = parts.method == Method::HEAD;
                read(object, header("range"), header("if-none-match"), head)
            }
            Method::DELETE => {
                state.objects.remove(name);
                reply(204, &[], Bytes::new())
            }
            Method::POST if query.contains("delete") => {
                let text = String::from_utf8(body.to_vec()).unwrap();
                for key in text.split("<Key>").skip(1) {
                    state.objects.remove(key.split('<').next().unwrap());
                }
                reply(200, &[], "<DeleteResult></DeleteResult>".into())
            }
            _ => error(501, "NotImplemented"),
        }
    }
}

fn read(
    object: &Object,
    range: Option<String>,
    unless: Option<String>,
    head: bool,
) -> Response<Full<Bytes>> {
    let size = object.body.len();
    let described = [
        ("etag", Some(object.tag.clone())),
        (SSE, object.sse.clone()),
        (ATTRIBUTE, object.attribute.clone()),
        ("last-modified", Some("Sat, 01 Nov 2025 10:00:00 GMT".to_owned())),
    ];
    if unless.as_ref() == Some(&object.tag) {
        return reply(304, &[], Bytes::new());
    }
    if head {
        let [etag, sse, attribute, modified] = described;
        let length = ("content-length", Some(size.to_string()));
        return reply(200, &[etag, sse, attribute, modified, length], Bytes::new());
    }
    let Some(range) = range else { return reply(200, &described, object.body.clone()) };
    let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    if start >= size {
        return error(416, "InvalidRange");
    }
    let end = end.parse::<usize>().unwrap().min(size - 1);
    let [etag, sse, attribute, modified] = described;
    let part = ("content-range", Some(format!("bytes {start}-{end}/{size}")));
    let body = object.body.slice(start..=end);
    reply(206, &[etag, sse, attribute, modified, part], body)
}

fn listing(state: &State, query: &str) -> Response<Full<Bytes>> {
    let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or("");
    let prefix = prefix.replace("%2F", "/");
    let entries: String = state
        .objects
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix))
        .map(|(name, object)| {
            format!(
                "<Contents><Key>{name}</Key><Size>{}</Size>\
                 <LastModified>2025-11-01T10:00:00.000Z</LastModified></Contents>",
                object.body.len()
            )
        })
        .collect();
    let document =
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>");
    reply(200, &[], document.into())
}

fn error(status: u16, code: &str) -> Response<Full<Bytes>> {
    let document = format!("<Error><Code>{code}</Code><Message>words</Message></Error>");
    reply(status, &[], document.into())
}

fn reply(status: u16, headers: &[(&str, Option<String>)], body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        if let Some(value) = value {
            answer = answer.header(*name, value);
        }
    }
    answer.body(Full::new(body)).unwrap()
}
