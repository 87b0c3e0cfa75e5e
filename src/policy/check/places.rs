//! Where a target's name leads.

use std::sync::Arc;

use super::{
    Check,
    providers::Declared,
    routes::aged,
    targets::{Many, Targets},
};
use crate::policy::{
    Endpoint, Place, Provider,
    diag::nearest,
    read::At,
    registry::{Model, Registry},
    values::Text,
    written::TargetWritten,
};

impl Targets<'_> {
    /// A place, and the region of its provider.
    pub(super) fn place(
        &self,
        to: &At<Text>,
        check: &mut Check<'_, '_>,
    ) -> Option<(Place, Option<Arc<str>>)> {
        let (name, model) = split(to);
        let Some(provider) = self.find(name) else {
            let quote = check.reader.quote(to);
            let (name, rest) = quote.split_once('/').unwrap_or((&quote, ""));
            let names = self.providers.iter().map(|known| &*known.name);
            let near = nearest(name, names.clone());
            let message = format!("there is no provider `{name}`");
            let said = check.reader.wrong(to, message);
            match near {
                Some(near) if rest.is_empty() => said.help(format!("did you mean `{near}`?")),
                Some(near) => said.help(format!("did you mean `{near}/{rest}`?")),
                None => said.did_you_mean(name, names),
            };
            return None;
        };
        if model == Some("") {
            check
                .reader
                .wrong(to, "there is no model after the `/`")
                .help("leave the `/` out to send the model that was asked for");
        }
        if let (Some(model), Some(known)) = (model, &provider.checked) {
            known_model(to, model, known, self.registry, check);
        }
        let region = provider.checked.as_ref().and_then(|known| known.region.clone());
        Some((Place { provider: provider.name.clone(), model: model.map(Into::into) }, region))
    }

    /// What the registry knows of a place's model; a simulated provider plays any other.
    pub(super) fn model(&self, place: &Place) -> Option<&Model> {
        let id = place.model.as_deref()?;
        let provider = self.find(&place.provider)?;
        let known = provider.checked.as_ref().and_then(|checked| checked.known.as_deref());
        let kind = known.unwrap_or(&provider.name);
        let found = self.registry.model_of(kind, id).or_else(|| self.registry.model(id));
        found.map(|model| &**model)
    }

    /// Each place of a list as written.
    pub(super) fn written<'w>(&self, many: &'w Many) -> Vec<(&'w At<Text>, Place)> {
        let mut all = vec![];
        for at in &many.value.0 {
            match &at.value {
                TargetWritten::Place { to, .. } => {
                    let (name, model) = split(to);
                    let model = model.map(Into::into);
                    let provider = self.find(name).map(|provider| provider.name.clone());
                    all.extend(provider.map(|provider| (to, Place { provider, model })));
                }
                TargetWritten::Group(group) => {
                    all.extend(group.targets.iter().flat_map(|many| self.written(many)));
                }
            }
        }
        all
    }

    /// A declared provider by its name, or by another name of the same known provider.
    fn find(&self, name: &str) -> Option<&Declared> {
        let known = self.registry.provider(name);
        self.providers.iter().find(|declared| &*declared.name == name).or_else(|| {
            let known = known?;
            let same = |declared: &&Declared| {
                let other = self.registry.provider(&declared.name);
                other.is_some_and(|other| other.name == known.name)
            };
            self.providers.iter().find(same)
        })
    }
}

/// `provider` or `provider/model`.
fn split(to: &At<Text>) -> (&str, Option<&str>) {
    let text = to.value.0.as_str();
    match text.split_once('/') {
        Some((name, model)) => (name, Some(model)),
        None => (text, None),
    }
}

/// The model must be one the provider has, where the registry knows its models.
fn known_model(
    at: &At<Text>,
    model: &str,
    provider: &Provider,
    registry: &Registry,
    check: &mut Check<'_, '_>,
) {
    let kind = provider.known.as_deref().unwrap_or(&provider.name);
    let found = registry.model_of(kind, model);
    if let Some(found) = found.or_else(|| registry.model(model)) {
        aged(found, at.span, &at.path, check);
    }
    let own_place = match &provider.endpoint {
        Endpoint::Http(http) => {
            registry.provider(kind).is_some_and(|known| known.base_url == http.base_url)
        }
        Endpoint::Simulate(_) => false,
    };
    // Fine-tuned models carry their owner's names.
    if found.is_some() || !own_place || model.starts_with("ft:") || model.is_empty() {
        return;
    }
    let quote = check.reader.quote(at);
    let quote = quote.split_once('/').map_or(quote.as_str(), |(_, model)| model).to_owned();
    let of_it = registry.models.iter().filter(|known| &*known.provider == kind);
    let near = nearest(&quote, of_it.map(|known| &*known.id));
    let help = match near {
        Some(near) => format!("did you mean `{near}`? A model that is new goes under `models:`"),
        None => "a model that is new goes under `models:`, with its price".into(),
    };
    let message = format!("`{}` has no model `{quote}`", provider.name);
    check.reader.wrong(at, message).help(help);
}
