//! The double's socket side: HTTP in, HTTP out, latency, throttle, lost answers, the record.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::Response;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use super::Action;
use super::Presence;
use super::Seen;
use super::State;
use super::service;
use super::service::Asked;
use super::service::Reply;

/// Serves until `stopped` resolves.
pub fn run(listener: TcpListener, state: Arc<Mutex<State>>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime needs only memory and a thread");
    runtime.block_on(async move {
        tokio::select! {
            _ = stopped => {}
            () = accept(listener, state) => {}
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    listener.set_nonblocking(true).expect("a fresh socket takes every mode");
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is not blocking");
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        if lock(&state).mood.presence == Presence::Gone {
            continue;
        }
        let _small_answers_leave_at_once = socket.set_nodelay(true);
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, state.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            let _closed = connection.await;
        });
    }
}

/// An `Err` closes the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut asked = Asked::parse(&head);
    asked.body = body;
    wait_for_the_wire(&state, asked.body.len()).await;

    let (reply, lost) = {
        let mut state = lock(&state);
        let ordinal = state.record.len() + 1;
        let busy = state.mood.busy_at_every.is_some_and(|nth| ordinal.is_multiple_of(nth));
        let reply = match state.mood.presence {
            Presence::There if busy => Some(Reply::error(503, "SlowDown", "Slow down.")),
            Presence::There => Some(service::reply(&mut state, &asked)),
            Presence::Busy => Some(Reply::error(503, "SlowDown", "Please reduce your rate.")),
            Presence::Gone => None,
        };
        let lost = reply.is_none() || loses_answer(&mut state, asked.action);
        let status = if lost { 0 } else { reply.as_ref().map_or(0, |reply| reply.status) };
        state.record.push(Seen {
            action: asked.action,
            key: asked.key.clone(),
            authorization: asked.header("authorization").unwrap_or_default().to_owned(),
            sse: asked.header("x-amz-server-side-encryption").map(str::to_owned),
            status,
            bytes_in: asked.body.len() as u64,
        });
        (reply, lost)
    };
    match reply {
        Some(reply) if !lost => {
            wait_for_the_wire(&state, reply.body.len()).await;
            Ok(response(reply, asked.action))
        }
        _ => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the double is silent")),
    }
}

fn loses_answer(state: &mut State, action: Action) -> bool {
    if action != Action::PutObject {
        return false;
    }
    let Some(left) = &mut state.mood.lose_answer_of_put else { return false };
    *left -= 1;
    let lost = *left == 0;
    if lost {
        state.mood.lose_answer_of_put = None;
    }
    lost
}

/// Waits until `bytes` have passed the throttled wire, and once for the latency.
async fn wait_for_the_wire(state: &Mutex<State>, bytes: usize) {
    let until = {
        let mut state = lock(state);
        let now = Instant::now();
        let latency = state.mood.latency / 2;
        let passed = state.mood.bytes_per_second.map(|rate| {
            let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
            let free = state.wire_free.map_or(now, |free| free.max(now)) + takes;
            state.wire_free = Some(free);
            free
        });
        passed.unwrap_or(now) + latency
    };
    if until > Instant::now() {
        tokio::time::sleep_until(until.into()).await;
    }
}

fn response(reply: Reply, action: Action) -> Response<Full<Bytes>> {
    let mut headers = HeaderMap::new();
    for (name, value) in reply.headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).expect("names come from here");
        headers.insert(name, value.parse().expect("values come from here or from a header"));
    }
    let length = reply.length.unwrap_or(reply.body.len() as u64);
    if reply.status != 304 {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    let body = if action == Action::HeadObject { Bytes::new() } else { reply.body };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = http::StatusCode::from_u16(reply.status).expect("a known status");
    *response.headers_mut() = headers;
    response
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
