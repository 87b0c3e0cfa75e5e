//! The simulated provider.

mod config;

pub use config::SimulateConfig;
