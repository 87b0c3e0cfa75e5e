//! A hyper proxy with Tollway's pace layer and nothing else of Tollway: the server behind it says in
//! its replies what is left of its limit, and callers wait for their turn here before it says no.
//!
//! ```text
//! cargo run -p example-pace-hyper -- 127.0.0.1:8080   # a server that tells x-ratelimit-* headers
//! for i in 1 2 3 4 5 6 7 8; do curl -i http://127.0.0.1:3000/ & done
//! ```

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    header::{HOST, RETRY_AFTER},
    http::{request, response, uri::Authority},
    server::conn::http1,
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tollway_core::{BoxError, Hook, find_error};
use tollway_pace::{Config, ConfigError, Event, PaceLayer, Paced, Reading, Told, Unit};
use tower::{Layer, ServiceExt};

/// A pace for each server, found by its authority (`example.com:8080`). Callers wait up to three
/// seconds for their turn. `hook` hears what happens.
///
/// # Errors
/// When nothing could be paced by these numbers.
pub fn pace(
    hook: impl Hook<Event<Authority>> + Send + Sync + 'static,
) -> Result<PaceLayer<Authority>, ConfigError> {
    let config = Config { patience: Duration::from_secs(3), ..Config::default() };
    let server = |request: &request::Parts| request.uri.authority().cloned();
    Ok(PaceLayer::new(config, server, reading)?.with_hook(hook))
}

/// What a reply's head tells: three headers, and the wait of a refusal; all in whole seconds.
fn reading(head: &response::Parts) -> Reading {
    let number = |name| head.headers.get(name)?.to_str().ok()?.parse().ok();
    let told = Told {
        limit: number("x-ratelimit-limit"),
        remaining: number("x-ratelimit-remaining"),
        reset: number("x-ratelimit-reset").map(Duration::from_secs),
    };
    let reading = Reading::default();
    let reading =
        if told == Told::default() { reading } else { reading.with(Unit::Requests, told) };
    let refused = head.status == StatusCode::TOO_MANY_REQUESTS;
    let wait = number(RETRY_AFTER.as_str()).filter(|_| refused).map(Duration::from_secs);
    reading.with_block(wait)
}

/// Answers connections on `listener` for ever with what `upstream` says.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    upstream: Authority,
    pace: PaceLayer<Authority>,
) -> Result<(), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
    // Read from the bottom: aim the request, wait for its turn, send it.
    let service =
        pace.layer(client).map_result(answer).map_request(move |request| aim(request, &upstream));
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
    if let Some(paced) = find_error::<Paced>(&*error) {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        // Whole seconds, rounded up: whoever waits that long is never early.
        let wait = paced.retry_after();
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    Ok(response)
}
