use std::sync::Arc;

use http::HeaderName;
use tollway_dialect::translate::{Form, Reasoning};
use tollway_route::{Glob, Wider, is_own};

use super::{Check, globs, together::CREDENTIALS, when::needs};
use crate::policy::{
    read::{At, List, Reader},
    registry::{Deviation, KnownProvider, Model, Price, Registry, Status, Tier},
    values::{DialectName, FormName, PerMillion, ReasoningName, StatusName},
    written::{
        FitWritten, ModelWritten, PolicyWritten, PriceWritten, RegistryWritten, TierWritten,
        WindowWritten,
    },
};

/// The registry as a file of its own (`config/models.yaml`).
pub(in crate::policy) fn registry(written: &RegistryWritten, reader: &mut Reader<'_>) -> Registry {
    let mut check = Check { reader, warnings: vec![] };
    let known = written.providers.iter().flat_map(|named| &named.value.0);
    let known = known.filter_map(|(name, value)| {
        let value = &value.as_ref()?.value;
        let aliases = value.aliases.iter().flat_map(|list| &list.value.0);
        Some(Arc::new(KnownProvider {
            name: name.value.as_str().into(),
            aliases: aliases.map(|at| at.value.0.as_str().into()).collect(),
            base_url: value.base_url.as_ref()?.value.0.clone(),
            auth_header: value.auth_header.as_ref().map(|at| at.value.clone()),
            dialect: value.dialect.as_ref().map(|at| at.value.into()).unwrap_or_default(),
            forms: forms(value.dialect.as_ref().map(|at| at.value), &value.forms),
            openai_path: value.openai_path.as_ref().map(|at| at.value.0.as_str().into()),
        }))
    });
    let mut registry = Registry { providers: known.collect(), ..Registry::default() };
    registry.deviations = deviations(written, &registry, &mut check);
    for at in written.models.iter().flat_map(|list| &list.value.0) {
        let Some(model) = model(&at.value, None, &mut check) else { continue };
        if registry.provider(&model.provider).is_none() {
            check.reader.error(at.span, &at.path, "names a provider that is not listed");
        }
        if registry.model_of(&model.provider, &model.id).is_some() {
            check.reader.error(at.span, &at.path, "the model stands here twice");
        }
        registry.models.push(Arc::new(model));
    }
    registry
}

impl From<FormName> for Form {
    fn from(name: FormName) -> Self {
        match name {
            FormName::Chat => Self::Chat,
            FormName::Responses => Self::Responses,
            FormName::Messages => Self::Messages,
            FormName::Generate => Self::Generate,
        }
    }
}

/// What a provider offers: as written, or what its dialect has.
pub(super) fn forms(
    dialect: Option<DialectName>,
    written: &Option<At<List<FormName>>>,
) -> Vec<Form> {
    let written: Vec<Form> =
        written.iter().flat_map(|list| &list.value.0).map(|at| at.value.into()).collect();
    match dialect {
        _ if !written.is_empty() => written,
        None | Some(DialectName::OpenAi) => vec![Form::Chat, Form::Responses],
        Some(DialectName::Anthropic) => vec![Form::Messages],
        Some(DialectName::Gemini) => vec![Form::Generate],
    }
}

fn deviations(
    written: &RegistryWritten,
    registry: &Registry,
    check: &mut Check<'_, '_>,
) -> Vec<Arc<Deviation>> {
    let mut deviations = vec![];
    for at in written.fits.iter().flat_map(|list| &list.value.0) {
        let Some(provider) = &at.value.provider else { continue };
        if registry.provider(&provider.value.0).is_none() {
            check.reader.wrong(provider, "names a provider that is not listed");
        }
        deviations.push(Arc::new(deviation(&at.value, &provider.value.0, check)));
    }
    deviations
}

fn deviation(written: &FitWritten, provider: &str, check: &mut Check<'_, '_>) -> Deviation {
    let flag = |at: &Option<At<bool>>| at.as_ref().map(|at| at.value);
    Deviation {
        provider: provider.into(),
        models: globs(&written.models, check),
        lacks: written.lacks.as_ref().map(|list| list.value.0.iter().map(|at| at.value).collect()),
        max_temperature: written.max_temperature.as_ref().map(|at| at.value.0 as f64),
        legacy_max_tokens: flag(&written.legacy_max_tokens),
        developer_role: flag(&written.developer_role),
        reasoning: written.reasoning.as_ref().map(|at| match at.value {
            ReasoningName::None => Reasoning::None,
            ReasoningName::Effort => Reasoning::Effort,
            ReasoningName::Switch => Reasoning::Switch,
            ReasoningName::Adaptive => Reasoning::Adaptive,
            ReasoningName::Budget => Reasoning::Budget,
            ReasoningName::Level => Reasoning::Level,
        }),
        echo_reasoning: flag(&written.echo_reasoning),
        structured: flag(&written.structured),
        prefill: flag(&written.prefill),
        one_sampling: flag(&written.one_sampling),
        needs_signature: flag(&written.needs_signature),
    }
}

/// The embedded registry, with the policy's own models before it.
pub(super) fn with_own(written: &PolicyWritten, check: &mut Check<'_, '_>) -> Registry {
    let mut registry = Registry::embedded().clone();
    let own: Vec<&str> = written
        .providers
        .iter()
        .flat_map(|named| &named.value.0)
        .map(|(name, _)| name.value.as_str())
        .collect();
    let mut seen: Vec<(String, String)> = vec![];
    let mut added = vec![];
    for at in written.models.iter().flat_map(|list| &list.value.0) {
        let (Some(id), Some(provider)) = (&at.value.id, &at.value.provider) else { continue };
        let name = provider.value.0.as_str();
        let known = registry.provider(name).map(|known| known.name.clone());
        if known.is_none() && !own.contains(&name) {
            let names = registry.providers.iter().map(|known| &*known.name);
            let names: Vec<&str> = names.chain(own.iter().copied()).collect();
            let quote = check.reader.quote(provider);
            check
                .reader
                .wrong(provider, format!("there is no provider `{quote}`"))
                .did_you_mean(&quote, names);
            continue;
        }
        let name: Arc<str> = known.unwrap_or_else(|| name.into());
        let pair = (name.to_string(), id.value.0.clone());
        if seen.contains(&pair) {
            let quote = check.reader.quote(id);
            check.reader.wrong(id, format!("the model `{quote}` stands here twice"));
            continue;
        }
        seen.push(pair);
        let before = registry.model_of(&name, &id.value.0).cloned();
        let Some(mut model) = model(&at.value, before.as_deref(), check) else { continue };
        model.provider = name.clone();
        if let Some(before) = before {
            registry.models.retain(|other| !Arc::ptr_eq(other, &before));
        }
        added.push(Arc::new(model));
    }
    added.append(&mut registry.models);
    registry.models = added;
    registry
}

/// A model; what is not said is as it was before.
fn model(
    written: &ModelWritten,
    before: Option<&Model>,
    check: &mut Check<'_, '_>,
) -> Option<Model> {
    let (id, provider) = (written.id.as_ref()?, written.provider.as_ref()?);
    let texts = |list: &crate::policy::read::List<crate::policy::values::Text>| {
        list.0.iter().map(|at| at.value.0.as_str().into()).collect::<Vec<Arc<str>>>()
    };
    let count = |at: &Option<At<crate::policy::values::Count>>, old: Option<u64>| {
        at.as_ref().map(|at| at.value.0).or(old)
    };
    let price = match (&written.price, before) {
        (Some(at), _) => price(&at.value),
        (None, Some(before)) => before.price,
        (None, None) => Price::default(),
    };
    // New prices make the old tiers wrong.
    let tiers = match (&written.price_tiers, &written.price, before) {
        (Some(list), _, _) => tiers(&list.value.0, check),
        (None, None, Some(before)) => before.tiers.clone(),
        _ => vec![],
    };
    let context_window = count(&written.context_window, before.and_then(|m| m.context_window));
    let max_input_tokens = count(&written.max_input, before.and_then(|m| m.max_input_tokens));
    Some(Model {
        provider: provider.value.0.as_str().into(),
        id: before.map_or_else(|| id.value.0.as_str().into(), |before| before.id.clone()),
        aliases: match (&written.aliases, before) {
            (Some(at), _) => texts(&at.value),
            (None, before) => before.map(|before| before.aliases.clone()).unwrap_or_default(),
        },
        context_window,
        max_input_tokens,
        windows: match (&written.windows, before) {
            (Some(list), _) => windows(list, max_input_tokens.or(context_window), check),
            (None, before) => before.map(|before| before.windows.clone()).unwrap_or_default(),
        },
        max_output_tokens: count(
            &written.max_output_tokens,
            before.and_then(|m| m.max_output_tokens),
        ),
        capabilities: match (&written.capabilities, before) {
            (Some(at), _) => Some(needs(&at.value.0)).filter(|_| !at.value.0.is_empty()),
            (None, before) => before.and_then(|before| before.capabilities),
        },
        free: match &written.free {
            Some(at) => at.value,
            None => before.is_some_and(|before| before.free),
        },
        size: written.size.as_ref().map(|at| at.value.into()).or(before.and_then(|m| m.size)),
        price,
        tiers,
        status: match written.status.as_ref().map(|at| at.value) {
            Some(StatusName::Active) => Status::Active,
            Some(StatusName::Deprecated) => Status::Deprecated,
            Some(StatusName::Retired) => Status::Retired,
            None => before.map(|before| before.status).unwrap_or_default(),
        },
        until: written.until.as_ref().map(|at| at.value).or(before.and_then(|m| m.until)),
        replacement: match &written.replacement {
            Some(at) => Some(at.value.0.as_str().into()),
            None => before.and_then(|before| before.replacement.clone()),
        },
    })
}

/// `usual`: the window without any header.
fn windows(
    written: &At<List<WindowWritten>>,
    usual: Option<u64>,
    check: &mut Check<'_, '_>,
) -> Vec<Wider> {
    if usual.is_none() && !written.value.0.is_empty() {
        check
            .reader
            .wrong(written, "nothing says what the model takes without the header")
            .expected("its `context_window`, or `max_input`, beside `windows`");
    }
    let mut all: Vec<Wider> = vec![];
    for at in &written.value.0 {
        let WindowWritten { header: Some(header), value: Some(value), tokens: Some(tokens) } =
            &at.value
        else {
            continue;
        };
        goes_upstream(header, check);
        if let Some(usual) = usual.filter(|usual| tokens.value.0 <= *usual) {
            let quote = check.reader.quote(tokens);
            let message = format!("`{quote}` is no more than the model takes without the header");
            check.reader.wrong(tokens, message).expected(format!("more than {usual} tokens"));
        }
        let Ok(glob) = value.value.0.parse::<Glob>() else {
            check.reader.wrong(value, "no value looks like this");
            continue;
        };
        if all.iter().any(|one| one.header == header.value && one.value == glob) {
            check.reader.wrong(value, "the same value of this header stands here twice");
        }
        let (header, window) = (header.value.clone(), tokens.value.0);
        all.push(Wider { header, value: glob, window, lost: vec![] });
    }
    all
}

/// A provider can go only by what it is sent.
fn goes_upstream(header: &At<HeaderName>, check: &mut Check<'_, '_>) {
    let why = if is_own(&header.value) {
        "what clients say in headers that begin so is for Tollway alone, and no provider sees it"
    } else if CREDENTIALS.contains(&header.value.as_str()) {
        "it says who asks, and nothing of prompts"
    } else {
        return;
    };
    check.reader.wrong(header, why).expected("the header that the provider goes by");
}

fn pico(at: &Option<At<PerMillion>>) -> Option<u64> {
    at.as_ref().and_then(|at| at.value.0)
}

fn price(written: &PriceWritten) -> Price {
    Price {
        input: pico(&written.input),
        cached_input: pico(&written.cached_input),
        cache_write: pico(&written.cache_write),
        output: pico(&written.output),
    }
}

fn tiers(written: &[At<TierWritten>], check: &mut Check<'_, '_>) -> Vec<Tier> {
    let mut tiers: Vec<Tier> = vec![];
    for at in written {
        let tier = &at.value;
        let bound = match (&tier.over_prompt_tokens, &tier.from_prompt_tokens) {
            (Some(over), None) => over.value.0,
            (None, Some(from)) => from.value.0.saturating_sub(1),
            _ => {
                check
                    .reader
                    .error(at.span, &at.path, "a tier needs exactly one bound")
                    .expected("`over_prompt_tokens`, or `from_prompt_tokens`");
                continue;
            }
        };
        if tiers.last().is_some_and(|last| last.over_prompt_tokens >= bound) {
            check.reader.error(at.span, &at.path, "the tiers' bounds do not rise");
        }
        let price = PriceWritten {
            input: tier.input.clone(),
            cached_input: tier.cached_input.clone(),
            cache_write: tier.cache_write.clone(),
            output: tier.output.clone(),
        };
        tiers.push(Tier { over_prompt_tokens: bound, price: self::price(&price) });
    }
    tiers
}
