//! Routes, aliases, and what is known of models.

use std::{collections::HashSet, num::NonZeroU32, sync::Arc};

use tollway_route::Strategy;

use super::Changes;
use crate::policy::{Group, Node, Place, Policy, Route, registry::Model};

impl Changes {
    pub(super) fn routes(&mut self, old: &Policy, new: &Policy) {
        let pair = (&old.aliases[..], &new.aliases[..]);
        self.named(
            "aliases",
            pair,
            |alias| &alias.name,
            |at, pair, all| match pair {
                (None, Some(alias)) => all.tell(at, format!("added: stands for {}", alias.model)),
                (Some(_), None) => all.tell(at, "removed: stands for itself"),
                (Some(a), Some(b)) => all.value(at, &a.model, &b.model),
                (None, None) => {}
            },
        );
        let pair = (&old.routes[..], &new.routes[..]);
        self.named(
            "routes",
            pair,
            |route| &route.name,
            |at, pair, all| match pair {
                (None, Some(route)) => {
                    let targets = route.places().count();
                    all.tell(at, format!("added, with {targets} targets"));
                }
                (Some(_), None) => {
                    all.tell(at, "removed: requests on their way end as they began");
                }
                (Some(a), Some(b)) => {
                    all.value(&format!("{at}.match"), &a.matches, &b.matches);
                    let places =
                        |route: &Route| -> Vec<String> { route.places().map(told).collect() };
                    all.value(&format!("{at}.targets"), &places(a), &places(b));
                    let rest = |route: &Route| {
                        (route.rules.clone(), route.nearest.clone(), strategies(&route.group))
                    };
                    let same = |one: &Stand| seats(&b.group).iter().any(|other| other == one);
                    let stays = |one: &Stand| places(b).contains(&one.place);
                    let moved = seats(&a.group).iter().any(|one| stays(one) && !same(one));
                    if rest(a) != rest(b) || moved || (a.group != b.group && places(a) == places(b))
                    {
                        all.tell(at, "rules, strategy, weights or regions are others");
                    }
                }
                (None, None) => {}
            },
        );
        let order = |policy: &Policy| -> Vec<_> {
            policy.routes.iter().map(|route| route.name.clone()).collect()
        };
        let (a, b) = (order(old), order(new));
        let both: HashSet<_> = a.iter().filter(|name| b.contains(name)).collect();
        let among = |all: &[Arc<str>]| -> Vec<_> {
            all.iter().filter(|name| both.contains(name)).cloned().collect()
        };
        if among(&a) != among(&b) {
            self.tell("routes", "are tried in another order");
        }
    }

    /// Prices and the rest of what is known of models.
    pub(super) fn models(&mut self, old: &Policy, new: &Policy) {
        let key = |model: &Model| (model.provider.clone(), model.id.clone());
        let find = |policy: &Policy, at: &_| {
            policy.registry.models.iter().find(|model| key(model) == *at).cloned()
        };
        for model in &new.registry.models {
            let at = format!("models.{}/{}", model.provider, model.id);
            match find(old, &key(model)) {
                None => self.tell(at, "added"),
                Some(old) if (old.price, &old.tiers) != (model.price, &model.tiers) => {
                    let words = format!("{} -> {}", prices(&old), prices(model));
                    self.tell(at, format!("{words}; replies that end from now on cost that"));
                }
                Some(old) if old != *model => self.tell(at, "what is known of it has changed"),
                Some(_) => {}
            }
        }
        for model in &old.registry.models {
            if find(new, &key(model)).is_none() {
                self.tell(format!("models.{}/{}", model.provider, model.id), "removed");
            }
        }
    }
}

/// USD per million tokens, as prices are written.
fn prices(model: &Model) -> String {
    let million = |picos: Option<u64>| {
        picos.map_or("unknown".to_owned(), |picos| {
            let usd = format!("{}.{:06}", picos / 1_000_000, picos % 1_000_000);
            usd.trim_end_matches('0').trim_end_matches('.').to_owned()
        })
    };
    let (input, output) = (million(model.price.input), million(model.price.output));
    format!("input {input}, output {output} USD a million tokens")
}

fn told(place: &Place) -> String {
    match &place.model {
        Some(model) => format!("{}/{model}", place.provider),
        None => place.provider.to_string(),
    }
}

/// Where a target stands in a route.
#[derive(PartialEq)]
struct Stand {
    place: String,
    /// The names of the groups that it is in, and the weights there, from the outermost in.
    within: Vec<(Option<Arc<str>>, NonZeroU32)>,
}

fn seats(group: &Group) -> Vec<Stand> {
    let mut all = Vec::new();
    for member in &group.members {
        let here = (group.name.clone(), member.weight);
        match &member.node {
            Node::Place(place) => all.push(Stand { place: told(place), within: vec![here] }),
            Node::Group(inner) => all.extend(seats(inner).into_iter().map(|mut one| {
                one.within.insert(0, here.clone());
                one
            })),
        }
    }
    all
}

/// How a group and those in it are ordered.
fn strategies(group: &Group) -> Vec<(Option<Arc<str>>, Strategy)> {
    let inner = group.members.iter().filter_map(|member| match &member.node {
        Node::Group(group) => Some(strategies(group)),
        Node::Place(_) => None,
    });
    let own = (group.name.clone(), group.strategy.clone());
    std::iter::once(own).chain(inner.flatten()).collect()
}
