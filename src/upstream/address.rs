use http::{HeaderName, HeaderValue, header::AUTHORIZATION, header::InvalidHeaderValue};
use secrecy::ExposeSecret;
use tollway_core::{Ask, Dialect, ErrorClass, Failure, Operation, ProxyCredential, key_in_query};
use tollway_dialect::translate::Form;

use crate::policy::{Auth, HttpEndpoint, ProviderKey};

/// Where at a provider each family of calls is.
#[derive(Debug)]
pub(super) struct Paths {
    /// What the provider speaks below `base`.
    dialect: Dialect,
    base: Box<str>,
    /// Below which it takes OpenAI's calls, if it is another one's.
    openai: Option<Box<str>>,
    /// What it speaks besides.
    others: Vec<Dialect>,
}

impl Paths {
    pub(super) fn new(config: &HttpEndpoint, forms: &[Form]) -> Self {
        let base = config.base_url.path().trim_end_matches('/');
        let openai = config.openai_path.as_ref();
        let openai = openai.map(|path| [base, path.trim_end_matches('/')].concat().into());
        let others = forms.iter().map(|form| form.dialect());
        Self { dialect: config.dialect, base: base.into(), openai, others: others.collect() }
    }

    /// Whether a call goes to the part that takes OpenAI's form by its own base and credential.
    pub(super) fn is_openai_form(&self, ask: Option<&Ask>) -> bool {
        self.openai.is_some() && ask.is_none_or(|ask| ask.dialect == Dialect::OpenAi)
    }

    /// The path and query to send; `signs`: with the proxy's own credential in the place of any
    /// that stands in the query. `ours`: the client's credential is this proxy's, wherever it stands.
    pub(super) fn path(
        &self,
        ask: Option<&Ask>,
        asked: &str,
        signs: bool,
        ours: bool,
    ) -> Result<String, Failure> {
        if let Some(ask) = ask {
            self.must_speak(ask)?;
        }
        let mut path = match &self.openai {
            Some(base) if self.is_openai_form(ask) => {
                // A client may name the provider's own path for OpenAI's form.
                let own = base.strip_prefix(&*self.base).filter(|own| !own.is_empty());
                let rest = own.and_then(|own| below(asked, own)).or_else(|| below(asked, "/v1"));
                joined(base, rest.unwrap_or(asked))
            }
            _ if self.dialect == Dialect::Gemini => {
                // The version is the client's to choose, unless the policy has chosen one.
                let version = self.base.rfind('/').and_then(|at| self.base.get(at..));
                joined(&self.base, version.and_then(|own| below(asked, own)).unwrap_or(asked))
            }
            _ => joined(&self.base, below(asked, "/v1").unwrap_or(asked)),
        };
        if ours || signs && ask.is_some_and(|ask| ask.dialect == Dialect::Gemini) {
            drop_key(&mut path);
        }
        Ok(path)
    }

    fn must_speak(&self, ask: &Ask) -> Result<(), Failure> {
        let spoken = ask.dialect == self.dialect
            || ask.dialect == Dialect::OpenAi
            || self.others.contains(&ask.dialect);
        if spoken || ask.operation == Operation::Other {
            return Ok(());
        }
        let message = format!(
            "The provider that this request goes to speaks the {} API, in which there is no \
             counterpart to this call ({}).",
            self.dialect, ask.operation
        );
        Err(Failure::new(ErrorClass::NotFound, message))
    }
}

/// What of `path` is below `base`.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

fn joined(base: &str, rest: &str) -> String {
    match (base, rest) {
        ("", "") => "/".to_owned(),
        ("", rest) if rest.starts_with('/') => rest.to_owned(),
        (base, rest) => [base, rest].concat(),
    }
}

/// Takes `key=...` out of the query: the client's credential, in Gemini's way.
fn drop_key(path: &mut String) {
    let Some((before, query)) = path.split_once('?') else { return };
    let is_key = |pair: &&str| key_in_query(pair).is_some();
    if !query.split('&').any(|pair| is_key(&pair)) {
        return;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_key(pair)).collect();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    *path = [before, &query].concat();
}

/// One key, ready to be sent in each family's way.
#[derive(Debug)]
pub(super) struct Credential {
    usual: (HeaderName, HeaderValue),
    openai: (HeaderName, HeaderValue),
    /// By which it is known where a provider repeats it.
    pub(super) told: ProxyCredential,
}

impl Credential {
    /// `None`: this proxy sends no key there.
    pub(super) fn new(
        config: &HttpEndpoint,
        key: &ProviderKey,
    ) -> Option<Result<Self, InvalidHeaderValue>> {
        let secret = key.secret.expose_secret();
        let bearer = (AUTHORIZATION, format!("Bearer {secret}"));
        let usual = match &config.auth {
            Auth::Bearer => bearer.clone(),
            Auth::Header(name) => (name.clone(), secret.to_owned()),
            Auth::None | Auth::Passthrough => return None,
        };
        let openai = if config.openai_path.is_some() { bearer } else { usual.clone() };
        let ready = |(name, text): (HeaderName, String)| {
            let mut value = HeaderValue::try_from(text)?;
            value.set_sensitive(true);
            Ok((name, value))
        };
        let told = ProxyCredential::new(secrets_in(&config.headers).chain([secret]));
        Some(ready(usual).and_then(|usual| Ok(Self { usual, openai: ready(openai)?, told })))
    }

    pub(super) fn header(&self, openai_form: bool) -> &(HeaderName, HeaderValue) {
        if openai_form { &self.openai } else { &self.usual }
    }
}

/// Of the names of headers that hold secrets (`helicone-auth`, `ocp-apim-subscription-key`); all
/// others are for anybody to read: were a region blanked out of replies, they would lose their sense.
const SECRET: [&str; 6] = ["auth", "key", "token", "secret", "password", "credential"];

/// What is secret among the policy's headers, by their names.
pub(super) fn secrets_in(headers: &[(HeaderName, HeaderValue)]) -> impl Iterator<Item = &str> {
    let is_secret = |name: &HeaderName| SECRET.iter().any(|word| name.as_str().contains(word));
    let credentials = headers.iter().filter(move |(name, _)| is_secret(name));
    // Behind its scheme, where it has one.
    credentials.filter_map(|(_, value)| value.to_str().ok()?.split_whitespace().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(dialect: Dialect, base: &str, openai: Option<&str>) -> Paths {
        let openai = openai.map(|path| [base, path].concat().into());
        Paths { dialect, base: base.into(), openai, others: vec![] }
    }

    fn ask(dialect: Dialect, operation: Operation) -> Ask {
        let mut ask = Ask::new(operation);
        ask.dialect = dialect;
        ask
    }

    #[test]
    fn our_own_key_goes_no_further() {
        let at = paths(Dialect::OpenAi, "/v1", None);
        let path = "/v1/files?%6Bey=k&key&ke%79=%6b&purpose=batch&monkey=1&%6=%zz";
        let openai = ask(Dialect::OpenAi, Operation::Other);
        // Nobody here took it for a credential.
        assert_eq!(at.path(Some(&openai), path, true, false).unwrap(), path);
        for ask in [Some(&openai), None] {
            let sent = at.path(ask, path, false, true).unwrap();
            assert_eq!(sent, "/v1/files?purpose=batch&monkey=1&%6=%zz");
        }
    }

    #[test]
    fn secrets_are_told_by_their_headers_names() {
        let headers = [
            ("authorization", "Bearer sk-one"),
            ("helicone-auth", "Bearer sk-two"),
            ("x-portkey", "sk-three"),
            ("ocp-apim-subscription-key", "four"),
            ("x-csrf-token", "five"),
            ("openai-organization", "org-1"),
            ("x-region", "europe-west4"),
            ("http-referer", "https://example.com"),
        ];
        let headers = headers
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let secrets: Vec<_> = secrets_in(&headers).collect();
        assert_eq!(secrets, ["sk-one", "sk-two", "sk-three", "four", "five"]);
    }

    #[test]
    fn each_family_has_its_place() {
        let openai = ask(Dialect::OpenAi, Operation::Embeddings);
        let messages = ask(Dialect::Anthropic, Operation::Messages);
        let gemini = ask(Dialect::Gemini, Operation::GenerateContent);
        let there = |paths: &Paths, ask: &Ask, path: &str| {
            paths.path(Some(ask), path, true, false).map_err(|failure| failure.to_string())
        };
        let at = paths(Dialect::OpenAi, "/openai/v1", None);
        assert_eq!(there(&at, &openai, "/v1/embeddings?x=1").unwrap(), "/openai/v1/embeddings?x=1");
        assert_eq!(there(&at, &openai, "/embeddings").unwrap(), "/openai/v1/embeddings");
        assert!(
            there(&at, &gemini, "/v1beta/models/m:embedContent").unwrap_err().contains("openai")
        );
        let at = paths(Dialect::Anthropic, "/v1", Some(""));
        assert_eq!(there(&at, &messages, "/v1/messages").unwrap(), "/v1/messages");
        assert_eq!(there(&at, &openai, "/v1/embeddings").unwrap(), "/v1/embeddings");
        let at = paths(Dialect::Gemini, "", Some("/v1beta/openai"));
        let path = "/v1beta/models/m:generateContent?key=secret&alt=sse";
        assert_eq!(there(&at, &gemini, path).unwrap(), "/v1beta/models/m:generateContent?alt=sse");
        assert_eq!(at.path(Some(&gemini), path, false, false).unwrap(), path);
        assert_eq!(there(&at, &openai, "/v1/embeddings").unwrap(), "/v1beta/openai/embeddings");
        let named = "/v1beta/openai/embeddings";
        assert_eq!(there(&at, &openai, named).unwrap(), named);
        let at = paths(Dialect::Gemini, "/x/v1beta", None);
        assert_eq!(
            there(&at, &gemini, "/v1beta/models/m:generateContent?key=secret").unwrap(),
            "/x/v1beta/models/m:generateContent"
        );
    }
}
