//! Runs the example on port 3000.

use tollway_core::BoxError;
use tollway_cost::Record;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let app = example_dialect_axum::app(|record: &Record| {
        let tokens = record.usage.map_or("unknown".into(), |usage| usage.total().to_string());
        let cost = record.cost.map_or("unknown".into(), |cost| format!("{cost} USD"));
        let operation = record.ask.operation;
        eprintln!("{operation}: tokens {tokens}, cost {cost}, ending {:?}", record.ending);
    })?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("http://{}/v1", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
