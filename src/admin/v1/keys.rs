//! Tollway keys that are made at run time, beside those of the policy.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{
        Path, RawQuery, State,
        rejection::{BytesRejection, PathRejection},
    },
};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tollway_core::{SystemClock, WallClock};
use tollway_identify::{Key, NewKey};
use tollway_store::ledger::millis;

use super::{ApiError, App, Query, Reply, body, expiry::expiry};
use crate::{
    admin::Operator,
    policy::{CallerKey, Glob, Policy, Store, nearest},
    stack::{KeyScope, RuntimeKey, Stack},
};

/// Keys made at run time: each list of them is whole, here and in every instance.
const MOST: usize = 10_000;
/// The longest name of a key, a user or a tag, and the longest pattern, in bytes.
const LONGEST: usize = 256;
/// Tags, or patterns of models, of one key.
const MANY: usize = 100;

/// What a key is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    name: Option<String>,
    user: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    models: Option<Vec<String>>,
    expires: Option<String>,
    scopes: Option<Vec<String>>,
}

/// `POST /keys`: makes a key, and shows it this once.
pub(super) async fn create(
    State(admin): App,
    Extension(Operator(by)): Extension<Operator>,
    sent: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let asked: Asked = body(sent)?;
    let stack = admin.stack();
    let secret = secret()?;
    let key = asked.key(&secret, stack.policy(), by)?;
    let there = || {
        let message = format!("there is a key `{}` already; revoke it first", key.name);
        ApiError::conflict(message)
    };
    if in_policy(&stack, &key.name).is_some() {
        return Err(there());
    }
    if stack.documents().list(RuntimeKey::KIND).await?.len() >= MOST {
        return Err(ApiError::conflict(format!("there are {MOST} keys; revoke some first")));
    }
    if !stack.documents().add(RuntimeKey::KIND, key.record()).await? {
        return Err(there());
    }
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    tracing::info!(
        key = &*key.name,
        user = &*key.user,
        scopes = scopes.join(","),
        expires = key.expires.map(shown),
        by = &*key.by,
        "a Tollway key was made"
    );
    let mut answer = of_run_time(&key, None);
    answer["key"] = secret.secret().into();
    answer["warnings"] = warnings(&stack, &key).into();
    Ok((StatusCode::CREATED, Json(answer)))
}

fn secret() -> Result<NewKey, ApiError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| ApiError::failed(format!("the system gave no random bytes: {error}")))?;
    Ok(Key::generate(random))
}

impl Asked {
    fn key(self, secret: &NewKey, policy: &Policy, by: Arc<str>) -> Result<RuntimeKey, ApiError> {
        let now = millis(SystemClock.now());
        let digest = secret.digest();
        let name = match &self.name {
            Some(name) => text("name", name)?,
            None => format!("key-{:.8}", digest.to_string()).into(),
        };
        if self.tags.len() > MANY {
            return Err(ApiError::bad("tags", format!("tags: at most {MANY}")));
        }
        let tag = |(name, value): (&String, &String)| -> Result<_, ApiError> {
            Ok((text("tags", name)?, text("tags", value)?))
        };
        let expires = self.expires.as_ref();
        let expires = expires.map(|text| expiry(text, now, &policy.time_zone)).transpose()?;
        Ok(RuntimeKey {
            user: self.user.as_ref().map_or(Ok(name.clone()), |user| text("user", user))?,
            name,
            sha256: digest,
            tags: self.tags.iter().map(tag).collect::<Result<_, _>>()?,
            models: self.models.map(|all| models(&all, policy)).transpose()?,
            scopes: self.scopes.map_or(Ok(vec![KeyScope::Api]), |all| scopes(&all))?,
            created: now,
            by,
            expires,
        })
    }
}

/// A name as logs and tables can show it.
fn text(field: &str, text: &str) -> Result<Arc<str>, ApiError> {
    let fits = (1..=LONGEST).contains(&text.len())
        && text.trim() == text
        && !text.chars().any(char::is_control);
    let wrong = || {
        let expected = format!("1 to {LONGEST} bytes without line breaks and blanks around them");
        ApiError::bad(field, format!("{field}: expected {expected}"))
    };
    fits.then(|| text.into()).ok_or_else(wrong)
}

fn models(all: &[String], policy: &Policy) -> Result<Arc<[Glob]>, ApiError> {
    let wrong = |why: String| ApiError::bad("models", format!("models: {why}"));
    if !(1..=MANY).contains(&all.len()) {
        let why = format!("1 to {MANY} patterns; leave it out to allow all models");
        return Err(wrong(why));
    }
    let one = |pattern: &String| {
        // As in a policy: an alias is replaced before keys look at a model.
        if let Some(alias) = policy.aliases.iter().find(|alias| *alias.name == **pattern) {
            let model = &alias.model;
            return Err(wrong(format!(
                "`{pattern}` is an alias; name what it stands for: `{model}`"
            )));
        }
        text("models", pattern)?
            .parse()
            .map_err(|_| wrong("an empty pattern matches nothing".into()))
    };
    all.iter().map(one).collect()
}

fn scopes(all: &[String]) -> Result<Vec<KeyScope>, ApiError> {
    let names = || KeyScope::ALL.map(KeyScope::as_str);
    let wrong = |why: String| ApiError::bad("scopes", format!("scopes: {why}"));
    if all.is_empty() {
        return Err(wrong(format!("a key is good for something: {}", names().join(", "))));
    }
    let mut scopes = Vec::new();
    for name in all {
        let name: String = name.chars().take(80).collect();
        let scope = KeyScope::named(&name).ok_or_else(|| {
            wrong(match nearest(&name, names()) {
                Some(near) => format!("there is no `{name}`; did you mean `{near}`?"),
                None => format!("there is no `{name}`; there are {}", names().join(", ")),
            })
        })?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

/// What whoever makes this key might not expect.
fn warnings(stack: &Stack, key: &RuntimeKey) -> Vec<String> {
    let policy = stack.policy();
    let mut all = Vec::new();
    if key.may(KeyScope::Api) && !policy.callers.require_key {
        all.push(
            "the policy asks for no Tollway keys: whoever calls gets in without one, and this one is \
             taken for a provider's, to which it may be sent. `callers: { require_key: true }` asks for one"
                .to_owned(),
        );
    }
    if key.may(KeyScope::AdminRead) && policy.admin.token.is_none() {
        all.push(
            "the admin listener asks for no token, so nobody needs this key there; \
             `admin: { token: ... }` asks for one"
                .to_owned(),
        );
    }
    if policy.state.documents == Store::Memory {
        all.push(
            "the policy keeps state in memory, so this key ends with the process; \
             `state: { sqlite: FILE }` keeps it"
                .to_owned(),
        );
    }
    all
}

/// `GET /keys`: all keys, without what would let anybody in.
pub(super) async fn list(State(admin): App, RawQuery(query): RawQuery) -> Reply {
    Query::parse(query.as_deref(), &[])?;
    let stack = admin.stack();
    let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
    for record in stack.documents().list(RuntimeKey::KIND).await? {
        match RuntimeKey::read(&record) {
            Ok(key) => keys.push(of_run_time(&key, no_use(&stack, &key))),
            Err(why) => unreadable.push(json!({ "name": &*record.name, "why": why })),
        }
    }
    keys.extend(stack.policy().callers.keys.iter().map(of_policy));
    keys.sort_by_key(|key| key["name"].as_str().unwrap_or_default().to_owned());
    let require_key = stack.policy().callers.require_key;
    Ok(Json(json!({ "require_key": require_key, "keys": keys, "unreadable": unreadable })))
}

fn in_policy<'a>(stack: &'a Stack, name: &str) -> Option<&'a CallerKey> {
    stack.policy().callers.keys.iter().find(|key| *key.name == *name)
}

/// Why the key lets nobody in at present.
fn no_use(stack: &Stack, key: &RuntimeKey) -> Option<&'static str> {
    if in_policy(stack, &key.name).is_some() {
        return Some("the policy has a key of this name");
    }
    let asked_for = stack.policy().callers.require_key || key.may(KeyScope::AdminRead);
    (!asked_for).then_some("the policy asks for no keys")
}

fn shown(millis: u64) -> String {
    let at = i64::try_from(millis).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    at.map_or_else(|| "never".to_owned(), |at| format!("{at:.3}"))
}

fn patterns(models: Option<&[Glob]>) -> Option<Vec<&str>> {
    models.map(|all| all.iter().map(Glob::as_str).collect())
}

fn of_run_time(key: &RuntimeKey, no_use: Option<&str>) -> Value {
    json!({
        "name": &*key.name,
        "user": &*key.user,
        "tags": key.tags.iter().map(|(name, value)| (&**name, &**value)).collect::<BTreeMap<_, _>>(),
        "models": patterns(key.models.as_deref()),
        "scopes": key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "from": "run_time",
        "created": shown(key.created),
        "by": &*key.by,
        "expires": key.expires.map(shown),
        "no_use": no_use,
    })
}

fn of_policy(key: &CallerKey) -> Value {
    json!({
        "name": &*key.name,
        "user": &*key.user,
        "tags": key.tags.iter().map(|(name, value)| (&**name, &**value)).collect::<BTreeMap<_, _>>(),
        "models": patterns(key.models.as_deref()),
        "scopes": [KeyScope::Api.as_str()],
        "from": "policy",
        "created": null,
        "by": null,
        "expires": null,
        "no_use": null,
    })
}

/// `DELETE /keys/{name}`: the key is refused from the next request on.
pub(super) async fn revoke(
    State(admin): App,
    Extension(Operator(by)): Extension<Operator>,
    name: Result<Path<String>, PathRejection>,
    sent: Result<Bytes, BytesRejection>,
) -> Reply {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    let Nothing {} = body(sent)?;
    let Path(name) = name.map_err(|_| ApiError::bad("name", "name: bad encoding"))?;
    let stack = admin.stack();
    if stack.documents().remove(RuntimeKey::KIND, &name).await? {
        tracing::info!(key = name, by = &*by, "a Tollway key was revoked");
        return Ok(Json(json!({ "revoked": name })));
    }
    let file = &stack.policy().origin.name;
    if in_policy(&stack, &name).is_some() {
        let message = format!(
            "the key `{name}` is one of `callers.keys` of {file}: take it out there, and reload"
        );
        return Err(ApiError::conflict(message));
    }
    let known = stack.documents().list(RuntimeKey::KIND).await?;
    let near = nearest(&name, known.iter().map(|record| &*record.name));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let name: String = name.chars().take(80).collect();
    Err(ApiError::not_found(format!("there is no key `{name}`{near}")))
}
