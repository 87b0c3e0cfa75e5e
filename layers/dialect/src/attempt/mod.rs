mod body;
mod config;
mod future;
mod interruption;
mod layer;
mod outlet;
mod reader;
mod reply;
mod service;
mod tap;

pub use body::AttemptBody;
pub use config::{AttemptConfig, Commit};
pub use future::AttemptFuture;
pub use layer::AttemptLayer;
pub use service::Attempt;
