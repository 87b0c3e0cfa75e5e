mod body;
mod config;
mod future;
mod kind;
mod layer;
mod service;

pub use body::RequestBody;
pub use config::InspectConfig;
pub use future::InspectFuture;
pub(crate) use kind::is_json;
pub use layer::InspectLayer;
pub use service::Inspect;
