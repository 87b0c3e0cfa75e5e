//! How targets are ordered, and whether they can be.

use std::collections::BTreeSet;

use tollway_route::Near;

use super::{Check, targets::Targets};
use crate::policy::{
    By, Group, Member, Nearest, Node, Place, Strategy,
    read::{At, OneOrMany},
    values::{AffinityName, Count, SplitName, StrategyName},
    written::{
        NearestWritten, PreferWritten, RouteWritten, ScoreWritten, Sticky, StrategyWritten,
        TargetWritten,
    },
};

impl Targets<'_> {
    /// A strategy as written; failover where nothing is.
    pub(super) fn strategy(
        &self,
        written: Option<&At<StrategyWritten>>,
        check: &mut Check<'_, '_>,
    ) -> Strategy {
        let Some(at) = written else { return Strategy::Failover };
        match &at.value {
            StrategyWritten::Name(name) => match name {
                StrategyName::Failover => Strategy::Failover,
                StrategyName::RoundRobin => Strategy::RoundRobin,
                StrategyName::Weighted => Strategy::Weighted,
                StrategyName::LeastBusy => Strategy::LeastBusy,
                StrategyName::Latency => Strategy::Latency { of: self.expect },
                StrategyName::Cost => Strategy::Cost,
                StrategyName::PowerOfTwo => Strategy::PowerOfTwo,
                StrategyName::Capability => Strategy::Capability,
            },
            StrategyWritten::Latency(of) => Strategy::Latency { of: of.value.into() },
            StrategyWritten::Score(at) => score(at, check),
            StrategyWritten::Affinity(at) => Strategy::Affinity {
                by: match &at.value {
                    Sticky::Name(AffinityName::User) => By::User,
                    Sticky::Name(AffinityName::Prompt) => By::Prompt,
                    Sticky::Header(name) => By::Header(name.clone()),
                },
            },
            StrategyWritten::Split(at) => Strategy::Split {
                by: match &at.value {
                    Sticky::Name(SplitName::User) => By::User,
                    Sticky::Header(name) => By::Header(name.clone()),
                },
            },
            StrategyWritten::Nearest(_) => Strategy::Nearest,
        }
    }
}

impl StrategyWritten {
    /// Whether it shares out by its members' weights.
    pub(super) fn reads_weights(&self) -> bool {
        use StrategyName::{LeastBusy, Weighted};
        matches!(self, Self::Name(Weighted | LeastBusy) | Self::Affinity(_) | Self::Split(_))
    }
}

/// Latency and cost together; one that is not said counts nothing.
fn score(at: &At<ScoreWritten>, check: &mut Check<'_, '_>) -> Strategy {
    let share = |at: &Option<At<Count>>| at.as_ref().map_or(0, |at| at.value.0);
    let (latency, cost) = (share(&at.value.latency), share(&at.value.cost));
    if latency == 0 && cost == 0 && !check.reader.told_under(&at.path) {
        check
            .reader
            .wrong(at, "no share is above 0, so nothing counts")
            .expected("shares of latency and cost, such as `{ latency: 60, cost: 40 }`");
    }
    let narrow = |share: u64| u32::try_from(share).unwrap_or(u32::MAX);
    Strategy::Score { latency: narrow(latency), cost: narrow(cost) }
}

/// Whether a strategy can work with its members; `written` are those that were meant to be.
pub(super) fn suits(
    at: &At<StrategyWritten>,
    written: &[At<TargetWritten>],
    members: &[Member],
    check: &mut Check<'_, '_>,
) {
    match &at.value {
        StrategyWritten::Split(_) => arms(at, written, members, check),
        StrategyWritten::Nearest(written) if !members.is_empty() => {
            regions(written, members, check);
        }
        _ => {}
    }
}

/// Every strategy that stands in a route, in the order written.
pub(super) fn strategies(route: &RouteWritten) -> Vec<&At<StrategyWritten>> {
    let rules = route.rules.iter().flat_map(|list| &list.value.0);
    let rules = rules.flat_map(|rule| {
        let inner = rule.value.prefer.iter().flat_map(|at| match &at.value {
            PreferWritten::Targets(many) => nested(many),
            PreferWritten::Sizes(_) => vec![],
        });
        rule.value.strategy.iter().chain(inner)
    });
    let groups = route.targets.iter().flat_map(|many| nested(&many.value));
    route.strategy.iter().chain(rules).chain(groups).collect()
}

fn nested(many: &OneOrMany<TargetWritten>) -> Vec<&At<StrategyWritten>> {
    let mut all = vec![];
    for at in &many.0 {
        if let TargetWritten::Group(group) = &at.value {
            all.extend(&group.strategy);
            all.extend(group.targets.iter().flat_map(|many| nested(&many.value)));
        }
    }
    all
}

/// Where a route's callers are: the same for all of its groups.
pub(super) fn nearest_of(route: &RouteWritten, check: &mut Check<'_, '_>) -> Option<Nearest> {
    let mut found: Option<(Nearest, usize)> = None;
    for at in strategies(route) {
        let StrategyWritten::Nearest(written) = &at.value else { continue };
        let near = near(written, check);
        match &found {
            Some((first, line)) if *first != near => {
                let help = format!("write the same in both: the other one is in line {line}");
                check
                    .reader
                    .wrong(written, "the route's callers are said to be elsewhere already")
                    .help(help);
            }
            Some(_) => {}
            None => found = Some((near, at.span.line)),
        }
    }
    found.map(|(near, _)| near)
}

/// Arms are counted apart by their names.
fn arms(
    at: &At<StrategyWritten>,
    written: &[At<TargetWritten>],
    members: &[Member],
    check: &mut Check<'_, '_>,
) {
    let mut names: Vec<String> = vec![];
    for (n, member) in members.iter().enumerate() {
        // Unless one of them is wrong, which is told, they are the same ones.
        let arm = written.get(n).filter(|_| written.len() == members.len());
        let (span, path) = arm.map_or((at.span, &at.path), |arm| (arm.span, &arm.path));
        let name = match &member.node {
            Node::Place(Place { provider, model: Some(model) }) => format!("{provider}/{model}"),
            Node::Place(Place { provider, model: None }) => provider.to_string(),
            Node::Group(Group { name: Some(name), .. }) => name.to_string(),
            Node::Group(_) => {
                check
                    .reader
                    .error(span, path, "an arm of the split is a group without a name")
                    .help("give it a `name`: the arms are counted apart by it");
                continue;
            }
        };
        if names.contains(&name) {
            let name = check.name(&name);
            check
                .reader
                .error(span, path, format!("two arms of the split have the name `{name}`"))
                .help("give each its own `name`: the arms are counted apart by it");
        }
        names.push(name);
    }
    if let [_] = members {
        check
            .reader
            .wrong(at, "a split of one arm splits nothing")
            .help("add the target that it is compared with");
    }
}

fn near(at: &At<NearestWritten>, check: &mut Check<'_, '_>) -> Nearest {
    let written = &at.value;
    let nowhere = written.header.is_none() && written.tag.is_none() && written.default.is_none();
    if nowhere && !check.reader.told_under(&at.path) {
        check
            .reader
            .wrong(at, "nothing tells where a caller is")
            .expected("one or more of `header`, `tag`, `default`");
    }
    let order = written.order.iter().flat_map(|named| &named.value.0);
    let order = order.filter_map(|(from, regions)| {
        let regions = regions.as_ref()?.value.0.iter().map(|at| at.value.0.as_str().into());
        Some((from.value.as_str().into(), regions.collect()))
    });
    Nearest {
        header: written.header.as_ref().map(|at| at.value.clone()),
        tag: written.tag.as_ref().map(|at| at.value.0.as_str().into()),
        default: written.default.as_ref().map(|at| at.value.0.as_str().into()),
        order: order.collect(),
    }
}

/// A region that no target is in is near to nobody.
fn regions(at: &At<NearestWritten>, members: &[Member], check: &mut Check<'_, '_>) {
    let known: Vec<&str> = members.iter().filter_map(|one| one.region.as_deref()).collect();
    if known.is_empty() {
        check
            .reader
            .wrong(at, "no target here has a region, so none is nearer than another")
            .help("give providers a `region`, or make groups: `{ region: eu, targets: [...] }`");
        return;
    }
    let order: Vec<_> = at.value.order.iter().flat_map(|named| &named.value.0).collect();
    let from: Vec<&str> = order.iter().map(|(from, _)| from.value.as_str()).collect();
    let listed = order.iter().flat_map(|(_, regions)| regions).flat_map(|many| &many.value.0);
    let listed = listed.map(|at| (at, Near::is_same as fn(&str, &str) -> bool));
    // A caller's region finds those that share its first word, too.
    let default = at.value.default.iter().filter(|at| !from.contains(&at.value.0.as_str()));
    let default = default.map(|at| (at, Near::is_like as fn(&str, &str) -> bool));
    for (region, is_found) in listed.chain(default) {
        if !known.iter().any(|known| is_found(known, &region.value.0)) {
            let quote = check.reader.quote(region);
            check
                .reader
                .wrong(region, format!("no target here is in the region `{quote}`"))
                .did_you_mean(&quote, known.iter().copied().collect::<BTreeSet<_>>());
        }
    }
}
