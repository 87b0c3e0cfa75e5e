//! A hyper proxy with Tollway's circuit-breaker layer and nothing else of Tollway: when the server
//! behind it keeps failing, it is left alone for a while and callers get their answer at once.
//!
//! ```text
//! cargo run -p example-circuit-breaker-hyper -- 127.0.0.1:8080
//! for i in 1 2 3 4; do curl -i http://127.0.0.1:3000/; done    # nobody is there: 502, then 503
//! python3 -m http.server 8080                                  # elsewhere; then, ten seconds later
//! curl -i http://127.0.0.1:3000/                               # a trial finds that it is back
//! ```

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    header::{HOST, RETRY_AFTER},
    http::{request::Parts, uri::Authority},
    server::conn::http1,
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tollway_circuit_breaker::{CircuitBreakerLayer, CircuitOpen, Config, ConfigError, Event};
use tollway_core::{BoxError, Hook, find_error};
use tower::{Layer, ServiceExt};

/// A circuit for each server, found by its authority: `example.com:8080`.
type KeyOf = fn(&Parts) -> Option<Authority>;

/// A breaker that opens after three failures in a row, for ten seconds at first and twice as long
/// each time the trial after it fails. `hook` hears what happens to the circuits.
///
/// What a failure is, [`ByFailure`](tollway_circuit_breaker::ByFailure) says: a 5xx, no connection,
/// a reply that breaks off. A 404 is none, and neither is a caller who hangs up.
///
/// # Errors
/// When no circuit could work by these numbers.
pub fn breaker(
    hook: impl Hook<Event<Authority>> + Send + Sync + 'static,
) -> Result<CircuitBreakerLayer<Authority, KeyOf>, ConfigError> {
    let config = Config {
        consecutive_failures: Some(3),
        open_for: Duration::from_secs(10),
        trial_requests: 1,
        trial_successes: 1,
        ..Config::default()
    };
    let key: KeyOf = |request| request.uri.authority().cloned();
    Ok(CircuitBreakerLayer::new(config, key)?.with_hook(hook))
}

/// Answers connections on `listener` for ever with what `upstream` says.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    upstream: Authority,
    breaker: CircuitBreakerLayer<Authority, KeyOf>,
) -> Result<(), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
    // Read from the bottom: aim the request, ask its circuit, send it.
    let service = breaker
        .layer(client)
        .map_result(answer)
        .map_request(move |request| aim(request, &upstream));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
}

/// Points the request at `upstream`. Takes the `Host` off, which the client then sets anew.
fn aim<B>(mut request: Request<B>, upstream: &Authority) -> Request<B> {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.scheme = Some(hyper::http::uri::Scheme::HTTP);
    uri.authority = Some(upstream.clone());
    // All three parts are there, so it is a whole URI.
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    request.headers_mut().remove(HOST);
    request
}

/// Makes an answer of a refusal, and of a failure to reach the server.
fn answer<B: Body<Data = Bytes>>(
    result: Result<Response<B>, BoxError>,
) -> Result<Response<Either<B, Full<Bytes>>>, BoxError> {
    let error = match result {
        Ok(response) => return Ok(response.map(Either::Left)),
        Err(error) => error,
    };
    let text = Full::from(format!("{error}\n"));
    let mut response = Response::new(Either::Right(text));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    if let Some(refusal) = find_error::<CircuitOpen>(&*error) {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        if let Some(wait) = refusal.retry_after() {
            // Whole seconds, rounded up: whoever waits that long is never early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
    }
    Ok(response)
}
