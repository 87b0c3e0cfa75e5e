use std::{num::NonZeroU32, sync::Arc};

use super::{Check, providers::Declared, strategies::suits};
use crate::policy::{
    Group, Member, Node, Of, Place, Rule, Strategy,
    read::{At, OneOrMany},
    registry::Registry,
    values::Count,
    written::{GroupWritten, RouteWritten, StrategyWritten, TargetWritten},
};

/// Places that a request may be sent to, each key of a provider counted.
const MOST_PLACES: usize = 64;
/// Groups inside each other.
const MOST_DEPTH: usize = 6;

pub(super) type Many = At<OneOrMany<TargetWritten>>;

/// What targets are looked up in.
pub(super) struct Targets<'c> {
    pub(super) providers: &'c [Declared],
    pub(super) registry: &'c Registry,
    /// The latency that is meant where a strategy doesn't say.
    pub(super) expect: Of,
}

impl Targets<'_> {
    /// A route's own targets.
    pub(super) fn of_route(&self, route: &RouteWritten, check: &mut Check<'_, '_>) -> Group {
        let at = route.strategy.as_ref();
        let strategy = self.strategy(at, check);
        // A rule's strategy orders the same targets.
        let rules = route.rules.iter().flat_map(|list| &list.value.0);
        let mut by_rule = rules.filter(|rule| rule.value.prefer.is_none());
        let reads = |at: &At<StrategyWritten>| at.value.reads_weights();
        let weighted = at.is_some_and(reads)
            || by_rule.any(|rule| rule.value.strategy.as_ref().is_some_and(reads));
        let Some(written) = &route.targets else {
            return Group { name: None, strategy, members: vec![] };
        };
        let members = self.members(written, weighted, &mut vec![], ("route", 0), check);
        self.group(None, (strategy, at), (members, written), check)
    }

    /// Whether a route, its rules included, has more places than can be tried.
    pub(super) fn too_many(
        &self,
        written: &RouteWritten,
        own: &Group,
        rules: &[Rule],
        check: &mut Check<'_, '_>,
    ) {
        let Some(at) = &written.targets else { return };
        let mut places: Vec<&Place> = own.places().collect();
        for preferred in rules.iter().filter_map(Rule::preferred) {
            let more = preferred.places().filter(|place| !places.contains(place));
            let more: Vec<&Place> = more.collect();
            places.extend(more);
        }
        let (own, all) = (self.count(own.places()), self.count(places.into_iter()));
        let message = match own {
            0..=MOST_PLACES => {
                format!("{all} targets with those of its rules, each key of a provider counted")
            }
            _ => format!("{own} targets, each key of a provider counted"),
        };
        if all > MOST_PLACES {
            check.reader.wrong(at, message).expected("at most 64");
        }
    }

    /// The targets that a rule prefers to the route's own.
    pub(super) fn of_rule(
        &self,
        written: &Many,
        at: Option<&At<StrategyWritten>>,
        check: &mut Check<'_, '_>,
    ) -> Group {
        let has_weight = |at: &At<TargetWritten>| match &at.value {
            TargetWritten::Place { weight, .. } => weight.is_some(),
            TargetWritten::Group(group) => group.weight.is_some(),
        };
        let weighted = match at {
            None => written.value.0.iter().any(has_weight),
            Some(at) => at.value.reads_weights(),
        };
        let strategy = match at {
            None if weighted => Strategy::Weighted,
            at => self.strategy(at, check),
        };
        let members = self.members(written, weighted, &mut vec![], ("rule", 0), check);
        self.group(None, (strategy, at), (members, written), check)
    }

    fn group(
        &self,
        name: Option<Arc<str>>,
        (strategy, at): (Strategy, Option<&At<StrategyWritten>>),
        (members, written): (Vec<Member>, &Many),
        check: &mut Check<'_, '_>,
    ) -> Group {
        if let Some(at) = at {
            suits(at, &written.value.0, &members, check);
        }
        Group { name, strategy, members }
    }

    fn members(
        &self,
        written: &Many,
        weighted: bool,
        seen: &mut Vec<Place>,
        (whose, depth): (&str, usize),
        check: &mut Check<'_, '_>,
    ) -> Vec<Member> {
        if written.value.0.is_empty() && !check.reader.told_under(&written.path) {
            check
                .reader
                .wrong(written, format!("the {whose} has no target"))
                .expected("`[provider]` or `[provider/model]`");
        }
        let each = written.value.0.iter();
        each.filter_map(|at| match &at.value {
            TargetWritten::Place { to, weight } => {
                let (place, region) = self.place(to, check)?;
                if seen.contains(&place) {
                    check
                        .reader
                        .wrong(to, "the same target stands here twice")
                        .help("to try a target again, use `retry.attempts`");
                }
                seen.push(place.clone());
                let weight = self.weight(weight, weighted, check);
                Some(Member { node: Node::Place(place), weight, region })
            }
            TargetWritten::Group(group) => self.nested(group, weighted, seen, depth + 1, check),
        })
        .collect()
    }

    fn nested(
        &self,
        written: &GroupWritten,
        weighted: bool,
        seen: &mut Vec<Place>,
        depth: usize,
        check: &mut Check<'_, '_>,
    ) -> Option<Member> {
        if depth > MOST_DEPTH {
            let at = written.targets.as_ref()?;
            check
                .reader
                .wrong(at, "groups in groups, too deep to be followed")
                .expected(format!("at most {MOST_DEPTH} inside each other"));
            return None;
        }
        let at = written.strategy.as_ref();
        let strategy = self.strategy(at, check);
        let inner = at.is_some_and(|at| at.value.reads_weights());
        let many = written.targets.as_ref()?;
        let members = self.members(many, inner, seen, ("group", depth), check);
        let region = match &written.region {
            Some(at) => Some(at.value.0.as_str().into()),
            None => common(&members),
        };
        let name = written.name.as_ref().map(|at| at.value.0.as_str().into());
        Some(Member {
            node: Node::Group(self.group(name, (strategy, at), (members, many), check)),
            weight: self.weight(&written.weight, weighted, check),
            region,
        })
    }

    fn weight(
        &self,
        written: &Option<At<Count>>,
        weighted: bool,
        check: &mut Check<'_, '_>,
    ) -> NonZeroU32 {
        match written {
            Some(at) if !weighted => {
                check
                    .reader
                    .wrong(at, "nobody reads this weight: only weighted, least_busy, affinity and split do")
                    .help("say `strategy: weighted`, or take the weight away");
                NonZeroU32::MIN
            }
            at => check.at_least_one_u32(at, 1),
        }
    }

    /// Places, each key of a provider counted.
    fn count<'p>(&self, places: impl Iterator<Item = &'p Place>) -> usize {
        let keys = |place: &Place| {
            let provider = self.providers.iter().find(|known| known.name == place.provider);
            let provider = provider.and_then(|known| known.checked.as_ref());
            provider.map_or(1, |known| known.keys.len().max(1))
        };
        places.map(keys).sum()
    }
}

/// The region that all members share.
fn common(members: &[Member]) -> Option<Arc<str>> {
    let first = members.first()?.region.as_ref()?;
    members.iter().all(|member| member.region.as_ref() == Some(first)).then(|| first.clone())
}
