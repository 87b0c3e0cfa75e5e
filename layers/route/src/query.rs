use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Request};
use tokio::time::Instant;
use tollway_core::{Ask, Caller, Needs, Usd};

use crate::{BadHeader, Moment, auto::Signals, catalog::needs, wishes};

/// What a decision goes by.
///
/// Headers are read, and [`Lazy`] asked, only where the matched route cares.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Query<'a> {
    /// What is asked, model included.
    pub ask: Option<&'a Ask>,
    /// Who asks.
    pub caller: Option<&'a Caller>,
    /// The request's path.
    pub path: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// When: what live figures are read for.
    pub now: Instant,
    lazy: &'a dyn Lazy,
    /// What `lazy` told of its needs, where the route cares.
    read: Needs,
    /// No turn is taken for it.
    pub(crate) rehearsed: bool,
}

/// What is found out about a request only when a route asks for it.
pub trait Lazy {
    /// What it needs, beside what its [`Ask`] says. Where neither says anything, every target counts
    /// as able. Asked for routes that have rules, or a strategy other than failover, round robin and
    /// weighted, and where a target is known to lack vision, tools, JSON or audio.
    fn needs(&self) -> Needs {
        Needs::NONE
    }

    /// What its prompt looks like.
    fn signals(&self) -> Option<Signals> {
        None
    }

    /// Both, for whoever finds them in one place. Asked for where a rule goes by how hard prompts
    /// look.
    fn look(&self) -> (Needs, Option<Signals>) {
        (self.needs(), self.signals())
    }

    /// A number for the start of its prompt, the same for the same start: where a provider's
    /// prompt cache would hit.
    fn prefix(&self) -> Option<u64> {
        None
    }

    /// What kind of task it is, where [`TASK`](crate::TASK) doesn't say.
    fn task(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// Day and time of day, where the policy's hours are meant.
    fn moment(&self) -> Option<Moment> {
        None
    }

    /// The caller's region, if it is known otherwise than by [`REGION`](crate::REGION).
    fn region(&self) -> Option<&str> {
        None
    }
}

impl Lazy for () {}

impl<'a> Query<'a> {
    /// A request for `path` with these headers; neither ask nor caller is known.
    pub fn new(path: &'a str, headers: &'a HeaderMap, now: Instant) -> Self {
        Self {
            ask: None,
            caller: None,
            path,
            headers,
            now,
            lazy: &(),
            read: Needs::NONE,
            rehearsed: false,
        }
    }

    /// What the request says, and what earlier layers wrote into its extensions.
    pub fn of<B>(request: &'a Request<B>, now: Instant) -> Self {
        Self {
            ask: request.extensions().get(),
            caller: request.extensions().get(),
            ..Self::new(request.uri().path(), request.headers(), now)
        }
    }

    /// The same query with this ask.
    pub fn with_ask(self, ask: &'a Ask) -> Self {
        Self { ask: Some(ask), ..self }
    }

    /// The same query with this caller.
    pub fn with_caller(self, caller: &'a Caller) -> Self {
        Self { caller: Some(caller), ..self }
    }

    /// The same query, where the rest is found out from `lazy`.
    pub fn with_lazy(self, lazy: &'a dyn Lazy) -> Self {
        Self { lazy, ..self }
    }

    /// The same query as a rehearsal: it takes no turn and draws no lot, so that the next one that
    /// is not gets the answer that this one got.
    pub fn rehearsed(self) -> Self {
        Self { rehearsed: true, ..self }
    }

    /// Whether what its client says in headers of Tollway's own can be understood. What can't counts as
    /// not said in a decision, so ask before it.
    ///
    /// # Errors
    ///
    /// Names the first header that can't.
    pub fn check(&self) -> Result<(), BadHeader> {
        wishes::check(self.headers)
    }

    /// The same query with all that it needs, as it was read.
    pub(crate) fn with_needs(self, read: Needs) -> Self {
        Self { read, ..self }
    }

    pub(crate) fn model(&self) -> Option<&'a Arc<str>> {
        self.ask?.model.as_ref()
    }

    pub(crate) fn needs(&self) -> Needs {
        self.ask.map_or(Needs::NONE, needs) | self.read
    }

    /// The most it may cost, by the client's word.
    pub(crate) fn max_cost(&self) -> Option<Usd> {
        wishes::max_cost(self.headers).ok()?
    }

    /// The longest it may take, by the client's word.
    pub(crate) fn max_latency(&self) -> Option<Duration> {
        wishes::max_latency(self.headers).ok()?
    }

    pub(crate) fn task(&self) -> Option<Cow<'a, str>> {
        let said = wishes::task(self.headers).ok().flatten();
        said.map(Cow::Borrowed).or_else(|| self.lazy.task())
    }

    pub(crate) fn region(&self) -> Option<&'a str> {
        self.lazy.region().or_else(|| wishes::region(self.headers).ok().flatten())
    }

    pub(crate) fn read_needs(&self) -> Needs {
        self.lazy.needs()
    }

    pub(crate) fn look(&self) -> (Needs, Option<Signals>) {
        self.lazy.look()
    }

    pub(crate) fn prefix(&self) -> Option<u64> {
        self.lazy.prefix()
    }

    pub(crate) fn moment(&self) -> Option<Moment> {
        self.lazy.moment()
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&'a str> {
        let text = self.headers.get(name)?.to_str().ok()?.trim();
        (!text.is_empty()).then_some(text)
    }
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("ask", &self.ask)
            .field("caller", &self.caller)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
