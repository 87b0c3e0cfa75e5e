//! Tollway keys that are made at run time, beside those of the policy.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use tollway_core::{SystemClock, WallClock};
use tollway_identify::{Key, KeyDigest, NewKey};
use tollway_store::{ledger::millis, records::Record};

use super::{
    ApiError, App, Fields, Query, Reply, Sent,
    expiry::expiry,
    names::{name, no_such},
};
use crate::{
    admin::Operator,
    policy::{CallerKey, Glob, Policy, Store, nearest},
    stack::{KeyScope, RuntimeKey, Stack},
};

/// Keys made at run time: each list of them is whole, here and in every instance.
const MOST: usize = 10_000;
/// Tags, or patterns of models, of one key.
const MANY: usize = 100;

/// What a key's id begins with, and its name doesn't.
const ID: &str = "sha256:";

/// `POST /keys`: makes a key, and shows it this once.
pub(super) async fn create(
    State(admin): App,
    Extension(Operator(by)): Extension<Operator>,
    sent: Sent,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let fields = Fields::parse(sent, &["name", "user", "tags", "models", "expires", "scopes"])?;
    let stack = admin.stack();
    let secret = secret()?;
    let key = asked(&fields, &secret, stack.policy(), by)?;
    let there = |what: &str| {
        let message = format!("there is a key `{}` already{what}", key.name);
        ApiError::conflict(message).of("name")
    };
    if in_policy(&stack, &key.name).is_some() {
        return Err(there(&format!(", in {}; take another name", stack.policy().origin.name)));
    }
    if stack.documents().list(RuntimeKey::KIND).await?.len() >= MOST {
        return Err(ApiError::conflict(format!("there are {MOST} keys; revoke some first")));
    }
    if !stack.documents().add(RuntimeKey::KIND, key.record()).await? {
        return Err(there("; revoke it first"));
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
    let mut answer = of_run_time(&key, no_use(&stack, &key));
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

/// The key that is asked for.
fn asked(
    fields: &Fields,
    secret: &NewKey,
    policy: &Policy,
    by: Arc<str>,
) -> Result<RuntimeKey, ApiError> {
    let now = millis(SystemClock.now());
    let digest = secret.digest();
    let called: Arc<str> = match fields.text("name")? {
        Some(text) if text.starts_with(ID) => {
            let message = format!("name: `{ID}` is what the ids of keys begin with");
            return Err(ApiError::bad("name", message));
        }
        Some(text) => name("name", text)?.into(),
        None => format!("key-{:.8}", digest.to_string()).into(),
    };
    let tags = fields.pairs("tags")?;
    if tags.len() > MANY {
        return Err(ApiError::bad("tags", format!("tags: at most {MANY}")));
    }
    let tag = |(tag, value): (&str, &str)| -> Result<_, ApiError> {
        Ok((name("tags", tag)?.into(), name("tags", value)?.into()))
    };
    let expires = fields.text("expires")?;
    let user = fields.text("user")?.map(|user| name("user", user)).transpose()?;
    Ok(RuntimeKey {
        user: user.map_or_else(|| called.clone(), Into::into),
        name: called,
        sha256: digest,
        tags: tags.into_iter().map(tag).collect::<Result<_, _>>()?,
        models: fields.texts("models")?.map(|all| models(&all, policy)).transpose()?,
        scopes: fields.texts("scopes")?.map_or(Ok(vec![KeyScope::Api]), |all| scopes(&all))?,
        created: now,
        by,
        expires: expires.map(|text| expiry(text, now, &policy.time_zone)).transpose()?,
    })
}

fn models(all: &[&str], policy: &Policy) -> Result<Arc<[Glob]>, ApiError> {
    let wrong = |why: String| ApiError::bad("models", format!("models: {why}"));
    if !(1..=MANY).contains(&all.len()) {
        let why = format!("1 to {MANY} patterns; leave it out to allow all models");
        return Err(wrong(why));
    }
    let one = |pattern: &&str| {
        // As in a policy: an alias is replaced before keys look at a model.
        if let Some(alias) = policy.aliases.iter().find(|alias| *alias.name == **pattern) {
            let model = &alias.model;
            return Err(wrong(format!(
                "`{pattern}` is an alias; name what it stands for: `{model}`"
            )));
        }
        name("models", pattern)?
            .parse()
            .map_err(|_| wrong("an empty pattern matches nothing".into()))
    };
    all.iter().map(one).collect()
}

fn scopes(all: &[&str]) -> Result<Vec<KeyScope>, ApiError> {
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

fn digest(key: &CallerKey) -> KeyDigest {
    KeyDigest::from_bytes(key.sha256)
}

/// Why the key lets nobody in at present.
fn no_use(stack: &Stack, key: &RuntimeKey) -> Option<&'static str> {
    if in_policy(stack, &key.name).is_some() {
        return Some("the policy has a key of this name; this one can be revoked by its id");
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
        "id": id(&key.sha256),
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
        "id": id(&digest(key)),
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

/// A quarter of the hash: it tells keys apart, and lets nobody in.
fn id(digest: &KeyDigest) -> String {
    format!("{ID}{:.16}", digest.to_string())
}

/// `DELETE /keys/{name}`, by the name or the id: the key is refused from the next request on.
pub(super) async fn revoke(
    State(admin): App,
    Extension(Operator(by)): Extension<Operator>,
    called: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    sent: Sent,
) -> Reply {
    Query::parse(query.as_deref(), &[])?;
    Fields::none(sent)?;
    let Path(called) = called.map_err(|_| ApiError::bad("name", "name: bad encoding"))?;
    let stack = admin.stack();
    let all = stack.documents().list(RuntimeKey::KIND).await?;
    let id_of = |record: &Record| Some(id(&RuntimeKey::read(record).ok()?.sha256));
    let named = all.iter().find(|record| *record.name == *called);
    if in_policy(&stack, &called).is_some() {
        return Err(of_the_policys(&stack, &called, named.and_then(id_of)));
    }
    let found = named.or_else(|| all.iter().find(|record| id_of(record).as_ref() == Some(&called)));
    if let Some(record) = found
        && stack.documents().remove(RuntimeKey::KIND, &record.name).await?
    {
        let (key, id) = (&*record.name, id_of(record));
        tracing::info!(key, id, by = &*by, "a Tollway key was revoked");
        return Ok(Json(json!({ "revoked": key, "id": id })));
    }
    if let Some(key) = stack.policy().callers.keys.iter().find(|key| id(&digest(key)) == called) {
        return Err(of_the_policys(&stack, &key.name, None));
    }
    Err(no_such("key", &called, all.iter().map(|record| &*record.name)).of("name"))
}

/// Which of two keys of one name is meant can't be told, and one of them is none that ends here.
fn of_the_policys(stack: &Stack, name: &str, beside: Option<String>) -> ApiError {
    let file = &stack.policy().origin.name;
    let beside = beside.map(|id| {
        format!(". The key `{name}` that was made at run time lets nobody in meanwhile; its id revokes it: `{id}`")
    });
    let message = format!(
        "the key `{name}` is one of `callers.keys` of {file}: take it out there, and reload{}",
        beside.unwrap_or_default()
    );
    ApiError::conflict(message).of("name")
}
