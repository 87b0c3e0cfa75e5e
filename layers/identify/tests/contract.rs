//! Tower's contract: readiness, clone, drop, wake.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    convert::Infallible,
    future::{self, Future},
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use http::{Request, Response};
use tollway_core::find_error;
use tollway_identify::{Config, IdentifyLayer, Key, KeySet, Reason, Unauthorized};
use tollway_testkit::Probe;
use tower::{Layer, Service, ServiceExt};

type Reply = Result<Response<()>, Infallible>;

fn closed() -> IdentifyLayer {
    let keys = KeySet::new([Key::new("only", Key::generate([1; 32]).digest())]).unwrap();
    IdentifyLayer::new(Config { keys, ..Config::default() }).unwrap()
}

fn open() -> IdentifyLayer {
    IdentifyLayer::new(Config::default()).unwrap()
}

#[tokio::test]
async fn calls_the_instance_that_was_polled_ready() {
    let probe = Probe::new(|_: Request<()>| future::ready(Reply::Ok(Response::new(()))));
    let counts = probe.counts();
    let mut service = open().layer(probe);
    for _ in 0..3 {
        // The probe panics if a fresh clone were called instead.
        service.ready().await.unwrap().call(Request::new(())).await.unwrap();
    }
    assert_eq!(counts.calls.load(Ordering::SeqCst), 3);
    assert_eq!(counts.clones.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_refusal_never_reaches_the_inner_service() {
    let probe = Probe::new(|_: Request<()>| future::ready(Reply::Ok(Response::new(()))));
    let counts = probe.counts();
    let error = closed().layer(probe).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(find_error::<Unauthorized>(&*error).unwrap().reason(), Reason::Missing);
    assert_eq!(counts.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn dropping_the_future_drops_the_inner_one() {
    let probe = Probe::new(|_: Request<()>| future::pending::<Reply>());
    let counts = probe.counts();
    let mut service = open().layer(probe);
    let mut call = Box::pin(service.ready().await.unwrap().call(Request::new(())));
    let waker = std::task::Waker::noop();
    assert!(call.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 0);
    drop(call);
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_inner_service_wakes_the_caller() {
    let (send, receive) = tokio::sync::oneshot::channel::<()>();
    let receive = std::sync::Mutex::new(Some(receive));
    let probe = Probe::new(move |_: Request<()>| {
        let receive = receive.lock().unwrap().take().unwrap();
        async move {
            receive.await.unwrap();
            Reply::Ok(Response::new(()))
        }
    });
    let call = tokio::spawn(open().layer(probe).oneshot(Request::new(())));
    tokio::task::yield_now().await;
    send.send(()).unwrap();
    call.await.unwrap().unwrap();
}

#[derive(Debug)]
struct Broken;

impl Service<Request<()>> for Broken {
    type Response = Response<()>;
    type Error = std::io::Error;
    type Future = future::Ready<Result<Response<()>, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Err(std::io::Error::other("never ready")))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        unreachable!("not ready")
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let mut service = open().layer(Broken);
    let error = service.ready().await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "never ready");
}

#[tokio::test]
async fn all_services_of_a_layer_share_its_hook() {
    let told = tollway_testkit::Recorder::default();
    let layer = open().with_hook(told.clone());
    let service =
        || layer.layer(Probe::new(|_: Request<()>| future::ready(Reply::Ok(Response::new(())))));
    service().oneshot(Request::new(())).await.unwrap();
    service().clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(told.take(), [tollway_identify::Event::Unknown; 2]);
}

fn assert_send_sync<T: Send + Sync>(_: &T) {}

#[test]
fn layer_and_service_are_send_and_sync() {
    assert_send_sync(&open());
    assert_send_sync(&open().layer(()));
}
