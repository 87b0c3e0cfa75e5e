//! Tower layer that prices the usage of every reply in integers and keeps totals.
//!
//! [`CostLayer`] watches each reply to its end. There it makes one [`Record`] (who, what, which
//! target, tokens, cost, times), tells it to a ledger's hook and adds it to [`Totals`] by user, key,
//! provider and model, by day and by month. Replies that are not streamed carry the cost in
//! [`COST_HEADER`]. Money is an integer throughout: pico-dollars a token, rounded once to
//! nano-dollars.
//!
//! | reads | from | missing means |
//! |---|---|---|
//! | [`Caller`](tollway_core::Caller) | request extensions | counted under [`NO_KEY`] |
//! | [`Ask`](tollway_core::Ask) | request extensions | nothing is estimated |
//! | [`AtWork`](tollway_core::AtWork) | request extensions | a request dropped before a head has no usage |
//! | [`Metered`](tollway_core::Metered) | response extensions, or [`CostLayer::with_meter`] | usage unknown, or estimated from the ask |
//! | [`Target`](tollway_core::Target) | response extensions | price unknown |
//!
//! # Usage
//! What the provider reported counts. Without a report a successful reply to a chat, completion,
//! response or embedding request is estimated from the ask's input tokens and the content that
//! passed, and says so ([`Usage::is_estimate`](tollway_core::Usage::is_estimate)): a client that
//! leaves early pays for what it was sent. Errors without a report, error events before any
//! content, and other operations have no usage. Unknown usage or an unknown price make an
//! unknown cost, never a zero.
//!
//! # Default
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tollway_core::{BoxError, Metered, Target, Usage};
//! use tollway_cost::{COST_HEADER, CostLayer, Dimension, Price, PriceBook};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let mut book = PriceBook::builder();
//! book.add("openai", "gpt-4o-mini", [], Price::flat("0.15".parse()?, "0.6".parse()?))?;
//! let layer = CostLayer::new(book.build());
//! let totals = layer.totals().clone();
//!
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(
//!     |_: Request<Full<Bytes>>| async {
//!         let mut response = Response::new(Full::<Bytes>::from("{}"));
//!         let meter = Metered::default();
//!         meter.report(Usage::new(1000, 500));
//!         response.extensions_mut().insert(meter);
//!         response.extensions_mut().insert(Target::new("openai", "main", Some("gpt-4o-mini".into())));
//!         Ok::<_, BoxError>(response)
//!     },
//! ));
//! let response = service.oneshot(Request::new(Full::default())).await?;
//! assert_eq!(response.headers()[COST_HEADER], "0.00045");
//! response.into_body().collect().await?;
//! let rows = totals.snapshot();
//! assert!(rows.iter().any(|row| row.dimension == Dimension::Provider && &*row.key == "openai"));
//! # Ok(()) }
//! ```
//!
//! # Customised
//! Prices from a closure, a ledger, a calendar of one's own, and usage read from a header:
//!
//! ```
//! use std::{sync::{Arc, mpsc}, time::SystemTime};
//! use bytes::Bytes;
//! use http::{Extensions, HeaderMap, Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tollway_core::{BoxError, Metered, Target, Usage};
//! use tollway_cost::{CostLayer, Price, Record, Totals, TotalsConfig};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let flat = Arc::new(Price::flat("1".parse()?, "2".parse()?));
//! let (ledger, rows) = mpsc::channel();
//! let layer = CostLayer::new(move |_: &Target, _: Option<&str>| Some(flat.clone()))
//!     .with_ledger(move |record: &Record| drop(ledger.send(record.clone())))
//!     .with_totals(Totals::new(TotalsConfig { max_keys: 100, ..TotalsConfig::default() })?)
//!     .with_clock(|| SystemTime::UNIX_EPOCH)
//!     .with_header(false)
//!     .with_meter(|headers: &HeaderMap, _: &Extensions| {
//!         let output = headers.get("x-tokens")?.to_str().ok()?.parse().ok()?;
//!         let meter = Metered::default();
//!         meter.report(Usage::new(0, output));
//!         Some(meter)
//!     });
//!
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(
//!     |_: Request<Full<Bytes>>| async {
//!         let mut response = Response::new(Full::<Bytes>::from("hello"));
//!         response.headers_mut().insert("x-tokens", 500.into());
//!         response.extensions_mut().insert(Target::new("lab", "main", None));
//!         Ok::<_, BoxError>(response)
//!     },
//! ));
//! service.oneshot(Request::new(Full::default())).await?.into_body().collect().await?;
//! assert_eq!(rows.recv()?.cost, Some("0.001".parse()?));
//! # Ok(()) }
//! ```
//!
//! # Cancel
//! Every request makes exactly one record. One whose future is dropped before a reply came is
//! [`Dropped`](tollway_core::Ending::Dropped) without status or usage; one whose body is dropped is
//! `Dropped` with what had passed by then; an inner error or a broken body is `Failed`.
//!
//! # Errors
//! The layer makes none on the request's path; the inner service's pass through with their type, so
//! it goes straight into an axum `Router`. [`ConfigError`] and [`ParseRateError`] come while building.

mod book;
mod config;
mod entry;
mod error;
mod events;
mod future;
mod handle;
mod header;
mod layer;
mod price;
mod rate;
mod service;
mod state;

pub use book::{PriceBook, PriceBookBuilder, Pricing};
pub use config::TotalsConfig;
pub use entry::Entry;
pub use error::{ConfigError, ParseRateError};
pub use events::{Event, Record};
pub use future::ResponseFuture;
pub use handle::{Row, Totals};
pub use header::COST_HEADER;
pub use layer::CostLayer;
pub use price::{Price, PromptBound, Rates, Tier};
pub use rate::Rate;
pub use service::Cost;
pub use state::Dimension;
pub use tollway_store::ledger::{NO_KEY, OTHER_KEYS, Period, Total};
