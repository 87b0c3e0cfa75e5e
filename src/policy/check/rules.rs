use std::sync::Arc;

use tollway_core::Usd;

use super::{
    Check, globs,
    routes::{callers, some, tags},
    targets::Targets,
};
use crate::policy::{
    Bounds, Complexity, Group, Hours, Need, Prefer, PromptSize, Rule, Size, When,
    read::{At, OneOrMany, Scalar},
    registry::Model,
    values::{self, Amount, ComplexityName, NeedName, PromptSizeName, SetName, SizeName, Within},
    written::{PreferWritten, RouteWritten, RuleWritten, TargetWritten, WhenWritten},
};

/// A route's rules: its own, and behind them those of the sets it uses.
pub(super) fn rules(
    route: &RouteWritten,
    own: &Group,
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) -> Vec<Rule> {
    let written: &[At<RuleWritten>] =
        route.rules.as_ref().map_or(&[], |list| list.value.0.as_slice());
    let mut names = vec![];
    let mut rules: Vec<(Rule, usize)> = vec![];
    for (index, at) in written.iter().enumerate() {
        if let Some(name) = &at.value.name {
            check.unique(&mut names, name, "rules");
        }
        let rule = rule(index, at, own, targets, check);
        let last = index + 1 == written.len() && route.r#use.is_none();
        idle(&rule, at, last, check);
        let wrong = check.reader.told_under(&at.path);
        if let Some((earlier, line)) = rules.iter().find(|(earlier, _)| hides(earlier, &rule)) {
            let named = match written.get(index).is_some() && !earlier.name.starts_with("rule-") {
                true => check.name(&earlier.name),
                false => earlier.name.to_string(),
            };
            let help = format!(
                "rule `{named}` in line {line} holds for every request that this one is for; move this one before it"
            );
            check.reader.error(at.span, &at.path, "the rule is never reached").help(help);
        }
        // What was told of this one may be what makes it seem to hold always.
        if !wrong {
            rules.push((rule, at.span.line));
        }
    }
    sets(route, own, targets, check);
    rules.into_iter().map(|(rule, _)| rule).collect()
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
    let prefer = written.prefer.as_ref().map(|at| match &at.value {
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
        Some(Prefer::Targets(_)) => None,
        _ => written.strategy.as_ref().map(|at| {
            let strategy = targets.strategy(Some(at), check);
            targets.suits(&strategy, at, &own.members, check);
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

/// A rule that changes nothing is of use only as an exception from those behind it.
fn idle(rule: &Rule, at: &At<RuleWritten>, last: bool, check: &mut Check<'_, '_>) {
    let changes =
        Rule { name: rule.name.clone(), when: rule.when.clone(), ..Rule::default() } != *rule;
    if last && !changes && !check.reader.told_under(&at.path) {
        check.reader.error(at.span, &at.path, "the rule changes nothing").expected(
            "one or more of `prefer`, `strategy`, `free_first`, `max_cost`, `max_latency`",
        );
    }
}

/// Whether `later` is never reached behind `earlier`.
fn hides(earlier: &Rule, later: &Rule) -> bool {
    earlier.when == When::default() || earlier.when == later.when
}

fn when(written: &WhenWritten, check: &mut Check<'_, '_>) -> When {
    some(&written.needs, check);
    some(&written.complexity, check);
    some(&written.size, check);
    some(&written.task, check);
    some(&written.caller, check);
    some(&written.time, check);
    never_both(written, check);
    When {
        needs: all(&written.needs),
        input_tokens: bounds(&written.input_tokens),
        max_cost: bounds(&written.max_cost),
        max_latency: bounds(&written.max_latency),
        complexity: all(&written.complexity),
        reasoning: written.reasoning.as_ref().map(|at| at.value),
        sizes: all(&written.size),
        tasks: globs(&written.task, check),
        callers: callers(&written.caller, check),
        tags: tags(&written.tag, check),
        times: all(&written.time),
    }
}

fn all<T: Copy, U: From<T>>(written: &Option<At<OneOrMany<T>>>) -> Vec<U> {
    written.iter().flat_map(|many| &many.value.0).map(|at| at.value.into()).collect()
}

fn bounds<T: Amount>(written: &Option<At<Within<T>>>) -> Option<Bounds> {
    let within = &written.as_ref()?.value;
    Some(Bounds { first: within.first, last: within.last })
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
    let needs: Vec<NeedName> =
        needs.iter().flat_map(|many| &many.value.0).map(|at| at.value).collect();
    for (at, place) in targets.written(many) {
        let Some(model) = targets.model(&place) else { continue };
        let can = |need: &NeedName| {
            let listed = |of: &Model| of.capabilities.iter().any(|can| **can == *need.word());
            // What the registry says of no model it doesn't know.
            model.capabilities.is_empty()
                || listed(model)
                || !targets.registry.models.iter().any(|any| listed(any))
        };
        if let Some(need) = needs.iter().find(|need| !can(need)) {
            let quote = check.reader.quote(at);
            let message = format!(
                "the rule is for requests that need {}, and `{quote}` has none by the registry: it will be passed over",
                need.word()
            );
            check.warn(at.span, &at.path, message);
        }
    }
}

fn sets(route: &RouteWritten, own: &Group, targets: &Targets<'_>, check: &mut Check<'_, '_>) {
    let Some(many) = &route.r#use else { return };
    let mut seen: Vec<SetName> = vec![];
    for at in &many.value.0 {
        if seen.contains(&at.value) {
            check.reader.wrong(at, "stands here twice").help("the second one is never reached");
        }
        seen.push(at.value);
        if known_sizes(own, targets).next().is_none() {
            let quote = check.reader.quote(at);
            let message = format!(
                "`{quote}` chooses by the size of models, and no target of the route has a model whose size is known: name models, or give yours a `size` under `models:`"
            );
            check.warn(at.span, &at.path, message);
        }
    }
}

impl NeedName {
    fn word(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Tools => "tools",
            Self::Json => "json",
            Self::Reasoning => "reasoning",
            Self::Streaming => "streaming",
            Self::Audio => "audio",
        }
    }
}

/// Names of the policy for values of the same names.
macro_rules! same {
    ($($from:ident => $to:ident: $($variant:ident)+;)+) => {
        $(impl From<$from> for $to {
            fn from(name: $from) -> Self {
                match name {
                    $($from::$variant => Self::$variant,)+
                }
            }
        })+
    };
}

same! {
    NeedName => Need: Vision Tools Json Reasoning Streaming Audio;
    ComplexityName => Complexity: Simple Moderate Complex;
    SizeName => Size: Tiny Small Large Reasoning;
    PromptSizeName => PromptSize: Tiny Small Medium Large Huge;
}

impl From<values::Hours> for Hours {
    fn from(hours: values::Hours) -> Self {
        Self { days: hours.days, from: hours.from, to: hours.to }
    }
}
