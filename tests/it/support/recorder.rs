//! A recording proxy before a real server. Requests and answers pass unchanged, and what a request
//! asked for, what it carried and how it was answered is kept.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::Response;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::s3_double::Action;
use super::s3_double::Asked;

/// A request that passed, and its answer.
#[derive(Debug, Clone)]
pub struct Passed {
    /// What it asked for, in S3's words.
    pub action: Action,
    /// The first part of the path: at S3 the bucket.
    pub bucket: String,
    /// The rest of it: at S3 the key.
    pub key: String,
    /// Its headers.
    pub sent: HeaderMap,
    /// The answer's status; 0 when there was none.
    pub status: u16,
    /// The answer's headers.
    pub answered: HeaderMap,
}

impl Passed {
    /// Whether it creates an object: by S3's words, which are Azure's too, or by Google's.
    pub fn creates(&self) -> bool {
        self.action.creates() || self.bucket == "upload"
    }

    /// Every header sent that asks for encryption, at any provider.
    pub fn asks(&self) -> Vec<(&str, &str)> {
        let asks = |name: &str| name.contains("encryption");
        let text = |value: &'_ http::HeaderValue| value.to_str().is_ok();
        let headers = self.sent.iter().filter(|(name, value)| asks(name.as_str()) && text(value));
        headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    /// A header of the answer.
    pub fn answer(&self, name: &str) -> Option<&str> {
        self.answered.get(name).and_then(|value| value.to_str().ok())
    }
}

type Record = Arc<Mutex<Vec<Passed>>>;

/// A running proxy; it ends when this is dropped.
pub struct Recorder {
    address: String,
    record: Record,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Recorder {
    /// Starts one on a free loopback port, before the server at `address` (`HOST:PORT`), which
    /// need not be there yet.
    pub fn before(address: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let record = Record::default();
        let (stop, stopped) = oneshot::channel();
        let (shared, server) = (record.clone(), address.to_owned());
        let thread = std::thread::spawn(move || run(listener, &server, &shared, stopped));
        Self { address: own, record, stop: Some(stop), thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Every request so far, in the order in which the answers came.
    pub fn record(&self) -> Vec<Passed> {
        lock(&self.record).clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn run(listener: TcpListener, server: &str, record: &Record, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            _ = stopped => {}
            () = accept(listener, server, record) => {}
        }
    });
}

async fn accept(listener: TcpListener, server: &str, record: &Record) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let _small_answers_leave_at_once = socket.set_nodelay(true);
        let (server, record) = (server.to_owned(), record.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| pass(request, &server, &record));
            let connection = server::Builder::new().serve_connection(TokioIo::new(socket), service);
            let _closed = connection.await;
        });
    }
}

/// Passes a request on, over a connection of its own. An `Err` closes the asker's connection
/// without an answer, as the server did.
async fn pass(
    request: Request<Incoming>,
    server: &str,
    record: &Record,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let asked = Asked::parse(&head);
    let body = Full::new(body.collect().await.map_err(io::Error::other)?.to_bytes());
    let answer = exchange(Request::from_parts(head, body), server).await;
    lock(record).push(Passed {
        action: asked.action,
        bucket: asked.bucket,
        key: asked.key,
        sent: asked.headers,
        status: answer.as_ref().map_or(0, |answer| answer.status().as_u16()),
        answered: answer.as_ref().map_or_else(|_| HeaderMap::new(), |got| got.headers().clone()),
    });
    answer
}

async fn exchange(
    request: Request<Full<Bytes>>,
    server: &str,
) -> io::Result<Response<Full<Bytes>>> {
    let socket = TcpStream::connect(server).await?;
    let _small_requests_leave_at_once = socket.set_nodelay(true);
    let (mut sender, connection) =
        client::handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Response::from_parts(head, Full::new(body)))
}

fn lock(record: &Record) -> MutexGuard<'_, Vec<Passed>> {
    record.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
