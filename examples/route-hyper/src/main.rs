//! Runs the example on port 3000.

use tollway_core::BoxError;
use tollway_route::Availability;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("http://{}/gpt-4o-mini", listener.local_addr()?);
    let router = example_route_hyper::router()?;
    example_route_hyper::serve(listener, router, |_| Availability::Ready).await
}
