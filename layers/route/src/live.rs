use std::{borrow::Cow, sync::Arc};

use tollway_core::{Plan, Target};

use crate::{
    Group, Of, Prefer, Query, Route, Rule, TargetState,
    builder::Sources,
    chance::hash,
    resolved::{Out, Places, Resolved},
    rules::Judge,
    scored::{Bounds, Scored},
    set::Set,
    tree::Tree,
    walk::{Order, Scene},
    write,
};

/// A checked route with its state.
#[derive(Debug)]
pub(crate) struct LiveRoute {
    pub(crate) route: Route,
    pub(crate) tree: Tree,
    pub(crate) rules: Box<[LiveRule]>,
    places: Places,
    /// It goes by more than order and turns: what a request needs is worth reading.
    looks: bool,
}

/// A rule with the groups that it orders by, where they aren't the route's own.
#[derive(Debug)]
pub(crate) struct LiveRule {
    pub(crate) rule: Rule,
    pub(crate) preferred: Option<Tree>,
    pub(crate) own: Option<Tree>,
}

/// Which places a request could go to, and why not to the others.
pub(crate) struct Standing {
    pub(crate) usable: Set,
    /// Who should not be tried, and why.
    pub(crate) out: Out,
    /// Why all are tried although none should be.
    pub(crate) resort: Option<&'static str>,
}

impl Standing {
    /// Those that are out and not tried as the last resort either.
    pub(crate) fn passed_over(&self) -> Cow<'_, Out> {
        match self.resort {
            None => Cow::Borrowed(&self.out),
            Some(_) => {
                let left = self.out.iter().filter(|(at, _)| !self.usable.contains(*at));
                Cow::Owned(left.copied().collect())
            }
        }
    }
}

impl LiveRoute {
    pub(crate) fn new(route: Route) -> Self {
        let places = route.places();
        let salt = hash(route.name.as_bytes());
        let tree = |group: &Group| Tree::new(group, &places, salt);
        let rules = route.rules.iter().map(|rule| LiveRule {
            preferred: match &rule.then.prefer {
                Prefer::Group(group) => Some(tree(group)),
                _ => None,
            },
            own: rule
                .then
                .strategy
                .clone()
                .map(|strategy| tree(&Group { strategy, ..route.group.clone() })),
            rule: rule.clone(),
        });
        let rules = rules.collect();
        let tree = tree(&route.group);
        let looks = !route.rules.is_empty() || !tree.fixed;
        Self { rules, places: Places::new(places, tree.choices), tree, looks, route }
    }

    pub(crate) fn plan(
        &self,
        query: &Query<'_>,
        model: Option<&Arc<str>>,
        state: &impl TargetState,
        sources: &Sources,
    ) -> Plan {
        let among = self.places.resolve(model, sources);
        let query = &if self.looks { query.with_needs_read() } else { *query };
        let judge = Judge::new(query, &sources.weights);
        let rule = self.rules.iter().find(|live| live.rule.when.holds(&judge));
        let bounds = Bounds::new(query, rule);
        // A rehearsal is told all that is known, what decides nothing too.
        if rule.is_none() && self.tree.fixed && !bounds.any() && !query.rehearsed {
            return self.by_turns(&among, query, state, sources);
        }
        let (live, among) = (self, &*among);
        let fork = query.rehearsed.then(|| sources.chance.fork());
        let chance = fork.as_ref().unwrap_or(&sources.chance);
        let scored = Scored { live, rule, bounds, among, query, sources, chance, explores: true };
        let mut standing = scored.standing(state, Set::NONE);
        if query.rehearsed {
            let others = scored.others();
            standing.out.extend(others.iter().map(|at| (at, "only another rule names it")));
        }
        Plan { complexity: judge.judged(), ..scored.plan(&standing) }
    }

    /// Whether a target that is down is passed over.
    pub(crate) fn minds_health(&self, sources: &Sources) -> bool {
        sources.tracked && (self.looks || sources.minds_health)
    }

    /// The plan of a route that looks at no figures: made once for each choice.
    fn by_turns(
        &self,
        among: &Resolved,
        query: &Query<'_>,
        state: &impl TargetState,
        sources: &Sources,
    ) -> Plan {
        let standing =
            standing(among, self.tree.places, query, (state, self.minds_health(sources)));
        let choice = self.tree.choose(standing.usable);
        among.kept(choice.number, &standing.out, || {
            let (traits, chance, near) = (&among.traits, &sources.chance, &self.route.near);
            let of = of(query, sources.expect);
            let scene = Scene { query, estimates: &[], traits, chance, near, of };
            let mut order = Order::new();
            let (usable, resort) = (standing.usable, standing.resort);
            self.tree.arrange(&scene, Some(&choice), usable, resort, &mut order);
            let head = write::Head { route: self, rule: None, tree: &self.tree };
            write::plan(&head, among, &standing.passed_over(), &order, (&[], of))
        })
    }

    /// What is left of `plan`, in the order of now; `None`: nothing.
    pub(crate) fn rescore(
        &self,
        plan: &Plan,
        tried: &[Target],
        (query, model): (&Query<'_>, Option<&Arc<str>>),
        state: &impl TargetState,
        sources: &Sources,
    ) -> Option<Plan> {
        let among = self.places.resolve(model, sources);
        let query = &if self.looks { query.with_needs_read() } else { *query };
        let named = |live: &&LiveRule| plan.rule.as_ref() == Some(&live.rule.name);
        let rule = self.rules.iter().find(named);
        let bounds = Bounds::new(query, rule);
        let place = |target| among.targets.iter().position(|known| known == target);
        let done: Set = tried.iter().filter_map(place).collect();
        let (live, among) = (self, &*among);
        let chance = &sources.chance;
        let scored = Scored { live, rule, bounds, among, query, sources, chance, explores: false };
        let standing = scored.standing(state, done);
        if standing.usable.is_empty() {
            return None;
        }
        let then = plan.candidates.iter().filter_map(|one| Some((place(&one.target)?, one.reason)));
        let anew = scored.again(&standing, then);
        Some(Plan { complexity: plan.complexity, ..anew })
    }
}

/// Which of `places` can serve the request and are ready for it. Where nobody has figures, nobody is
/// asked for them.
pub(crate) fn standing(
    among: &Resolved,
    places: Set,
    query: &Query<'_>,
    (state, tracked): (&impl TargetState, bool),
) -> Standing {
    let (mut able, mut ready) = (places, places);
    let needs = query.needs();
    // Stays without memory of its own as long as every target is ready.
    let mut out = Out::new();
    for at in places.iter() {
        let (Some(target), Some(traits)) = (among.targets.get(at), among.traits.get(at)) else {
            continue;
        };
        let unable = query.ask.and_then(|ask| traits.unable_for(ask, needs));
        let reason = match unable {
            Some(reason) => {
                able = able.without(Set::one(at));
                Some(reason)
            }
            None => state.availability(target).reason().or_else(|| {
                let live = among.live.get(at).filter(|_| tracked)?;
                live.is_down(query.now).then_some("it doesn't answer of late")
            }),
        };
        if let Some(reason) = reason {
            ready = ready.without(Set::one(at));
            out.push((at, reason));
        }
    }
    let (usable, resort) = if !ready.is_empty() {
        (ready, None)
    } else if !able.is_empty() {
        (able, Some("last resort: every target is out"))
    } else {
        (places, Some("last resort: no target is known to be able"))
    };
    Standing { usable, out, resort }
}

/// Which time is meant where nothing else is said: that the request's client waits for.
pub(crate) fn of(query: &Query<'_>, expect: Option<Of>) -> Of {
    let streams = query.ask.is_some_and(|ask| ask.stream);
    expect.unwrap_or(if streams { Of::FirstToken } else { Of::Whole })
}
