use tollway_core::{Usage, Usd};

use crate::{
    Rate,
    error::{ConfigError, Kind},
};

/// What a model costs, class by class, as a price list states it.
///
/// ```
/// use tollway_cost::{Price, Rates};
///
/// let rates = Rates {
///     input: "4".parse().unwrap(),
///     cached_input: Some("0.4".parse().unwrap()),
///     output: "20".parse().unwrap(),
///     ..Rates::default()
/// };
/// let price = Price::new(rates, []).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Input tokens.
    pub input: Rate,
    /// Input read from the provider's cache; `None`: none published, billed at `input`.
    pub cached_input: Option<Rate>,
    /// Input written to the provider's cache (5 minutes or default); `None`: billed at `input`.
    pub cache_write: Option<Rate>,
    /// Input written to the 1-hour cache; `None`: twice `input` where `cache_write` is given
    /// (Anthropic's rule), else `input`.
    pub cache_write_1h: Option<Rate>,
    /// Output tokens, reasoning included.
    pub output: Rate,
    /// Audio input; `None`: billed at `input`.
    pub input_audio: Option<Rate>,
    /// Audio output; `None`: billed at `output`.
    pub output_audio: Option<Rate>,
    /// Added to every request, whatever it used.
    pub per_request: Usd,
}

/// Where a [`Tier`] begins, in tokens of the whole prompt (cached ones count).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptBound {
    /// Prompts of more than this many tokens (`over_prompt_tokens`).
    Over(u64),
    /// Prompts of this many tokens or more (`from_prompt_tokens`).
    From(u64),
}

impl PromptBound {
    /// First prompt length of the tier; `None`: no prompt is that long.
    fn first(self) -> Option<u64> {
        match self {
            Self::Over(tokens) => tokens.checked_add(1),
            Self::From(tokens) => Some(tokens),
        }
    }
}

/// Rates for **all** tokens of a request whose prompt reaches a bound.
///
/// What a tier leaves out is filled in so that no class gets cheaper by accident:
///
/// | left out | becomes |
/// |---|---|
/// | `input`, `output` | the base rate |
/// | `cached_input` | the tier's input rate (no cached price is published for it) |
/// | `cache_write`, `cache_write_1h`, `input_audio` | the base rate, times tier input / base input |
/// | `output_audio` | the base rate, times tier output / base output |
///
/// So a cache write that costs 1.25 times the input does so in every tier. Where the base is free
/// there is no proportion to keep, and the tier's input or output rate is the least that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Where it begins.
    pub bound: PromptBound,
    /// Input tokens.
    pub input: Option<Rate>,
    /// Input read from the cache.
    pub cached_input: Option<Rate>,
    /// Input written to the cache.
    pub cache_write: Option<Rate>,
    /// Input written to the 1-hour cache.
    pub cache_write_1h: Option<Rate>,
    /// Output tokens.
    pub output: Option<Rate>,
    /// Audio input.
    pub input_audio: Option<Rate>,
    /// Audio output.
    pub output_audio: Option<Rate>,
}

impl Tier {
    /// A tier with these rates for input, cached input and output; the rest as described above.
    pub fn new(
        bound: PromptBound,
        input: Option<Rate>,
        cached_input: Option<Rate>,
        output: Option<Rate>,
    ) -> Self {
        Self {
            bound,
            input,
            cached_input,
            cache_write: None,
            cache_write_1h: None,
            output,
            input_audio: None,
            output_audio: None,
        }
    }
}

/// A model's price, with every gap filled in: what turns a [`Usage`] into [`Usd`].
///
/// ```
/// use tollway_core::{Usage, Usd};
/// use tollway_cost::Price;
///
/// // 0.15 USD per million tokens in, 0.6 out.
/// let price = Price::flat("0.15".parse().unwrap(), "0.6".parse().unwrap());
/// assert_eq!(price.cost(&Usage::new(1000, 500)), "0.00045".parse::<Usd>().unwrap());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    base: Filled,
    /// First prompt length and rates, longest prompts first.
    tiers: Box<[(u64, Filled)]>,
    per_request: Usd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Filled {
    input: Rate,
    cached_input: Rate,
    cache_write: Rate,
    cache_write_1h: Rate,
    input_audio: Rate,
    output: Rate,
    output_audio: Rate,
}

impl Price {
    /// A price with tiers, in any order.
    ///
    /// # Errors
    /// When two tiers begin at the same prompt length.
    pub fn new(rates: Rates, tiers: impl IntoIterator<Item = Tier>) -> Result<Self, ConfigError> {
        let base = Filled::base(&rates);
        let mut tiers: Vec<(u64, Filled)> = tiers
            .into_iter()
            .filter_map(|tier| Some((tier.bound.first()?, Filled::tier(&base, &tier))))
            .collect();
        tiers.sort_by_key(|(first, _)| std::cmp::Reverse(*first));
        if let Some(pair) = tiers.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Kind::SameBound(pair[0].0).into());
        }
        Ok(Self { base, tiers: tiers.into(), per_request: rates.per_request })
    }

    /// One rate for input, one for output, no tiers.
    pub fn flat(input: Rate, output: Rate) -> Self {
        let rates = Rates { input, output, ..Rates::default() };
        Self { base: Filled::base(&rates), tiers: Box::default(), per_request: Usd::ZERO }
    }

    /// What `usage` costs: summed in pico-dollars, rounded once, half up, to a nano-dollar.
    ///
    /// Saturates; parts that exceed their total are cut to it, in the order cached, cache
    /// writes, audio, so an inconsistent report is never billed for more tokens than its totals.
    pub fn cost(&self, usage: &Usage) -> Usd {
        let rates = self.rates(usage.input);
        let mut input = usage.input;
        let mut take = |part: u64| {
            let part = part.min(input);
            input -= part;
            part
        };
        let (cached, write) = (take(usage.cached), take(usage.cache_write));
        let (write_1h, audio) = (take(usage.cache_write_1h), take(usage.input_audio));
        let output_audio = usage.output_audio.min(usage.output);
        let picos = [
            rates.cached_input.of(cached),
            rates.cache_write.of(write),
            rates.cache_write_1h.of(write_1h),
            rates.input_audio.of(audio),
            rates.input.of(input),
            rates.output_audio.of(output_audio),
            rates.output.of(usage.output - output_audio),
        ]
        .into_iter()
        .fold(0_u128, u128::saturating_add);
        self.per_request + nanos(picos)
    }

    fn rates(&self, prompt: u64) -> &Filled {
        let tier = self.tiers.iter().find(|(first, _)| prompt >= *first);
        tier.map_or(&self.base, |(_, rates)| rates)
    }
}

fn nanos(picos: u128) -> Usd {
    let nanos = picos.saturating_add(500) / 1000;
    Usd::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Filled {
    fn base(rates: &Rates) -> Self {
        let input = rates.input;
        let write_1h = if rates.cache_write.is_some() { input.twice() } else { input };
        Self {
            input,
            cached_input: rates.cached_input.unwrap_or(input),
            cache_write: rates.cache_write.unwrap_or(input),
            cache_write_1h: rates.cache_write_1h.unwrap_or(write_1h),
            input_audio: rates.input_audio.unwrap_or(input),
            output: rates.output,
            output_audio: rates.output_audio.unwrap_or(rates.output),
        }
    }

    fn tier(base: &Self, tier: &Tier) -> Self {
        let input = tier.input.unwrap_or(base.input);
        let output = tier.output.unwrap_or(base.output);
        let like_input = |rate: Rate| rate.in_proportion(base.input, input);
        Self {
            input,
            cached_input: tier.cached_input.unwrap_or(input),
            cache_write: tier.cache_write.unwrap_or(like_input(base.cache_write)),
            cache_write_1h: tier.cache_write_1h.unwrap_or(like_input(base.cache_write_1h)),
            input_audio: tier.input_audio.unwrap_or(like_input(base.input_audio)),
            output,
            output_audio: tier
                .output_audio
                .unwrap_or(base.output_audio.in_proportion(base.output, output)),
        }
    }
}
