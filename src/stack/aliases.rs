use std::sync::Arc;

use tollway_core::NameMap;

use crate::policy::Policy;

/// What model names stand for: limits, keys and routes all go by what an alias means.
#[derive(Clone, Debug)]
pub(super) struct Aliases(Arc<NameMap<Arc<str>, Arc<str>>>);

impl Aliases {
    pub(super) fn new(policy: &Policy) -> Self {
        let all = policy.aliases.iter().map(|alias| (alias.name.clone(), alias.model.clone()));
        Self(Arc::new(all.collect()))
    }

    /// The model that `name` stands for, or `name` itself.
    pub(super) fn resolve<'a>(&'a self, name: &'a Arc<str>) -> &'a Arc<str> {
        self.0.get(name).unwrap_or(name)
    }
}
