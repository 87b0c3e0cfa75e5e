use http::HeaderName;
use jiff::civil::Date;

use crate::policy::{
    read::{List, Named, OneOrMany},
    section::section,
    values::*,
};

section! {
    /// The registry: what is known about providers and models.
    RegistryWritten {
        /// The day it was put together.
        may as_of: Date,
        /// Known providers.
        must providers: Named<KnownWritten>,
        /// Known models.
        must models: List<ModelWritten>,
        /// How models deviate from the API they are called by; all that match apply, in order.
        may fits: List<FitWritten>,
    }
}

section! {
    /// How some models of a provider deviate from the API they are called by.
    FitWritten {
        /// The known provider.
        must provider: Text,
        /// Which of its models: ids with `*` for any text. Default all.
        may models: OneOrMany<Text>,
        /// Fields of the API that they don't take.
        may lacks: List<tollway_dialect::translate::Field>,
        /// Higher temperatures are brought down to this.
        may max_temperature: Count,
        /// The bound on output is called `max_tokens`.
        may legacy_max_tokens: bool,
        /// Instructions are `developer` messages.
        may developer_role: bool,
        /// How they are told how much to think.
        may reasoning: ReasoningName,
        /// They want their `reasoning_content` back.
        may echo_reasoning: bool,
        /// They take a schema for their answer.
        may structured: bool,
        /// The last message may be the beginning of the answer.
        may prefill: bool,
        /// `temperature` and `top_p` refuse each other.
        may one_sampling: bool,
        /// Calls without a thought signature are refused.
        may needs_signature: bool,
        /// A remark.
        may note: Text,
    }
}

section! {
    /// A known provider.
    KnownWritten {
        /// Other names for it.
        may aliases: List<Text>,
        /// Where its API is.
        must base_url: Url,
        /// What it speaks.
        may dialect: DialectName,
        /// The APIs it offers of chat, responses, messages and generate, the one to translate to
        /// first. Default: its dialect's.
        may forms: List<FormName>,
        /// Where its API in OpenAI's form is, behind `base_url`, if its dialect is another one.
        may openai_path: Text,
        /// The header for the key, where that is not `authorization`.
        may auth_header: HeaderName,
    }
}

section! {
    /// A model: its bounds and its price.
    ModelWritten {
        /// The id that is sent upstream.
        must id: Text,
        /// The provider that offers it: a known one, or one of this policy.
        must provider: Text,
        /// Other ids for it.
        may aliases: List<Text>,
        /// Prompt and completion together, in tokens.
        may context_window: Count,
        /// The prompt alone, where it is capped lower.
        may max_input: Count,
        /// Prompts that it takes of clients that ask for it in a header.
        may windows: List<WindowWritten>,
        /// The completion alone.
        may max_output_tokens: Count,
        /// What it can do: streaming, tools, vision, json, reasoning, audio. What is not in the list
        /// it can't, but for audio: of that a list only tells where it is. Without a list nothing
        /// is known, and the model counts as able.
        may capabilities: List<NeedName>,
        /// USD for a million tokens.
        may price: PriceWritten,
        /// It costs nothing, such as in a provider's free tier: for routing; budgets go by its price.
        /// Default: whether its price is 0.
        may free: bool,
        /// Other prices for long prompts, by rising bound.
        may price_tiers: List<TierWritten>,
        /// tiny, small, large or reasoning.
        may size: SizeName,
        /// Whether it still answers. Default active.
        may status: StatusName,
        /// The day it is shut down.
        may until: Date,
        /// What to use instead.
        may replacement: Text,
        /// A remark.
        may note: Text,
    }
}

section! {
    /// The longest prompt of a client that asks for it in a header, such as one for a beta.
    WindowWritten {
        /// The header; several values may stand in it, between commas.
        must header: HeaderName,
        /// What one of them looks like; `*` for any text.
        must value: Text,
        /// Tokens of the prompt.
        must tokens: Count,
    }
}

section! {
    /// USD for a million tokens. What is not said costs what input costs.
    PriceWritten {
        /// Input.
        may input: PerMillion,
        /// Input read from the provider's cache.
        may cached_input: PerMillion,
        /// Input written to the provider's cache.
        may cache_write: PerMillion,
        /// Output, reasoning included.
        may output: PerMillion,
    }
}

section! {
    /// Prices of all tokens of a request with a long prompt.
    TierWritten {
        /// For prompts of more tokens than this.
        may over_prompt_tokens: Count,
        /// For prompts of at least this many tokens.
        may from_prompt_tokens: Count,
        /// Input.
        may input: PerMillion,
        /// Input read from the provider's cache.
        may cached_input: PerMillion,
        /// Input written to the provider's cache.
        may cache_write: PerMillion,
        /// Output, reasoning included.
        may output: PerMillion,
    }
}
