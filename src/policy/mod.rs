//! The policy file: YAML as written, checked into types that cannot hold a wrong policy.

mod checked;
mod glob;
pub mod registry;

pub use checked::*;
pub use glob::Glob;
pub use registry::Registry;

/// Something allowed but probably not meant: an old model, a limit that can never bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// `policy.yaml:12:15`.
    pub place: String,
    /// Path inside the policy: `routes[0].targets[1]`.
    pub path: String,
    /// What is odd, and what would be better.
    pub message: String,
}
