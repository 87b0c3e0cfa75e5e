use std::{fmt, sync::Arc};

use tollway_core::PerMille;

use crate::{Catalog, ConfigError, Of, Route, Router, Track, auto::Weights, chance::Chance};

/// Share of requests that explore, unless said otherwise.
const EXPLORE: PerMille = PerMille::new(50);

/// What a router goes by besides its routes.
pub(crate) struct Sources {
    pub(crate) catalog: Box<dyn Catalog>,
    pub(crate) figures: Box<dyn Track>,
    /// Somebody gives figures, so that a target may be down.
    pub(crate) tracked: bool,
    /// Routes that go by turns pass over a target that is down, too.
    pub(crate) minds_health: bool,
    pub(crate) weights: Weights,
    pub(crate) explore: PerMille,
    pub(crate) expect: Option<Of>,
    pub(crate) chance: Chance,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("explore", &self.explore).finish_non_exhaustive()
    }
}

/// Makes a [`Router`] that knows more than its routes.
///
/// ```
/// use std::sync::Arc;
/// use tollway_core::{PerMille, Target};
/// use tollway_route::{Group, Live, Match, Of, Route, Router, Size, Strategy, Traits};
///
/// let targets = ["openai", "groq"].map(|name| Target::new(name, "default", None).into());
/// let group = Group::new(Strategy::Latency { of: Of::FirstToken }, targets);
/// let router = Router::builder([Route::new("all", Match::default(), group)])
///     .aliases([("fast", "gpt-4o-mini")])
///     .catalog(|_: &Target| Traits { size: Some(Size::Small), ..Traits::default() })
///     .figures(|_: &Target| Arc::new(()) as Arc<dyn Live>)
///     .explore(PerMille::new(20))
///     .seed(7)
///     .build()?;
/// assert_eq!(router.routes().count(), 1);
/// # Ok::<(), tollway_route::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct RouterBuilder {
    routes: Vec<Route>,
    aliases: Vec<(Arc<str>, Arc<str>)>,
    sources: Sources,
}

impl RouterBuilder {
    pub(crate) fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self {
            routes: routes.into_iter().collect(),
            aliases: Vec::new(),
            sources: Sources {
                catalog: Box::new(()),
                figures: Box::new(()),
                tracked: false,
                minds_health: true,
                weights: Weights::default(),
                explore: EXPLORE,
                expect: None,
                chance: Chance::new(0),
            },
        }
    }

    /// A request for the first name of an alias counts as one for the second, before any route is
    /// matched.
    pub fn aliases<A: Into<Arc<str>>, M: Into<Arc<str>>>(
        mut self,
        aliases: impl IntoIterator<Item = (A, M)>,
    ) -> Self {
        self.aliases.extend(aliases.into_iter().map(|(alias, model)| (alias.into(), model.into())));
        self
    }

    /// Where targets' traits are looked up.
    pub fn catalog(mut self, catalog: impl Catalog + 'static) -> Self {
        self.sources.catalog = Box::new(catalog);
        self
    }

    /// Where targets' live figures are.
    pub fn figures(mut self, figures: impl Track + 'static) -> Self {
        self.sources.figures = Box::new(figures);
        self.sources.tracked = true;
        self
    }

    /// How prompts are judged, for rules that ask how hard one looks.
    pub fn weights(mut self, weights: Weights) -> Self {
        self.sources.weights = weights;
        self
    }

    /// The share of requests that go to a place of which too little is known, or nothing new, where
    /// others are known and the strategy compares times. The default is 5 %.
    pub fn explore(mut self, share: PerMille) -> Self {
        self.sources.explore = share;
        self
    }

    /// Which time bounds on latency and [`Strategy::Score`](crate::Strategy::Score) mean. The default, `None`: of a stream that to
    /// the first token, of any other reply that to its end.
    pub fn expect(mut self, of: Option<Of>) -> Self {
        self.sources.expect = of;
        self
    }

    /// Whether routes that look at nothing but turns and weights pass over a target that is
    /// [down](crate::Health::Down) as well. The default is yes, where there are figures.
    pub fn minds_health(mut self, minds: bool) -> Self {
        self.sources.minds_health = minds;
        self
    }

    /// What chance begins with: the same seed and the same questions in the same order give the
    /// same answers.
    pub fn seed(mut self, seed: u64) -> Self {
        self.sources.chance = Chance::new(seed);
        self
    }

    /// The router.
    ///
    /// # Errors
    ///
    /// No route at all; a name that is empty or given twice; a route without targets, with more
    /// than 64, or with one of them twice; an empty group, one of more than 64 members, or more than
    /// 64 groups; weights that are all 0; an alias given twice, or one that points to another alias.
    pub fn build(self) -> Result<Router, ConfigError> {
        Router::build(self.routes, self.aliases, self.sources)
    }
}
