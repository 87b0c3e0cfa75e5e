use std::sync::Arc;

use jiff::ToSpan;
use tollway_route::{CallerMatch, HeaderMatch, TagMatch, shadows};

use super::{Check, glob, globs, rules::rules, strategies::nearest_of, targets::Targets};
use crate::policy::{
    Alias, Glob, Match, Route,
    node::Span,
    read::{At, Named, OneOrMany},
    registry::{Model, Registry, Status},
    values::Text,
    written::{MatchWritten, PolicyWritten, RouteWritten},
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
pub(super) fn aged(model: &Model, span: Span, path: &str, check: &mut Check<'_, '_>) {
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
    targets: &Targets<'_>,
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
        let name: Arc<str> = match &at.value.name {
            Some(name) => name.value.0.as_str().into(),
            None => format!("route-{}", index + 1).into(),
        };
        let group = targets.of_route(&at.value, check);
        let rules = rules(&at.value, &group, targets, check);
        let nearest = nearest_of(&at.value, check);
        targets.too_many(&at.value, &group, &rules, check);
        routes.push((Route { name, matches, rules, group, nearest }, at.span.line));
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
    for many in [&written.model, &written.path, &written.caller] {
        some(many, check);
    }
    let headers = named(&written.header, check).into_iter().filter_map(|(name, value)| {
        let parsed = name.value.parse();
        if parsed.is_err() {
            check.reader.wrong(&name, "is not the name of a header");
        }
        Some(HeaderMatch { name: parsed.ok()?, value: Some(value) })
    });
    let headers = headers.collect();
    Match {
        models: globs(&written.model, check),
        paths: globs(&written.path, check),
        headers,
        callers: callers(&written.caller, check),
        tags: tags(&written.tag, check),
    }
}

/// A list of choices with none in it is never meant.
pub(super) fn some<T>(many: &Option<At<OneOrMany<T>>>, check: &mut Check<'_, '_>) {
    if let Some(many) = many.as_ref().filter(|many| many.value.0.is_empty())
        && !check.reader.told_under(&many.path)
    {
        check
            .reader
            .wrong(many, "an empty list matches nothing")
            .help("leave the key out to match all");
    }
}

pub(super) fn callers(
    written: &Option<At<OneOrMany<Text>>>,
    check: &mut Check<'_, '_>,
) -> Vec<CallerMatch> {
    let by_name = |caller: Glob| [CallerMatch::User(caller.clone()), CallerMatch::Key(caller)];
    globs(written, check).into_iter().flat_map(by_name).collect()
}

pub(super) fn tags(written: &Option<At<Named<Text>>>, check: &mut Check<'_, '_>) -> Vec<TagMatch> {
    let tags = named(written, check).into_iter();
    tags.map(|(name, value)| TagMatch { name: name.value.into(), value: Some(value) }).collect()
}

fn named(written: &Option<At<Named<Text>>>, check: &mut Check<'_, '_>) -> Vec<(At<String>, Glob)> {
    let named = written.iter().flat_map(|named| named.value.0.clone());
    named.filter_map(|(name, value)| Some((name, glob(&value?, check)?))).collect()
}
