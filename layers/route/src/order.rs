//! Places in the order to try them, and how good each is.

use tollway_core::PerMille;

use crate::set::{Few, MAX, Set};

/// Places in the order to try them.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) entries: Few<Entry>,
    pub(crate) placed: Set,
    /// How far the first is ahead of the second, 0 to 1; `None`: they were not compared.
    pub(crate) lead: Option<f32>,
    /// The entry that the first was compared with.
    pub(crate) rival: Option<usize>,
    /// Why the first is first has been said.
    pub(crate) told: bool,
    /// More than the order written and turns decided who is first.
    pub(crate) chosen: bool,
}

/// At which place of a plan each place of its route stood.
#[derive(Debug)]
pub(crate) struct Before([u8; MAX]);

impl FromIterator<Option<usize>> for Before {
    /// By the plan's candidates; `None` is no place of the route's.
    fn from_iter<I: IntoIterator<Item = Option<usize>>>(candidates: I) -> Self {
        let mut all = [u8::MAX; MAX];
        for (at, place) in candidates.into_iter().enumerate() {
            if let Some(slot) = place.and_then(|place| all.get_mut(place)) {
                *slot = u8::try_from(at).unwrap_or(u8::MAX);
            }
        }
        Self(all)
    }
}

impl Before {
    /// Where the first of these places stood; of those that weren't there: behind all.
    pub(crate) fn first(&self, places: Set) -> u8 {
        places.iter().filter_map(|place| self.0.get(place)).copied().min().unwrap_or(u8::MAX)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) place: u8,
    pub(crate) reason: &'static str,
    pub(crate) score: Score,
}

/// How good a place is, 0 to 1. The default, of one that was not compared, is all zeros, which
/// costs next to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Score {
    /// Beside the best of those it was compared with.
    beside: f32,
    /// How good that one was, by the group's strategy: the logarithm of its key.
    best: f32,
    /// The group's number, counted from 1.
    group: u8,
}

impl Score {
    /// `None`: it was not compared.
    pub(crate) fn get(self) -> Option<PerMille> {
        (self.group > 0).then(|| PerMille::of(self.beside))
    }

    /// That of a place or group within the one that has this score.
    pub(crate) fn within(self, beside: Option<f32>, (group, best): (usize, f32)) -> Self {
        match beside {
            None => self,
            // A group is as good as its best place.
            Some(beside) if self.group > 0 => Self { beside: self.beside * beside, ..self },
            Some(beside) => Self { beside, best, group: u8::try_from(group + 1).unwrap_or(0) },
        }
    }
}

impl Order {
    pub(crate) fn new() -> Self {
        let (entries, placed) = (Few::new(), Set::NONE);
        Self { entries, placed, lead: None, rival: None, told: false, chosen: false }
    }

    pub(crate) fn push(&mut self, place: usize, reason: &'static str, score: Score) {
        self.placed = self.placed.or(Set::one(place));
        let place = u8::try_from(place).unwrap_or(0);
        self.entries.push(Entry { place, reason, score });
    }

    /// Scores these places, all of one tree, beside the best of all that their group ranked: until
    /// now each part of the plan has a best of its own.
    pub(crate) fn level(&mut self, places: Set) {
        let mut bests = [f32::INFINITY; MAX + 1];
        let of = |score: &Score| usize::from(score.group);
        for score in self.scores(places) {
            if let Some(best) = bests.get_mut(of(score)) {
                *best = best.min(score.best);
            }
        }
        for score in self.scores(places) {
            let best = bests.get(of(score)).copied().unwrap_or(score.best);
            if best < score.best {
                score.beside *= (best - score.best).exp();
            }
        }
    }

    fn scores(&mut self, places: Set) -> impl Iterator<Item = &mut Score> {
        let mine = move |entry: &&mut Entry| places.contains(usize::from(entry.place));
        let entries = self.entries.as_mut_slice().iter_mut();
        entries.filter(mine).map(|entry| &mut entry.score).filter(|score| score.group > 0)
    }
}
