//! What clients say in headers of Tollway's own: a name that nobody knows is refused.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tollway_route::{BadHeader, HEADERS, Route, is_own};

use super::rehearse::DRY_RUN;
use crate::policy::{Policy, Source};

/// Names that replies have: who sends one along again says nothing by it.
const OF_REPLIES: [&str; 6] = [
    "x-tollway-attempts",
    "x-tollway-cost-usd",
    "x-tollway-decision",
    "x-tollway-dropped",
    "x-tollway-estimate",
    "x-tollway-request-id",
];

/// The names that begin as Tollway's own do and that the policy gives a meaning to.
#[derive(Clone, Debug)]
pub(super) struct Said(Arc<[HeaderName]>);

impl Said {
    pub(super) fn new(policy: &Policy, routes: &[Route]) -> Self {
        let users = policy.callers.identify.iter().filter_map(|source| match source {
            Source::Header(name) => Some(name),
            _ => None,
        });
        let named = users.chain(routes.iter().flat_map(Route::headers));
        Self(named.filter(|name| is_own(name)).cloned().collect())
    }

    /// Whether every such name is known. Who mistypes that of a bound should not go without one.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), BadHeader> {
        let known = |name: &HeaderName| {
            let text = name.as_str();
            HEADERS.contains(&text)
                || *name == DRY_RUN
                || OF_REPLIES.contains(&text)
                || self.0.contains(name)
        };
        match headers.keys().find(|name| is_own(name) && !known(name)) {
            None => Ok(()),
            // Names of the policy's are its operator's to tell: by one that says who asks, a stranger
            // could be somebody else.
            Some(name) => {
                let all: Vec<_> = HEADERS.into_iter().chain([DRY_RUN.as_str()]).collect();
                Err(BadHeader::unknown(name, &all))
            }
        }
    }
}
