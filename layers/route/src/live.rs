use std::{
    cell::{Cell, OnceCell},
    sync::Arc,
};

use tollway_core::{Needs, PerMille, Plan, Target};

use crate::{
    Availability, Group, Lack, NoneAble, Of, Prefer, Query, Route, Rule, TargetState,
    builder::Sources,
    chance::hash,
    order::Order,
    resolved::{Out, Places, Resolved},
    rules::Judge,
    scored::{Bounds, Scored},
    set::Set,
    tree::Tree,
    walk::Scene,
    write,
};

/// A checked route with its state.
#[derive(Debug)]
pub(crate) struct LiveRoute {
    pub(crate) route: Route,
    pub(crate) tree: Tree,
    pub(crate) rules: Box<[LiveRule]>,
    places: Places,
    /// It goes by more than order and turns.
    looks: bool,
    /// A rule goes by how hard prompts look.
    judges: bool,
}

/// A rule with the groups that it orders by, where they aren't the route's own.
#[derive(Debug)]
pub(crate) struct LiveRule {
    pub(crate) rule: Rule,
    pub(crate) preferred: Option<Tree>,
    pub(crate) own: Option<Tree>,
}

impl LiveRoute {
    /// Goes on with the turns of `before`.
    pub(crate) fn resume(&self, before: &Self) {
        self.tree.root.resume(&before.tree.root);
        for (rule, then) in self.rules.iter().zip(&before.rules) {
            for (tree, then) in [(&rule.preferred, &then.preferred), (&rule.own, &then.own)] {
                if let (Some(tree), Some(then)) = (tree, then) {
                    tree.root.resume(&then.root);
                }
            }
        }
    }
}

/// Which places a request could go to, and why not to the others.
pub(crate) struct Standing {
    /// None: nobody is left that could serve it.
    pub(crate) usable: Set,
    /// Who should not be tried, and why.
    pub(crate) out: Out,
    /// Why those that are usable are tried although they should not be.
    pub(crate) resort: Option<&'static str>,
    /// Of those, whom nothing is sent to: what guards them refuses it.
    pub(crate) guarded: Set,
}

impl Standing {
    /// Who comes before whom whatever the strategy says, and why where it is for this reason: what would
    /// only be refused uses up attempts.
    pub(crate) fn parts(&self) -> [(Set, Option<&'static str>); 2] {
        let unsent = Some("last resort: every target is out, and nothing is sent to this one");
        [(self.usable.without(self.guarded), self.resort), (self.guarded, unsent)]
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
        let judges = route.rules.iter().any(|rule| rule.when.judges());
        Self { rules, places: Places::new(places, tree.choices), tree, looks, judges, route }
    }

    pub(crate) fn plan(
        &self,
        query: &Query<'_>,
        model: Option<&Arc<str>>,
        state: &impl TargetState,
        sources: &Sources,
    ) -> Result<Plan, NoneAble> {
        let among = self.places.resolve(model, sources);
        let judge = Judge::new(query, &sources.weights, self.judges);
        let rule = self.rules.iter().find(|live| live.rule.when.holds(&judge));
        let query = &if self.reads(&among) { query.with_needs(judge.read_needs()) } else { *query };
        let bounds = Bounds::new(query, rule);
        // A rehearsal is told all that is known, what decides nothing too.
        if rule.is_none() && self.tree.fixed && !bounds.any() && !query.rehearsed {
            return self.by_turns(&among, query, state, sources);
        }
        let (live, among) = (self, &*among);
        let fork = query.rehearsed.then(|| sources.chance.fork());
        let chance = fork.as_ref().unwrap_or(&sources.chance);
        let scored = Scored { live, rule, bounds, among, query, sources, chance, before: None };
        let mut standing = scored.standing(state, Set::NONE);
        if standing.usable.is_empty() {
            let head = write::Head { route: self, rule, tree: scored.first_tree() };
            return Err(refuse(&head, among, &standing.out, query));
        }
        if query.rehearsed {
            let others = scored.others();
            standing.out.extend(others.iter().map(|at| (at, "only another rule names it")));
        }
        Ok(Plan { complexity: judge.judged(), ..scored.plan(&standing) })
    }

    /// Whether what a request needs may decide.
    fn reads(&self, among: &Resolved) -> bool {
        self.looks || among.lacks
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
    ) -> Result<Plan, NoneAble> {
        let places = (self.tree.places, Set::NONE);
        let standing = standing(among, places, query, (state, self.minds_health(sources)));
        if standing.usable.is_empty() {
            let head = write::Head { route: self, rule: None, tree: &self.tree };
            return Err(refuse(&head, among, &standing.out, query));
        }
        let parts = standing.parts();
        let first = parts.iter().find(|(places, _)| !places.is_empty());
        let choice = self.tree.choose(first.map_or(standing.usable, |(places, _)| *places));
        let make = || {
            let (traits, chance, near) = (&among.traits, &sources.chance, &self.route.near);
            let (of, all, explore) = (of(query, sources.expect), standing.usable, PerMille::ZERO);
            let (prefix, estimates, before) = (&OnceCell::new(), &[][..], None);
            let scene =
                Scene { query, prefix, estimates, traits, chance, near, of, all, explore, before };
            let mut order = Order::new();
            for (places, said) in parts {
                self.tree.arrange(&scene, Some(&choice), places, said, &mut order);
            }
            let head = write::Head { route: self, rule: None, tree: &self.tree };
            write::plan(&head, among, &standing.out, &order, (&[], of))
        };
        // Who is out, and why, says all but which of those that are doubtful are ready.
        Ok(if standing.resort.is_some() {
            make()
        } else {
            among.kept(choice.number, &standing.out, make)
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
        let query = &if self.reads(&among) { query.with_needs(query.read_needs()) } else { *query };
        let named = |live: &&LiveRule| plan.rule.as_ref() == Some(&live.rule.name);
        let rule = self.rules.iter().find(named);
        let bounds = Bounds::new(query, rule);
        let place = |target| among.targets.iter().position(|known| known == target);
        let done: Set = tried.iter().filter_map(place).collect();
        let (live, among) = (self, &*among);
        let chance = &sources.chance;
        let before = &plan.candidates.iter().map(|one| place(&one.target)).collect();
        let before = Some(before);
        let scored = Scored { live, rule, bounds, among, query, sources, chance, before };
        let standing = scored.standing(state, done);
        if standing.usable.is_empty() {
            return None;
        }
        Some(Plan { complexity: plan.complexity, ..scored.plan(&standing) })
    }
}

/// Which of `places` can serve the request and are ready for it, those that are `done` left out.
/// Where nobody has figures, nobody is asked for them.
pub(crate) fn standing(
    among: &Resolved,
    (places, done): (Set, Set),
    query: &Query<'_>,
    (state, tracked): (&impl TargetState, bool),
) -> Standing {
    let needs = query.needs();
    let guarded = Cell::new(Set::NONE);
    let unready = |at: usize| {
        let state = among.targets.get(at).map(|it| state.availability(it));
        if state.as_ref().is_some_and(Availability::is_guarded) {
            guarded.set(guarded.get().or(Set::one(at)));
        }
        state.and_then(|state| state.reason()).or_else(|| {
            let live = among.live.get(at).filter(|_| tracked)?;
            live.is_down(query.now).then_some("it doesn't answer of late")
        })
    };
    let (mut able, mut doubtful, mut ready) = (Set::NONE, Set::NONE, Set::NONE);
    // Stays without memory of its own as long as every target is ready.
    let mut out = Out::new();
    for at in places.iter() {
        let (this, left) = (Set::one(at), !done.contains(at));
        let reason = match lack(among, at, query, needs) {
            Some(lack) => {
                if lack.is_doubtful() {
                    doubtful = doubtful.or(this);
                }
                Some(lack.as_str())
            }
            None => {
                able = able.or(this);
                if left { unready(at) } else { None }
            }
        };
        match reason {
            Some(reason) if left => out.push((at, reason)),
            None if left => ready = ready.or(this),
            _ => {}
        }
    }
    // One that is able and has failed leaves the matter with those that are able: who is doubtful
    // would only hide its failure.
    let (usable, resort) = if !ready.is_empty() {
        (ready, None)
    } else if !able.is_empty() {
        (able.without(done), Some("last resort: every target is out"))
    } else {
        let left = doubtful.without(done);
        let ready = left.filter(|at| unready(at).is_none());
        let usable = if ready.is_empty() { left } else { ready };
        (usable, Some("last resort: no target is known to be able"))
    };
    let guarded = guarded.get().and(usable);
    Standing { usable, out, resort, guarded }
}

/// Nobody can serve the request; `out` says of each why.
fn refuse(head: &write::Head<'_>, among: &Resolved, out: &Out, query: &Query<'_>) -> NoneAble {
    let needs = query.needs();
    let lack = |(at, _): &(usize, &str)| {
        let traits = among.traits.get(*at);
        let window = traits.and_then(|traits| traits.window_for(query.ask?, query.headers));
        Some((lack(among, *at, query, needs)?, window))
    };
    let lacks: Vec<_> = out.iter().filter_map(lack).collect();
    let plan = write::plan(head, among, out, &Order::new(), (&[], of(query, None)));
    NoneAble::new(plan, &lacks, query.ask.map_or(0, |ask| ask.input_tokens))
}

fn lack(among: &Resolved, at: usize, query: &Query<'_>, needs: Needs) -> Option<Lack> {
    let (traits, ask) = (among.traits.get(at)?, query.ask?);
    let lack = Lack::of(traits, ask, needs, traits.window)?;
    // Few ask for a wider window, and only where the usual one is too short does it matter.
    match traits.wider.is_empty() {
        true => Some(lack),
        false => Lack::of(traits, ask, needs, traits.window_for(ask, query.headers)),
    }
}

/// Which time is meant where nothing else is said: that the request's client waits for.
pub(crate) fn of(query: &Query<'_>, expect: Option<Of>) -> Of {
    let streams = query.ask.is_some_and(|ask| ask.stream);
    expect.unwrap_or(if streams { Of::FirstToken } else { Of::Whole })
}
