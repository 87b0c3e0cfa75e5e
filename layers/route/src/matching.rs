use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use tollway_core::Caller;

use crate::{Glob, Query};

/// A header that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Its name.
    pub name: HeaderName,
    /// What one of its values must look like; `None`: any value.
    pub value: Option<Glob>,
}

/// Who must be calling.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallerMatch {
    /// By user name.
    User(Glob),
    /// By name of the key.
    Key(Glob),
    /// By the client's address.
    Ip(IpNet),
}

/// A tag that the caller must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMatch {
    /// The tag's name.
    pub name: Arc<str>,
    /// What its value must look like; `None`: any value.
    pub value: Option<Glob>,
}

/// The requests that a route takes. All kinds of condition must hold; an empty list is no
/// condition, so the default takes every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// One of these fits the asked model, after aliases. A request that names none doesn't match.
    pub models: Vec<Glob>,
    /// One of these fits the path. `/v1/audio/*` is how to say a prefix.
    pub paths: Vec<Glob>,
    /// All of these headers are there.
    pub headers: Vec<HeaderMatch>,
    /// One of these is calling.
    pub callers: Vec<CallerMatch>,
    /// The caller carries all of these tags.
    pub tags: Vec<TagMatch>,
}

impl Match {
    /// Requests whose model fits `glob`.
    pub fn model(glob: Glob) -> Self {
        Self { models: vec![glob], ..Self::default() }
    }

    /// Whether a request is taken; `model` is the asked one, after aliases.
    pub fn holds(&self, query: &Query<'_>, model: Option<&str>) -> bool {
        any(&self.models, |glob| model.is_some_and(|model| glob.matches(model)))
            && any(&self.paths, |glob| glob.matches(query.path))
            && self.headers.iter().all(|wanted| wanted.holds(query.headers))
            && any(&self.callers, |wanted| query.caller.is_some_and(|c| wanted.holds(c)))
            && self.tags.iter().all(|wanted| query.caller.is_some_and(|c| wanted.holds(c)))
    }
}

pub(crate) fn any<T>(wanted: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(holds)
}

fn fits(glob: Option<&Glob>, text: &[u8]) -> bool {
    glob.is_none_or(|glob| glob.matches(text))
}

impl HeaderMatch {
    fn holds(&self, headers: &HeaderMap) -> bool {
        headers.get_all(&self.name).iter().any(|value| fits(self.value.as_ref(), value.as_bytes()))
    }
}

impl CallerMatch {
    pub(crate) fn holds(&self, caller: &Caller) -> bool {
        match self {
            Self::User(glob) => caller.user.as_ref().is_some_and(|user| glob.matches(&**user)),
            Self::Key(glob) => caller.key.as_ref().is_some_and(|key| glob.matches(&**key)),
            Self::Ip(net) => caller.ip.is_some_and(|ip| net.contains(&ip)),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User(a), Self::User(b)) | (Self::Key(a), Self::Key(b)) => a.covers(b),
            (Self::Ip(a), Self::Ip(b)) => a.contains(b),
            _ => false,
        }
    }
}

impl TagMatch {
    pub(crate) fn holds(&self, caller: &Caller) -> bool {
        caller.tags.get(&self.name).is_some_and(|value| fits(self.value.as_ref(), value.as_bytes()))
    }
}

/// Whether every request that `later` takes is surely taken by `earlier`, so that a route with
/// `later` behind one with `earlier` is never reached. Says no when in doubt.
///
/// ```
/// use tollway_route::{Match, shadows};
///
/// let all_gpt = Match::model("gpt-*".parse().unwrap());
/// let one = Match::model("gpt-4o".parse().unwrap());
/// assert!(shadows(&all_gpt, &one) && !shadows(&one, &all_gpt));
/// ```
pub fn shadows(earlier: &Match, later: &Match) -> bool {
    covers(&earlier.models, &later.models, Glob::covers)
        && covers(&earlier.paths, &later.paths, Glob::covers)
        && covers(&earlier.callers, &later.callers, CallerMatch::covers)
        && earlier.headers.iter().all(|wanted| {
            later.headers.iter().any(|certain| {
                wanted.name == certain.name && value_covers(&wanted.value, &certain.value)
            })
        })
        && earlier.tags.iter().all(|wanted| {
            later.tags.iter().any(|certain| {
                wanted.name == certain.name && value_covers(&wanted.value, &certain.value)
            })
        })
}

fn covers<T>(earlier: &[T], later: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    earlier.is_empty()
        || !later.is_empty()
            && later.iter().all(|narrow| earlier.iter().any(|wide| covers(wide, narrow)))
}

fn value_covers(wide: &Option<Glob>, narrow: &Option<Glob>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => wide.covers(narrow),
        (Some(_), None) => false,
    }
}
