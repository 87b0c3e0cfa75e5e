//! Tower layer that tells who is calling: key, trusted header, provider key or client IP.
//!
//! It writes a [`Caller`](tollway_core::Caller) into the request's extensions, for limits, routing
//! and accounting behind it. By default nobody is refused; the user is a short hash of the provider
//! key that was sent, or else the client's address:
//!
//! ```
//! use tollway_core::{Caller, PeerAddr};
//! use tollway_identify::{Config, IdentifyLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tollway_core::BoxError> {
//! let hello = service_fn(|request: http::Request<()>| async move {
//!     let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
//!     Ok::<_, std::convert::Infallible>(http::Response::new(caller.user))
//! });
//! let service = IdentifyLayer::new(Config::default())?.layer(hello);
//!
//! let mut request = http::Request::new(());
//! request.extensions_mut().insert(PeerAddr("203.0.113.7:4711".parse()?));
//! let user = service.oneshot(request).await?.into_body();
//! assert_eq!(user.as_deref(), Some("203.0.113.7"));
//! # Ok(())
//! # }
//! ```
//!
//! With keys, only who shows one gets in; a header from the proxy in front may name the user of a
//! shared key:
//!
//! ```
//! use tollway_core::{Caller, find_error};
//! use tollway_identify::{Config, Event, IdentifyLayer, Key, KeySet, Reason, Source, Unauthorized};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tollway_core::BoxError> {
//! let new = Key::generate([7; 32]); // in earnest: from the system's random generator
//! let layer = IdentifyLayer::new(Config {
//!     keys: KeySet::new([Key::new("search-team", new.digest())])?,
//!     sources: vec![
//!         Source::Key,
//!         Source::Header {
//!             name: http::HeaderName::from_static("x-user-id"),
//!             from_proxies_only: true,
//!         },
//!     ],
//!     trusted_proxies: vec!["10.0.0.0/8".parse()?],
//!     ..Config::default()
//! })?
//! .with_hook(|event: &Event| println!("identified by {}", event.as_str()));
//! let service = layer.layer(service_fn(|request: http::Request<()>| async move {
//!     let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
//!     Ok::<_, std::convert::Infallible>(http::Response::new(caller.key))
//! }));
//!
//! let bearer = format!("Bearer {}", new.secret());
//! let request = http::Request::builder().header("authorization", bearer).body(())?;
//! let key = service.clone().oneshot(request).await?.into_body();
//! assert_eq!(key.as_deref(), Some("search-team"));
//!
//! let error = service.oneshot(http::Request::new(())).await.unwrap_err();
//! assert_eq!(find_error::<Unauthorized>(&*error).unwrap().reason(), Reason::Missing);
//! # Ok(())
//! # }
//! ```
//!
//! # Which credential counts
//!
//! All [credential headers](CREDENTIAL_HEADERS) are read. One key of ours among them is enough:
//! clients fill in a dummy where they must send something. The same key twice is one key; two
//! different keys of ours are refused, because the call would be charged to either. Where no keys
//! are configured and several provider keys are sent, the first in the order of the headers counts.
//!
//! # Errors
//!
//! [`Unauthorized`], in the chain of the boxed error: answer with 401. Errors of the inner service
//! pass through. The request's credential stays in its headers; take it out before sending the
//! request on where [`Caller::authenticated`](tollway_core::Caller::authenticated) is set.
//!
//! # Cancellation
//!
//! The layer is done when `call` returns; dropping the future drops the inner one and leaves nothing.
//!
//! # Cost
//!
//! No lock and no I/O; where there are [`LiveKeys`], theirs, for credentials of no other key. Naming a caller by IP or provider key allocates its name, once; the
//! extension slot is one more allocation of `http`.

mod config;
mod credential;
mod error;
mod events;
pub mod forwarded;
mod future;
mod key;
mod layer;
mod service;
mod state;

pub use config::{Config, Source};
pub use credential::CREDENTIAL_HEADERS;
pub use error::{ConfigError, Reason, Unauthorized};
pub use events::Event;
pub use future::ResponseFuture;
pub use key::{Key, KeyDigest, KeySet, LiveKeys, NewKey, ParseDigestError};
pub use layer::IdentifyLayer;
pub use service::Identify;
pub use state::{Identifier, ip_group};
