//! Tower layer that paces requests by what a provider says of its own limits, before it has to say no
//!
//! Providers tell in every reply's head what their limits are, what is left, and when it is full
//! again. This layer keeps, for each key (a provider's key and model, say), one gauge for requests and
//! for each kind of tokens, counts requests under way against them, and holds back whatever the
//! provider would refuse: the request waits in line for its turn, or fails with [`Paced`] before
//! anything was sent, so that a retry layer can go elsewhere. A refusal that came all the same holds
//! the key's requests back for as long as it asked.
//!
//! It can only hold back. Whatever a provider tells, limits in front of or behind this layer hold.
//!
//! A key is paced as soon as a reply told something. Here nothing waits:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//!
//! use http::{Request, Response, request, response};
//! use tollway_core::find_error;
//! use tollway_pace::{Config, PaceLayer, Paced, Reading, Told, Unit};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let number = |head: &response::Parts, name| head.headers.get(name)?.to_str().ok()?.parse().ok();
//! let reading = move |head: &response::Parts| {
//!     let told = Told {
//!         limit: number(head, "x-ratelimit-limit-requests"),
//!         remaining: number(head, "x-ratelimit-remaining-requests"),
//!         reset: number(head, "x-ratelimit-reset-requests").map(Duration::from_secs),
//!     };
//!     Reading::default().with(Unit::Requests, told)
//! };
//! let host = |request: &request::Parts| request.uri.host().map(str::to_owned);
//! let layer = PaceLayer::new(Config::default(), host, reading)?;
//! let pace = layer.handle();
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(|_: Request<()>| async {
//!     let reply = Response::builder()
//!         .header("x-ratelimit-limit-requests", 60)
//!         .header("x-ratelimit-remaining-requests", 0)
//!         .header("x-ratelimit-reset-requests", 60);
//!     Ok::<_, Infallible>(reply.body(()).unwrap())
//! }));
//!
//! let request = || Request::get("https://api.example.com/").body(()).unwrap();
//! service.clone().oneshot(request()).await?;
//! let refused = service.oneshot(request()).await.unwrap_err();
//! let refused = find_error::<Paced>(&*refused).unwrap();
//! assert!(refused.retry_after() <= Duration::from_secs(1), "one of sixty comes back a second");
//!
//! let known = pace.status(&"api.example.com".to_owned()).unwrap();
//! assert_eq!((known.gauges[0].limit, known.refused), (60, 1));
//! # Ok(())
//! # }
//! ```
//!
//! Customised: by target, tokens too, five seconds in line unless the caller can't wait, a listener.
//!
//! ```
//! use std::time::Duration;
//!
//! use http::{request, response};
//! use tollway_core::{Ask, ErrorClass, Failure, Target};
//! use tollway_pace::{Config, Event, PaceLayer, Reading, Weights};
//!
//! let target = |request: &request::Parts| request.extensions.get::<Target>().cloned();
//! let refusals = |head: &response::Parts| {
//!     let failure = head.extensions.get::<Failure>();
//!     let full = failure.filter(|failure| failure.class() == ErrorClass::RateLimit);
//!     Reading::default().with_block(full.and_then(Failure::retry_after))
//! };
//! let config = Config { max_wait: Duration::from_secs(30), ..Config::default() };
//! let layer = PaceLayer::new(config, target, refusals)?
//!     .with_weights(|request| match request.extensions.get::<Ask>() {
//!         Some(ask) => Weights::tokens(ask.input_tokens, ask.max_output_tokens.unwrap_or(500)),
//!         None => Weights::default(),
//!     })
//!     .with_patience(|request| match request.headers.contains_key("x-impatient") {
//!         true => Duration::ZERO,
//!         false => Duration::from_secs(5),
//!     })
//!     .with_hook(|event: &Event<Target>| println!("{}: {:?}", event.key, event.kind));
//! assert!(layer.handle().would_admit(&Target::new("openai", "main", None), &Weights::default()));
//! # Ok::<_, tollway_pace::ConfigError>(())
//! ```
//!
//! # What is believed
//!
//! A bucket fills evenly: the part that is missing, by the time told until it is full. A limit told
//! without a reset has the window that [`Config`] says. Replies come in any order and tell of
//! the past; each moves the gauge only as far as it contradicts it, given all that was sent
//! meanwhile. A limit that replies don't speak of any more is forgotten when it is full by what they
//! said last. Nothing told holds requests back for longer than [`Config::max_wait`]: then one goes and
//! hears the provider's next word. A request larger than the whole limit waits for a full one.
//!
//! # On cancel
//!
//! A request that is dropped in line has taken nothing, and the next one's turn comes. One that is
//! dropped after it was sent stays counted (the provider has probably counted it) until the gauge has
//! filled again or the next reply tells better. Where the inner service fails, what was taken is
//! given back.
//!
//! # Errors
//!
//! Everything the inner service answers passes through, replies and their bodies untouched;
//! [`Paced`] is the layer's own error, given in place of a reply by `call`. Readiness is the inner
//! service's.

mod config;
mod error;
mod events;
mod future;
mod gauge;
mod handle;
mod layer;
mod permit;
mod queue;
mod reading;
mod registry;
mod service;
mod state;

pub use config::{Config, ConfigError};
pub use error::Paced;
pub use events::{Event, EventKind};
pub use future::{ResponseFuture, Waited};
pub use handle::{GaugeStatus, KeyStatus, PaceHandle};
pub use layer::PaceLayer;
pub use reading::{Reading, Told, Unit, Weights};
pub use service::Pace;
