use std::{sync::Arc, time::Duration};

use tollway_core::{Needs, Usd};
use tollway_route::ready;

use super::{
    Check, globs,
    routes::{callers, some, tags},
    targets::Targets,
};
use crate::policy::{
    Between, Complexity, Group, Prefer, Rule, Size, SizeClass, When,
    node::Span,
    read::{At, OneOrMany, Scalar},
    registry::Model,
    values::{Amount, ComplexityName, NeedName, PromptSizeName, SetName, SizeName, Within},
    written::{PreferWritten, RouteWritten, RuleWritten, TargetWritten, WhenWritten},
};

/// A rule, and where it comes from.
struct Stated {
    rule: Rule,
    /// Something in it was told as wrong, so that nothing can be said of it.
    broken: bool,
    from: From,
}

enum From {
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
        let mut rule = rule(index, at, own, targets, check);
        let broken = check.reader.told_under(&at.path);
        let from = From::Route { span: at.span, path: at.path.clone() };
        match sets.iter_mut().find(|stated| stated.rule.name == rule.name) {
            Some(place) => {
                if at.value.when.is_none() {
                    rule.when = place.rule.when.clone();
                }
                *place = Stated { rule, broken, from };
            }
            None => all.push(Stated { rule, broken, from }),
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
            from: From::Set { name: at.value, span: at.span, path: at.path.clone() },
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
            !earlier.broken && (always || same && matches!(later.from, From::Route { .. }))
        };
        let Some(earlier) = all.iter().take(at).find(hides) else { continue };
        let by = match &earlier.from {
            From::Set { name, .. } => format!("the set `{}`", name.word()),
            From::Route { span, .. } if earlier.rule.name.starts_with("rule-") => {
                format!("rule `{}` in line {}", earlier.rule.name, span.line)
            }
            From::Route { span, .. } => {
                format!("rule `{}` in line {}", check.name(&earlier.rule.name), span.line)
            }
        };
        match &later.from {
            From::Route { span, path } => {
                let help = format!(
                    "{by} holds for every request that this one is for; move this one before it"
                );
                check.reader.error(*span, path, "the rule is never reached").help(help);
            }
            From::Set { name, span, path } if !told.contains(name) => {
                told.push(*name);
                let message = format!("the set `{}` is never reached", name.word());
                let help = format!("{by} holds for every request; take one of the two away");
                check.reader.error(*span, path, message).help(help);
            }
            From::Set { .. } => {}
        }
    }
}

/// A rule that changes nothing is of use only as an exception from those behind it.
fn idle(all: &[Stated], check: &mut Check<'_, '_>) {
    let Some(Stated { rule, broken: false, from: From::Route { span, path } }) = all.last() else {
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
        let (From::Set { name, span, path }, Prefer::Sizes(_)) =
            (&stated.from, &stated.rule.prefer)
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
    own: &Group,
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
            targets.suits(at, &own.members, check);
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

fn when(written: &WhenWritten, check: &mut Check<'_, '_>) -> When {
    some(&written.needs, check);
    some(&written.complexity, check);
    some(&written.size, check);
    some(&written.task, check);
    some(&written.caller, check);
    some(&written.time, check);
    never_both(written, check);
    let needs = written.needs.iter().flat_map(|many| &many.value.0);
    let times = written.time.iter().flat_map(|many| &many.value.0);
    When {
        needs: needs.fold(Needs::NONE, |all, at| all | at.value.into()),
        input_tokens: between(&written.input_tokens, |tokens| tokens),
        max_cost: between(&written.max_cost, Usd::from_nanos),
        max_latency: between(&written.max_latency, Duration::from_nanos),
        complexity: all(&written.complexity),
        reasoning: written.reasoning.as_ref().map(|at| at.value),
        size: all(&written.size),
        task: globs(&written.task, check),
        callers: callers(&written.caller, check),
        tags: tags(&written.tag, check),
        time: times.map(|at| at.value.0).collect(),
    }
}

fn all<T: Copy, U: std::convert::From<T>>(written: &Option<At<OneOrMany<T>>>) -> Vec<U> {
    written.iter().flat_map(|many| &many.value.0).map(|at| at.value.into()).collect()
}

fn between<T: Amount, U>(written: &Option<At<Within<T>>>, unit: impl Fn(u64) -> U) -> Between<U> {
    let within = written.as_ref().map(|at| &at.value);
    let end = |end: fn(&Within<T>) -> Option<u64>| within.and_then(end).map(&unit);
    Between { from: end(|within| within.first), to: end(|within| within.last) }
}

/// A prompt has one length: the class and the range must meet.
fn never_both(written: &WhenWritten, check: &mut Check<'_, '_>) {
    let (Some(sizes), Some(tokens)) = (&written.size, &written.input_tokens) else { return };
    let meets = |size: PromptSizeName| {
        let (first, last) = size.tokens();
        tokens.value.last.is_none_or(|most| first <= most)
            && tokens.value.first.is_none_or(|least| least <= last)
    };
    if let [first, ..] = &sizes.value.0[..]
        && !sizes.value.0.iter().any(|at| meets(at.value))
    {
        let range = check.reader.quote(tokens);
        let (from, to) = first.value.tokens();
        let length = match to {
            u64::MAX => format!("{from} tokens or more"),
            _ => format!("{from} to {to} tokens"),
        };
        let size = check.reader.quote(first);
        check
            .reader
            .wrong(
                sizes,
                format!("the rule never holds: a `{size}` prompt has {length}, and `input_tokens` is `{range}`"),
            )
            .help("take one of the two away");
    }
}

impl PromptSizeName {
    fn tokens(self) -> (u64, u64) {
        match self {
            Self::Tiny => (0, 199),
            Self::Small => (200, 1_999),
            Self::Medium => (2_000, 19_999),
            Self::Large => (20_000, 99_999),
            Self::Huge => (100_000, u64::MAX),
        }
    }
}

fn sizes(
    many: &At<OneOrMany<SizeName>>,
    own: &Group,
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) -> Vec<Size> {
    if many.value.0.is_empty() && !check.reader.told_under(&many.path) {
        check.reader.wrong(many, "there is no size in the list").expected(SizeName::EXPECTED);
    }
    let mut sizes: Vec<Size> = vec![];
    let known: Vec<Size> = known_sizes(own, targets).collect();
    for at in &many.value.0 {
        let size = at.value.into();
        if sizes.contains(&size) {
            check.reader.wrong(at, "the same size stands here twice");
        } else if !known.contains(&size) {
            let quote = check.reader.quote(at);
            let message = format!(
                "no target of the route has a model that is known to be `{quote}`: name one, or give yours a `size` under `models:`"
            );
            check.warn(at.span, &at.path, message);
        }
        sizes.push(size);
    }
    sizes
}

fn known_sizes(own: &Group, targets: &Targets<'_>) -> impl Iterator<Item = Size> {
    own.places().filter_map(|place| targets.model(place)?.size)
}

/// Warns of a preferred model that is known not to do what the rule is about.
fn unable(
    needs: Option<&At<OneOrMany<NeedName>>>,
    many: &At<OneOrMany<TargetWritten>>,
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) {
    let needs = needs.iter().flat_map(|many| &many.value.0);
    let needs = needs.fold(Needs::NONE, |all, at| all | at.value.into());
    for (at, place) in targets.written(many) {
        let Some(model) = targets.model(&place) else { continue };
        let can = |need: &&'static str| {
            let listed = |of: &Model| of.capabilities.iter().any(|can| **can == **need);
            // What the registry says of no model it doesn't know.
            model.capabilities.is_empty()
                || listed(model)
                || !targets.registry.models.iter().any(|any| listed(any))
        };
        if let Some(need) = needs.names().find(|need| !can(need)) {
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

/// Names of the policy for values of the same names.
macro_rules! same {
    ($($from:ident => $to:ident: $($variant:ident $value:ident),+;)+) => {
        $(impl std::convert::From<$from> for $to {
            fn from(name: $from) -> Self {
                match name {
                    $($from::$variant => Self::$value,)+
                }
            }
        })+
    };
}

same! {
    NeedName => Needs: Vision VISION, Tools TOOLS, Json JSON, Reasoning REASONING,
        Streaming STREAMING, Audio AUDIO;
    ComplexityName => Complexity: Simple Simple, Moderate Moderate, Complex Complex;
    SizeName => Size: Tiny Tiny, Small Small, Large Large, Reasoning Reasoning;
    PromptSizeName => SizeClass: Tiny Tiny, Small Small, Medium Medium, Large Large, Huge Huge;
}
