use std::{collections::BTreeSet, sync::Arc};

use tollway_core::{NameMap, Plan, Target};

use crate::{
    ConfigError, NoRoute, Query, Refusal, Route, RouterBuilder, TargetState, builder::Sources,
    check, live::LiveRoute, nearest::nearest,
};

/// Known names kept for suggestions.
const MAX_KNOWN: usize = 512;
/// Characters of an unknown model's name repeated in an error.
const MAX_ECHO: usize = 64;

/// Routes in the order they are tried, with their state. Cheap to clone; clones share the state.
///
/// It is the pure decision: no clock, no I/O, and no chance but what its seed decides. Two routers
/// that were asked the same questions in the same order, and saw the same figures, give the same
/// answers.
#[derive(Clone, Debug)]
pub struct Router(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    routes: Vec<LiveRoute>,
    aliases: NameMap<Arc<str>, Arc<str>>,
    known: Vec<Arc<str>>,
    sources: Sources,
}

impl Router {
    /// A router that tries these routes in order, and knows nothing of their targets.
    ///
    /// # Errors
    ///
    /// Those of [`RouterBuilder::build`].
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Result<Self, ConfigError> {
        Self::builder(routes).build()
    }

    /// The same with aliases: see [`RouterBuilder::aliases`].
    ///
    /// # Errors
    ///
    /// Those of [`RouterBuilder::build`].
    pub fn with_aliases<A: Into<Arc<str>>, M: Into<Arc<str>>>(
        routes: impl IntoIterator<Item = Route>,
        aliases: impl IntoIterator<Item = (A, M)>,
    ) -> Result<Self, ConfigError> {
        Self::builder(routes).aliases(aliases).build()
    }

    /// Makes a router that goes by live figures and knows what its targets can do.
    pub fn builder(routes: impl IntoIterator<Item = Route>) -> RouterBuilder {
        RouterBuilder::new(routes)
    }

    pub(crate) fn build(
        routes: Vec<Route>,
        aliases: Vec<(Arc<str>, Arc<str>)>,
        sources: Sources,
    ) -> Result<Self, ConfigError> {
        check::routes(&routes)?;
        let aliases = check::aliases(aliases)?;
        let known = known_models(&routes, &aliases);
        let routes = routes.into_iter().map(LiveRoute::new).collect();
        Ok(Self(Arc::new(Inner { routes, aliases, known, sources })))
    }

    /// Goes on with the turns of `before`: of routes of the same name, in groups whose members are the
    /// same. For a policy that is replaced while traffic flows.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use tollway_core::Target;
    /// use tollway_route::{Group, Match, Query, Route, Router, Strategy};
    ///
    /// let target = |name: &str| Target::new(name, "main", None);
    /// let group = || Group::new(Strategy::RoundRobin, [target("a").into(), target("b").into()]);
    /// let router = || Router::new([Route::new("all", Match::default(), group())]);
    /// let headers = HeaderMap::new();
    /// let query = Query::new("/v1/chat/completions", &headers, tokio::time::Instant::now());
    /// let (old, new) = (router()?, router()?);
    /// assert_eq!(old.decide(&query, &())?.candidates[0].target, target("a"));
    /// new.resume(&old);
    /// assert_eq!(new.decide(&query, &())?.candidates[0].target, target("b"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&self, before: &Self) {
        for live in &self.0.routes {
            let then = before.0.routes.iter().find(|then| then.route.name == live.route.name);
            if let Some(then) = then {
                live.resume(then);
            }
        }
    }

    /// Decides where a request may go: the first route whose conditions all hold gives the targets,
    /// its first rule that holds and its strategy their order.
    ///
    /// Targets that are out, or [lack](crate::Lack) something for the request, are passed over and
    /// told as rejected. When all that are able are out, they all stay as candidates, as the last
    /// resort, and are told as rejected too: they answer with the true refusal and its `retry_after`,
    /// which the router doesn't know. When none is known to be able, those stay of which it is
    /// [doubtful](crate::Lack::is_doubtful). What surely can't serve the request is never a candidate.
    ///
    /// # Errors
    ///
    /// No route takes the request, or its route has no target that can serve it.
    pub fn decide(&self, query: &Query<'_>, state: &impl TargetState) -> Result<Plan, Refusal> {
        let asked = query.model();
        let model = self.model(query);
        let name = model.map(|model| &**model);
        match self.0.routes.iter().find(|live| live.route.when.holds(query, name)) {
            Some(live) => Ok(live.plan(query, model, state, &self.0.sources)?),
            None => Err(Refusal::NoRoute(NoRoute {
                model: asked.map(|asked| asked.chars().take(MAX_ECHO).collect()),
                nearest: asked.map_or_else(Vec::new, |asked| nearest(asked, &self.0.known)),
            })),
        }
    }

    /// What [`decide`](Self::decide) would say now, without taking a turn: the same choice, with what
    /// is estimated of every target even where nothing of it decides, and with all that were passed
    /// over, those that only other rules name among them.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use tokio::time::Instant;
    /// use tollway_core::Target;
    /// use tollway_route::{Group, Match, Query, Route, Router, Strategy};
    ///
    /// let targets = ["a", "b"].map(|name| Target::new(name, "default", None).into());
    /// let group = Group::new(Strategy::RoundRobin, targets);
    /// let router = Router::new([Route::new("all", Match::default(), group)])?;
    /// let headers = HeaderMap::new();
    /// let query = Query::new("/", &headers, Instant::now());
    /// let said = router.explain(&query, &())?;
    /// assert_eq!(router.explain(&query, &())?, said);
    /// assert_eq!(router.decide(&query, &())?, said);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`decide`](Self::decide).
    pub fn explain(&self, query: &Query<'_>, state: &impl TargetState) -> Result<Plan, Refusal> {
        self.decide(&query.rehearsed(), state)
    }

    /// The rest of a plan, after `tried` have failed: without them, in the order of the figures of
    /// now, and with what is out now passed over; what surely can't serve the request stays out. Every
    /// group that compares is ordered anew; the others keep the order they had in the plan, and what
    /// was out when it was made and is back stands at their end. No turn is taken. `None`: nothing is left, or the plan isn't this router's.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use tokio::time::Instant;
    /// use tollway_core::Target;
    /// use tollway_route::{Group, Match, Query, Route, Router, Strategy};
    ///
    /// let [a, b] = ["a", "b"].map(|name| Target::new(name, "default", None));
    /// let group = Group::new(Strategy::RoundRobin, [a.clone().into(), b.clone().into()]);
    /// let router = Router::new([Route::new("all", Match::default(), group)])?;
    /// let headers = HeaderMap::new();
    /// let query = Query::new("/", &headers, Instant::now());
    /// let plan = router.decide(&query, &())?;
    /// let rest = router.rescore(&plan, &[a.clone()], &query, &()).unwrap();
    /// assert_eq!(rest.candidates[0].target, b);
    /// assert_eq!(router.rescore(&plan, &[a, b], &query, &()), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rescore(
        &self,
        plan: &Plan,
        tried: &[Target],
        query: &Query<'_>,
        state: &impl TargetState,
    ) -> Option<Plan> {
        let live = self.0.routes.iter().find(|live| live.route.name == plan.route)?;
        live.rescore(plan, tried, (query, self.model(query)), state, &self.0.sources)
    }

    /// The asked model, aliases replaced.
    fn model<'a>(&'a self, query: &Query<'a>) -> Option<&'a Arc<str>> {
        query.model().map(|asked| self.0.aliases.get(asked).unwrap_or(asked))
    }

    /// The routes, in the order they are tried.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.0.routes.iter().map(|live| &live.route)
    }

    /// Every model name that routes, targets and aliases spell out, sorted.
    pub fn known_models(&self) -> &[Arc<str>] {
        &self.0.known
    }
}

fn known_models(routes: &[Route], aliases: &NameMap<Arc<str>, Arc<str>>) -> Vec<Arc<str>> {
    let exact = routes
        .iter()
        .flat_map(|route| &route.when.models)
        .filter(|glob| glob.is_exact())
        .map(|glob| Arc::from(glob.as_str()));
    let places = routes.iter().flat_map(|route| route.places());
    let names: BTreeSet<Arc<str>> = exact
        .chain(places.filter_map(|place| place.model().cloned()))
        .chain(aliases.iter().flat_map(|(alias, model)| [alias.clone(), model.clone()]))
        .collect();
    names.into_iter().take(MAX_KNOWN).collect()
}
