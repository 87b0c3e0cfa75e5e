use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::stack::Stack;

/// The stack that holds at the moment, and how it came to be.
#[derive(Debug)]
pub(super) struct Current {
    stack: RwLock<Arc<Stack>>,
    /// Why the latest policy was refused; `None`: it was not.
    refused: Mutex<Option<String>>,
}

impl Current {
    pub(super) fn new(stack: Stack) -> Arc<Self> {
        Arc::new(Self { stack: RwLock::new(Arc::new(stack)), refused: Mutex::default() })
    }

    pub(super) fn stack(&self) -> Arc<Stack> {
        self.stack.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, stack: Arc<Stack>) {
        let mut held = self.stack.write().unwrap_or_else(PoisonError::into_inner);
        let _old = std::mem::replace(&mut *held, stack);
        drop(held);
    }

    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note(&self, refused: Option<String>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }
}
