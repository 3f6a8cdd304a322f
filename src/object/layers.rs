//! What lies between a call and the wire, as one list, from the outside in.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use futures::Stream;
use futures::StreamExt;
use http::Request;
use http::Response;
use opendal::Buffer;
use opendal::ErrorKind;
use opendal::HttpBody;
use opendal::HttpTransport;
use opendal::HttpTransporter;
use opendal::OperationContext;
use opendal::Operator;
use opendal::layers::ConcurrentLimitLayer;
use opendal::layers::RetryEvent;
use opendal::layers::RetryLayer;
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::redirect::Policy;

use super::counts::Health;
use super::explain::root_cause;
use super::witness::Witness;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Calls under way at once; more wait. Twice what saturates a fast store with 4 MiB objects.
const CALLS_MAX: usize = 64;

/// Tries after the first one. Longer absences are waited out above, where the caller knows how.
const RETRIES_MAX: usize = 3;

/// An answer's headers, and each piece of its body, must come within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A body may take longer than [`ANSWER_WITHIN`] as long as it flows at this speed.
const BYTES_PER_SECOND_MIN: u64 = 256 * 1024;

/// Puts the layers around an operator.
pub(super) fn stack(operator: Operator, witness: Witness, health: Arc<Health>) -> Result<Operator> {
    // OpenDAL applies layers from the inside out, so this list reads from the bottom up.
    let stacked = watched(operator, witness)?
        // Passing trouble is tried again here, and nowhere else.
        .layer(
            RetryLayer::new()
                .with_max_times(RETRIES_MAX)
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(Duration::from_secs(2))
                .with_jitter()
                // `status` shows trouble at its first sign, not when the last try has failed.
                .with_notify(move |event: RetryEvent<'_>| {
                    health.trouble(format!("trying again: {}", root_cause(event.err)));
                }),
        )
        // Outermost, so that a call that is being retried still counts as one under way.
        .layer(ConcurrentLimitLayer::new(CALLS_MAX));
    Ok(stacked)
}

/// Puts only what must be around every operator: for measurements, where one request is one answer.
pub(super) fn watched(operator: Operator, witness: Witness) -> Result<Operator> {
    // Time limits per request, inside the retries: a retry gets its own time.
    let transport = HttpTransporter::new(Deadline(transport()?));
    // The witness sees each try, and sits below everything that could change a request.
    let transport = HttpTransporter::new(witness.watching(transport));
    Ok(operator.with_context(OperationContext::new().with_http_transport(transport)))
}

/// The wire, whose connections all volumes share. A redirection is the end of a call: what follows
/// it would carry a customer's key to whatever host the answer names, and take that host's word for
/// the store's.
pub(super) fn transport() -> Result<HttpTransporter> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let client = match CLIENT.get() {
        Some(client) => client,
        None => {
            let built = reqwest::Client::builder().redirect(Policy::none()).build();
            let built = built.map_err(|cause| {
                Error::new(Kind::Internal, "there is no HTTP client, so no store can be reached")
                    .hint("check this machine's TLS certificates and its proxy settings")
                    .because(cause)
            })?;
            CLIENT.get_or_init(|| built)
        }
    };
    Ok(HttpTransporter::new(ReqwestTransport::new(client.clone())))
}

/// The same without what OpenDAL simulates: a HEAD of a name that ends with `/` asks about that
/// object, not whether something lies below it.
pub(super) fn exact(operator: &Operator) -> Operator {
    let service = operator.base_service().clone();
    let bare = Operator::from_parts(operator.base_context().clone(), service);
    bare.layer(RetryLayer::new().with_max_times(RETRIES_MAX).with_jitter())
}

/// A transport that gives up on a silent store.
struct Deadline(HttpTransporter);

impl HttpTransport for Deadline {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let upload = Duration::from_secs(request.body().len() as u64 / BYTES_PER_SECOND_MIN);
        let answer = tokio::time::timeout(ANSWER_WITHIN + upload, self.0.fetch(request)).await;
        let answer = answer.map_err(|_| silent())??;
        Ok(answer.map(|body| body.map_inner(|stream| Box::new(Box::pin(patient(stream))))))
    }
}

type Body = Box<dyn Stream<Item = opendal::Result<Buffer>> + Send + Sync + Unpin>;

fn patient(stream: Body) -> impl Stream<Item = opendal::Result<Buffer>> + Send + Sync {
    futures::stream::unfold(Some(stream), async |stream| {
        let mut stream = stream?;
        match tokio::time::timeout(ANSWER_WITHIN, stream.next()).await {
            Ok(piece) => piece.map(|piece| (piece, Some(stream))),
            Err(_) => Some((Err(silent()), None)),
        }
    })
}

fn silent() -> opendal::Error {
    let seconds = ANSWER_WITHIN.as_secs();
    let sentence = format!("no answer within {seconds} seconds");
    opendal::Error::new(ErrorKind::Unexpected, sentence).set_temporary()
}
