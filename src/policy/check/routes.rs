use std::{num::NonZeroU32, sync::Arc};

use jiff::ToSpan;
use tollway_route::{CallerMatch, HeaderMatch, TagMatch, shadows};

use super::{Check, glob, globs, providers::Declared};
use crate::policy::{
    Alias, Endpoint, Glob, Match, Route, RouteTarget, Strategy,
    diag::nearest,
    node::Span,
    read::{At, Named},
    registry::{Model, Registry, Status},
    values::{StrategyName, Text},
    written::{MatchWritten, PolicyWritten, RouteWritten, TargetWritten},
};

pub(super) fn aliases(
    written: &PolicyWritten,
    registry: &Registry,
    check: &mut Check<'_, '_>,
) -> Vec<Alias> {
    let named = written.aliases.iter().flat_map(|named| &named.value.0);
    let all: Vec<(&At<String>, &At<Text>)> =
        named.filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
    let each = all.iter().map(|(name, model)| {
        if all.iter().any(|(other, _)| other.value == model.value.0) {
            let quote = check.reader.quote(model);
            check
                .reader
                .wrong(*model, format!("`{quote}` is an alias itself"))
                .help("name the model that it stands for: aliases are looked up once");
        }
        if let Some(known) = registry.model(&model.value.0) {
            aged(known, model.span, &model.path, check);
        }
        Alias { name: name.value.as_str().into(), model: model.value.0.as_str().into() }
    });
    each.collect()
}

/// Warns of a model that answers no more, or not for long.
fn aged(model: &Model, span: Span, path: &str, check: &mut Check<'_, '_>) {
    let today = check.reader.env.today;
    let soon = today.checked_add(90.days()).unwrap_or(today);
    let when = match model.until {
        _ if model.status == Status::Retired => match model.until {
            Some(day) => format!("was shut down on {day}"),
            None => "was shut down".into(),
        },
        Some(day) if day <= today => format!("was shut down on {day}"),
        Some(day) if day <= soon => format!("is shut down on {day}"),
        _ => return,
    };
    let instead = match &model.replacement {
        Some(other) => format!("; its provider suggests `{other}`"),
        None => String::new(),
    };
    check.warn(span, path, format!("the model `{}` {when}{instead}", model.id));
}

pub(super) fn routes(
    written: &PolicyWritten,
    providers: &[Declared],
    registry: &Registry,
    check: &mut Check<'_, '_>,
) -> Vec<Route> {
    let mut names = vec![];
    let mut routes: Vec<(Route, usize)> = vec![];
    let aliased: Vec<&str> = written
        .aliases
        .iter()
        .flat_map(|named| &named.value.0)
        .map(|(name, _)| name.value.as_str())
        .collect();
    for (index, at) in written.routes.iter().flat_map(|list| list.value.0.iter().enumerate()) {
        if let Some(name) = &at.value.name {
            check.unique(&mut names, name, "routes");
        }
        let matches =
            at.value.r#match.as_ref().map(|at| matching(&at.value, check)).unwrap_or_default();
        unreachable_alias(&at.value, &aliased, check);
        if let Some((earlier, line)) =
            routes.iter().find(|(earlier, _)| shadows(&earlier.matches, &matches))
        {
            let message = "the route is never reached".to_owned();
            let help = format!(
                "route `{}` in line {line} takes every request that this one matches; move this one before it",
                if earlier.name.starts_with("route-") {
                    earlier.name.to_string()
                } else {
                    check.name(&earlier.name)
                }
            );
            check.reader.error(at.span, &at.path, message).help(help);
        }
        let targets = targets(&at.value, providers, registry, check);
        let name: Arc<str> = match &at.value.name {
            Some(name) => name.value.0.as_str().into(),
            None => format!("route-{}", index + 1).into(),
        };
        let strategy = match at.value.strategy.as_ref().map(|at| at.value) {
            Some(StrategyName::RoundRobin) => Strategy::RoundRobin,
            Some(StrategyName::Weighted) => Strategy::Weighted,
            Some(StrategyName::Failover) | None => Strategy::Failover,
        };
        routes.push((Route { name, matches, strategy, targets }, at.span.line));
    }
    routes.into_iter().map(|(route, _)| route).collect()
}

/// Aliases are replaced before routes match, so a route can't match one by its exact name.
fn unreachable_alias(route: &RouteWritten, aliased: &[&str], check: &mut Check<'_, '_>) {
    let models = route.r#match.iter().filter_map(|at| at.value.model.as_ref());
    for model in models.flat_map(|many| &many.value.0) {
        if aliased.contains(&model.value.0.as_str()) {
            let quote = check.reader.quote(model);
            check
                .reader
                .wrong(model, format!("`{quote}` is an alias, so no request has this name here"))
                .help("match the model that it stands for, or take the alias away");
        }
    }
}

fn matching(written: &MatchWritten, check: &mut Check<'_, '_>) -> Match {
    for many in [&written.model, &written.path, &written.caller].into_iter().flatten() {
        if many.value.0.is_empty() {
            check
                .reader
                .wrong(many, "an empty list matches nothing")
                .help("leave the key out to match all");
        }
    }
    let headers = named(&written.header, check).into_iter().filter_map(|(name, value)| {
        let parsed = name.value.parse();
        if parsed.is_err() {
            check.reader.wrong(&name, "is not the name of a header");
        }
        Some(HeaderMatch { name: parsed.ok()?, value: Some(value) })
    });
    let headers = headers.collect();
    let by_name = |caller: Glob| [CallerMatch::User(caller.clone()), CallerMatch::Key(caller)];
    let tags = named(&written.tag, check).into_iter();
    Match {
        models: globs(&written.model, check),
        paths: globs(&written.path, check),
        headers,
        callers: globs(&written.caller, check).into_iter().flat_map(by_name).collect(),
        tags: tags
            .map(|(name, value)| TagMatch { name: name.value.into(), value: Some(value) })
            .collect(),
    }
}

fn named(written: &Option<At<Named<Text>>>, check: &mut Check<'_, '_>) -> Vec<(At<String>, Glob)> {
    let named = written.iter().flat_map(|named| named.value.0.clone());
    named.filter_map(|(name, value)| Some((name, glob(&value?, check)?))).collect()
}

fn targets(
    route: &RouteWritten,
    providers: &[Declared],
    registry: &Registry,
    check: &mut Check<'_, '_>,
) -> Vec<RouteTarget> {
    let Some(written) = &route.targets else { return vec![] };
    if written.value.0.is_empty() {
        check
            .reader
            .wrong(written, "the route has no target")
            .expected("`[provider]` or `[provider/model]`");
    }
    let weighted = route.strategy.as_ref().is_some_and(|at| at.value == StrategyName::Weighted);
    let mut targets: Vec<RouteTarget> = vec![];
    for at in &written.value.0 {
        let Some(found) = target(&at.value, weighted, providers, registry, check) else { continue };
        if targets
            .iter()
            .any(|known| known.provider == found.provider && known.model == found.model)
        {
            check
                .reader
                .wrong(&at.value.to, "the same target stands here twice")
                .help("to try a target again, use `retry.attempts`");
        }
        targets.push(found);
    }
    let keys = |target: &RouteTarget| {
        let provider = providers.iter().find(|known| known.name == target.provider);
        provider.and_then(|known| known.checked.as_ref()).map_or(1, |known| known.keys.len().max(1))
    };
    let places: usize = targets.iter().map(keys).sum();
    if places > MOST_PLACES {
        check
            .reader
            .wrong(written, format!("{places} targets, each key of a provider counted"))
            .expected("at most 64");
    }
    targets
}

/// Places that a route may send to.
const MOST_PLACES: usize = 64;

fn target(
    written: &TargetWritten,
    weighted: bool,
    providers: &[Declared],
    registry: &Registry,
    check: &mut Check<'_, '_>,
) -> Option<RouteTarget> {
    let text = written.to.value.0.as_str();
    let (name, model) = match text.split_once('/') {
        Some((name, model)) => (name, Some(model)),
        None => (text, None),
    };
    let Some(provider) = find(name, providers, registry) else {
        let quote = check.reader.quote(&written.to);
        let (name, rest) = quote.split_once('/').unwrap_or((&quote, ""));
        let names = providers.iter().map(|known| &*known.name);
        let near = nearest(name, names.clone());
        let message = format!("there is no provider `{name}`");
        let said = check.reader.wrong(&written.to, message);
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
            .wrong(&written.to, "there is no model after the `/`")
            .help("leave the `/` out to send the model that was asked for");
    }
    if let (Some(model), Some(known)) = (model, &provider.checked) {
        known_model(&written.to, model, known, registry, check);
    }
    let weight = match &written.weight {
        Some(at) if !weighted => {
            check
                .reader
                .wrong(at, "only the weighted strategy reads weights")
                .help("say `strategy: weighted`, or take the weight away");
            NonZeroU32::MIN
        }
        at => check.at_least_one_u32(at, 1),
    };
    Some(RouteTarget { provider: provider.name.clone(), model: model.map(Into::into), weight })
}

/// A declared provider by its name, or by another name of the same known provider.
fn find<'p>(name: &str, providers: &'p [Declared], registry: &Registry) -> Option<&'p Declared> {
    let known = registry.provider(name);
    providers.iter().find(|declared| &*declared.name == name).or_else(|| {
        let known = known?;
        let same = |declared: &&Declared| {
            registry.provider(&declared.name).is_some_and(|other| other.name == known.name)
        };
        providers.iter().find(same)
    })
}

/// The model must be one the provider has, where the registry knows its models.
fn known_model(
    at: &At<Text>,
    model: &str,
    provider: &crate::policy::Provider,
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
