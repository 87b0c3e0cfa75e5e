//! The whole of Tollway inside another program: no second process to install, its state at hand.
//! The program's own calls (here: any HTTP client's) go through it.
//!
//! ```text
//! cargo run -p example-embedded
//! ```

use std::{
    error::Error,
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::json;
use tollway::{
    Proxy,
    cost::Dimension,
    policy::{Env, Policy},
};

/// A policy as it would stand in a file. Port 0 is any free port. Both providers are simulated, so
/// no key and no network is needed; the first one always fails, so the second takes over.
const POLICY: &str = r"
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
callers: { identify: [header x-user-id, ip] }
providers:
  broken: { simulate: { error_rate: 100%, error_status: 503 } }
  good: { simulate: { output_tokens: 20 } }
models:
  - { id: parrot, provider: good, price: { input: 1, output: 4 } }
limits:
  - { name: user, per: user, requests: 2/hour }
# Without this section the first target's answer is the answer, even if it is a 503.
retry: { attempts: 2 }
routes:
  - { name: all, targets: [broken, good] }
";

/// Starts the proxy on threads of its own, so the caller may be async or not.
///
/// # Errors
/// Everything that is wrong with the policy, each with its line; or a port that is taken.
pub fn start() -> Result<Proxy, Box<dyn Error + Send + Sync>> {
    // `Policy::load` reads a file; its fields can be changed before the proxy is started.
    let policy = Policy::parse("built in", POLICY, &Env::process())?;
    Ok(Proxy::start(policy)?)
}

/// Sends a chat request through the proxy: the answer, head and body. A real program gives
/// `http://{address}/v1` to the OpenAI client of its choice as the base URL.
///
/// # Errors
/// When the proxy can't be reached.
pub fn ask(proxy: &Proxy, user: &str, question: &str) -> std::io::Result<String> {
    let message = json!({ "role": "user", "content": question });
    let body = json!({ "model": "parrot", "messages": [message] }).to_string();
    let mut stream = TcpStream::connect(proxy.address())?;
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: tollway\r\nconnection: close\r\n\
         content-type: application/json\r\nx-user-id: {user}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Who made how many requests and spent how much, by day and month: read from the running proxy.
pub fn spent(proxy: &Proxy) -> Vec<String> {
    let rows = proxy.stack().totals().snapshot().into_iter();
    rows.filter(|row| row.dimension == Dimension::User)
        .map(|row| {
            let (user, period, total) = (row.key, row.period, row.total);
            let (requests, usd) = (total.requests, total.cost);
            format!("{period} {user}: {requests} requests, {usd} USD")
        })
        .collect()
}
