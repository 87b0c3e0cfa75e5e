//! `/v1/models`: what the caller may use; and the refusal of what it may not.

use std::{
    collections::HashSet,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::{Either, Full};
use pin_project::pin_project;
use serde_json::{Value, json};
use tollway_core::{Ask, BoxError, Caller, Dialect, Operation};
use tower_layer::Layer;
use tower_service::Service;

use super::{KeyRing, aliases::Aliases};
use crate::policy::{Endpoint, Glob, Policy, registry::Status};

/// The caller's key is not for this model.
#[derive(Debug)]
pub(super) struct ModelForbidden(Arc<str>);

impl fmt::Display for ModelForbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Your key may not use the model `{}`. `GET /v1/models` lists the models it may use.",
            self.0
        )
    }
}

impl std::error::Error for ModelForbidden {}

/// Answers model lists from the policy, and holds callers to the models of their key.
#[derive(Clone, Debug)]
pub(super) struct ModelsLayer(Arc<Models>);

#[derive(Debug)]
struct Models {
    /// `None`: everything passes to the one provider, model lists too.
    listed: Option<Vec<(Arc<str>, Arc<str>)>>,
    aliases: Aliases,
    /// Keys that may not use every model.
    allowed: Vec<(Arc<str>, Vec<Glob>)>,
    /// Those made at run time, where they count.
    ring: Option<Arc<KeyRing>>,
    /// The policy's keys, which are none of them.
    named: HashSet<Arc<str>>,
}

/// Patterns of models.
enum Held<'a> {
    ByPolicy(&'a [Glob]),
    ByKey(Arc<[Glob]>),
}

impl std::ops::Deref for Held<'_> {
    type Target = [Glob];

    fn deref(&self) -> &[Glob] {
        match self {
            Self::ByPolicy(globs) => globs,
            Self::ByKey(globs) => globs,
        }
    }
}

impl ModelsLayer {
    pub(super) fn new(policy: &Policy, ring: &Arc<KeyRing>) -> Self {
        let passes_through = policy.routes.is_empty() && policy.providers.len() == 1;
        let keys = policy.callers.keys.iter();
        let allowed = keys.filter_map(|key| Some((key.name.clone(), key.models.clone()?)));
        Self(Arc::new(Models {
            listed: (!passes_through).then(|| listed(policy)),
            aliases: Aliases::new(policy),
            allowed: allowed.collect(),
            ring: policy.callers.require_key.then(|| ring.clone()),
            named: policy.callers.keys.iter().map(|key| key.name.clone()).collect(),
        }))
    }
}

/// Model ids and their owners: aliases, names that routes spell out, and what the registry knows
/// of models that a route takes.
fn listed(policy: &Policy) -> Vec<(Arc<str>, Arc<str>)> {
    let registry = &policy.registry;
    let mut list: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    let mut add = |id: &Arc<str>, owner: &Arc<str>| {
        if !list.iter().any(|(known, _)| known == id) {
            list.push((id.clone(), owner.clone()));
        }
    };
    let ours: Arc<str> = "tollway".into();
    for alias in &policy.aliases {
        add(&alias.name, &ours);
    }
    let patterns = policy.routes.iter().flat_map(|route| &route.matches.models);
    for exact in patterns.clone().filter(|glob| glob.is_exact()) {
        let id: Arc<str> = exact.as_str().into();
        let owner = registry.model(&id).map_or(&ours, |model| &model.provider);
        add(&id, owner);
    }
    let catches_all = policy.routes.iter().any(|route| route.matches.models.is_empty());
    for model in registry.models.iter().filter(|model| model.status != Status::Retired) {
        let by_pattern = patterns.clone().any(|glob| glob.matches(&*model.id));
        let by_provider = policy.providers.iter().any(|provider| match &provider.endpoint {
            Endpoint::Simulate(_) => true,
            Endpoint::Http(_) => {
                *provider.known.as_ref().unwrap_or(&provider.name) == model.provider
            }
        });
        if by_pattern || ((catches_all || policy.routes.is_empty()) && by_provider) {
            add(&model.id, &model.provider);
        }
    }
    list
}

impl Models {
    /// The models that the caller is held to; `None`: it may use all. A key made at run time that was
    /// revoked since the request came may use none.
    fn allowed(&self, caller: Option<&Caller>) -> Option<Held<'_>> {
        let key = caller?.key.as_ref()?;
        if let Some((_, globs)) = self.allowed.iter().find(|(name, _)| name == key) {
            return Some(Held::ByPolicy(globs));
        }
        let ring = self.ring.as_ref().filter(|_| !self.named.contains(key))?;
        match ring.models(key) {
            Some(models) => models.map(Held::ByKey),
            None => Some(Held::ByPolicy(&[])),
        }
    }

    fn may_use(&self, held: Option<&Held<'_>>, model: &Arc<str>) -> bool {
        let model = self.aliases.resolve(model);
        held.is_none_or(|globs| globs.iter().any(|glob| glob.matches(&**model)))
    }

    /// The name of a model that the request may not use. A caller that is held to some models has
    /// to say which one it asks for, wherever a provider could do work for it.
    fn forbids(&self, request: &http::Extensions, method: &Method) -> Option<Arc<str>> {
        let held = self.allowed(request.get::<Caller>())?;
        let ask = request.get::<Ask>();
        match ask.and_then(|ask| ask.model.as_ref()) {
            Some(model) => (!self.may_use(Some(&held), model)).then(|| model.clone()),
            None => (method == Method::POST).then(|| "(none named)".into()),
        }
    }

    /// The answer to a question about models; `None`: ask the provider.
    fn answer(&self, request: &http::Extensions, method: &Method, path: &str) -> Option<Value> {
        let listed = self.listed.as_ref()?;
        if request.get::<Ask>()?.operation != Operation::Models || method != Method::GET {
            return None;
        }
        let held = self.allowed(request.get::<Caller>());
        let dialect = request.get::<Ask>()?.dialect;
        let mut may_use = listed.iter().filter(|(id, _)| self.may_use(held.as_ref(), id));
        match path.trim_end_matches('/').split_once("/models") {
            Some((_, "")) => Some(list_in(dialect, &may_use.collect::<Vec<_>>())),
            Some((_, id)) => may_use
                .find(|(known, _)| id.strip_prefix('/') == Some(known))
                .map(|(id, owner)| model_in(dialect, id, owner)),
            None => None,
        }
    }
}

/// One model as a family's API shows it; when it was made, nobody here knows.
fn model_in(dialect: Dialect, id: &str, owner: &str) -> Value {
    match dialect {
        Dialect::Anthropic => json!({
            "type": "model", "id": id, "display_name": id, "created_at": "1970-01-01T00:00:00Z",
        }),
        Dialect::Gemini => json!({
            "name": format!("models/{id}"), "displayName": id, "version": "",
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
        }),
        _ => json!({ "id": id, "object": "model", "created": 0, "owned_by": owner }),
    }
}

/// All models as a family's API lists them, on one page.
fn list_in(dialect: Dialect, models: &[&(Arc<str>, Arc<str>)]) -> Value {
    let data = models.iter().map(|(id, owner)| model_in(dialect, id, owner));
    let data: Vec<Value> = data.collect();
    let id = |model: Option<&&(Arc<str>, Arc<str>)>| model.map(|model| model.0.to_string());
    match dialect {
        Dialect::Anthropic => json!({
            "data": data, "has_more": false, "first_id": id(models.first()), "last_id": id(models.last()),
        }),
        Dialect::Gemini => json!({ "models": data }),
        _ => json!({ "object": "list", "data": data }),
    }
}

impl<S> Layer<S> for ModelsLayer {
    type Service = WithModels<S>;

    fn layer(&self, inner: S) -> WithModels<S> {
        WithModels { inner, models: self.0.clone() }
    }
}

/// Service of [`ModelsLayer`].
#[derive(Clone, Debug)]
pub(super) struct WithModels<S> {
    inner: S,
    models: Arc<Models>,
}

impl<S, B, R> Service<Request<B>> for WithModels<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = BoxError>,
{
    type Response = Response<Either<R, Full<Bytes>>>;
    type Error = BoxError;
    type Future = ModelsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let facts = request.extensions();
        if let Some(model) = self.models.forbids(facts, request.method()) {
            return ModelsFuture::Forbidden(Some(ModelForbidden(model)));
        }
        match self.models.answer(facts, request.method(), request.uri().path()) {
            Some(list) => ModelsFuture::Answered(Some(list)),
            None => ModelsFuture::Passed(self.inner.call(request)),
        }
    }
}

/// Future of [`WithModels`].
#[pin_project(project = ModelsProj)]
#[derive(Debug)]
pub(super) enum ModelsFuture<F> {
    Passed(#[pin] F),
    Answered(Option<Value>),
    Forbidden(Option<ModelForbidden>),
}

impl<F, R> Future for ModelsFuture<F>
where
    F: Future<Output = Result<Response<R>, BoxError>>,
{
    type Output = Result<Response<Either<R, Full<Bytes>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ModelsProj::Passed(future) => future.poll(cx).map_ok(|reply| reply.map(Either::Left)),
            ModelsProj::Answered(list) => {
                let text = list.take().unwrap_or_default().to_string();
                let mut reply = Response::new(Either::Right(Full::from(text)));
                let json = HeaderValue::from_static("application/json");
                reply.headers_mut().insert(CONTENT_TYPE, json);
                Poll::Ready(Ok(reply))
            }
            ModelsProj::Forbidden(forbidden) => {
                let forbidden = forbidden.take().expect("polled after it was ready");
                Poll::Ready(Err(forbidden.into()))
            }
        }
    }
}
