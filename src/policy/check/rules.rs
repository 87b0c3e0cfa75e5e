//! What is preferred for which requests.

use std::sync::Arc;

use tollway_core::{Needs, Usd};
use tollway_route::ready;

use super::{
    Check,
    strategies::suits,
    targets::{Many, Targets},
    when::{self, when},
};
use crate::policy::{
    Group, Prefer, Rule, Size, When,
    node::Span,
    read::{At, OneOrMany, Scalar},
    values::{NeedName, SetName, SizeName},
    written::{PreferWritten, RouteWritten, RuleWritten},
};

/// A rule, and where it comes from.
struct Stated {
    rule: Rule,
    /// Something in it was told as wrong, so that nothing can be said of it.
    broken: bool,
    origin: Origin,
}

enum Origin {
    /// The route's own.
    Route { span: Span, path: String },
    /// A set.
    Set { name: SetName, span: Span, path: String },
}

/// A route's rules: its own, and behind them those of the sets it uses. One of its own with the
/// name of a set's rule takes that one's place, and its `when` where it says none.
pub(super) fn rules(
    route: &RouteWritten,
    own: &Group,
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) -> Vec<Rule> {
    let mut sets = sets(route, check);
    let mut names = vec![];
    let mut all: Vec<Stated> = vec![];
    for (index, at) in route.rules.iter().flat_map(|list| list.value.0.iter().enumerate()) {
        if let Some(name) = &at.value.name {
            check.unique(&mut names, name, "rules");
        }
        let mut rule = rule(index, at, (route, own), targets, check);
        let broken = check.reader.told_under(&at.path);
        let origin = Origin::Route { span: at.span, path: at.path.clone() };
        match sets.iter_mut().find(|stated| stated.rule.name == rule.name) {
            Some(place) => {
                if at.value.when.is_none() {
                    rule.when = place.rule.when.clone();
                }
                *place = Stated { rule, broken, origin };
            }
            None => all.push(Stated { rule, broken, origin }),
        }
    }
    all.append(&mut sets);
    unreached(&all, check);
    idle(&all, check);
    without_sizes(&all, own, targets, check);
    all.into_iter().map(|stated| stated.rule).collect()
}

/// The rules of the sets that a route uses.
fn sets(route: &RouteWritten, check: &mut Check<'_, '_>) -> Vec<Stated> {
    let mut seen: Vec<SetName> = vec![];
    let mut all = vec![];
    for at in route.r#use.iter().flat_map(|many| &many.value.0) {
        if seen.contains(&at.value) {
            check.reader.wrong(at, "stands here twice").help("the second one is never reached");
            continue;
        }
        seen.push(at.value);
        let rules = ready(at.value.word()).unwrap_or_default();
        all.extend(rules.into_iter().map(|rule| Stated {
            rule: of_set(rule),
            broken: false,
            origin: Origin::Set { name: at.value, span: at.span, path: at.path.clone() },
        }));
    }
    all
}

/// Sets name no targets.
fn of_set(rule: tollway_route::Rule) -> Rule {
    let then = rule.then;
    Rule {
        name: rule.name,
        when: rule.when,
        prefer: match then.prefer {
            tollway_route::Prefer::Sizes(sizes) => Prefer::Sizes(sizes),
            _ => Prefer::Nobody,
        },
        strategy: then.strategy,
        free_first: then.free_first,
        max_cost: then.max_cost,
        max_latency: then.max_latency,
    }
}

/// Tells rules behind one that holds whenever they do.
fn unreached(all: &[Stated], check: &mut Check<'_, '_>) {
    let mut told: Vec<SetName> = vec![];
    for (at, later) in all.iter().enumerate() {
        let hides = |earlier: &&Stated| {
            let always = earlier.rule.when == When::default();
            let same = earlier.rule.when == later.rule.when;
            // The author may know a set's condition better than the set.
            !earlier.broken && (always || same && matches!(later.origin, Origin::Route { .. }))
        };
        let Some(earlier) = all.iter().take(at).find(hides) else { continue };
        let by = match &earlier.origin {
            Origin::Set { name, .. } => format!("the set `{}`", name.word()),
            Origin::Route { span, .. } if earlier.rule.name.starts_with("rule-") => {
                format!("rule `{}` in line {}", earlier.rule.name, span.line)
            }
            Origin::Route { span, .. } => {
                format!("rule `{}` in line {}", check.name(&earlier.rule.name), span.line)
            }
        };
        match &later.origin {
            Origin::Route { span, path } => {
                let help = format!(
                    "{by} holds for every request that this one is for; move this one before it"
                );
                check.reader.error(*span, path, "the rule is never reached").help(help);
            }
            Origin::Set { name, span, path } if !told.contains(name) => {
                told.push(*name);
                let message = format!("the set `{}` is never reached", name.word());
                let help = format!("{by} holds for every request; take one of the two away");
                check.reader.error(*span, path, message).help(help);
            }
            Origin::Set { .. } => {}
        }
    }
}

/// A rule that changes nothing is of use only as an exception from those behind it.
fn idle(all: &[Stated], check: &mut Check<'_, '_>) {
    let Some(Stated { rule, broken: false, origin: Origin::Route { span, path } }) = all.last()
    else {
        return;
    };
    let nothing = Rule { name: rule.name.clone(), when: rule.when.clone(), ..Rule::default() };
    if *rule == nothing {
        check.reader.error(*span, path, "the rule changes nothing").expected(
            "one or more of `prefer`, `strategy`, `free_first`, `max_cost`, `max_latency`",
        );
    }
}

/// Warns of sets that choose by size where nothing has one.
fn without_sizes(all: &[Stated], own: &Group, targets: &Targets<'_>, check: &mut Check<'_, '_>) {
    if known_sizes(own, targets).next().is_some() {
        return;
    }
    let mut told: Vec<SetName> = vec![];
    for stated in all {
        let (Origin::Set { name, span, path }, Prefer::Sizes(_)) =
            (&stated.origin, &stated.rule.prefer)
        else {
            continue;
        };
        if !told.contains(name) {
            told.push(*name);
            let message = format!(
                "`{}` chooses by the size of models, and no target of the route has a model whose size is known: name models, or give yours a `size` under `models:`",
                name.word()
            );
            check.warn(*span, path, message);
        }
    }
}

fn rule(
    index: usize,
    at: &At<RuleWritten>,
    (route, own): (&RouteWritten, &Group),
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) -> Rule {
    let written = &at.value;
    let when = written.when.as_ref().map(|at| when(&at.value, check)).unwrap_or_default();
    let prefer = written.prefer.as_ref().map_or(Prefer::Nobody, |at| match &at.value {
        PreferWritten::Sizes(many) => Prefer::Sizes(sizes(many, own, targets, check)),
        PreferWritten::Targets(many) => {
            let many = At { value: many.clone(), span: at.span, path: at.path.clone() };
            let needs = written.when.as_ref().and_then(|at| at.value.needs.as_ref());
            unable(needs, &many, targets, check);
            Prefer::Targets(targets.of_rule(&many, written.strategy.as_ref(), check))
        }
    });
    // With targets of its own the strategy is theirs.
    let strategy = match &prefer {
        Prefer::Targets(_) => None,
        _ => written.strategy.as_ref().map(|at| {
            let strategy = targets.strategy(Some(at), check);
            let targets = route.targets.as_ref().map_or(&[][..], |many| &many.value.0);
            suits(at, targets, &own.members, check);
            strategy
        }),
    };
    let name: Arc<str> = match &written.name {
        Some(name) => name.value.0.as_str().into(),
        None => format!("rule-{}", index + 1).into(),
    };
    Rule {
        name,
        when,
        prefer,
        strategy,
        free_first: written.free_first.as_ref().is_some_and(|at| at.value),
        max_cost: written.max_cost.as_ref().map(|at| Usd::from_nanos(at.value.0)),
        max_latency: written.max_latency.as_ref().map(|at| at.value.0),
    }
}

fn sizes(
    many: &At<OneOrMany<OneOrMany<SizeName>>>,
    own: &Group,
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) -> Vec<Vec<Size>> {
    if many.value.0.is_empty() {
        no_size(many, check);
    }
    let mut seen: Vec<Size> = vec![];
    let known: Vec<Size> = known_sizes(own, targets).collect();
    for together in &many.value.0 {
        if together.value.0.is_empty() {
            no_size(together, check);
        }
        for at in &together.value.0 {
            known_once(at, &known, &mut seen, check);
        }
    }
    let together =
        |many: &At<OneOrMany<SizeName>>| many.value.0.iter().map(|at| at.value.into()).collect();
    many.value.0.iter().map(together).collect()
}

fn no_size<T>(list: &At<T>, check: &mut Check<'_, '_>) {
    if !check.reader.told_under(&list.path) {
        check.reader.wrong(list, "there is no size in the list").expected(SizeName::EXPECTED);
    }
}

fn known_once(at: &At<SizeName>, known: &[Size], seen: &mut Vec<Size>, check: &mut Check<'_, '_>) {
    let size = at.value.into();
    if seen.contains(&size) {
        check.reader.wrong(at, "the same size stands here twice");
    } else if !known.contains(&size) {
        let quote = check.reader.quote(at);
        let message = format!(
            "no target of the route has a model that is known to be `{quote}`: name one, or give yours a `size` under `models:`"
        );
        check.warn(at.span, &at.path, message);
    }
    seen.push(size);
}

fn known_sizes(own: &Group, targets: &Targets<'_>) -> impl Iterator<Item = Size> {
    own.places().filter_map(|place| targets.model(place)?.size)
}

/// Warns of a preferred model that is known not to do what the rule is about.
fn unable(
    needs: Option<&At<OneOrMany<NeedName>>>,
    many: &Many,
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) {
    let wanted = needs.map_or(Needs::NONE, |many| when::needs(&many.value.0));
    for (at, place) in targets.written(many) {
        let Some(model) = targets.model(&place) else { continue };
        let lacks = model.can().map_or(Needs::NONE, |can| wanted.without(can));
        if let Some(need) = lacks.names().next() {
            let quote = check.reader.quote(at);
            let message = format!(
                "the rule is for requests that need {need}, and `{quote}` has none by the registry: it will be passed over"
            );
            check.warn(at.span, &at.path, message);
        }
    }
}

impl SetName {
    fn word(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Quality => "quality",
            Self::Vision => "vision",
            Self::Fast => "fast",
            Self::Auto => "auto",
        }
    }
}
