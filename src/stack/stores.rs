//! The policy's stores, open.

use std::sync::Arc;

use tollway_store::ledger::{Ledger, Writer};

use super::{StackError, ledger};
use crate::{policy::Policy, telemetry::Telemetry};

/// Where a stack keeps what outlives a request; a stack of its own, which only shows what it would
/// do, has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Stores {
    /// The ledger.
    pub(super) ledger: Option<Books>,
}

/// A ledger to read and what writes it.
#[derive(Clone)]
pub(super) struct Books {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) writer: Arc<Writer>,
}

impl std::fmt::Debug for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Books").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl Stores {
    /// Opens what the policy names. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When a store can't be used as it is: a file of a newer version, a folder that is not there.
    /// One that is only away at present is no error.
    pub(super) fn open(policy: &Policy, telemetry: &Telemetry) -> Result<Self, StackError> {
        Ok(Self { ledger: Some(ledger::open(policy, telemetry)?) })
    }
}
