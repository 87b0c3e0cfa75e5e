//! Runs the example on port 3000.

use tollway_core::BoxError;
use tollway_cost::Record;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let app = example_cost_axum::app(|record: &Record| {
        let user = record.caller.user.as_deref().unwrap_or("nobody");
        let cost = record.cost.map_or("an unknown amount".into(), |cost| format!("{cost} USD"));
        eprintln!("{user} spent {cost} in {:?}", record.elapsed);
    })?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
