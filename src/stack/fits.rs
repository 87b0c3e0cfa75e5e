//! How each target of the policy wants to be spoken to.

use std::sync::Arc;

use tollway_core::{NameMap, Target};
use tollway_dialect::translate::{Fit, Form, TranslateLayer};

use crate::policy::{Policy, Provider};

/// Translates where a target's provider does not offer the client's API.
pub(super) fn layer(policy: &Policy) -> TranslateLayer {
    let providers: NameMap<Arc<str>, Provider> =
        policy.providers.iter().map(|each| (each.name.clone(), each.clone())).collect();
    let registry = policy.registry.clone();
    let fit = move |target: &Target, asked: Form| -> Option<Arc<Fit>> {
        let provider = providers.get(target.provider())?;
        if provider.forms.contains(&asked) {
            return None;
        }
        let form = *provider.forms.first()?;
        let model = target.model().map_or("", |model| model);
        Some(Arc::new(registry.fit(provider.known.as_deref(), model, form)))
    };
    TranslateLayer::new(fit).with_strictness(policy.translation)
}
