//! Tower layer that decides which targets may answer a request, in which order, and why.
//!
//! It writes a [`Plan`](tollway_core::Plan) into the request's extensions; a service behind it (a
//! retry layer, say) walks the plan. One route that sends everything to one place, with a second
//! for when the first is out:
//!
//! ```
//! use tollway_core::{Ask, Operation, Plan, Target};
//! use tollway_route::{Match, Route, RouteLayer, Router, Strategy};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tollway_core::BoxError> {
//! let router = Router::new([Route {
//!     name: "all".into(),
//!     when: Match::default(),
//!     strategy: Strategy::Failover,
//!     targets: vec![
//!         Target::new("openai", "default", None).into(),
//!         Target::new("groq", "default", Some("llama".into())).into(),
//!     ],
//! }])?;
//! let service = RouteLayer::new(router).layer(service_fn(|request: http::Request<()>| async move {
//!     let plan = request.extensions().get::<Plan>().unwrap();
//!     let order: Vec<_> = plan.candidates.iter().map(|c| c.target.to_string()).collect();
//!     Ok::<_, std::convert::Infallible>(http::Response::new(order))
//! }));
//!
//! let mut request = http::Request::new(());
//! request.extensions_mut().insert(Ask::new(Operation::ChatCompletions).with_model("gpt-4o"));
//! let order = service.oneshot(request).await?.into_body();
//! assert_eq!(order, ["openai/gpt-4o", "groq/llama"]);
//! # Ok(())
//! # }
//! ```
//!
//! Weights, an alias, a target that is out, and a listener:
//!
//! ```
//! use tollway_core::{Ask, Operation, Target, find_error};
//! use tollway_route::{
//!     Availability, Event, Match, NoRoute, Route, RouteLayer, RouteTarget, Router, Strategy,
//! };
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tollway_core::BoxError> {
//! let route = Route {
//!     name: "gpt".into(),
//!     when: Match::model("gpt-*".parse()?),
//!     strategy: Strategy::Weighted,
//!     targets: vec![
//!         RouteTarget::new(Target::new("openai", "default", None), 60),
//!         RouteTarget::new(Target::new("azure", "default", None), 40),
//!     ],
//! };
//! let router = Router::with_aliases([route], [("fast", "gpt-4o-mini")])?;
//! let layer = RouteLayer::with(
//!     router,
//!     |target: &Target| match &**target.provider() {
//!         "openai" => Availability::BreakerOpen,
//!         _ => Availability::Ready,
//!     },
//!     |event: &Event| {
//!         if let Event::Routed(plan) = event {
//!             assert_eq!(plan.candidates[0].target.to_string(), "azure/gpt-4o-mini");
//!             assert_eq!(plan.rejected[0].reason, "breaker open");
//!         }
//!     },
//! );
//! let service = layer.layer(service_fn(|_: http::Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(http::Response::new(()))
//! }));
//!
//! let ask = |model: &str| {
//!     let mut request = http::Request::new(());
//!     request.extensions_mut().insert(Ask::new(Operation::ChatCompletions).with_model(model));
//!     request
//! };
//! service.clone().oneshot(ask("fast")).await?;
//! let error = service.oneshot(ask("gtp-4o-mini")).await.unwrap_err();
//! assert_eq!(find_error::<NoRoute>(&*error).unwrap().nearest(), ["gpt-4o-mini"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Pools
//!
//! A target may be a pool of places that are as good as each other, such as several keys of one
//! provider ([`RouteTarget`]). A strategy takes a pool for one target: weights and turns are the
//! pool's, whatever the number of its members. The plan names the pool's members one behind the
//! other, the first by weight; members that are out are passed over alone.
//!
//! # Errors
//!
//! [`NoRoute`], in the chain of the boxed error: answer with 404. Errors of the inner service pass
//! through.
//!
//! # Cancellation
//!
//! The decision is made in `call`; dropping the future drops the inner one and leaves nothing but
//! the turn it took under [`Strategy::RoundRobin`] and [`Strategy::Weighted`].
//!
//! # Cost
//!
//! While every target is ready, plans are made once for each route, model and choice and then shared: no
//! allocation but `http`'s for the extension slot. While some are out, one more: the list of them.
//! The shared state is bounded whatever model names clients make up.

pub mod auto;
mod availability;
mod error;
mod events;
mod future;
mod glob;
mod layer;
mod matching;
mod nearest;
mod pool;
mod route;
mod router;
mod service;
mod strategy;

pub use availability::{Availability, TargetState};
pub use error::{ConfigError, NoRoute};
pub use events::Event;
pub use future::ResponseFuture;
pub use glob::Glob;
pub use layer::RouteLayer;
pub use matching::{CallerMatch, Facts, HeaderMatch, Match, TagMatch, shadows};
pub use route::{Member, Route, RouteTarget};
pub use router::Router;
pub use service::RouteService;
pub use strategy::Strategy;
