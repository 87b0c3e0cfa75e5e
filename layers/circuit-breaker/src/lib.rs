//! Tower layer with keyed circuit breakers that sample a reply at its end, not at its head.
//!
//! A circuit is **closed** until its provider fails too often: so many times in a row, too large a
//! share of a sliding window, or too many slow replies. Then it is **open**: requests are refused
//! at once with [`CircuitOpen`]. After a while (longer each time it opens again) it is
//! **half-open**: a few trial requests find out whether the provider is back. If they succeed it
//! closes, at once or **ramping** up; if one fails it opens again. A refused credential or an empty
//! account **benches** the key. All times, counts and weights are in [`Config`].
//!
//! The key is whatever a closure finds in the request; here, the provider. Everything else is as
//! it comes: five failures in a row open a circuit for 300 s, and [`ByFailure`] judges replies.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, request::Parts};
//! use http_body_util::Empty;
//! use tollway_circuit_breaker::{CircuitBreakerLayer, CircuitOpen, Config, State};
//! use tollway_core::find_error;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let provider = |request: &Parts| request.uri.host().map(str::to_owned);
//! let layer = CircuitBreakerLayer::new(Config::default(), provider)?;
//! let circuits = layer.handle();
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(|_: Request<()>| async {
//!     let mut down = Response::new(Empty::<bytes::Bytes>::new());
//!     *down.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
//!     Ok::<_, Infallible>(down)
//! }));
//!
//! let request = || Request::get("https://api.example.com/").body(()).unwrap();
//! for _ in 0..5 {
//!     assert_eq!(service.clone().oneshot(request()).await?.status(), 500);
//! }
//! let refused = service.clone().oneshot(request()).await.unwrap_err();
//! let refused = find_error::<CircuitOpen>(&*refused).unwrap();
//! assert!(refused.retry_after().unwrap().as_secs() > 290);
//! assert_eq!(refused.reason().to_string(), "5 failures in a row, the last: server");
//!
//! circuits.reset(&"api.example.com".to_owned());
//! assert_eq!(circuits.state(&"api.example.com".to_owned()), State::Closed);
//! # Ok(())
//! # }
//! ```
//!
//! Customised: another key, half of at least 50 calls within 30 s, timeouts that count half, a ramp,
//! a judge of one's own, one bench for all models behind a credential, and a listener.
//!
//! ```
//! use std::time::Duration;
//!
//! use http::{request, response};
//! use tollway_circuit_breaker::{CircuitBreakerLayer, Config, Event, Verdict, Weights};
//! use tollway_core::{BoxError, ErrorClass, Target};
//!
//! let config = Config {
//!     consecutive_failures: None,
//!     failure_ratio: Some(500),
//!     min_calls: 50,
//!     window: Duration::from_secs(30),
//!     ramp: Duration::from_secs(60),
//!     weights: Weights::default().with(ErrorClass::Timeout, 500),
//!     ..Config::default()
//! };
//! let target = |request: &request::Parts| request.extensions.get::<Target>().cloned();
//! let layer = CircuitBreakerLayer::new(config, target)?
//!     .with_classifier(|reply: Result<&response::Parts, &BoxError>| match reply {
//!         Ok(head) if head.status == 418 => Verdict::Ignore,
//!         Ok(head) if head.status.is_server_error() => Verdict::Failure(ErrorClass::Server),
//!         Ok(_) => Verdict::Success,
//!         Err(_) => Verdict::Failure(ErrorClass::Network),
//!     })
//!     .with_bench_together(|a, b| a.provider() == b.provider() && a.key() == b.key())
//!     .with_hook(|event: &Event<Target>| println!("{}: {:?}", event.key, event.kind));
//! assert!(layer.handle().allows(&Target::new("openai", "main", None)));
//! # Ok::<_, tollway_circuit_breaker::ConfigError>(())
//! ```
//!
//! # Advice
//!
//! Several instances of a service can spare each other: what one's circuits
//! [found](CircuitBreakerHandle::findings) is [advice](Advice) to the others
//! ([`advise`](CircuitBreakerHandle::advise)), which holds a circuit open until then, is tried like an
//! opening of its own after that, and is outranked by what the circuit sees for itself.
//!
//! # On cancel
//!
//! A request whose future is dropped, or whose reply's body is dropped before its end, counts for
//! nothing, unless the classifier had already learnt of a failure. If it was a trial, its place is
//! free again at once and the trial decides nothing. A trial whose body is kept but never read
//! gives up its place after [`Config::trial_timeout`].
//!
//! # Errors
//!
//! Everything the inner service answers passes through; [`CircuitOpen`] is the layer's own error,
//! given in place of a reply by `call`. Readiness is the inner service's.
//!
//! # Whose fault
//!
//! The key decides who suffers from a failure. If clients bring their own credentials, make the
//! credential part of the key (or find no key), or one client's bad credential benches the provider
//! for all.

mod advice;
mod classify;
mod config;
mod error;
mod events;
mod future;
mod handle;
mod layer;
mod registry;
mod sample;
mod service;
mod state;
mod sync;
mod window;

pub use advice::Advice;
pub use classify::{ByFailure, Classify, Judgement, Verdict};
pub use config::{Config, ConfigError, SlowCalls, Weights};
pub use error::CircuitOpen;
pub use events::{Event, EventKind, Reason};
pub use future::ResponseFuture;
pub use handle::{CircuitBreakerHandle, Finding, State, Status};
pub use layer::{CircuitBreakerLayer, FindKey};
pub use sample::Sample;
pub use service::CircuitBreaker;
