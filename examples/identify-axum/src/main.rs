//! Runs the example on port 3000, with one key made for this run.

use std::{
    fs::File,
    io::{self, Read},
    net::SocketAddr,
};

use tollway_core::{BoxError, Tags};
use tollway_identify::Key;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let new = Key::generate(random()?);
    let tags = Tags::from_iter([("team", "search")]);
    let app = example_identify_axum::app([Key { tags, ..Key::new("demo", new.digest()) }])?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("http://{}/whoami with the key {}", listener.local_addr()?, new.secret());
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

/// 256 bits from the system's generator, without another dependency.
fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
