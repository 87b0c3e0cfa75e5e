//! A hyper client with Tollway's retry layer and nothing else of Tollway: it goes down a list of
//! servers until one answers, waits as it is told to, and tells every attempt.
//!
//! ```text
//! cargo run -p example-retry-hyper                                  # three pretend servers
//! cargo run -p example-retry-hyper -- 127.0.0.1:8080 127.0.0.1:8081 # servers of your own
//! ```

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    http::uri::{self, Authority},
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tollway_core::{BoxError, Candidate, Plan, Target};
use tollway_retry::{Config, ConfigError, Event, RetryLayer, Settings};
use tower::{Layer, Service, service_fn};

/// A body that is whole in memory, so that it can be sent again. For one that is not, see
/// [`OnceBody`](tollway_retry::OnceBody).
pub type Body = Full<Bytes>;

/// The order in which to try `servers`. Put it into a request's extensions; the same plan serves
/// every request. Without a plan the retry layer repeats at the one place that the URI names.
pub fn plan(servers: impl IntoIterator<Item = Authority>) -> Plan {
    // A server, the name of the key used there, and a model: here only the first matters.
    let target = |server: Authority| Target::new(server.as_str(), "none", None);
    let candidate = |server| Candidate::new(target(server), "in the order given");
    Plan::new("all", "failover", servers.into_iter().map(candidate))
}

/// A client that retries.
///
/// # Errors
/// When the settings contradict each other.
pub fn client() -> Result<
    impl Service<Request<Body>, Response = Response<Incoming>, Error = BoxError, Future: Send>
    + Clone
    + Send
    + 'static,
    ConfigError,
> {
    let config = Config::new(Settings {
        attempts: 4,
        // A server that says how long to wait is obeyed up to here, and never asked sooner.
        obey_up_to: Duration::from_secs(5),
        ..Settings::default()
    })?;
    // Repeats at the same server draw on a budget, so that a fleet of clients can't bring a weak
    // server down; `RetryBuilder::budget` sets another.
    let retry = RetryLayer::builder(config).hook(|event: &Event| eprintln!("{event:?}")).build();
    let client = Client::builder(TokioExecutor::new()).build_http();
    Ok(retry.layer(service_fn(move |mut request: Request<Body>| {
        let client = client.clone();
        async move {
            aim(&mut request)?;
            client.request(request).await.map_err(BoxError::from)
        }
    })))
}

/// Points the request at the target of this attempt, which the retry layer has put into its
/// extensions.
fn aim(request: &mut Request<Body>) -> Result<(), uri::InvalidUriParts> {
    let Some(target) = request.extensions().get::<Target>() else { return Ok(()) };
    let server = target.provider().parse().ok();
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = server;
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(())
}
