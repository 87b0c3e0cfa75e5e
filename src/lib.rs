//! Tollway.
