//! A breaker over a scripted provider, with its handle and everything it told.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::BodyExt;
use tollway_circuit_breaker::{
    ByFailure, CircuitBreaker, CircuitBreakerHandle, CircuitBreakerLayer, CircuitOpen, Config,
    Event, EventKind, Sample, State,
};
use tollway_core::{BoxError, ErrorClass, Failure, GuardedBody, Metered, find_error};
use tollway_testkit::{Probe, Recorder, ScriptedBody, Step};
use tower::{Layer, Service, ServiceExt};

pub type Key = &'static str;
pub type Inner =
    Probe<(), Pin<Box<dyn Future<Output = Result<Response<ScriptedBody>, BoxError>> + Send>>>;
pub type KeyFn = fn(&Parts) -> Option<Key>;
pub type Breaker = CircuitBreaker<Inner, Key, KeyFn, ByFailure>;
pub type Body = GuardedBody<ScriptedBody, Sample<Key, ByFailure>>;

/// What the provider answers; travels in the request.
#[derive(Clone, Debug)]
pub struct Script {
    pub key: Option<Key>,
    pub status: u16,
    pub delay: Duration,
    /// In the response's extensions.
    pub failure: Option<ErrorClass>,
    /// In place of a response.
    pub error: Option<ErrorClass>,
    pub meter: Option<Metered>,
    pub body: Vec<Step>,
}

pub fn ok() -> Script {
    Script {
        key: Some("a"),
        status: 200,
        delay: Duration::ZERO,
        failure: None,
        error: None,
        meter: None,
        body: vec![Step::data("one"), Step::Yield, Step::data("two")],
    }
}

pub fn status(status: u16) -> Script {
    Script { status, ..ok() }
}

pub fn error(class: ErrorClass) -> Script {
    Script { error: Some(class), ..ok() }
}

pub fn body(steps: impl Into<Vec<Step>>) -> Script {
    Script { body: steps.into(), ..ok() }
}

impl Script {
    pub fn of(self, key: Key) -> Self {
        Self { key: Some(key), ..self }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

async fn play(script: Script) -> Result<Response<ScriptedBody>, BoxError> {
    tokio::time::sleep(script.delay).await;
    if let Some(class) = script.error {
        return Err(Failure::new(class, "scripted").into());
    }
    let mut response = Response::new(ScriptedBody::new(script.body));
    *response.status_mut() = script.status.try_into().unwrap();
    if let Some(class) = script.failure {
        response.extensions_mut().insert(Failure::new(class, "scripted"));
    }
    if let Some(meter) = script.meter {
        response.extensions_mut().insert(meter);
    }
    Ok(response)
}

pub fn key(parts: &Parts) -> Option<Key> {
    parts.extensions.get::<Script>().and_then(|script| script.key)
}

pub fn provider() -> Inner {
    Probe::new(|mut request: Request<()>| {
        let script = request.extensions_mut().remove().unwrap_or_else(ok);
        Box::pin(play(script)) as _
    })
}

pub struct Rig {
    pub service: Breaker,
    pub handle: CircuitBreakerHandle<Key>,
    pub events: Recorder<Event<Key>>,
}

pub fn rig(config: Config) -> Rig {
    let events = Recorder::default();
    let layer = CircuitBreakerLayer::new(config, key as KeyFn).unwrap().with_hook(events.clone());
    Rig { handle: layer.handle(), service: layer.layer(provider()), events }
}

impl Rig {
    /// Sends and reads up to the head.
    pub async fn head(&mut self, script: Script) -> Result<Response<Body>, BoxError> {
        let mut request = Request::new(());
        request.extensions_mut().insert(script);
        self.service.ready().await?.call(request).await
    }

    /// Sends and reads to the end; whether the provider was reached.
    pub async fn send(&mut self, script: Script) -> bool {
        match self.head(script).await {
            Ok(response) => {
                let _: Result<Bytes, _> =
                    response.into_body().collect().await.map(|b| b.to_bytes());
                true
            }
            Err(error) => find_error::<CircuitOpen>(&*error).is_none(),
        }
    }

    pub async fn times(&mut self, times: usize, script: Script) {
        for _ in 0..times {
            assert!(self.send(script.clone()).await, "refused");
        }
    }

    pub async fn refusal(&mut self) -> CircuitOpen {
        let error = self.head(ok()).await.expect_err("a refusal");
        *error.downcast::<CircuitOpen>().expect("a refusal")
    }

    pub fn state(&self) -> State {
        self.handle.state(&"a")
    }

    pub fn name(&self) -> &'static str {
        self.state().as_str()
    }

    /// What happened since the last call, without refusals.
    pub fn told(&self) -> Vec<EventKind> {
        let kinds = self.events.take().into_iter().map(|event| event.kind);
        kinds.filter(|kind| !matches!(kind, EventKind::Refused { .. })).collect()
    }
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

impl Rig {
    /// Sends; the refusal's wait if it was refused.
    pub async fn refusal_or_sent(&mut self, script: Script) -> Option<Option<Duration>> {
        let error = self.head(script).await.err()?;
        find_error::<CircuitOpen>(&*error).map(CircuitOpen::retry_after)
    }
}
