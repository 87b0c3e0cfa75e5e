use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::HeaderName;
use tollway_core::Usd;
use tollway_route::{Match, Size, Strategy, When};

/// Which requests go where.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Unique; `route-1`, `route-2`... by place where the policy says nothing.
    pub name: Arc<str>,
    /// What a request has to be; every part has to match.
    pub matches: Match,
    /// What is preferred for which requests; the first that holds decides. Those of the sets that
    /// the route uses are among them.
    pub rules: Vec<Rule>,
    /// Where to.
    pub group: Group,
    /// Where its callers are, if any of its groups is ordered by that.
    pub nearest: Option<Nearest>,
}

impl Route {
    /// Every place that the route may send to, those that its rules prefer too.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let preferred = self.rules.iter().filter_map(Rule::preferred);
        std::iter::once(&self.group).chain(preferred).flat_map(Group::places)
    }
}

/// Places and groups of places that a strategy orders.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name in decisions; an arm of a split has one.
    pub name: Option<Arc<str>>,
    /// How the members are ordered.
    pub strategy: Strategy,
    /// Never empty.
    pub members: Vec<Member>,
}

impl Group {
    /// The places in it and in the groups inside of it, in the order written.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let mut all = vec![];
        self.collect(&mut all);
        all.into_iter()
    }

    fn collect<'g>(&'g self, all: &mut Vec<&'g Place>) {
        for member in &self.members {
            match &member.node {
                Node::Place(place) => all.push(place),
                Node::Group(group) => group.collect(all),
            }
        }
    }
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What it is.
    pub node: Node,
    /// Its share, where the group's strategy reads weights.
    pub weight: NonZeroU32,
    /// Where it is, as far as that is one region.
    pub region: Option<Arc<str>>,
}

/// A place, or a group of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A single one.
    Place(Place),
    /// Several that count as one.
    Group(Group),
}

/// A place a route sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A provider of this policy.
    pub provider: Arc<str>,
    /// The model sent upstream; `None`: the one asked for.
    pub model: Option<Arc<str>>,
}

/// Where callers are, and what is near to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The header that names the caller's region.
    pub header: Option<HeaderName>,
    /// The tag of the caller's key that names it, where no header does.
    pub tag: Option<Arc<str>>,
    /// The region of all others.
    pub default: Option<Arc<str>>,
    /// A caller's region, and what comes next behind it, the nearest first.
    pub order: Vec<(Arc<str>, Vec<Arc<str>>)>,
}

/// What is preferred for some requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Unique in its route; `rule-1`, `rule-2`... by place where the policy says nothing.
    pub name: Arc<str>,
    /// What a request has to be.
    pub when: When,
    /// What comes first; the rest of the route stands behind it.
    pub prefer: Prefer,
    /// Orders the route's own group, in place of its strategy.
    pub strategy: Option<Strategy>,
    /// Targets that cost nothing come first.
    pub free_first: bool,
    /// Targets whose estimate is above come last.
    pub max_cost: Option<Usd>,
    /// Targets whose estimate is above come last.
    pub max_latency: Option<Duration>,
}

impl Rule {
    /// The targets that it prefers, if it names any.
    pub fn preferred(&self) -> Option<&Group> {
        match &self.prefer {
            Prefer::Targets(group) => Some(group),
            _ => None,
        }
    }
}

/// What comes first.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Prefer {
    /// Nothing in particular.
    #[default]
    Nobody,
    /// These targets.
    Targets(Group),
    /// The route's own targets of the sizes named together, in this order. Neither list is ever
    /// empty.
    Sizes(Vec<Vec<Size>>),
}
