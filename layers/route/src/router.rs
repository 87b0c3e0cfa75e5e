use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tollway_core::Plan;

use crate::{
    ConfigError, Facts, NoRoute, Route, Strategy, TargetState,
    nearest::nearest,
    route::{LiveRoute, MAX_TARGETS},
};

/// Known names kept for suggestions.
const MAX_KNOWN: usize = 512;
/// Characters of an unknown model's name repeated in an error.
const MAX_ECHO: usize = 64;

/// Routes in the order they are tried, with their state. Cheap to clone; clones share the state.
///
/// It is the pure decision: no clock, no I/O, no randomness. Two routers that were asked the same
/// questions in the same order give the same answers.
#[derive(Clone, Debug)]
pub struct Router(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    routes: Vec<LiveRoute>,
    aliases: HashMap<Arc<str>, Arc<str>>,
    known: Vec<Arc<str>>,
}

impl Router {
    /// A router that tries these routes in order.
    ///
    /// # Errors
    ///
    /// No route at all; a name that is empty or given twice; a route without targets, with more
    /// than 64, or with one of them twice; an empty pool; weights that are all 0.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Result<Self, ConfigError> {
        Self::with_aliases(routes, [] as [(&str, &str); 0])
    }

    /// The same, where a request for the first name of an alias counts as one for the second,
    /// before any route is matched.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new); an alias given twice, or one that points to another alias.
    pub fn with_aliases<A: Into<Arc<str>>, M: Into<Arc<str>>>(
        routes: impl IntoIterator<Item = Route>,
        aliases: impl IntoIterator<Item = (A, M)>,
    ) -> Result<Self, ConfigError> {
        let routes: Vec<Route> = routes.into_iter().collect();
        check_routes(&routes)?;
        let aliases = check_aliases(aliases)?;
        let known = known_models(&routes, &aliases);
        let routes = routes.into_iter().map(LiveRoute::new).collect();
        Ok(Self(Arc::new(Inner { routes, aliases, known })))
    }

    /// Decides where a request may go: the first route whose conditions all hold gives the targets,
    /// its strategy their order.
    ///
    /// Targets that are out are passed over and told as rejected. When all are out, all stay as
    /// candidates, as the last resort: they answer with the true refusal and its `retry_after`,
    /// which the router doesn't know.
    ///
    /// # Errors
    ///
    /// No route takes the request.
    pub fn decide(&self, facts: &Facts<'_>, state: &impl TargetState) -> Result<Plan, NoRoute> {
        let asked = facts.model();
        let model = asked.map(|asked| self.0.aliases.get(asked).unwrap_or(asked));
        let name = model.map(|model| &**model);
        match self.0.routes.iter().find(|live| live.route.when.holds(facts, name)) {
            Some(live) => Ok(live.plan(model, state)),
            None => Err(NoRoute {
                model: asked.map(|asked| asked.chars().take(MAX_ECHO).collect()),
                nearest: asked.map_or_else(Vec::new, |asked| nearest(asked, &self.0.known)),
            }),
        }
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

fn check_routes(routes: &[Route]) -> Result<(), ConfigError> {
    let fail = |text: String| Err(ConfigError::new(text));
    if routes.is_empty() {
        return Err(ConfigError::new("no routes: every request would be refused"));
    }
    let mut names = HashSet::new();
    for route in routes {
        let Route { name, targets, strategy, .. } = route;
        if name.is_empty() {
            return Err(ConfigError::new("a route has an empty name"));
        }
        if !names.insert(name) {
            return fail(format!("two routes are named `{name}`"));
        }
        let count = route.places().count();
        if !(1..=MAX_TARGETS).contains(&count) {
            return fail(format!(
                "route `{name}` has {count} targets; it needs 1 to {MAX_TARGETS}"
            ));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = route.places().find(|place| !seen.insert(*place)) {
            return fail(format!("route `{name}` has target `{twice}` twice"));
        }
        if targets.iter().any(|target| target.pool.iter().all(|one| one.weight == 0)) {
            return fail(format!("route `{name}` has a pool where nobody has a weight"));
        }
        if *strategy == Strategy::Weighted && targets.iter().all(|t| t.weight == 0) {
            return fail(format!("route `{name}`: all weights are 0"));
        }
    }
    Ok(())
}

fn check_aliases<A: Into<Arc<str>>, M: Into<Arc<str>>>(
    aliases: impl IntoIterator<Item = (A, M)>,
) -> Result<HashMap<Arc<str>, Arc<str>>, ConfigError> {
    let mut checked: HashMap<Arc<str>, Arc<str>> = HashMap::new();
    for (alias, model) in aliases {
        let alias = alias.into();
        if checked.insert(alias.clone(), model.into()).is_some() {
            return Err(ConfigError::new(format!("alias `{alias}` is given twice")));
        }
    }
    if let Some((alias, model)) = checked.iter().find(|(_, model)| checked.contains_key(*model)) {
        let text = format!("alias `{alias}` points to alias `{model}`: name the model itself");
        return Err(ConfigError::new(text));
    }
    Ok(checked)
}

fn known_models(routes: &[Route], aliases: &HashMap<Arc<str>, Arc<str>>) -> Vec<Arc<str>> {
    let exact = routes
        .iter()
        .flat_map(|route| &route.when.models)
        .filter(|glob| glob.is_exact())
        .map(|glob| Arc::from(glob.as_str()));
    let places = routes.iter().flat_map(Route::places);
    let names: BTreeSet<Arc<str>> = exact
        .chain(places.filter_map(|place| place.model().cloned()))
        .chain(aliases.iter().flat_map(|(alias, model)| [alias.clone(), model.clone()]))
        .collect();
    names.into_iter().take(MAX_KNOWN).collect()
}
