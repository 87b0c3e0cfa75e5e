//! What the program tells of itself: metrics, and one log line a request.
//!
//! Layers emit typed events; here they become metrics. Names, units and labels stand in
//! [`names`], and nowhere else.

mod decided;
mod decision;
mod decisions;
mod exchange;
mod familiar;
mod layer;
mod log;
pub mod names;
mod request_id;
mod series;

pub(crate) use decision::is_told;
pub use decision::{Decision, Outcome};
pub use decisions::Decisions;
pub use exchange::Exchange;
pub use layer::{NoteLayer, ObserveLayer, Observed, Pricing};
pub use log::init as init_log;
pub use request_id::RequestId;
pub use series::Telemetry;
