use arrayvec::ArrayVec;

/// Places of one route at most, and members of one group.
pub(crate) const MAX: usize = 64;

/// A set of places or members, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set(u64);

impl Set {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn one(at: usize) -> Self {
        Self(if at < MAX { 1 << at } else { 0 })
    }

    pub(crate) fn contains(self, at: usize) -> bool {
        !self.and(Self::one(at)).is_empty()
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// What is in it, the lowest first.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let at = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (at < u64::BITS).then_some(at as usize)
        })
    }

    pub(crate) fn filter(self, mut holds: impl FnMut(usize) -> bool) -> Self {
        self.iter().filter(|at| holds(*at)).collect()
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(all: I) -> Self {
        all.into_iter().fold(Self::NONE, |set, at| set.or(Self::one(at)))
    }
}

/// A short list without memory of its own; what doesn't fit is left out, and nothing ever is: each
/// holds places or members.
#[derive(Debug)]
pub(crate) struct Few<T>(ArrayVec<T, MAX>);

impl<T> Few<T> {
    pub(crate) fn new() -> Self {
        Self(ArrayVec::new())
    }

    pub(crate) fn push(&mut self, item: T) {
        let _ = self.0.try_push(item);
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        &self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }
}
