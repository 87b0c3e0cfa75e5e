//! What a request has to be for a rule.

use std::time::Duration;

use tollway_core::{Needs, Usd};

use super::{
    Check, globs,
    routes::{callers, some, tags},
};
use crate::policy::{
    Between, Complexity, Size, SizeClass, When,
    read::{At, OneOrMany},
    values::{Amount, ComplexityName, NeedName, PromptSizeName, SizeName, Within},
    written::WhenWritten,
};

pub(super) fn when(written: &WhenWritten, check: &mut Check<'_, '_>) -> When {
    some(&written.needs, check);
    some(&written.complexity, check);
    some(&written.size, check);
    some(&written.task, check);
    some(&written.caller, check);
    some(&written.time, check);
    never_both(written, check);
    let times = written.time.iter().flat_map(|many| &many.value.0);
    When {
        needs: written.needs.as_ref().map_or(Needs::NONE, |many| needs(&many.value.0)),
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

/// All of these.
pub(super) fn needs(names: &[At<NeedName>]) -> Needs {
    names.iter().fold(Needs::NONE, |all, at| all | at.value.into())
}

fn all<T: Copy, U: From<T>>(written: &Option<At<OneOrMany<T>>>) -> Vec<U> {
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
    let least = SizeClass::of(tokens.value.first.unwrap_or(0));
    let most = SizeClass::of(tokens.value.last.unwrap_or(u64::MAX));
    let meets = |at: &At<PromptSizeName>| (least..=most).contains(&at.value.into());
    if let [first, ..] = &sizes.value.0[..]
        && !sizes.value.0.iter().any(meets)
    {
        let (size, range) = (check.reader.quote(first), check.reader.quote(tokens));
        let message = format!(
            "the rule never holds: no `{size}` prompt has `{range}` tokens (`input_tokens`)"
        );
        check.reader.wrong(sizes, message).help("take one of the two away");
    }
}

/// Names of the policy for values of the same names.
macro_rules! same {
    ($($from:ident => $to:ident: $($variant:ident $value:ident),+;)+) => {
        $(impl From<$from> for $to {
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
