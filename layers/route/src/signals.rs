use std::borrow::Cow;

use http::Request;
use tollway_core::Needs;

use crate::{Lazy, Moment, auto::Signals};

/// Finds out about a request what only some routes ask: see [`Lazy`]. `()` knows nothing; a closure
/// from request to [`Signals`] is one.
pub trait ReadSignals<B> {
    /// What it needs, beside what its [`Ask`](tollway_core::Ask) says.
    fn needs(&self, request: &Request<B>) -> Needs {
        let _ = request;
        Needs::NONE
    }

    /// What its prompt looks like.
    fn signals(&self, request: &Request<B>) -> Option<Signals>;

    /// Both, for whoever finds them in one place.
    fn look(&self, request: &Request<B>) -> (Needs, Option<Signals>) {
        (self.needs(request), self.signals(request))
    }

    /// A number for the start of its prompt.
    fn prefix(&self, request: &Request<B>) -> Option<u64> {
        let _ = request;
        None
    }

    /// What kind of task it is, by its body.
    fn task<'a>(&'a self, request: &'a Request<B>) -> Option<Cow<'a, str>> {
        let _ = request;
        None
    }

    /// Day and time of day.
    fn moment(&self) -> Option<Moment> {
        None
    }

    /// The caller's region.
    fn region<'a>(&'a self, request: &'a Request<B>) -> Option<&'a str> {
        let _ = request;
        None
    }
}

impl<B> ReadSignals<B> for () {
    fn signals(&self, _: &Request<B>) -> Option<Signals> {
        None
    }
}

impl<B, F: Fn(&Request<B>) -> Signals> ReadSignals<B> for F {
    fn signals(&self, request: &Request<B>) -> Option<Signals> {
        Some(self(request))
    }
}

/// A reader with the request at hand: what [`Query::with_lazy`](crate::Query::with_lazy) takes.
#[derive(Debug)]
pub struct Reading<'a, R, B>(pub &'a R, pub &'a Request<B>);

impl<R: ReadSignals<B>, B> Lazy for Reading<'_, R, B> {
    fn needs(&self) -> Needs {
        self.0.needs(self.1)
    }

    fn signals(&self) -> Option<Signals> {
        self.0.signals(self.1)
    }

    fn look(&self) -> (Needs, Option<Signals>) {
        self.0.look(self.1)
    }

    fn prefix(&self) -> Option<u64> {
        self.0.prefix(self.1)
    }

    fn task(&self) -> Option<Cow<'_, str>> {
        self.0.task(self.1)
    }

    fn moment(&self) -> Option<Moment> {
        self.0.moment()
    }

    fn region(&self) -> Option<&str> {
        self.0.region(self.1)
    }
}
