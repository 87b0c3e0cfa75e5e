use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tollway_core::{SystemClock, Target, WallClock};
use tower_layer::Layer;

use super::{Fit, Form, Strictness, Translate};

/// How each target wants to be spoken to. Closures implement it.
pub trait Fits: Send + Sync {
    /// How to call `target` for a client that speaks `asked`. `None`, or a fit of that same form:
    /// the target speaks it, and every byte passes as it is.
    fn fit(&self, target: &Target, asked: Form) -> Option<Arc<Fit>>;
}

impl<F> Fits for F
where
    F: Fn(&Target, Form) -> Option<Arc<Fit>> + Send + Sync,
{
    fn fit(&self, target: &Target, asked: Form) -> Option<Arc<Fit>> {
        self(target, asked)
    }
}

/// Translates each attempt whose target speaks another form than the client; see [`Translate`].
#[derive(Clone)]
pub struct TranslateLayer {
    pub(super) shared: Arc<Shared>,
}

/// What all services of a layer share.
pub(super) struct Shared {
    pub(super) fits: Box<dyn Fits>,
    pub(super) strictness: Strictness,
    pub(super) max_reply: usize,
    pub(super) clock: Box<dyn WallClock>,
    hasher: RandomState,
    replies: AtomicU64,
}

impl TranslateLayer {
    /// Speaks to every target as `fits` says.
    pub fn new(fits: impl Fits + 'static) -> Self {
        let shared = Shared {
            fits: Box::new(fits),
            strictness: Strictness::default(),
            max_reply: 32 << 20,
            clock: Box::new(SystemClock),
            hasher: RandomState::new(),
            replies: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What is done about what can't be passed on.
    pub fn with_strictness(self, strictness: Strictness) -> Self {
        self.change(|shared| shared.strictness = strictness)
    }

    /// The largest reply that is translated, in bytes; default 32 MiB. A larger one is an error.
    pub fn with_max_reply(self, bytes: usize) -> Self {
        self.change(|shared| shared.max_reply = bytes)
    }

    /// Reads the date (`created` of replies) from `clock`.
    pub fn with_clock(self, clock: impl WallClock + 'static) -> Self {
        self.change(|shared| shared.clock = Box::new(clock))
    }

    fn change(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        // Nobody else has it before the layer is in use.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            change(shared);
        }
        self
    }
}

impl Shared {
    /// Another number for every reply, and not to be guessed from the one before.
    pub(super) fn nonce(&self) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(self.replies.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    }
}

impl std::fmt::Debug for TranslateLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let strictness = &self.shared.strictness;
        f.debug_struct("TranslateLayer").field("strictness", strictness).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for TranslateLayer {
    type Service = Translate<S>;

    fn layer(&self, inner: S) -> Translate<S> {
        Translate { inner, shared: self.shared.clone() }
    }
}
