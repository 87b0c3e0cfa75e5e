//! Tower layer that decides which targets may answer a request, in which order, and why.
//!
//! It writes a [`Plan`](tollway_core::Plan) into the request's extensions; a service behind it (a
//! retry layer, say) walks the plan. One route that sends everything to one place, with a second
//! for when the first is out:
//!
//! ```
//! use tollway_core::{Ask, Operation, Plan, Target};
//! use tollway_route::{Group, Match, Route, RouteLayer, Router, Strategy};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tollway_core::BoxError> {
//! let targets = [
//!     Target::new("openai", "default", None).into(),
//!     Target::new("groq", "default", Some("llama".into())).into(),
//! ];
//! let group = Group::new(Strategy::Failover, targets);
//! let router = Router::new([Route::new("all", Match::default(), group)])?;
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
//!     Availability, Event, Group, Match, Member, NoRoute, Route, RouteLayer, Router, Strategy,
//! };
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tollway_core::BoxError> {
//! let targets = [
//!     Member::new(Target::new("openai", "default", None)).weighing(60),
//!     Member::new(Target::new("azure", "default", None)).weighing(40),
//! ];
//! let group = Group::new(Strategy::Weighted, targets);
//! let route = Route::new("gpt", Match::model("gpt-*".parse()?), group);
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
//! # Groups
//!
//! Members of a [`Group`] may be groups themselves, to any sensible depth; several keys of one
//! provider are such a group. A strategy takes a group for one member. Members that are out are
//! passed over alone.
//!
//! # What it goes by
//!
//! A [`Router`] decides, and neither reads clocks nor does I/O: all it goes by is in the [`Query`] or
//! comes from what [`Router::builder`] was given. A [`Catalog`] says what a target can do and what it
//! costs, [`Track`] gives its live [`Figures`], [`TargetState`] says whether it is out. What
//! [lacks](Lack) something for a request, is out or is down by its figures is passed over under every
//! strategy, and what surely can't serve it is never tried, be it the last one left. What nobody has
//! read of a request, or knows of a target, passes nobody over.
//! [`Router::explain`] tells a decision without making it.
//!
//! [`Rule`]s give some of a route's requests an order of their own, by what they need, how long and
//! hard they are, what they may cost and take, who asks and when; [`ready`] has sets of them. A bound
//! that a client states ([`MAX_COST`], [`MAX_LATENCY`]) is kept without any rule: places that are
//! estimated above it come last.
//!
//! Under strategies that compare times, a place of which too little is known is not chosen for what
//! isn't known of it: a bounded share of requests explores it ([`RouterBuilder::explore`]), and looks
//! again at one that has had no traffic for a while. Places
//! that are nearly as good as the best share its requests.
//!
//! The lowest p95, and why:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use http::HeaderMap;
//! use tokio::time::Instant;
//! use tollway_core::{Ask, Operation, Target};
//! use tollway_route::{
//!     Figures, Group, Live, Match, Of, Quantiles, Query, Route, Router, Strategy,
//! };
//!
//! #[derive(Debug)]
//! struct Known(Duration);
//!
//! impl Live for Known {
//!     fn figures(&self, _: Instant) -> Figures {
//!         let times = Quantiles { p50: self.0 / 2, p95: self.0, p99: self.0 * 2 };
//!         Figures { samples: 500, first_token: Some(times), ..Figures::default() }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let targets = ["slow", "quick"].map(|name| Target::new(name, "default", None).into());
//! let group = Group::new(Strategy::Latency { of: Of::FirstToken }, targets);
//! let router = Router::builder([Route::new("all", Match::default(), group)])
//!     .figures(|target: &Target| {
//!         let millis = if &**target.provider() == "quick" { 310 } else { 420 };
//!         Arc::new(Known(Duration::from_millis(millis))) as Arc<dyn Live>
//!     })
//!     .build()?;
//! let headers = HeaderMap::new();
//! let ask = Ask::new(Operation::ChatCompletions).with_model("m");
//! let query = Query::new("/v1/chat/completions", &headers, Instant::now()).with_ask(&ask);
//! let plan = router.decide(&query, &())?;
//! assert_eq!(
//!     plan.sentence().to_string(),
//!     "quick/m: lowest p95 to the first token, 310 ms against 420 ms of slow/m; 500 samples"
//! );
//! assert!(plan.confidence.get() > 800);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! In the chain of the boxed error: [`NoRoute`], answer with 404; [`NoneAble`] and [`BadHeader`], answer
//! with 400. Errors of the inner service pass through.
//!
//! # Cancellation
//!
//! The decision is made in `call`; dropping the future drops the inner one and leaves nothing but
//! the turn it took under [`Strategy::RoundRobin`] and [`Strategy::Weighted`].
//!
//! # Cost
//!
//! Under strategies of order and turns alone, and while every target is ready, plans are made once for
//! each route, model and choice and then shared: no allocation but `http`'s for the extension slot.
//! While some are out, one more: the list of them. A decision by figures or rules makes its own plan:
//! one allocation, three while some are out, and under two microseconds for 20 targets. The shared state is
//! bounded whatever model names clients make up.

pub mod auto;
mod availability;
mod builder;
mod catalog;
mod chance;
mod check;
mod counts;
mod error;
mod estimate;
mod events;
mod explore;
pub mod facts;
mod figures;
mod future;
mod glob;
mod group;
mod lack;
mod layer;
mod live;
mod matching;
mod near;
mod nearest;
mod order;
mod query;
mod resolved;
mod route;
mod router;
mod rules;
mod scored;
mod service;
mod set;
mod signals;
mod strategy;
mod tree;
mod unable;
mod walk;
mod why;
mod wishes;
mod write;

pub use availability::{Availability, TargetState};
pub use builder::RouterBuilder;
pub use catalog::{Catalog, PriceTier, Size, Traits, Wider};
pub use error::{ConfigError, NoRoute, Refusal};
pub use events::Event;
pub use figures::{Figures, Health, Live, Quantiles, Track};
pub use future::ResponseFuture;
pub use glob::Glob;
pub use group::{Group, Member, Node};
pub use lack::Lack;
pub use layer::RouteLayer;
pub use matching::{CallerMatch, HeaderMatch, Match, TagMatch, shadows};
pub use near::Near;
pub use query::{Lazy, Query};
pub use route::Route;
pub use router::Router;
pub use rules::{
    Between, Days, Moment, Prefer, READY, Rule, SizeClass, Then, TimeRange, When, ready,
};
pub use service::RouteService;
pub use signals::{ReadSignals, Reading};
pub use strategy::{By, Of, Strategy};
pub use unable::NoneAble;
pub use wishes::{BadHeader, HEADERS, MAX_COST, MAX_LATENCY, REGION, TASK, is_own};
