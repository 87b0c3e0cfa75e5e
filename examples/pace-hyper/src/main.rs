//! Runs the example on port 3000, in front of the server whose address is given.

use hyper::http::uri::Authority;
use tollway_core::BoxError;
use tollway_pace::Event;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let upstream = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into()).parse()?;
    let pace = example_pace_hyper::pace(|event: &Event<Authority>| {
        eprintln!("{}: {:?}", event.key, event.kind);
    })?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("http://{} in front of {upstream}", listener.local_addr()?);
    example_pace_hyper::serve(listener, upstream, pace).await
}
