//! Why the first of a group that measures is first, told so that it agrees with the figures.

use crate::{
    Of, Strategy,
    counts::Figure,
    order::{Entry, Order},
    set::Set,
    strategy::{Form, Lead, Rank, Told},
    tree::{Branch, Grown, Limb},
    walk::Walk,
};

impl Branch {
    /// Whether there was anything to choose: where each request has a member of its own that may be
    /// out, also among those that are.
    pub(crate) fn chooses(&self, walk: &Walk<'_>) -> bool {
        match self.strategy.has_own() {
            true => self.limbs.len() > 1,
            false => self.usable(walk.usable).len() > 1,
        }
    }

    /// Why the first of `ranks` is first, where it is not for what the strategy goes by.
    pub(crate) fn unusual(&self, walk: &Walk<'_>, ranks: &[Rank]) -> Option<&'static str> {
        if self.shrugs(walk, ranks) {
            return (ranks.len() > 1).then(|| self.strategy.shrug());
        }
        if !self.strategy.has_own() || ranks.len() == self.limbs.len() {
            return None;
        }
        let all = self.compared(&walk.among(self.places()), None);
        let first = ranks.first()?.at;
        let key = all.as_slice().iter().find(|rank| rank.at == first)?.key;
        let mut nearer = all.as_slice().iter().take_while(|rank| rank.key < key).peekable();
        nearer.peek()?;
        let places = |rank: &Rank| self.limbs.get(usize::from(rank.at)).map(|limb| limb.places);
        let is_behind = |places: Set| !places.and(walk.scene.all).is_empty();
        match nearer.filter_map(places).any(is_behind) {
            true => Some(self.strategy.put_first()),
            // It has failed.
            false if walk.scene.before.is_some() => Some("failover"),
            false => Some(self.strategy.own_is_out()),
        }
    }

    /// Whether what it goes by, be it no figure, isn't known of the request or of any member.
    fn shrugs(&self, walk: &Walk<'_>, ranks: &[Rank]) -> bool {
        match &self.strategy {
            Strategy::Capability => {
                let mut first = self.members(ranks);
                first.next().is_some_and(|first| !first.is_able(walk))
            }
            Strategy::Nearest => walk.scene.near.region(walk.scene.query).is_none(),
            strategy => strategy.by().is_some() && self.key(walk).is_none(),
        }
    }

    /// `starts`: where in the order each member of `ranks` begins.
    pub(crate) fn why(
        &self,
        walk: &Walk<'_>,
        order: &Order,
        (ranks, starts): (&[Rank], Set),
    ) -> &'static str {
        self.blind(walk, ranks).unwrap_or_else(|| {
            self.strategy.reason(self.lead(walk, order, (ranks, starts)), walk.scope(self))
        })
    }

    /// Where what it goes by isn't known of any member.
    fn blind(&self, walk: &Walk<'_>, ranks: &[Rank]) -> Option<&'static str> {
        let of = self.time(walk);
        let members = || self.members(ranks).map(|limb| limb.measured(walk, of, Figure::Told));
        let (timed, priced) =
            (members().any(|it| it.latency.is_some()), members().any(|it| it.cost.is_some()));
        let mut places = walk.scene.all.iter().filter_map(|at| walk.scene.estimates.get(at));
        let elsewhere = !priced && places.any(|one| one.cost.is_some());
        self.strategy.blind(timed, priced, elsewhere)
    }

    fn members<'a>(&'a self, ranks: &'a [Rank]) -> impl Iterator<Item = &'a Limb> {
        ranks.iter().filter_map(|rank| self.limbs.get(usize::from(rank.at)))
    }

    /// How the first entry stands to the others by the figures that are told of them: to those of its
    /// own member, to the first of each other, and to those behind these.
    fn lead(&self, walk: &Walk<'_>, order: &Order, (ranks, starts): (&[Rank], Set)) -> Lead {
        let (strategy, of) = (&self.strategy, self.time(walk));
        let entries = order.entries.as_slice();
        let Some(mine) = entries.first().map(|first| walk.told(first, of)) else {
            return Lead::default();
        };
        // Of a pool its figure may be known and that of the place whose turn it is not.
        let is_pool = self.members(ranks).next().is_some_and(Limb::is_group);
        let known = !is_pool || strategy.knows(mine);
        let near = matches!(ranks, [one, two, ..] if one.key >= two.key);
        let slack = if near { strategy.slack() } else { 0.0 };
        let places = known && starts.len() == entries.len();
        let (mut beaten, mut better) = (false, Set::NONE);
        for (at, entry) in entries.iter().enumerate() {
            let told = walk.told(entry, of);
            if strategy.beaten(mine, told, slack) {
                if places {
                    return Lead { near, counted: true, form: Form::Plain };
                }
                better = better.or(Set::one(at));
            }
            beaten = beaten || strategy.beaten(mine, told, 0.0);
        }
        if known && !beaten {
            return Lead::default();
        }
        if places {
            return Lead { near, ..Lead::default() };
        }
        let own = starts.iter().nth(1).unwrap_or(entries.len());
        let mates = better.iter().any(|at| at < own);
        let mut members = self.members(ranks);
        let ours = members.next().map(|limb| limb.told(walk, of)).unwrap_or_default();
        let (mut counted, mut whole) = (false, false);
        for (limb, start) in members.zip(starts.iter().skip(1)) {
            // Between places all is said already.
            let worse = match is_pool || limb.is_group() {
                true => strategy.beaten(ours, limb.told(walk, of), slack),
                false => better.contains(start),
            };
            counted |= worse;
            whole |= !worse && better.contains(start);
        }
        let behind = better.without(starts).iter().any(|at| at >= own);
        let form = match (!known || mates, whole, behind) {
            (true, ..) => Form::Pool,
            (false, true, _) => Form::Whole,
            (false, false, true) => Form::Firsts,
            (false, false, false) => Form::Plain,
        };
        Lead { near, counted, form }
    }
}

impl Walk<'_> {
    fn told(&self, entry: &Entry, of: Of) -> Told {
        let known = self.scene.estimates.get(usize::from(entry.place));
        known.map_or_else(Told::default, |known| known.told(of))
    }
}

impl Limb {
    fn is_group(&self) -> bool {
        matches!(self.node, Grown::Group(_))
    }

    fn told(&self, walk: &Walk<'_>, of: Of) -> Told {
        if let Grown::Place(place) = &self.node {
            let known = walk.scene.estimates.get(*place);
            return known.map_or_else(Told::default, |known| known.told(of));
        }
        let whole = self.measured(walk, of, Figure::Told);
        let nanos = |seconds: f32| f64::from(seconds) * 1e9;
        Told { time: whole.latency.map(nanos), cost: whole.cost.map(f64::from) }
    }
}
