use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::HOST,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, ResponseFuture, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use tollway_core::{Ask, BoxError, Caller, ErrorClass, Failure, NameMap, ProxyCredential, Target};
use tollway_dialect::translate::Form;
use tollway_route::is_own;
use tower_service::Service;

use super::{
    address::{Credential, Paths, secrets_in},
    headers::{join_cookies, remove_where},
};

use crate::policy::{Auth, Http2, HttpEndpoint, ProviderKey, Timeouts};

/// Why an endpoint can't be built.
#[derive(Debug)]
pub struct EndpointError(pub(super) String);

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EndpointError {}

type Connector = HttpsConnector<HttpConnector>;

/// Connects to one address, whatever a request's is.
#[derive(Clone)]
struct Dial {
    connector: Connector,
    to: Uri,
}

impl Service<Uri> for Dial {
    type Response = <Connector as Service<Uri>>::Response;
    type Error = <Connector as Service<Uri>>::Error;
    type Future = <Connector as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        self.connector.call(self.to.clone())
    }
}

/// What stands for a host that no request tells: the pool hashes its name, letter by letter, three
/// times a request.
const SHORT: Authority = Authority::from_static("-");

/// One provider over the network.
pub struct Endpoint<B> {
    client: Client<Dial, B>,
    scheme: Scheme,
    authority: Authority,
    /// What requests are addressed to: only HTTP/2 sends it.
    addressed: Authority,
    host: HeaderValue,
    paths: Paths,
    /// Whether the client's own credential may go upstream.
    passthrough: bool,
    /// What clients, or whoever stands in front, tell this proxy alone.
    private: Arc<[HeaderName]>,
    /// The policy's headers, set on every request.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// By key name: what makes a request that key's, ready to be sent.
    credentials: NameMap<Arc<str>, Credential>,
    /// What is secret in the policy's headers alone.
    told: ProxyCredential,
    timeouts: Timeouts,
}

impl<B> fmt::Debug for Endpoint<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}://{} {:?})", self.scheme, self.authority, self.paths)
    }
}

/// Credentials in any of the forms that clients use, and what goes with them: somebody else's
/// organization beside our key would only get our key refused.
fn is_credential(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "authorization"
            | "x-api-key"
            | "api-key"
            | "x-goog-api-key"
            | "openai-organization"
            | "openai-project"
    )
}

impl<B> Endpoint<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Builds the pool; connects to nothing yet. `private` headers are between the client and this
    /// proxy and go no further; `pools` is how many share the policy's number of idle connections.
    pub fn new(
        config: &HttpEndpoint,
        forms: &[Form],
        keys: &[ProviderKey],
        tls: Arc<ClientConfig>,
        private: Arc<[HeaderName]>,
        pools: usize,
    ) -> Result<Self, EndpointError> {
        let bad = |what: &str| EndpointError(format!("base URL {}: {what}", config.base_url));
        let parts = config.base_url.clone().into_parts();
        let scheme = parts.scheme.ok_or_else(|| bad("has no scheme, expected http or https"))?;
        let authority = parts.authority.ok_or_else(|| bad("has no host"))?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| bad("bad host"))?;
        let credentials = keys.iter().filter_map(|key| {
            let name = key.name.clone();
            let ready = Credential::new(config, key)?;
            let ready = ready.map_err(|_| {
                let message = "holds a character that no header may hold";
                EndpointError(format!("the API key {name} {message}"))
            });
            Some(ready.map(|ready| (name, ready)))
        });
        let credentials = credentials.collect::<Result<_, _>>()?;
        let over_http1 = match config.http2 {
            Http2::Auto => scheme == Scheme::HTTP,
            Http2::Never => true,
            Http2::Only => false,
        };
        Ok(Self {
            client: client(config, tls, config.idle_connections.div_ceil(pools.max(1))),
            scheme,
            addressed: if over_http1 { SHORT } else { authority.clone() },
            authority,
            host,
            paths: Paths::new(config, forms),
            passthrough: matches!(config.auth, Auth::Passthrough),
            headers: config.headers.clone(),
            credentials,
            told: ProxyCredential::new(secrets_in(&config.headers)),
            private,
            timeouts: config.timeouts,
        })
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Addresses, signs and sends `request`; nothing moves before the future is polled. With it
    /// comes what it was signed with, unless that is the client's own.
    pub(super) fn send(
        &self,
        request: Request<B>,
    ) -> Result<(ResponseFuture, Option<ProxyCredential>), Failure> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT || !parts.uri.path().starts_with('/') {
            let message = "This proxy forwards requests for a path, no tunnels and no `*`.";
            return Err(Failure::new(ErrorClass::Invalid, message));
        }
        let ours = parts.extensions.get::<Caller>().is_some_and(|caller| caller.authenticated);
        let ask = parts.extensions.get::<Ask>();
        parts.uri = self.address(ask, &parts.uri, ours)?;
        if parts.version == Version::HTTP_2 {
            join_cookies(&mut parts.headers);
        }
        parts.version = Version::HTTP_11;
        let openai_form = self.paths.is_openai_form(ask);
        let target = parts.extensions.get::<Target>();
        let credential = target.and_then(|target| self.credentials.get(target.key()));
        let told = credential.map_or(&self.told, |credential| &credential.told);
        let told = (!self.passthrough).then(|| told.clone());
        let credential = credential.map(|credential| credential.header(openai_form));
        self.sign(&mut parts.headers, credential, ours);
        parts.headers.insert(HOST, self.host.clone());
        // The rest of the extensions is the stack's own business.
        parts.extensions = http::Extensions::new();
        Ok((self.client.request(Request::from_parts(parts, body)), told))
    }

    fn address(&self, ask: Option<&Ask>, uri: &Uri, ours: bool) -> Result<Uri, Failure> {
        let asked = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let path = self.paths.path(ask, asked, ours || !self.passthrough, ours)?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.addressed.clone());
        parts.path_and_query = PathAndQuery::from_maybe_shared(Bytes::from(path)).ok();
        Uri::from_parts(parts).map_err(|error| {
            Failure::new(ErrorClass::Invalid, "the path can't be sent upstream").with_source(error)
        })
    }

    fn sign(
        &self,
        headers: &mut HeaderMap,
        credential: Option<&(HeaderName, HeaderValue)>,
        ours: bool,
    ) {
        if ours || !self.passthrough {
            remove_where(headers, is_credential);
        }
        // What is said to this proxy, or by it, is no provider's business.
        remove_where(headers, |name| is_own(name) || self.private.contains(name));
        for (name, value) in self.headers.iter().chain(credential) {
            headers.insert(name, value.clone());
        }
    }
}

fn client<B>(config: &HttpEndpoint, tls: Arc<ClientConfig>, idle: usize) -> Client<Dial, B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    http.set_connect_timeout(Some(config.timeouts.connect));
    http.set_keepalive(Some(Duration::from_secs(60)));
    let https = HttpsConnectorBuilder::new().with_tls_config((*tls).clone()).https_or_http();
    let https = match config.http2 {
        Http2::Auto => https.enable_all_versions().wrap_connector(http),
        Http2::Never => https.enable_http1().wrap_connector(http),
        Http2::Only => https.enable_http2().wrap_connector(http),
    };
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(Duration::from_secs(60))
        .http2_only(config.http2 == Http2::Only)
        .set_host(false)
        // Half of hyper's default: most replies, and all events of a stream, fit; a thousand streams
        // take 4 MB less.
        .http1_read_buf_exact_size(4 * 1024)
        .build(Dial { connector: https, to: config.base_url.clone() })
}
