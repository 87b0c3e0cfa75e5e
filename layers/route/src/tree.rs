use std::sync::Arc;

use tollway_core::Target;

use crate::{
    Group, Node, Of, Strategy,
    chance::{hash, mix},
    set::{MAX, Set},
    strategy::Turns,
};

/// A group ready for decisions: its places are numbers, its groups have state.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Branch,
    pub(crate) places: Set,
    /// How many choices there are: who is first in each group.
    pub(crate) choices: usize,
    /// Turns alone decide, so that plans can be made once.
    pub(crate) fixed: bool,
    /// It goes by the order written, and compares nothing.
    pub(crate) written: bool,
    /// Which time it goes by first of all; `None`: it doesn't say.
    pub(crate) of: Option<Of>,
    /// The arms of its splits, none of which stands in another.
    arms: Box<[(Set, Arc<str>)]>,
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) number: usize,
    pub(crate) strategy: Strategy,
    pub(crate) turns: Turns,
    /// Whose turn it is when the group doesn't come first. Apart, or a group that comes first every
    /// other time would begin with the same member each time.
    pub(crate) behind: Turns,
    pub(crate) salt: u64,
    pub(crate) limbs: Box<[Limb]>,
}

#[derive(Debug)]
pub(crate) struct Limb {
    pub(crate) node: Grown,
    pub(crate) places: Set,
    pub(crate) weight: u32,
    pub(crate) region: Option<Arc<str>>,
    pub(crate) identity: u64,
    pub(crate) label: Arc<str>,
}

#[derive(Debug)]
pub(crate) enum Grown {
    Place(usize),
    Group(Branch),
}

/// Who is first in each group of a fixed tree.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) firsts: [u8; MAX],
    /// The same as one number, below [`Tree::choices`].
    pub(crate) number: usize,
}

impl Tree {
    /// `places` holds every place of `group`; `salt` tells its splits from others'.
    pub(crate) fn new(group: &Group, places: &[Target], salt: u64) -> Self {
        let mut number = 0;
        let root = Branch::new(group, places, salt, &mut number);
        let groups = group.groups();
        let sizes = groups.iter().map(|group| group.members.len());
        Self {
            places: root.limbs.iter().fold(Set::NONE, |all, limb| all.or(limb.places)),
            choices: sizes.fold(1, usize::saturating_mul),
            written: matches!(group.strategy, Strategy::Failover | Strategy::Capability)
                && !groups.iter().any(|group| group.strategy.compares()),
            fixed: groups.iter().all(|group| group.strategy.is_fixed()),
            of: groups.iter().find_map(|group| group.strategy.of()).flatten(),
            arms: root.arms().into(),
            root,
        }
    }

    pub(crate) fn strategy(&self) -> &Strategy {
        &self.root.strategy
    }

    /// The arm of the outermost split that `place` stands in.
    pub(crate) fn arm(&self, place: usize) -> Option<&Arc<str>> {
        self.arms.iter().find(|(places, _)| places.contains(place)).map(|(_, arm)| arm)
    }

    /// Chooses among the places of a fixed tree that are usable.
    pub(crate) fn choose(&self, usable: Set) -> Choice {
        let mut choice = Choice { firsts: [0; MAX], number: 0 };
        self.root.choose(usable, true, &mut choice);
        choice
    }
}

impl Branch {
    fn new(group: &Group, places: &[Target], salt: u64, number: &mut usize) -> Self {
        let mine = *number;
        *number += 1;
        let salt =
            group.name.as_ref().map_or(mix(salt ^ mine as u64), |name| hash(name.as_bytes()));
        let weights = || group.members.iter().map(|member| member.weight);
        let mut limbs: Vec<Limb> = Vec::with_capacity(group.members.len());
        for member in &group.members {
            let (node, label): (_, Arc<str>) = match &member.node {
                Node::Place(target) => {
                    let place = places.iter().position(|place| place == target).unwrap_or(MAX);
                    (Grown::Place(place), target.to_string().into())
                }
                Node::Group(inner) => {
                    let first = || inner.places().next().map(ToString::to_string);
                    let name = inner.name.clone();
                    let label = name.unwrap_or_else(|| first().unwrap_or_default().into());
                    (Grown::Group(Self::new(inner, places, salt, number)), label)
                }
            };
            let places = match &node {
                Grown::Place(place) => Set::one(*place),
                Grown::Group(branch) => branch.places(),
            };
            let mut identity = identity(&member.node, &label);
            while limbs.iter().any(|limb| limb.identity == identity) {
                identity = mix(identity);
            }
            let (weight, region) = (member.weight, member.region.clone());
            limbs.push(Limb { node, places, weight, region, identity, label });
        }
        Self {
            number: mine,
            turns: Turns::new(&group.strategy, weights()),
            behind: Turns::new(&group.strategy, weights()),
            strategy: group.strategy.clone(),
            salt,
            limbs: limbs.into(),
        }
    }

    /// Goes on with the turns of `before`, in groups whose members are the same.
    pub(crate) fn resume(&self, before: &Self) {
        let members =
            |branch: &Self| branch.limbs.iter().map(|limb| limb.identity).collect::<Vec<_>>();
        if members(self) == members(before) {
            self.turns.resume(&before.turns);
            self.behind.resume(&before.behind);
        }
        for limb in &self.limbs {
            let same = before.limbs.iter().find(|then| then.identity == limb.identity);
            if let (Grown::Group(branch), Some(Grown::Group(then))) =
                (&limb.node, same.map(|same| &same.node))
            {
                branch.resume(then);
            }
        }
    }

    fn arms(&self) -> Vec<(Set, Arc<str>)> {
        let splits = matches!(self.strategy, Strategy::Split { .. });
        let arms = |limb: &Limb| match &limb.node {
            _ if splits => vec![(limb.places, limb.label.clone())],
            Grown::Group(branch) => branch.arms(),
            Grown::Place(_) => Vec::new(),
        };
        self.limbs.iter().flat_map(arms).collect()
    }

    pub(crate) fn places(&self) -> Set {
        self.limbs.iter().fold(Set::NONE, |all, limb| all.or(limb.places))
    }

    /// Members with a usable place.
    pub(crate) fn usable(&self, usable: Set) -> Set {
        let any = |limb: &Limb| !limb.places.and(usable).is_empty();
        let limbs = self.limbs.iter().enumerate();
        limbs.filter(|(_, limb)| any(limb)).map(|(at, _)| at).collect()
    }

    pub(crate) fn draw(&self, limbs: Set, lead: bool, rehearsed: bool) -> usize {
        if lead { self.turns.first(limbs, rehearsed) } else { self.behind.first(limbs, rehearsed) }
    }

    fn choose(&self, usable: Set, lead: bool, choice: &mut Choice) {
        let first = self.draw(self.usable(usable), lead, false);
        if let Some(slot) = choice.firsts.get_mut(self.number) {
            *slot = u8::try_from(first).unwrap_or(0);
        }
        choice.number = choice.number.saturating_mul(self.limbs.len()).saturating_add(first);
        for (at, limb) in self.limbs.iter().enumerate() {
            if let Grown::Group(branch) = &limb.node {
                branch.choose(usable, lead && at == first, choice);
            }
        }
    }
}

/// Of a place: provider, key and model. Of a group: its name, or else the provider and model of its
/// first place, so that a key that joins a pool moves nobody.
fn identity(node: &Node, label: &str) -> u64 {
    match node {
        Node::Place(target) => mix(hash(label.as_bytes()) ^ hash(target.key().as_bytes())),
        Node::Group(_) => hash(label.as_bytes()),
    }
}
