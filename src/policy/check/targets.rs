use std::{num::NonZeroU32, sync::Arc};

use super::{Check, providers::Declared, routes::aged};
use crate::policy::{
    By, Endpoint, Group, Member, Nearest, Node, Of, Place, Rule, Strategy, diag,
    read::{At, OneOrMany},
    registry::{Model, Registry},
    values::{AffinityName, Count, SplitName, StrategyName, Text},
    written::{
        GroupWritten, NearestWritten, PreferWritten, RouteWritten, ScoreWritten, Sticky,
        StrategyWritten, TargetWritten,
    },
};

/// Places that a request may be sent to, each key of a provider counted.
const MOST_PLACES: usize = 64;
/// Groups inside each other.
const MOST_DEPTH: usize = 6;

type Many = At<OneOrMany<TargetWritten>>;

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
        let weighted = shares(&strategy)
            || by_rule.any(|rule| rule.value.strategy.as_ref().is_some_and(reads_weights));
        let Some(written) = &route.targets else {
            return Group { name: None, strategy, members: vec![] };
        };
        let members = self.members(written, weighted, &mut vec![], ("route", 0), check);
        let group = self.group(None, (strategy, at), members, check);
        group
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
        strategy: Option<&At<StrategyWritten>>,
        check: &mut Check<'_, '_>,
    ) -> Group {
        let has_weight = |at: &At<TargetWritten>| match &at.value {
            TargetWritten::Place { weight, .. } => weight.is_some(),
            TargetWritten::Group(group) => group.weight.is_some(),
        };
        let checked = match strategy {
            None if written.value.0.iter().any(has_weight) => Strategy::Weighted,
            at => self.strategy(at, check),
        };
        let weighted = shares(&checked);
        let members = self.members(written, weighted, &mut vec![], ("rule", 0), check);
        let group = self.group(None, (checked, strategy), members, check);
        group
    }

    fn group(
        &self,
        name: Option<Arc<str>>,
        (strategy, at): (Strategy, Option<&At<StrategyWritten>>),
        members: Vec<Member>,
        check: &mut Check<'_, '_>,
    ) -> Group {
        if let Some(at) = at {
            self.suits(at, &members, check);
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
        let inner = shares(&strategy);
        let members = self.members(written.targets.as_ref()?, inner, seen, ("group", depth), check);
        let region = match &written.region {
            Some(at) => Some(at.value.0.as_str().into()),
            None => common(&members),
        };
        let name = written.name.as_ref().map(|at| at.value.0.as_str().into());
        Some(Member {
            node: Node::Group(self.group(name, (strategy, at), members, check)),
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
                    .wrong(at, "nobody reads this weight: only weighted, affinity and split do")
                    .help("say `strategy: weighted`, or take the weight away");
                NonZeroU32::MIN
            }
            at => check.at_least_one_u32(at, 1),
        }
    }

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

    /// Whether a strategy can work with its members.
    pub(super) fn suits(
        &self,
        at: &At<StrategyWritten>,
        members: &[Member],
        check: &mut Check<'_, '_>,
    ) {
        match &at.value {
            StrategyWritten::Split(_) => arms(at, members, check),
            StrategyWritten::Nearest(written) if !members.is_empty() => {
                regions(written, members, check);
            }
            _ => {}
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

    /// A place, and the region of its provider.
    fn place(&self, to: &At<Text>, check: &mut Check<'_, '_>) -> Option<(Place, Option<Arc<str>>)> {
        let text = to.value.0.as_str();
        let (name, model) = match text.split_once('/') {
            Some((name, model)) => (name, Some(model)),
            None => (text, None),
        };
        let Some(provider) = self.find(name) else {
            let quote = check.reader.quote(to);
            let (name, rest) = quote.split_once('/').unwrap_or((&quote, ""));
            let names = self.providers.iter().map(|known| &*known.name);
            let near = diag::nearest(name, names.clone());
            let message = format!("there is no provider `{name}`");
            let said = check.reader.wrong(to, message);
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
                .wrong(to, "there is no model after the `/`")
                .help("leave the `/` out to send the model that was asked for");
        }
        if let (Some(model), Some(known)) = (model, &provider.checked) {
            known_model(to, model, known, self.registry, check);
        }
        let region = provider.checked.as_ref().and_then(|known| known.region.clone());
        Some((Place { provider: provider.name.clone(), model: model.map(Into::into) }, region))
    }

    /// What the registry knows of a place's model; a simulated provider plays any other.
    pub(super) fn model(&self, place: &Place) -> Option<&Model> {
        let id = place.model.as_deref()?;
        let provider = self.find(&place.provider)?;
        let known = provider.checked.as_ref().and_then(|checked| checked.known.as_deref());
        let kind = known.unwrap_or(&provider.name);
        let found = self.registry.model_of(kind, id).or_else(|| self.registry.model(id));
        found.map(|model| &**model)
    }

    /// Each place of a list as written.
    pub(super) fn written<'w>(&self, many: &'w Many) -> Vec<(&'w At<Text>, Place)> {
        let mut all = vec![];
        for at in &many.value.0 {
            match &at.value {
                TargetWritten::Place { to, .. } => {
                    let text = to.value.0.as_str();
                    let (name, model) = match text.split_once('/') {
                        Some((name, model)) => (name, Some(model)),
                        None => (text, None),
                    };
                    let found = self.find(name).map(|provider| provider.name.clone());
                    all.extend(
                        found
                            .map(|provider| (to, Place { provider, model: model.map(Into::into) })),
                    );
                }
                TargetWritten::Group(group) => {
                    all.extend(group.targets.iter().flat_map(|many| self.written(many)));
                }
            }
        }
        all
    }

    /// A declared provider by its name, or by another name of the same known provider.
    fn find(&self, name: &str) -> Option<&Declared> {
        find(name, self.providers, self.registry)
    }
}

/// Latency and cost together; one that is not said counts nothing.
fn score(at: &At<ScoreWritten>, check: &mut Check<'_, '_>) -> Strategy {
    let share = |at: &Option<At<Count>>| at.as_ref().map_or(0, |at| at.value.0);
    let (latency, cost) = (share(&at.value.latency), share(&at.value.cost));
    if latency == 0 && cost == 0 {
        check
            .reader
            .wrong(at, "no share is above 0, so nothing counts")
            .expected("shares of latency and cost, such as `{ latency: 60, cost: 40 }`");
    }
    let narrow = |share: u64| u32::try_from(share).unwrap_or(u32::MAX);
    Strategy::Score { latency: narrow(latency), cost: narrow(cost) }
}

fn reads_weights(at: &At<StrategyWritten>) -> bool {
    matches!(
        at.value,
        StrategyWritten::Name(StrategyName::Weighted)
            | StrategyWritten::Affinity(_)
            | StrategyWritten::Split(_)
    )
}

/// Whether it shares out by its members' weights.
fn shares(strategy: &Strategy) -> bool {
    matches!(strategy, Strategy::Weighted | Strategy::Affinity { .. } | Strategy::Split { .. })
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

/// The region that all members share.
fn common(members: &[Member]) -> Option<Arc<str>> {
    let first = members.first()?.region.as_ref()?;
    members.iter().all(|member| member.region.as_ref() == Some(first)).then(|| first.clone())
}

/// Arms are counted apart by their names.
fn arms(at: &At<StrategyWritten>, members: &[Member], check: &mut Check<'_, '_>) {
    let mut names: Vec<String> = vec![];
    for member in members {
        let name = match &member.node {
            Node::Place(Place { provider, model: Some(model) }) => format!("{provider}/{model}"),
            Node::Place(Place { provider, model: None }) => provider.to_string(),
            Node::Group(Group { name: Some(name), .. }) => name.to_string(),
            Node::Group(_) => {
                check
                    .reader
                    .wrong(at, "an arm of the split is a group without a name")
                    .help("give it a `name`: the arms are counted apart by it");
                continue;
            }
        };
        if names.contains(&name) {
            let name = check.name(&name);
            check
                .reader
                .wrong(at, format!("two arms of the split have the name `{name}`"))
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
    if written.header.is_none() && written.tag.is_none() && written.default.is_none() {
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
    let default = at.value.default.iter().filter(|at| !from.contains(&at.value.0.as_str()));
    for region in listed.chain(default) {
        if !known.contains(&region.value.0.as_str()) {
            let quote = check.reader.quote(region);
            check
                .reader
                .wrong(region, format!("no target here is in the region `{quote}`"))
                .did_you_mean(
                    &quote,
                    known.iter().copied().collect::<std::collections::BTreeSet<_>>(),
                );
        }
    }
}

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
    let near = diag::nearest(&quote, of_it.map(|known| &*known.id));
    let help = match near {
        Some(near) => format!("did you mean `{near}`? A model that is new goes under `models:`"),
        None => "a model that is new goes under `models:`, with its price".into(),
    };
    let message = format!("`{}` has no model `{quote}`", provider.name);
    check.reader.wrong(at, message).help(help);
}
