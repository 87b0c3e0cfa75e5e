//! Providers and models that Tollway knows: `config/models.yaml` and the policy's own additions.

use std::sync::{Arc, LazyLock};

use http::{HeaderName, Uri};
use tollway_core::{Dialect, Needs};
use tollway_dialect::translate::{Field, Fit, Form, Reasoning};
use tollway_route::{Glob, Size, Wider};

use super::check;

/// Known providers and models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    /// Known providers.
    pub providers: Vec<Arc<KnownProvider>>,
    /// Known models.
    pub models: Vec<Arc<Model>>,
    /// How models deviate from the API they are called by; all that match apply, in order.
    pub deviations: Vec<Arc<Deviation>>,
}

/// A provider that a policy can name without saying where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownProvider {
    /// The name policies use.
    pub name: Arc<str>,
    /// Other names for it.
    pub aliases: Vec<Arc<str>>,
    /// Where it is.
    pub base_url: Uri,
    /// How the key is sent: `None` is `Authorization: Bearer`.
    pub auth_header: Option<HeaderName>,
    /// What it speaks.
    pub dialect: Dialect,
    /// The APIs it offers, the one to translate to first; never empty.
    pub forms: Vec<Form>,
    /// Where its API in OpenAI's form is, behind `base_url`, if its dialect is another one.
    pub openai_path: Option<Arc<str>>,
}

/// How some models of a provider deviate from the API they are called by. `None`: they don't.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deviation {
    /// Name of the known provider.
    pub provider: Arc<str>,
    /// Which of its models; empty: all.
    pub models: Vec<Glob>,
    /// Fields of the API that they don't take.
    pub lacks: Option<Vec<Field>>,
    /// Higher temperatures are brought down to this.
    pub max_temperature: Option<f64>,
    /// See [`Fit::legacy_max_tokens`].
    pub legacy_max_tokens: Option<bool>,
    /// See [`Fit::developer_role`].
    pub developer_role: Option<bool>,
    /// See [`Fit::reasoning`].
    pub reasoning: Option<Reasoning>,
    /// See [`Fit::echo_reasoning`].
    pub echo_reasoning: Option<bool>,
    /// See [`Fit::structured`].
    pub structured: Option<bool>,
    /// See [`Fit::prefill`].
    pub prefill: Option<bool>,
    /// See [`Fit::one_sampling`].
    pub one_sampling: Option<bool>,
    /// See [`Fit::needs_signature`].
    pub needs_signature: Option<bool>,
}

/// A model, its bounds and its price.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Name of the known provider (or of the policy's provider) that offers it.
    pub provider: Arc<str>,
    /// The id sent upstream.
    pub id: Arc<str>,
    /// Other ids the provider takes for it.
    pub aliases: Vec<Arc<str>>,
    /// Prompt and completion together, in tokens.
    pub context_window: Option<u64>,
    /// Prompt alone, where the provider caps it lower.
    pub max_input_tokens: Option<u64>,
    /// What it takes of a client that asks for more in a header; all that fit apply, the widest counts.
    pub windows: Vec<Wider>,
    /// Completion alone.
    pub max_output_tokens: Option<u64>,
    /// What it can do, as written; `None`: nothing is.
    pub capabilities: Option<Needs>,
    /// How large it is, as far as somebody judged it.
    pub size: Option<Size>,
    /// It costs nothing, whatever its price.
    pub free: bool,
    /// Price of a request under every tier's bound.
    pub price: Price,
    /// Higher prices for long prompts, by rising bound.
    pub tiers: Vec<Tier>,
    /// Whether it still answers.
    pub status: Status,
    /// The day it is shut down.
    pub until: Option<jiff::civil::Date>,
    /// What the provider suggests instead.
    pub replacement: Option<Arc<str>>,
}

/// Prices in pico-USD a token (USD per million tokens, times a million); `None`: unknown or not
/// priced apart (cached input and cache writes then cost what input costs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Input.
    pub input: Option<u64>,
    /// Input read from the provider's cache.
    pub cached_input: Option<u64>,
    /// Input written to the provider's cache.
    pub cache_write: Option<u64>,
    /// Output, reasoning included.
    pub output: Option<u64>,
}

/// Price of every token of a request whose prompt is longer than a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Prompts of more tokens than this.
    pub over_prompt_tokens: u64,
    /// Their price, complete.
    pub price: Price,
}

/// Whether a model still answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// It does.
    #[default]
    Active,
    /// It does until a known day.
    Deprecated,
    /// It does no more.
    Retired,
}

impl Registry {
    /// The registry inside the program: `config/models.yaml`.
    pub fn embedded() -> &'static Self {
        static EMBEDDED: LazyLock<Registry> = LazyLock::new(|| {
            // A test reads the same text and fails on any error in it.
            Registry::parse("models.yaml", super::MODELS).unwrap_or_default()
        });
        &EMBEDDED
    }

    /// Reads a registry from YAML.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, super::Diagnostics> {
        let env = super::Env::new(|_| None);
        super::read_file(name, text, &env, |written, reader| check::registry(&written, reader))
    }

    /// The known provider of this name or alias.
    pub fn provider(&self, name: &str) -> Option<&Arc<KnownProvider>> {
        self.providers.iter().find(|known| {
            &*known.name == name || known.aliases.iter().any(|alias| &**alias == name)
        })
    }

    /// The model with this id or alias, of any provider; the first in registry order.
    pub fn model(&self, id: &str) -> Option<&Arc<Model>> {
        self.models.iter().find(|model| model.is_called(id))
    }

    /// The model with this id or alias at `provider` (an alias of the provider will do).
    pub fn model_of(&self, provider: &str, id: &str) -> Option<&Arc<Model>> {
        let provider = self.provider(provider).map_or(provider, |known| &known.name);
        self.models.iter().find(|model| &*model.provider == provider && model.is_called(id))
    }
}

impl Registry {
    /// How `model` at the known provider `provider` is called in `form`.
    pub fn fit(&self, provider: Option<&str>, model: &str, form: Form) -> Fit {
        let mut fit = Fit::new(form);
        let Some(provider) = provider else { return fit };
        let known = self.model_of(provider, model);
        fit.max_output_tokens = known.and_then(|known| known.max_output_tokens);
        let ours = self.deviations.iter().filter(|each| &*each.provider == provider);
        for deviation in ours {
            let all = deviation.models.is_empty();
            if all || deviation.models.iter().any(|glob| glob.matches(model)) {
                deviation.apply(&mut fit);
            }
        }
        fit
    }
}

impl Deviation {
    fn apply(&self, fit: &mut Fit) {
        fn set<T: Copy>(place: &mut T, value: Option<T>) {
            *place = value.unwrap_or(*place);
        }
        if let Some(lacks) = &self.lacks {
            fit.lacks.clone_from(lacks);
        }
        fit.max_temperature = self.max_temperature.or(fit.max_temperature);
        set(&mut fit.legacy_max_tokens, self.legacy_max_tokens);
        set(&mut fit.developer_role, self.developer_role);
        set(&mut fit.reasoning, self.reasoning);
        set(&mut fit.echo_reasoning, self.echo_reasoning);
        set(&mut fit.structured, self.structured);
        set(&mut fit.prefill, self.prefill);
        set(&mut fit.one_sampling, self.one_sampling);
        set(&mut fit.needs_signature, self.needs_signature);
    }
}

/// Of what no list tells that it is not there: the registry's sources say of few models whether they
/// hear.
const UNTOLD: Needs = Needs::AUDIO;

impl Model {
    /// What it can do, what isn't known to be beyond it included; `None`: nothing is known.
    pub fn can(&self) -> Option<Needs> {
        self.capabilities.map(|listed| listed | UNTOLD)
    }

    /// Whether it costs nothing: said so, or by its price.
    pub fn is_free(&self) -> bool {
        self.free || (self.price.input, self.price.output) == (Some(0), Some(0))
    }

    /// Whether this is its id or one of its aliases.
    pub fn is_called(&self, id: &str) -> bool {
        &*self.id == id || self.aliases.iter().any(|alias| &**alias == id)
    }
}
