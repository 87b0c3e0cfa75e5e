//! Which regions are near to whom.

use std::sync::Arc;

use http::HeaderName;

use crate::Query;

/// How a route that goes by [`Strategy::Nearest`](crate::Strategy::Nearest) knows where its callers
/// are, and what is near to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Near {
    /// The header that names a caller's region, instead of [`REGION`](crate::REGION).
    pub header: Option<HeaderName>,
    /// The caller's tag that names it, where no header does.
    pub tag: Option<Arc<str>>,
    /// The region of all others.
    pub default: Option<Arc<str>>,
    /// A caller's region, and what comes next behind it, the nearest first. Of regions that aren't
    /// here, those that share the first word (`eu` of `eu-west`) come before the others.
    pub order: Vec<(Arc<str>, Vec<Arc<str>>)>,
}

impl Near {
    /// The caller's region, as far as anything tells it.
    pub(crate) fn region<'a>(&'a self, query: &Query<'a>) -> Option<&'a str> {
        let header = match &self.header {
            Some(name) => query.header(name),
            None => query.region(),
        };
        let tag = || Some(&**query.caller?.tags.get(self.tag.as_ref()?)?);
        header.or_else(tag).or(self.default.as_deref())
    }

    /// Whether two names are of one region, in whatever letters.
    pub fn is_same(one: &str, other: &str) -> bool {
        one.eq_ignore_ascii_case(other)
    }

    /// Whether two regions share the first word, as those do that are the same.
    ///
    /// ```
    /// use tollway_route::Near;
    ///
    /// assert!(Near::is_like("eu-west", "eu") && Near::is_like("eu-west", "EU-north"));
    /// assert!(!Near::is_like("us-east", "eu") && !Near::is_like("europe", "eu"));
    /// ```
    pub fn is_like(one: &str, other: &str) -> bool {
        let (one, other) = (one.split('-').next(), other.split('-').next());
        one.zip(other).is_some_and(|(one, other)| Self::is_same(one, other))
    }

    /// How far a member's region is from the caller's: 0 nearest.
    pub(crate) fn away(&self, theirs: Option<&str>, mine: &str) -> u8 {
        let Some(theirs) = theirs else { return u8::MAX };
        if Self::is_same(theirs, mine) {
            return 0;
        }
        let mut known = self.order.iter().filter(|(from, _)| Self::is_same(from, mine));
        let next = known.next().map_or(&[][..], |(_, next)| next);
        if let Some(at) = next.iter().position(|region| Self::is_same(region, theirs)) {
            return u8::try_from(at).unwrap_or(u8::MAX).saturating_add(1).min(NEIGHBOUR - 1);
        }
        if Self::is_like(theirs, mine) { NEIGHBOUR } else { u8::MAX }
    }
}

/// How far a region is that shares the first word, and is in no order written.
const NEIGHBOUR: u8 = u8::MAX - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_written_comes_before_what_names_say() {
        let order = vec![("eu".into(), vec!["us".into(), "asia".into()])];
        let near = Near { order, ..Near::default() };
        let away = |theirs: &str| near.away(Some(theirs), "EU");
        let far = ["eu", "us", "asia", "eu-west", "africa"].map(away);
        assert!(far.is_sorted() && far[0] == 0, "{far:?}");
        assert_eq!(near.away(None, "eu"), near.away(Some("africa"), "eu"));
    }
}
