//! From the policy as written to the checked one: references, ranges, and what can never happen.

mod alerts;
mod borrow;
mod callers;
mod forms;
mod keys;
mod limits;
mod models;
mod places;
mod providers;
mod resilience;
mod routes;
mod routing;
mod rules;
mod server;
mod state;
mod strategies;
mod targets;
mod together;
mod when;

use std::num::{NonZeroU32, NonZeroU64};

use super::{
    Origin, Policy, Warning,
    diag::show,
    node::Span,
    read::{At, OneOrMany, Reader},
    values::{Count, Text},
    written::PolicyWritten,
};
use crate::policy::Glob;

pub(super) use models::registry;

/// Checks the whole policy. The result counts only if the reader has no errors.
pub(super) fn policy(written: PolicyWritten, reader: &mut Reader<'_>) -> Policy {
    let mut check = Check { reader, warnings: vec![] };
    let (listen, admin) = server::listeners(&written, &mut check);
    let registry = models::with_own(&written, &mut check);
    let providers = providers::providers(&written, &registry, &mut check);
    let aliases = routes::aliases(&written, &registry, &mut check);
    let routing = routing::routing(&written, &mut check);
    let expect = routing.expect.unwrap_or(super::Of::FirstToken);
    let targets = targets::Targets { providers: &providers, registry: &registry, expect };
    let limits = limits::limits(&written, &targets, &mut check);
    let routes = routes::routes(&written, &targets, &mut check);
    let callers = callers::callers(&written, &mut check);
    let sections = together::Sections {
        written: &written,
        callers: &callers,
        providers: &providers,
        routes: &routes,
        registry: &registry,
    };
    sections.check(&mut check);
    let circuit_breaker =
        written.circuit_breaker.as_ref().map(|at| resilience::breaker(&at.value, &mut check));
    let retry = written.retry.as_ref().map(|at| resilience::retry(&at.value, &mut check));
    let probed = |known: &providers::Declared| {
        known.checked.as_ref().is_some_and(|provider| provider.probe.is_some())
    };
    let state = state::state(&written, &mut check);
    borrow::alone(&written, (&limits, &state), &mut check);
    let minds_health = written.health.is_some() || providers.iter().any(probed);
    Policy {
        listen,
        admin,
        server: server::server(&written, &mut check),
        log: server::log(&written),
        callers,
        providers: providers.into_iter().filter_map(|known| known.checked).collect(),
        limits,
        alerts: alerts::alerts(&written, &mut check),
        pacing: resilience::pacing(&written),
        circuit_breaker,
        retry,
        routing,
        health: routing::health(&written, &mut check),
        minds_health,
        routes,
        aliases,
        streams: server::streams(&written),
        translation: server::translation(&written, &mut check),
        state,
        time_zone: server::time_zone(&written, &mut check),
        registry,
        warnings: check.warnings,
        origin: Origin::default(),
    }
}

/// The reader, and what is odd but allowed.
struct Check<'r, 'a> {
    reader: &'r mut Reader<'a>,
    warnings: Vec<Warning>,
}

impl Check<'_, '_> {
    fn warn(&mut self, span: Span, path: &str, message: String) {
        let place = format!("{}:{}:{}", self.reader.file, span.line, span.column);
        self.warnings.push(Warning { place, path: path.into(), message });
    }

    /// A name for a message: only if the file has it, and not a variable in its place.
    fn name(&self, name: &str) -> String {
        if self.reader.source.contains(name) { show(name) } else { "****".into() }
    }

    /// A count that must be at least 1.
    fn at_least_one(&mut self, at: &Option<At<Count>>, default: u64) -> NonZeroU64 {
        let fallback = NonZeroU64::new(default).unwrap_or(NonZeroU64::MIN);
        let Some(at) = at else { return fallback };
        NonZeroU64::new(at.value.0).unwrap_or_else(|| {
            self.reader.wrong(at, "`0` does not work here").expected("a whole number from 1");
            fallback
        })
    }

    /// The same, no more than 32 bits.
    fn at_least_one_u32(&mut self, at: &Option<At<Count>>, default: u64) -> NonZeroU32 {
        let count = self.at_least_one(at, default);
        NonZeroU32::try_from(count).unwrap_or_else(|_| {
            if let Some(at) = at {
                let quote = self.reader.quote(at);
                self.reader
                    .wrong(at, format!("`{quote}` is too large"))
                    .expected("at most 4294967295");
            }
            NonZeroU32::MAX
        })
    }

    /// Names must differ within a list.
    fn unique(&mut self, seen: &mut Vec<(String, usize)>, name: &At<Text>, what: &str) {
        match seen.iter().find(|(known, _)| *known == name.value.0) {
            Some((_, line)) => {
                let quote = self.reader.quote(name);
                let message = format!("there are two {what} with the name `{quote}`");
                let help = format!("the other one is in line {line}; give each its own name");
                self.reader.wrong(name, message).help(help);
            }
            None => seen.push((name.value.0.clone(), name.span.line)),
        }
    }
}

/// Patterns as written.
fn globs(written: &Option<At<OneOrMany<Text>>>, check: &mut Check<'_, '_>) -> Vec<Glob> {
    let all = written.iter().flat_map(|many| &many.value.0);
    all.filter_map(|one| glob(one, check)).collect()
}

fn glob(written: &At<Text>, check: &mut Check<'_, '_>) -> Option<Glob> {
    let parsed = written.value.0.parse();
    if parsed.is_err() {
        check.reader.wrong(written, "an empty pattern matches nothing").help("`*` matches all");
    }
    parsed.ok()
}
