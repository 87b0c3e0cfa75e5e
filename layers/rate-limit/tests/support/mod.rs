//! A layer over a probe, and short names for what the tests want of it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{sync::Arc, time::Duration};

use http::{Request, Response, request, response};
use tollway_core::{BoxError, Ending, GuardedBody, find_error};
use tollway_rate_limit::{
    Event, EventKind, Key, Limit, LimitExceeded, Quota, RateLimitLayer, Reservation, Rule, Settle,
    Unit, WhenFull,
};
use tollway_testkit::{Recorder, ScriptedBody};

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `amount` a second, and that much at once.
pub(crate) fn bucket(amount: u64) -> Quota {
    Quota::TokenBucket { amount, per: seconds(1), burst: amount }
}

pub(crate) fn waits(name: &str, quota: Quota, wait: u64) -> Limit {
    Limit::builder(name, quota).when_full(WhenFull::Wait(seconds(wait))).build().unwrap()
}

pub(crate) fn limit(name: &str, quota: Quota) -> Limit {
    Limit::new(name, quota).unwrap()
}

/// How many tokens a request wants, and what its reply uses.
#[derive(Clone, Copy)]
pub(crate) struct Wants(pub(crate) u64);
#[derive(Clone, Copy)]
pub(crate) struct Used(pub(crate) u64);

/// One quota for each `x-user`, or for everybody without one; takes what the request says.
pub(crate) fn tokens(limit: Limit) -> Rule {
    Rule::new(limit, Unit::Tokens)
        .key(|request| {
            let user = request.headers.get("x-user").map(|user| user.to_str().unwrap());
            Some(user.map_or(Key::All, Key::from))
        })
        .estimate(|request| request.extensions.get::<Wants>().map_or(1, |wants| wants.0))
}

pub(crate) fn request(user: Option<&str>, wants: u64) -> Request<()> {
    let mut request = Request::builder().extension(Wants(wants));
    if let Some(user) = user {
        request = request.header("x-user", user);
    }
    request.body(()).unwrap()
}

/// Settles tokens to the reply's [`Used`], and remembers how each request ended.
#[derive(Clone, Default)]
pub(crate) struct ByReply(pub(crate) Recorder<Ending>);

impl Settle for ByReply {
    type Ticket = Option<Used>;

    fn open(&self, _: &request::Parts) -> Option<Used> {
        None
    }

    fn head(&self, ticket: &mut Option<Used>, response: &response::Parts) {
        *ticket = response.extensions.get().copied();
    }

    fn spent(&self, ticket: &Option<Used>, unit: Unit, ending: Ending) -> Option<u64> {
        self.0.push(ending);
        ticket.filter(|_| unit == Unit::Tokens).map(|used| used.0)
    }
}

pub(crate) type Reply<T = ByReply> = Response<GuardedBody<ScriptedBody, Reservation<T>>>;

pub(crate) fn reply(body: ScriptedBody, used: Option<u64>) -> Response<ScriptedBody> {
    let mut response = Response::new(body);
    if let Some(used) = used {
        response.extensions_mut().insert(Used(used));
    }
    response
}

pub(crate) fn layer(
    rules: impl IntoIterator<Item = Rule>,
) -> (RateLimitLayer<ByReply>, Recorder<Event>) {
    let events = Recorder::default();
    let layer = RateLimitLayer::builder(rules, ByReply::default()).hook(events.clone());
    (layer.build().unwrap(), events)
}

pub(crate) fn exceeded<T>(result: Result<T, BoxError>) -> LimitExceeded {
    let error = result.err().expect("refused");
    find_error::<LimitExceeded>(&*error).expect("by a limit").clone()
}

pub(crate) fn kinds(events: &Recorder<Event>) -> Vec<(Arc<str>, EventKind)> {
    events.take().into_iter().map(|event| (event.limit, event.kind)).collect()
}
