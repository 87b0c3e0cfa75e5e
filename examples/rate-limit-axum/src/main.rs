//! Runs the example on port 3000.

use tollway_core::BoxError;
use tollway_rate_limit::Event;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let app = example_rate_limit_axum::app(|event: &Event| eprintln!("{event:?}"))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
