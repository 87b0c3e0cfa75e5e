//! Sends one request down a list of servers, and tells how it went.

use http_body_util::BodyExt;
use hyper::{Request, http::uri::Authority};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tollway_core::BoxError;
use tollway_retry::Attempts;
use tower::ServiceExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let named = std::env::args().skip(1).map(|server| server.parse());
    let mut servers = named.collect::<Result<Vec<Authority>, _>>()?;
    if servers.is_empty() {
        let overloaded = pretend("503 Service Unavailable").await?;
        // Nobody listens on port 9, most likely.
        servers = vec!["127.0.0.1:9".parse()?, overloaded, pretend("200 OK").await?];
    }
    let mut request = Request::get("/").body("".into())?;
    request.extensions_mut().insert(example_retry_hyper::plan(servers));
    let response = example_retry_hyper::client()?.oneshot(request).await?;
    if let Some(attempts) = Attempts::header(&response) {
        println!("attempts: {}", attempts.to_str()?);
    }
    let status = response.status();
    println!("{status}, {} bytes", response.into_body().collect().await?.to_bytes().len());
    Ok(())
}

/// A server on any free port that always gives the same answer.
async fn pretend(status: &'static str) -> Result<Authority, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string().parse()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let reply =
                format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi");
            // A GET's head fits into one read.
            if stream.read(&mut [0; 4096]).await.is_ok() {
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        }
    });
    Ok(address)
}
