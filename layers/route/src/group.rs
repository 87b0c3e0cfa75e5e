use std::sync::Arc;

use tollway_core::Target;

use crate::Strategy;

/// Places and groups of places, with the strategy that orders them.
///
/// Groups nest. To its parent's strategy a group is one member: weights, turns and shares are its
/// own, whatever the number of its members. Where members are compared it counts as the place that
/// this request would go to first in it: the first that is left of a failover, the best where it
/// compares as well, the nearest, the one its affinity or split names. Where turns or chance decide who
/// that is, it counts as the mean of them all by how often each is first, of a figure that those have
/// that are first in most cases; of others it has none. It is as busy as all of them. A plan names a
/// group's places one behind the other.
///
/// ```
/// use tollway_core::Target;
/// use tollway_route::{Group, Member, Strategy};
///
/// let key = |name: &str| Target::new("openai", name, None);
/// let keys = Group::new(
///     Strategy::Weighted,
///     [Member::new(key("main")).weighing(3), Member::new(key("spare"))],
/// );
/// let group = Group::new(
///     Strategy::Failover,
///     [Member::from(keys), Target::new("groq", "default", None).into()],
/// );
/// assert_eq!(group.places().count(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its name, such as that of an arm of a [split](Strategy::Split).
    pub name: Option<Arc<str>>,
    /// How it orders its members.
    pub strategy: Strategy,
    /// At least one.
    pub members: Vec<Member>,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// A place or a group of its own.
    pub node: Node,
    /// Its share under strategies that share out: of weight 0 it is only a fallback. Others don't
    /// look at it.
    pub weight: u32,
    /// Where it stands, for [`Strategy::Nearest`]; `None`: where its first place does, by the
    /// [`Catalog`](crate::Catalog).
    pub region: Option<Arc<str>>,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Where to send. A target without a model takes the one that was asked.
    Place(Target),
    /// A group to choose in.
    Group(Group),
}

impl Group {
    /// A group without a name.
    pub fn new(strategy: Strategy, members: impl IntoIterator<Item = Member>) -> Self {
        Self { name: None, strategy, members: members.into_iter().collect() }
    }

    /// The same group with a name.
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Every place in it, groups laid out.
    pub fn places(&self) -> impl Iterator<Item = &Target> {
        let mut all = Vec::new();
        self.collect(&mut all);
        all.into_iter()
    }

    fn collect<'a>(&'a self, all: &mut Vec<&'a Target>) {
        for member in &self.members {
            match &member.node {
                Node::Place(target) => all.push(target),
                Node::Group(group) => group.collect(all),
            }
        }
    }

    /// It and every group in it.
    pub(crate) fn groups(&self) -> Vec<&Self> {
        let inner = self.members.iter().filter_map(|member| match &member.node {
            Node::Place(_) => None,
            Node::Group(group) => Some(group.groups()),
        });
        std::iter::once(self).chain(inner.flatten()).collect()
    }

    /// How deep groups nest in it; 1: not at all.
    pub(crate) fn depth(&self) -> usize {
        let inner = self.members.iter().map(|member| match &member.node {
            Node::Place(_) => 0,
            Node::Group(group) => group.depth(),
        });
        1 + inner.max().unwrap_or(0)
    }
}

impl Member {
    /// A place or a group, of weight 1.
    pub fn new(node: impl Into<Node>) -> Self {
        Self { node: node.into(), weight: 1, region: None }
    }

    /// The same member with this weight.
    pub fn weighing(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    /// The same member in this region.
    pub fn at(self, region: impl Into<Arc<str>>) -> Self {
        Self { region: Some(region.into()), ..self }
    }
}

impl<N: Into<Node>> From<N> for Member {
    fn from(node: N) -> Self {
        Self::new(node)
    }
}

impl From<Target> for Node {
    fn from(target: Target) -> Self {
        Self::Place(target)
    }
}

impl From<Group> for Node {
    fn from(group: Group) -> Self {
        Self::Group(group)
    }
}
