//! A scripted world of targets to walk through.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tollway_core::{BoxError, Candidate, ErrorClass, Failure, Plan, Target};
use tollway_retry::*;
use tollway_testkit::{Probe, Recorder};
use tower::{Layer, Service, ServiceExt};

pub type Body = Full<Bytes>;
pub type Answer = Result<Response<Body>, BoxError>;

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// What a scripted target does with one request.
#[derive(Clone, Debug, Default)]
pub struct Act {
    pub after: Duration,
    pub code: u16,
    pub headers: HeaderMap,
    pub failure: Option<Failure>,
    pub error: bool,
}

pub fn status(code: u16) -> Act {
    Act { code, ..Act::default() }
}

pub fn slow(after: Duration, code: u16) -> Act {
    Act { after, ..status(code) }
}

pub fn header(code: u16, name: &'static str, value: &str) -> Act {
    let mut act = status(code);
    act.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    act
}

pub fn hint(code: u16, value: &str) -> Act {
    header(code, "retry-after", value)
}

pub fn failed(code: u16, failure: Failure) -> Act {
    Act { failure: Some(failure), ..status(code) }
}

pub fn error(class: ErrorClass) -> Act {
    Act { failure: Some(Failure::new(class, "scripted")), error: true, ..Act::default() }
}

pub fn target(name: &str) -> Target {
    keyed(name, "key", "m")
}

pub fn keyed(provider: &str, key: &str, model: &str) -> Target {
    Target::new(provider, key, Some(model.into()))
}

pub fn request() -> Request<Body> {
    Request::new(Body::from("hello"))
}

pub fn plan<const N: usize>(names: [&str; N]) -> Request<Body> {
    plan_of(names.map(target))
}

pub fn plan_of(targets: impl IntoIterator<Item = Target>) -> Request<Body> {
    let candidates = targets.into_iter().map(|target| Candidate::new(target, "in order"));
    let mut request = request();
    request.extensions_mut().insert(Plan::new("r", "failover", candidates));
    request
}

/// No jitter; 1 s, 2 s, 4 s ….
pub fn settings() -> Settings {
    let backoff = Backoff::new(secs(1), 2.0, secs(30), Jitter::None).unwrap();
    Settings { backoff, ..Settings::default() }
}

type Script = Arc<Mutex<HashMap<String, VecDeque<Act>>>>;

pub struct World {
    script: Script,
    seen: Recorder<Request<Body>>,
    times: Recorder<Instant>,
    events: Recorder<Event>,
    settings: Settings,
    budget: Option<Budget>,
}

impl World {
    /// Targets by provider name and what they do, one act a request, then 200 for ever; "" is the
    /// service without a plan.
    pub fn new<'a>(script: impl IntoIterator<Item = (&'a str, Vec<Act>)>) -> Self {
        Self::with(script, settings())
    }

    pub fn with<'a>(
        script: impl IntoIterator<Item = (&'a str, Vec<Act>)>,
        settings: Settings,
    ) -> Self {
        let script = script.into_iter().map(|(name, acts)| (name.to_owned(), acts.into()));
        Self {
            script: Arc::new(Mutex::new(script.collect())),
            seen: Recorder::default(),
            times: Recorder::default(),
            events: Recorder::default(),
            settings,
            budget: None,
        }
    }

    pub fn only(mut self, attempts: u32) -> Self {
        self.settings.attempts = attempts;
        self
    }

    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    pub fn run(&self, request: Request<Body>) -> impl Future<Output = Answer> + use<> {
        self.run_with(request, Standard)
    }

    pub fn run_with<P: Policy<Body, Body>>(
        &self,
        request: Request<Body>,
        policy: P,
    ) -> impl Future<Output = Answer> + use<P> {
        let (script, seen) = (self.script.clone(), self.seen.clone());
        let times = self.times.clone();
        let probe = Probe::new(move |request: Request<Body>| {
            let name = provider(&request);
            seen.push(request);
            times.push(Instant::now());
            let act = script.lock().unwrap().get_mut(&name).and_then(VecDeque::pop_front);
            play(act.unwrap_or(status(200)))
        });
        let events = self.events.clone();
        let noon = SystemTime::UNIX_EPOCH + secs(784_111_777 - 30);
        let layer = RetryLayer::builder(Config::new(self.settings.clone()).unwrap())
            .policy(policy)
            .hook(events)
            .budget(self.budget.clone())
            .random(|| u64::MAX / 2)
            .clock(move || noon)
            .build();
        layer.layer(probe).oneshot(request)
    }

    pub fn seen(&self) -> Vec<Request<Body>> {
        self.seen.take()
    }

    /// Providers in the order they were called.
    pub fn calls(&self) -> Vec<String> {
        self.seen().iter().map(provider).collect()
    }

    /// The moments of the calls.
    pub fn times(&self) -> Vec<Instant> {
        self.times.take()
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.take()
    }
}

fn provider(request: &Request<Body>) -> String {
    request.extensions().get::<Target>().map_or("", |target| target.provider()).to_owned()
}

async fn play(act: Act) -> Answer {
    tokio::time::sleep(act.after).await;
    if act.error {
        return Err(act.failure.unwrap().into());
    }
    let mut response = Response::builder().status(act.code).body(Body::from("reply"))?;
    *response.headers_mut() = act.headers;
    if let Some(failure) = act.failure {
        response.extensions_mut().insert(failure);
    }
    Ok(response)
}

pub async fn text<B>(body: B) -> String
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap()
}

/// Runs all to their ends, together.
pub async fn futures_all(calls: Vec<impl Future<Output = Answer> + Send + 'static>) {
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    for call in calls {
        let _ = call.await.unwrap();
    }
}

/// A service behind a lock, so that its clones share its state.
pub struct Once<S>(pub Arc<Mutex<S>>);

impl<S> Clone for Once<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Service<R>, R> Service<R> for Once<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.lock().unwrap().poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.lock().unwrap().call(request)
    }
}
