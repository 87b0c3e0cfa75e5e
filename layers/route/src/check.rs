//! What can't be a router.

use std::{collections::HashSet, sync::Arc};

use tollway_core::NameMap;

use crate::{ConfigError, Group, Route, Strategy, set::MAX};

/// How deep groups may nest.
const MAX_DEPTH: usize = 8;

pub(crate) fn routes(routes: &[Route]) -> Result<(), ConfigError> {
    if routes.is_empty() {
        return Err(ConfigError::new("no routes: every request would be refused"));
    }
    let mut names = HashSet::new();
    for route in routes {
        if route.name.is_empty() {
            return Err(ConfigError::new("a route has an empty name"));
        }
        if !names.insert(&route.name) {
            return Err(ConfigError::new(format!("two routes are named `{}`", route.name)));
        }
        check(route).map_err(|text| ConfigError::new(format!("route `{}` {text}", route.name)))?;
    }
    Ok(())
}

fn check(route: &Route) -> Result<(), String> {
    for wanted in route.groups() {
        let count = wanted.places().count();
        if !(1..=MAX).contains(&count) {
            return Err(format!("has {count} targets; it needs 1 to {MAX}"));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = wanted.places().find(|place| !seen.insert(*place)) {
            return Err(format!("has target `{twice}` twice"));
        }
        if wanted.depth() > MAX_DEPTH {
            return Err(format!("has groups in groups more than {MAX_DEPTH} deep"));
        }
        group(wanted)?;
    }
    let count = route.places().len();
    if count > MAX {
        return Err(format!("and its rules have {count} targets; it needs 1 to {MAX}"));
    }
    let mut names = HashSet::new();
    for rule in &route.rules {
        if rule.name.is_empty() || !names.insert(&rule.name) {
            return Err(format!("has two rules named `{}`, or one without a name", rule.name));
        }
        let weightless = route.group.members.iter().all(|member| member.weight == 0);
        if weightless && rule.then.strategy.as_ref().is_some_and(shares) {
            return Err(format!("has a rule `{}` where nobody has a weight", rule.name));
        }
    }
    Ok(())
}

fn group(outer: &Group) -> Result<(), String> {
    for (at, group) in outer.groups().into_iter().enumerate() {
        if at >= MAX {
            return Err(format!("has more than {MAX} groups"));
        }
        let weightless = group.members.iter().all(|member| member.weight == 0);
        match (at, weightless && shares(&group.strategy)) {
            (0, true) => return Err("has a group where all weights are 0".to_owned()),
            (_, true) => return Err("has a pool where nobody has a weight".to_owned()),
            _ if group.members.is_empty() => return Err("has an empty group".to_owned()),
            _ => {}
        }
    }
    Ok(())
}

/// Whether members get shares by weight.
fn shares(strategy: &Strategy) -> bool {
    matches!(
        strategy,
        Strategy::Weighted
            | Strategy::LeastBusy
            | Strategy::PowerOfTwo
            | Strategy::Affinity { .. }
            | Strategy::Split { .. }
    )
}

pub(crate) fn aliases(
    aliases: Vec<(Arc<str>, Arc<str>)>,
) -> Result<NameMap<Arc<str>, Arc<str>>, ConfigError> {
    let mut checked = NameMap::<Arc<str>, Arc<str>>::default();
    for (alias, model) in aliases {
        if checked.insert(alias.clone(), model).is_some() {
            return Err(ConfigError::new(format!("alias `{alias}` is given twice")));
        }
    }
    if let Some((alias, model)) = checked.iter().find(|(_, model)| checked.contains_key(*model)) {
        let text = format!("alias `{alias}` points to alias `{model}`: name the model itself");
        return Err(ConfigError::new(text));
    }
    Ok(checked)
}
