use std::{fmt, io, sync::Arc, time::Duration};

use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult,
    TlsCertificates, TlsMode,
    cluster::ClusterClient,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use super::link::Link;
use crate::StoreError;

/// What is waited for a connection, with all its greetings.
const CONNECT: Duration = Duration::from_secs(1);

/// Which Redis, and how it is spoken to.
///
/// | URL | is |
/// |---|---|
/// | `redis://user:password@host:6379/0` | one server; user, password, port and database may be left out |
/// | `redis+sentinel://user:password@one:26379,two:26379/mymaster/0` | the master of that name, which the sentinels know |
/// | `redis+cluster://user:password@one:6379,two:6379` | a cluster, of which these servers know the others |
///
/// `rediss` in the place of `redis` speaks TLS; `valkey` and `valkeys` mean the same. A `%40` in a
/// user or password stands for `@`, as in any URL.
///
/// ```
/// use tollway_store::redis::RedisConfig;
///
/// let config = RedisConfig::parse("rediss+cluster://:secret@one.example,two.example:7000")?;
/// assert_eq!(config.to_string(), "the Redis cluster of one.example:6379, two.example:7000");
///
/// let error = RedisConfig::parse("http://:secret@one.example").unwrap_err();
/// assert!(!error.to_string().contains("secret"));
/// # Ok::<_, tollway_store::StoreError>(())
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    hosts: Vec<ConnectionInfo>,
    place: Place,
    tls: bool,
    ca: Option<Authorities>,
    sentinel_password: Option<String>,
    pub(crate) timeout: Duration,
    pub(super) patience: u32,
    prefix: String,
}

/// Gives certificates in PEM.
type Authorities = Arc<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    One,
    Sentinel { master: String },
    Cluster,
}

impl RedisConfig {
    /// Reads a URL. Every bound is at its default.
    ///
    /// # Errors
    /// The URL can't be read; the error's words hold nothing of its user and password.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let (scheme, rest) = url
            .trim()
            .split_once("://")
            .ok_or_else(|| StoreError::wrong("a Redis URL begins with redis://"))?;
        let (scheme, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(StoreError::wrong("a Redis URL begins with redis:// or rediss://")),
        };
        if rest.contains(['?', '#']) {
            return Err(StoreError::wrong("a Redis URL has no ? and no #; write %3F and %23"));
        }
        // A password may hold a slash or an @ of its own: the last @ ends it.
        let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (place, db) = match kind {
            "" => (Place::One, path),
            "cluster" => (Place::Cluster, path),
            "sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    let what = "a sentinel's URL names the master: redis+sentinel://HOST/MASTER";
                    return Err(StoreError::wrong(what));
                }
                (Place::Sentinel { master: master.to_owned() }, db)
            }
            _ => return Err(StoreError::wrong("after redis+ comes sentinel or cluster")),
        };
        if place == Place::Cluster && !matches!(db, "" | "0") {
            return Err(StoreError::wrong("a Redis cluster has one database, of number 0"));
        }
        let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
        if place == Place::One && hosts.len() > 1 {
            let what =
                "redis:// names one server; for several it is redis+sentinel or redis+cluster";
            return Err(StoreError::wrong(what));
        }
        let port = if matches!(place, Place::Sentinel { .. }) { 26379 } else { 6379 };
        let hosts = hosts.into_iter().map(|host| server(tls, login, host, port, db));
        Ok(Self {
            hosts: hosts.collect::<Result<_, _>>()?,
            place,
            tls,
            ca: None,
            sentinel_password: None,
            timeout: Duration::from_millis(20),
            patience: 3,
            prefix: "tollway".to_owned(),
        })
    }

    /// The longest that anybody waits for an answer (20 ms).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Timeouts in a row after which it isn't asked until a ping in the background succeeds (3).
    #[must_use]
    pub fn patience(mut self, timeouts: u32) -> Self {
        self.patience = timeouts.max(1);
        self
    }

    /// What every key begins with (`tollway`): who has another one shares nothing.
    ///
    /// # Errors
    /// Empty, or with a character that isn't a letter, a digit, `-`, `_`, `.` or `:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self, StoreError> {
        self.prefix = prefix.into();
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
        match !self.prefix.is_empty() && self.prefix.bytes().all(fits) {
            true => Ok(self),
            false => Err(StoreError::wrong("a prefix has letters, digits, - _ . and :")),
        }
    }

    /// Certificates in PEM that servers are checked against, in the place of the machine's own.
    #[must_use]
    pub fn ca_pem(self, pem: impl Into<Vec<u8>>) -> Self {
        let pem = pem.into();
        self.ca_from(move || Ok(pem.clone()))
    }

    /// The same by somebody who is asked for them at each connection: what others sign from
    /// tomorrow on is good for the connections of tomorrow.
    #[must_use]
    pub fn ca_from(
        mut self,
        pem: impl Fn() -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.ca = Some(Arc::new(pem));
        self
    }

    /// What the sentinels themselves want to hear, where that is anything.
    #[must_use]
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    pub(crate) fn key_prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether it is spoken to by TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    fn certificates(&self) -> RedisResult<Option<TlsCertificates>> {
        let Some(ca) = self.ca.as_ref().filter(|_| self.tls) else { return Ok(None) };
        Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(ca()?) }))
    }

    /// A connection that has been greeted.
    pub(super) async fn connect(&self) -> RedisResult<Link> {
        // The bound on an answer is whoever asks's.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        match &self.place {
            Place::One => {
                let info = self.hosts.first().cloned().unwrap_or_else(nowhere);
                let client = match self.certificates()? {
                    Some(certificates) => Client::build_with_tls(info, certificates)?,
                    None => Client::open(info)?,
                };
                let link = client.get_multiplexed_async_connection_with_config(&config).await?;
                Ok(Link::One(link))
            }
            Place::Sentinel { master } => {
                let mut client = self.sentinel(master)?.build()?;
                Ok(Link::One(client.get_async_connection_with_config(&config).await?))
            }
            Place::Cluster => {
                let mut builder = ClusterClient::builder(self.hosts.clone())
                    .connection_timeout(CONNECT)
                    .response_timeout(CONNECT)
                    .retries(2);
                if let Some(certificates) = self.certificates()? {
                    builder = builder.certs(certificates);
                }
                Ok(Link::Cluster(builder.build()?.get_async_connection().await?))
            }
        }
    }

    fn sentinel(&self, master: &str) -> RedisResult<SentinelClientBuilder> {
        let addresses = self.hosts.iter().map(|info| info.addr().clone());
        let mut builder =
            SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?;
        if let Some(info) = self.hosts.first().map(ConnectionInfo::redis_settings) {
            builder = builder.set_client_to_redis_db(info.db());
            if let Some(name) = info.username() {
                builder = builder.set_client_to_redis_username(name);
            }
            if let Some(password) = info.password() {
                builder = builder.set_client_to_redis_password(password);
            }
        }
        if self.tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = self.certificates()? {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
        if let Some(password) = &self.sentinel_password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        Ok(builder)
    }
}

/// One server's address and login.
fn server(
    tls: bool,
    login: &str,
    host: &str,
    port: u16,
    db: &str,
) -> Result<ConnectionInfo, StoreError> {
    let scheme = if tls { "rediss" } else { "redis" };
    let at = if login.is_empty() { "" } else { "@" };
    let login = login.replace('/', "%2F").replace('@', "%40");
    let bare = host.rsplit_once(':').is_none_or(|(_, port)| port.contains(']'));
    let port = if bare { format!(":{port}") } else { String::new() };
    let url = format!("{scheme}://{login}{at}{host}{port}/{db}");
    // The reason is left out where it could repeat the password.
    url.as_str().into_connection_info().map_err(|_| {
        StoreError::wrong(format!(
            "{host:?} is no address of a Redis, or its login or database is amiss"
        ))
    })
}

fn nowhere() -> ConnectionInfo {
    // `parse` leaves no list empty; a port of zero is refused by the machine.
    ConnectionAddr::Tcp("127.0.0.1".to_owned(), 0)
        .into_connection_info()
        .unwrap_or_else(|_| unreachable!("an address is one"))
}

impl fmt::Display for RedisConfig {
    /// Where it is, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::One => f.write_str("the Redis at ")?,
            Place::Sentinel { master } => write!(f, "the Redis \"{master}\" of the sentinels ")?,
            Place::Cluster => f.write_str("the Redis cluster of ")?,
        }
        for (at, host) in self.hosts.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            match host.addr() {
                ConnectionAddr::Tcp(host, port) => write!(f, "{host}:{port}")?,
                ConnectionAddr::TcpTls { host, port, .. } => write!(f, "{host}:{port}")?,
                _ => f.write_str("?")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("place", &self.to_string())
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
