//! A provider that answers as a request says, behind the layer.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response, request, response};
use http_body_util::Full;
use tokio::{task::JoinHandle, time::Instant};
use tollway_core::{BoxError, find_error};
use tollway_pace::{
    Config, Event, Pace, PaceHandle, PaceLayer, Paced, Reading, Told, Unit, Weights,
};
use tollway_testkit::{Probe, Recorder};
use tower::{Layer, Service, ServiceExt};

/// What the provider does with one request; in the request's extensions.
#[derive(Clone, Default)]
pub struct Script {
    pub key: Option<&'static str>,
    pub weights: Weights,
    pub patience: Duration,
    pub latency: Duration,
    pub reading: Reading,
    pub fails: bool,
}

impl Script {
    pub fn new(reading: Reading) -> Self {
        Self { key: Some("a"), reading, ..Self::default() }
    }

    pub fn tokens(mut self, tokens: u64) -> Self {
        self.weights = Weights::tokens(tokens, 0);
        self
    }

    pub fn patient(mut self, seconds: u64) -> Self {
        self.patience = secs(seconds);
        self
    }

    pub fn slow(mut self, seconds: u64) -> Self {
        self.latency = secs(seconds);
        self
    }

    pub fn key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    pub fn request(self) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(self);
        request
    }
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Tells of requests.
pub fn told(limit: u64, remaining: u64, reset: u64) -> Reading {
    Reading::default().with(Unit::Requests, Told::new(limit, remaining, secs(reset)))
}

pub type Body = Full<Bytes>;
pub type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;
pub type Provider = Probe<(), Answer>;

pub fn provider() -> Provider {
    Probe::new(|request: Request<()>| -> Answer {
        let script = request.extensions().get::<Script>().cloned().unwrap();
        Box::pin(async move {
            tokio::time::sleep(script.latency).await;
            if script.fails {
                return Err("down".into());
            }
            let mut reply = Response::new(Full::from("hi"));
            reply.extensions_mut().insert(script.reading);
            Ok(reply)
        })
    })
}

fn script(request: &request::Parts) -> &Script {
    request.extensions.get().unwrap()
}

pub fn layer(config: Config) -> PaceLayer<&'static str> {
    let reading = |head: &response::Parts| head.extensions.get().copied().unwrap_or_default();
    PaceLayer::new(config, |request| script(request).key, reading)
        .unwrap()
        .with_weights(|request| script(request).weights)
        .with_patience(|request| script(request).patience)
}

pub struct Rig {
    pub service: Pace<Provider, &'static str>,
    pub handle: PaceHandle<&'static str>,
    pub events: Recorder<Event<&'static str>>,
}

pub fn rig() -> Rig {
    rig_with(Config::default())
}

pub fn rig_with(config: Config) -> Rig {
    let events = Recorder::default();
    let layer = layer(config).with_hook(events.clone());
    Rig { handle: layer.handle(), service: layer.layer(provider()), events }
}

pub type Outcome = Result<Response<Body>, BoxError>;

impl Rig {
    pub async fn send(&self, script: Script) -> Outcome {
        self.service.clone().oneshot(script.request()).await
    }

    pub async fn ok(&self, script: Script) {
        assert!(self.send(script).await.is_ok());
    }

    pub async fn refusal(&self, script: Script) -> Paced {
        let error = self.send(script).await.expect_err("refused");
        find_error::<Paced>(&*error).expect("by the layer").clone()
    }

    /// Sends and lets run; answers with the time it took.
    pub fn spawn(&self, script: Script) -> JoinHandle<(bool, Duration)> {
        let start = Instant::now();
        let mut service = self.service.clone();
        tokio::spawn(async move {
            let outcome = service.ready().await.unwrap().call(script.request()).await;
            (outcome.is_ok(), start.elapsed())
        })
    }
}

/// Lets every task run as far as it can without time passing.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
