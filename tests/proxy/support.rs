//! A running proxy, clients for it, and providers written for one test.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::Future,
    net::SocketAddr,
    ops::Deref,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use tollway::{
    Proxy,
    policy::{Env, Policy},
    server::serve_connection,
    simulate::Simulator,
    stack::Stack,
};
use tollway_core::BoxError;

/// The longest that any wait in these tests may take before it counts as failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Body = BoxBody<Bytes, BoxError>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// Any body as the clients here take it.
pub(crate) fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed()
}

/// A body that sends what its other end is given, and ends with it.
pub(crate) fn pipe() -> (mpsc::Sender<Bytes>, Body) {
    let (send, receive) = mpsc::channel(1);
    (send, boxed(Pipe(receive)))
}

struct Pipe(mpsc::Receiver<Bytes>);

impl http_body::Body for Pipe {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Waits for `future`, but not for ever.
pub(crate) async fn within<T>(what: impl Debug, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what:?}"),
    }
}

/// Waits until `done` says so.
pub(crate) async fn until(what: impl Debug, mut done: impl FnMut() -> bool) {
    within(what, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) fn policy(yaml: &str) -> Policy {
    let parsed = Policy::parse("test.yaml", yaml, &Env::new(|_| None));
    let mut policy = parsed.unwrap_or_else(|errors| panic!("{errors}"));
    policy.listen.set_port(0);
    policy.admin.listen.set_port(0);
    policy
}

/// A proxy that is told to stop when it is dropped.
pub(crate) struct Running(Option<Proxy>);

impl Running {
    pub(crate) fn new(yaml: &str) -> Self {
        let policy = policy(yaml);
        let started = std::thread::spawn(|| Proxy::start(policy)).join().unwrap();
        Self(Some(started.unwrap()))
    }

    pub(crate) fn started(proxy: Proxy) -> Self {
        Self(Some(proxy))
    }

    /// In front of one provider at `address`, with nothing in between.
    pub(crate) fn before(address: SocketAddr) -> Self {
        Self::new(&provider_at(address))
    }

    pub(crate) fn take(mut self) -> Proxy {
        self.0.take().unwrap()
    }

    pub(crate) fn sim(&self, name: &str) -> Simulator {
        self.stack().simulator(name).unwrap().clone()
    }

    pub(crate) fn uri(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.address()).parse().unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(self.uri(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(full(body)).unwrap();
        Reply::read(within("a reply", client().request(request)).await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::POST, path, &[JSON], body).await
    }

    /// `control`: the simulated provider's instructions.
    pub(crate) async fn chat(&self, control: &str) -> Reply {
        let headers = [JSON, ("x-simulate", control)];
        let headers = if control.is_empty() { &headers[..1] } else { &headers };
        self.send(Method::POST, CHAT, headers, ask(false)).await
    }

    pub(crate) async fn admin(&self, path: &str) -> Reply {
        get(&format!("http://{}{path}", self.admin_address())).await
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.telemetry().render();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")))?;
        line.parse().ok()
    }

    /// Whether no request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.metric("tollway_requests_in_flight").is_none_or(|n| n == 0.0)
    }
}

/// A policy's stack and one HTTP/2 connection to it, all on this thread, so that time can be paused.
pub(crate) async fn in_process(policy: Policy) -> (Stack, SendRequest<Body>) {
    let stack = Stack::new(&policy).unwrap();
    let (near, far) = tokio::io::duplex(1 << 20);
    let service = stack.service();
    tokio::spawn(async move {
        let peer = ([127, 0, 0, 1], 1).into();
        serve_connection(far, peer, service, &policy.server, CancellationToken::new()).await;
    });
    let (send, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    (stack, send)
}

pub(crate) fn provider_at(address: SocketAddr) -> String {
    format!("providers:\n  up: {{ base_url: \"http://{address}/v1\", auth: passthrough }}\n")
}

impl Deref for Running {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(proxy) = &self.0 {
            proxy.stop_token().cancel();
        }
    }
}

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

pub(crate) fn ask(stream: bool) -> String {
    format!(
        r#"{{"model":"gpt-4o-mini","stream":{stream},"messages":[{{"role":"user","content":"Hello"}}]}}"#
    )
}

pub(crate) type Http = Client<HttpConnector, Body>;

pub(crate) fn client() -> Http {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

pub(crate) fn client_h2() -> Http {
    Client::builder(TokioExecutor::new()).http2_only(true).build(HttpConnector::new())
}

pub(crate) async fn get(uri: &str) -> Reply {
    let request = Request::get(uri).body(full("")).unwrap();
    Reply::read(within("a reply", client().request(request)).await.unwrap()).await
}

/// A reply, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// The body ended in an error.
    pub(crate) broken: bool,
}

impl Reply {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (parts, mut body) = response.into_parts();
        let (mut data, mut trailers, mut broken) = (Vec::new(), None, false);
        while let Some(frame) = within("the reply's next frame", body.frame()).await {
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => data.extend_from_slice(&bytes),
                Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
                Err(_) => broken = true,
            }
        }
        Self {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: data.into(),
            trailers,
            broken,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The error inside, which has to be in OpenAI's shape.
    pub(crate) fn error(&self) -> ApiError {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        ApiError::of(&self.json())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) message: String,
    pub(crate) kind: String,
    pub(crate) param: Option<String>,
    pub(crate) code: Option<String>,
}

impl ApiError {
    pub(crate) fn of(body: &Value) -> Self {
        let error = body["error"].as_object().unwrap_or_else(|| panic!("no error in {body}"));
        let mut names: Vec<_> = error.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["code", "message", "param", "type"], "{body}");
        let optional = |name: &str| match &error[name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => panic!("{name} is {other}"),
        };
        let message = optional("message").unwrap();
        assert!(message.len() > 10, "a message that says nothing: {message:?}");
        Self {
            message,
            kind: optional("type").unwrap(),
            param: optional("param"),
            code: optional("code"),
        }
    }
}

/// The head and the rest of what came over a raw connection.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Raw {
    /// `None`: nothing came at all.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Some(Self {
            status: status.unwrap_or_else(|| panic!("no status: {text:?}")),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        })
    }

    pub(crate) fn error(&self) -> ApiError {
        let json = self.body.find('{').zip(self.body.rfind('}'));
        let (from, to) = json.unwrap_or_else(|| panic!("no JSON: {self:?}"));
        ApiError::of(&serde_json::from_str(&self.body[from..=to]).unwrap())
    }
}

impl Raw {
    /// The `code` of what is refused before there is a request: framed, and the connection closed.
    pub(crate) fn refusal(&self) -> String {
        let length = format!("\r\ncontent-length: {}\r\n", self.body.len());
        let head = format!("{}\r\n", self.head);
        assert!(head.contains(&length) && head.contains("\r\nconnection: close\r\n"), "{self:?}");
        assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{self:?}");
        assert_eq!(head.matches("content-length").count(), 1, "{self:?}");
        let error = self.error();
        assert_eq!((error.kind.as_str(), error.param), ("invalid_request_error", None));
        error.code.unwrap()
    }
}

/// Writes `bytes` and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Raw> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may have heard enough and closed before all is written.
    let _ = stream.write_all(bytes).await;
    Raw::parse(&rest(&mut stream).await)
}

/// All that still comes; a reset ends it too.
pub(crate) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = within("the connection's end", stream.read_to_end(&mut all)).await;
    all
}

/// Reads a whole head.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match within("a head", stream.read_u8()).await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads a whole request with a `content-length`, or without a body.
pub(crate) async fn read_request(stream: &mut TcpStream) -> String {
    let head = read_head(stream).await;
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    let _ = within("a body", stream.read_exact(&mut body)).await;
    head
}

/// A provider that does with each connection whatever `script` says.
pub(crate) async fn raw_provider<F, R>(script: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    address
}

/// A request as the provider saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A provider that remembers its requests and answers what `answer` says.
#[derive(Clone)]
pub(crate) struct Recording {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recording {
    pub(crate) async fn new(
        answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (record, answer) = (seen.clone(), Arc::new(answer));
        let address = provider(move |request| {
            let (record, answer) = (record.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let seen = Seen {
                    method: parts.method,
                    uri: parts.uri,
                    version: parts.version,
                    headers: parts.headers,
                    body,
                };
                record.lock().unwrap().push(seen.clone());
                answer(&seen)
            }
        })
        .await;
        Self { address, seen }
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// A provider made of a function; HTTP/1.1 and HTTP/2.
pub(crate) async fn provider<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream, answer.clone()));
        }
    });
    address
}

/// Serves one connection with `answer`.
pub(crate) async fn serve<I, F, R>(io: I, answer: F)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let reply = answer(request);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(100_000);
    let _ = builder.serve_connection(TokioIo::new(io), service).await;
}

pub(crate) fn reply(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut reply = Response::builder().status(status);
    for (name, value) in headers {
        reply = reply.header(*name, *value);
    }
    reply.body(full(body)).unwrap()
}

pub(crate) const COMPLETION: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}"#;
