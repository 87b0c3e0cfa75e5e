use std::sync::Arc;

use http::HeaderName;
use tollway_core::Target;

use crate::{By, Group, Match, Near, Prefer, Rule, Strategy};

/// Requests, and the targets that may answer them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Its name, unique; it appears in plans, logs and metrics.
    pub name: Arc<str>,
    /// The requests it takes.
    pub when: Match,
    /// Orders of their own for some of them. The first that holds decides.
    pub rules: Vec<Rule>,
    /// 1 to 64 places, each once, and how they are ordered. The groups that rules prefer count too.
    pub group: Group,
    /// Where its callers are, for [`Strategy::Nearest`](crate::Strategy::Nearest).
    pub near: Near,
}

impl Route {
    /// A route without rules.
    pub fn new(name: impl Into<Arc<str>>, when: Match, group: Group) -> Self {
        Self { name: name.into(), when, rules: Vec::new(), group, near: Near::default() }
    }

    /// The same route with these rules.
    pub fn with_rules(self, rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { rules: rules.into_iter().collect(), ..self }
    }

    /// The same route, whose callers are where `near` says.
    pub fn near(self, near: Near) -> Self {
        Self { near, ..self }
    }

    /// The headers that it goes by, those that only it knows the meaning of.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let groups = self.groups().flat_map(Group::groups).map(|group| &group.strategy);
        let strategies =
            groups.chain(self.rules.iter().filter_map(|rule| rule.then.strategy.as_ref()));
        let sticky = strategies.filter_map(|strategy| match strategy {
            Strategy::Affinity { by: By::Header(name) }
            | Strategy::Split { by: By::Header(name) } => Some(name),
            _ => None,
        });
        self.when.headers.iter().map(|wanted| &wanted.name).chain(&self.near.header).chain(sticky)
    }

    /// Its own group, and those that its rules prefer.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        let preferred = self.rules.iter().filter_map(|rule| match &rule.then.prefer {
            Prefer::Group(group) => Some(group),
            _ => None,
        });
        std::iter::once(&self.group).chain(preferred)
    }

    /// Every place it sends to, once.
    pub(crate) fn places(&self) -> Vec<Target> {
        let mut all: Vec<Target> = Vec::new();
        for place in self.groups().flat_map(Group::places) {
            if !all.contains(place) {
                all.push(place.clone());
            }
        }
        all
    }
}
