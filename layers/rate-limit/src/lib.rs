//! Tower layer for limits by any key, in requests, tokens, money or concurrency: reserve, then settle
//!
//! A [`Limit`] is a name and a [`Quota`]: token bucket, sliding window, calendar window, or places
//! for concurrent requests. A [`Rule`] applies it: whose quota a request draws on, how much, in
//! what [`Unit`]. All rules of a [`RateLimitLayer`] are decided in one step, all or nothing: a
//! refused request costs nothing anywhere. When the reply's body has ended, [`Settle`] tells what
//! was really used: the rest goes back, or a debt delays the requests that follow.
//!
//! # Ten requests a second
//!
//! ```
//! use std::time::Duration;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tollway_core::{BoxError, find_error};
//! use tollway_rate_limit::{Limit, LimitExceeded, Quota, RateLimitLayer, Rule, Unit};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let quota = Quota::TokenBucket { amount: 10, per: Duration::from_secs(1), burst: 1 };
//! let rule = Rule::new(Limit::new("everyone", quota)?, Unit::Requests);
//! let mut service = ServiceBuilder::new()
//!     .layer(RateLimitLayer::new([rule], ())?)
//!     .service(service_fn(|_: Request<()>| async {
//!         Ok::<_, BoxError>(Response::new(Full::new(bytes::Bytes::from("hi"))))
//!     }));
//!
//! let reply = service.ready().await?.call(Request::new(())).await?;
//! assert_eq!(reply.into_body().collect().await?.to_bytes(), "hi");
//!
//! let error = service.ready().await?.call(Request::new(())).await.unwrap_err();
//! let error = find_error::<LimitExceeded>(&*error).unwrap();
//! assert!(error.retry_after().unwrap() <= Duration::from_millis(100));
//!
//! let mut answer = Response::builder().status(429).body(())?;
//! error.write_headers(answer.headers_mut());
//! assert_eq!(answer.headers()["retry-after"], "1");
//! assert_eq!(answer.headers()["x-ratelimit-remaining-requests"], "0");
//! # Ok(()) }
//! ```
//!
//! # Tokens by user, settled to what was used
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use http::{Request, Response, request, response};
//! use http_body_util::Full;
//! use tollway_core::{BoxError, Ending};
//! use tollway_rate_limit::{
//!     Event, Key, Limit, Quota, RateLimitLayer, Rule, Settle, Unit, WhenFull,
//! };
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! /// The inner service tells what a reply used.
//! #[derive(Clone)]
//! struct Used(u64);
//!
//! struct ByReply;
//! impl Settle for ByReply {
//!     type Ticket = Option<Used>;
//!     fn open(&self, _: &request::Parts) -> Option<Used> {
//!         None
//!     }
//!     fn head(&self, ticket: &mut Option<Used>, response: &response::Parts) {
//!         *ticket = response.extensions.get().cloned();
//!     }
//!     fn spent(&self, ticket: &Option<Used>, unit: Unit, _: Ending) -> Option<u64> {
//!         ticket.as_ref().filter(|_| unit == Unit::Tokens).map(|used| used.0)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let minute = Duration::from_secs(60);
//! let tokens = Limit::builder("tokens", Quota::SlidingWindow { amount: 50_000, window: minute })
//!     .when_full(WhenFull::Wait(Duration::from_secs(15)))
//!     .warn_at(80)
//!     .build()?;
//! let user = |request: &request::Parts| request.extensions.get::<Arc<str>>().map(Key::from);
//! let layer = RateLimitLayer::builder(
//!     [Rule::new(tokens, Unit::Tokens).key(user).estimate(|_| 1_000)],
//!     ByReply,
//! )
//! .hook(|event: &Event| eprintln!("{event:?}"))
//! .build()?;
//! let handle = layer.handle();
//!
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(|_: Request<()>| async {
//!     let mut response = Response::new(Full::new(bytes::Bytes::from("hi")));
//!     response.extensions_mut().insert(Used(40));
//!     Ok::<_, BoxError>(response)
//! }));
//!
//! let ann: Arc<str> = "ann".into();
//! let request = Request::builder().extension(ann.clone()).body(())?;
//! let reply = service.oneshot(request).await?;
//! let left = || handle.standing("tokens", &Key::from(&ann)).unwrap().remaining;
//! assert_eq!(left(), 49_000, "reserved while the reply runs");
//! drop(reply);
//! assert_eq!(left(), 49_960, "and settled when it ends");
//! # Ok(()) }
//! ```
//!
//! # Endings
//!
//! | the request | what is settled |
//! |---|---|
//! | its body ends, fails, or is dropped | [`Settle::spent`]; `None` keeps the estimate |
//! | the inner service fails, or the future is dropped before a head | [`Settle::failed`]: by default one request stays counted, all else goes back |
//! | is dropped while it waits | its place in line goes to the next; nothing was taken |
//!
//! What goes back to a window goes back to the moment when it was taken, so a window's promise
//! holds for what was really used. What goes back to a bucket is good for use from then on: over
//! any time, net use stays within burst and rate for that time and the longest hold together. A
//! calendar window takes back only what belongs to the present period, and its debts end with it.
//!
//! # Errors
//!
//! [`LimitExceeded`], made in `call`, and whatever the inner service answers. A request larger than
//! a limit's capacity is refused with [`never_fits`](LimitExceeded::never_fits) and no
//! `Retry-After`. Of several limits that are full the one that lasts longest is told.
//!
//! # Waiting
//!
//! With [`WhenFull::Wait`] a request stands in line at each limit that holds it up; at one key
//! nobody overtakes. Whoever makes room (a reply that ends, a waiter that leaves, time) takes for
//! the first in line and wakes that one alone. A request is refused as soon as it is known that its
//! time won't do. While it waits nothing is taken for it.
//!
//! # Downgrading
//!
//! With [`WhenFull::Downgrade`] a request that finds too little goes on and says so: what is inside
//! finds [`Downgraded`] in its extensions, with what each such limit would have answered, and sends
//! it where it costs less, or fails with that. Of such a limit nothing is reserved for it, and what
//! it used is owed.

mod config;
#[cfg(test)]
mod core_tests;
mod decide;
mod error;
mod events;
mod future;
mod generations;
#[cfg(test)]
mod generations_tests;
mod guard;
mod handle;
mod headers;
mod journal;
mod key;
mod layer;
mod limiter;
#[cfg(test)]
mod loom_tests;
mod patience;
mod queue;
mod quota;
#[cfg(test)]
mod quota_tests;
mod remote;
mod rule;
mod service;
mod settle;
mod table;

pub use config::{ConfigError, Limit, LimitBuilder, WhenFull, WhenStoreIsAway};
pub use error::{Downgraded, LimitExceeded, Standing, StoreAway};
pub use events::{Event, EventKind};
pub use future::{ResponseFuture, Waited};
pub use guard::Reservation;
pub use handle::Handle;
pub use key::{Key, Part};
pub use layer::{RateLimitLayer, RateLimitLayerBuilder};
pub use quota::{KeyQuota, Quota};
pub use rule::{Rule, Unit};
pub use service::RateLimit;
pub use settle::Settle;
pub use tollway_store::limits::{Calendar, Period, Zone, span};
