use std::{sync::Arc, time::Duration};

use tollway_core::Dialect;

use super::{
    Check,
    forms::forms,
    keys::keys,
    routing::{probe, usual_probe},
    server::positive,
};
use crate::policy::{
    Auth, Endpoint, Http2, HttpEndpoint, Probe, Provider, Secret, SimulateConfig, Timeouts,
    diag::nearest,
    read::At,
    registry::{KnownProvider, Registry},
    values::{AuthName, DialectName, Hidden, Http2Name, Share, Text},
    written::{PolicyWritten, ProviderWritten, SimulateWritten, TimeoutsWritten},
};

/// A provider's name, and the provider unless something is wrong with it.
pub(super) struct Declared {
    pub(super) name: Arc<str>,
    pub(super) checked: Option<Provider>,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::OpenAi => Self::OpenAi,
            DialectName::Anthropic => Self::Anthropic,
            DialectName::Gemini => Self::Gemini,
        }
    }
}

pub(super) fn providers(
    written: &PolicyWritten,
    registry: &Registry,
    check: &mut Check<'_, '_>,
) -> Vec<Declared> {
    let Some(section) = &written.providers else { return vec![] };
    if section.value.0.is_empty() {
        check.reader.wrong(section, "there is no provider").expected(
            "at least one: `openai: { api_key: ${OPENAI_API_KEY} }`, or `demo: { simulate: {} }`",
        );
    }
    let usual = usual_probe(written, check);
    let each = section.value.0.iter().map(|(name, value)| {
        if name.value.contains('/') || name.value.trim().is_empty() {
            check.reader.wrong(name, "the name of a provider has no `/` and is not empty");
        }
        let checked = value
            .as_ref()
            .and_then(|at| provider(name, &at.value, registry, usual.as_ref(), check));
        Declared { name: name.value.as_str().into(), checked }
    });
    each.collect()
}

fn provider(
    name: &At<String>,
    written: &ProviderWritten,
    registry: &Registry,
    usual: Option<&Probe>,
    check: &mut Check<'_, '_>,
) -> Option<Provider> {
    let known = match &written.like {
        Some(like) => {
            let found = registry.provider(&like.value.0);
            if found.is_none() {
                let quote = check.reader.quote(like);
                check
                    .reader
                    .wrong(like, format!("`{quote}` is no known provider"))
                    .did_you_mean(&quote, registry.providers.iter().map(|known| &*known.name));
            }
            found
        }
        None => registry.provider(&name.value),
    };
    let keys = keys(written, check);
    let endpoint = match &written.simulate {
        Some(simulated) => {
            only_simulated(written, check);
            Endpoint::Simulate(simulate(&simulated.value, check))
        }
        None => Endpoint::Http(Box::new(http(name, written, known.map(|known| &**known), check)?)),
    };
    let forms = forms(name, written, known.map(|known| &**known), check);
    Some(Provider {
        name: name.value.as_str().into(),
        known: known.map(|known| known.name.clone()),
        forms,
        keys,
        free: written.free.as_ref().is_some_and(|at| at.value),
        region: written.region.as_ref().map(|at| at.value.0.as_str().into()),
        probe: match &written.probe {
            Some(at) => probe(at, usual, check),
            None => usual.cloned(),
        },
        endpoint,
    })
}

/// What a simulated provider has no use for is refused, not ignored.
fn only_simulated(written: &ProviderWritten, check: &mut Check<'_, '_>) {
    let places = [
        written.base_url.as_ref().map(|at| (at.span, &at.path)),
        written.api_key.as_ref().map(|at| (at.span, &at.path)),
        written.auth.as_ref().map(|at| (at.span, &at.path)),
        written.headers.as_ref().map(|at| (at.span, &at.path)),
        written.timeouts.as_ref().map(|at| (at.span, &at.path)),
        written.extra_ca.as_ref().map(|at| (at.span, &at.path)),
        written.http2.as_ref().map(|at| (at.span, &at.path)),
    ];
    for (span, path) in places.into_iter().flatten() {
        check
            .reader
            .error(span, path, "a simulated provider has no use for this")
            .help("take it away, or take `simulate` away");
    }
}

fn http(
    name: &At<String>,
    written: &ProviderWritten,
    known: Option<&KnownProvider>,
    check: &mut Check<'_, '_>,
) -> Option<HttpEndpoint> {
    let base_url = match (&written.base_url, known) {
        (Some(at), _) => at.value.0.clone(),
        (None, Some(known)) => known.base_url.clone(),
        (None, None) => {
            // What was wrong with the place itself was told already.
            let told = ["like", "base_url", "simulate"];
            if !told.iter().any(|key| check.reader.told_at(&format!("{}.{key}", name.path))) {
                no_place(name, check);
            }
            return None;
        }
    };
    let dialect = match &written.dialect {
        Some(at) => at.value.into(),
        None => known.map_or(Dialect::OpenAi, |known| known.dialect),
    };
    // A known provider by another dialect is another API.
    let known_path = known.filter(|known| known.dialect == dialect);
    let headers = written.headers.iter().flat_map(|named| &named.value.0);
    let headers = headers.filter_map(|(name, value)| {
        let parsed = name.value.parse();
        if parsed.is_err() {
            check.reader.wrong(name, "is not the name of a header");
        }
        Some((parsed.ok()?, value.as_ref()?.value.0.clone()))
    });
    let headers = headers.collect();
    Some(HttpEndpoint {
        base_url,
        dialect,
        openai_path: known_path.and_then(|known| known.openai_path.clone()),
        auth: auth(written, known, check),
        headers,
        timeouts: timeouts(written.timeouts.as_ref().map(|at| &at.value), check),
        idle_connections: written.idle_connections.as_ref().map_or(20, |at| at.value.0 as usize),
        http2: match written.http2.as_ref().map(|at| at.value) {
            Some(Http2Name::Only) => Http2::Only,
            Some(Http2Name::Never) => Http2::Never,
            Some(Http2Name::Auto) | None => Http2::Auto,
        },
        extra_ca: written.extra_ca.as_ref().and_then(|at| certificates(at, check)),
    })
}

fn no_place(name: &At<String>, check: &mut Check<'_, '_>) {
    let embedded = Registry::embedded();
    let names = embedded.providers.iter().map(|known| &*known.name);
    let near = nearest(&name.value, names.clone());
    let message =
        format!("`{}` is no known provider, and has no `base_url`", check.reader.quote(name));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "give it a `base_url`, `simulate: {{}}`, or a known name: {}",
            names.collect::<Vec<_>>().join(", ")
        ),
    };
    check.reader.wrong(name, message).help(help);
}

/// A file of certificates.
pub(super) fn certificates(at: &At<Text>, check: &mut Check<'_, '_>) -> Option<std::path::PathBuf> {
    match check.reader.env.file(&at.value.0) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => {
            Some(check.reader.env.folder.join(&at.value.0))
        }
        Ok(_) => {
            check
                .reader
                .wrong(at, "the file holds no certificate")
                .expected("a PEM file with `-----BEGIN CERTIFICATE-----`");
            None
        }
        Err(error) => {
            check
                .reader
                .wrong(at, format!("the file cannot be read ({})", error.kind()))
                .expected("a PEM file");
            None
        }
    }
}

fn auth(
    written: &ProviderWritten,
    known: Option<&KnownProvider>,
    check: &mut Check<'_, '_>,
) -> Auth {
    // One that can't be read was told, and is a key all the same.
    let key = match (&written.api_key, &written.keys) {
        (Some(_), _) => Some("`api_key`"),
        (None, Some(_)) => Some("`keys`"),
        (None, None) => None,
    };
    let how = written.auth.as_ref();
    match (how.map(|at| &at.value), key) {
        (Some(AuthName::Bearer), Some(_)) => Auth::Bearer,
        (Some(AuthName::Header(name)), Some(_)) => Auth::Header(name.clone()),
        (None, Some(_)) => match known.and_then(|known| known.auth_header.clone()) {
            Some(name) => Auth::Header(name),
            None => Auth::Bearer,
        },
        (Some(AuthName::None), None) => Auth::None,
        (Some(AuthName::Passthrough) | None, None) => Auth::Passthrough,
        (Some(AuthName::None | AuthName::Passthrough), Some(key)) => {
            if let Some(at) = how {
                let message = match &written.keys {
                    None => "there is an `api_key`, but it would never be sent",
                    Some(_) => "there are `keys`, but they would never be sent",
                };
                let help = format!("take {key} away, or say `auth: bearer`");
                check.reader.wrong(at, message).help(help);
            }
            Auth::None
        }
        (Some(_), None) => {
            if let Some(at) = how {
                check
                    .reader
                    .wrong(at, "there is no `api_key` to send")
                    .help("add `api_key: ${NAME}`, or say `auth: passthrough`");
            }
            Auth::None
        }
    }
}

/// A secret, read from its file where it is in one.
pub(super) fn secret(at: &At<Hidden>, check: &mut Check<'_, '_>) -> Option<Secret> {
    let text = &at.value.0;
    let text = match text.strip_prefix("file:") {
        None => text.clone(),
        Some(path) => match check.reader.env.file(path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) => {
                check
                    .reader
                    .wrong(at, format!("the secret's file cannot be read ({})", error.kind()))
                    .expected("`file:` and the path of a file that holds the secret alone");
                return None;
            }
        },
    };
    check.reader.hide(&text);
    if text.is_empty() {
        check.reader.wrong(at, "the secret is empty");
        return None;
    }
    if text.bytes().any(|byte| !(0x20..0x7f).contains(&byte)) {
        check.reader.wrong(at, "the secret holds characters that no header can carry");
        return None;
    }
    Some(Secret::from(text))
}

fn timeouts(written: Option<&TimeoutsWritten>, check: &mut Check<'_, '_>) -> Timeouts {
    let written = written.cloned().unwrap_or_default();
    let seconds = Duration::from_secs;
    Timeouts {
        connect: positive(&written.connect, seconds(5), check),
        first_byte: positive(&written.first_byte, seconds(120), check),
        between_chunks: positive(&written.between_chunks, seconds(60), check),
        total: positive(&written.total, seconds(600), check),
    }
}

fn simulate(written: &SimulateWritten, check: &mut Check<'_, '_>) -> SimulateConfig {
    let share = |at: &Option<At<Share>>| at.as_ref().map_or(0.0, |at| at.value.0);
    let time = |at: &Option<At<crate::policy::values::Time>>| {
        at.as_ref().map_or(Duration::ZERO, |at| at.value.0)
    };
    let count = |at: &Option<At<crate::policy::values::Count>>| at.as_ref().map(|at| at.value.0);
    let error_status = match &written.error_status {
        Some(at) => match u16::try_from(at.value.0) {
            Ok(status @ 400..=599) => status,
            _ => {
                let quote = check.reader.quote(at);
                check
                    .reader
                    .wrong(at, format!("`{quote}` is not the status of an error"))
                    .expected("400 to 599");
                500
            }
        },
        None => 500,
    };
    let tokens_per_second = match &written.tokens_per_second {
        Some(at) if at.value.0 == 0.0 => {
            check
                .reader
                .wrong(at, "a stream of `0` tokens a second never ends")
                .expected("a number above zero");
            None
        }
        at => at.as_ref().map(|at| at.value.0),
    };
    SimulateConfig {
        latency: time(&written.latency),
        jitter: share(&written.jitter),
        time_to_first_token: time(&written.time_to_first_token),
        tokens_per_second,
        output_tokens: check.at_least_one_u32(&written.output_tokens, 16).get(),
        requests_per_minute: count(&written.requests_per_minute),
        tokens_per_minute: count(&written.tokens_per_minute),
        quota_requests: count(&written.quota_requests),
        error_rate: share(&written.error_rate),
        error_status,
        stall_rate: share(&written.stall_rate),
        reset_rate: share(&written.reset_rate),
        truncate_rate: share(&written.truncate_rate),
        malformed_rate: share(&written.malformed_rate),
        late_error_rate: share(&written.late_error_rate),
        seed: count(&written.seed).unwrap_or(0),
    }
}
