use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use tollway_core::{Ask, Needs, Operation, PerMille, Target, Usd};

use crate::{Glob, Lack};

/// Output tokens that are assumed where nothing is known.
const USUAL_OUTPUT: u64 = 256;
/// Tokens of a prompt that any model's window holds.
const ANY_WINDOW: u64 = 4_096;

/// What is known of a target beforehand, from a registry of models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traits {
    /// What it can do; `None`: not known, which counts as able.
    pub can: Option<Needs>,
    /// Tokens of its context window.
    pub window: Option<u64>,
    /// Windows that a client may ask for in a header.
    pub wider: Arc<[Wider]>,
    /// Tokens of its longest reply.
    pub max_output: Option<u64>,
    /// How large a model it is.
    pub size: Option<Size>,
    /// It costs nothing, within the provider's own limits.
    pub free: bool,
    /// Where it stands.
    pub region: Option<Arc<str>>,
    /// What its tokens cost, by the length of the prompt; empty: not known.
    pub prices: Arc<[PriceTier]>,
}

/// A window that a target has for requests with some header, such as one that asks for a beta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wider {
    /// The header; several values may stand in it, between commas.
    pub header: HeaderName,
    /// What one of them looks like.
    pub value: Glob,
    /// Tokens of the window.
    pub window: u64,
    /// Calls on whose way to the target the header is lost, such as those that are translated.
    pub lost: Vec<Operation>,
}

impl Wider {
    /// Whether one of the values in a line of the header is what opens the window.
    ///
    /// ```
    /// use http::{HeaderName, HeaderValue};
    /// use tollway_route::Wider;
    ///
    /// let wider = Wider {
    ///     header: HeaderName::from_static("anthropic-beta"),
    ///     value: "context-1m-*".parse().unwrap(),
    ///     window: 1_000_000,
    ///     lost: vec![],
    /// };
    /// assert!(wider.is_asked_by(&HeaderValue::from_static("files-api, context-1m-2025-08-07")));
    /// assert!(!wider.is_asked_by(&HeaderValue::from_static("context-1m")));
    /// ```
    pub fn is_asked_by(&self, line: &HeaderValue) -> bool {
        let mut values = line.as_bytes().split(|byte| *byte == b',');
        values.any(|value| self.value.matches(value.trim_ascii()))
    }
}

/// Prices in pico-dollars (1e-12 USD) a token, for prompts of some length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriceTier {
    /// Shortest prompt in tokens that it holds for. The first tier holds for any shorter one too.
    pub from: u64,
    /// Input.
    pub input: u64,
    /// Input that was cached.
    pub cached: u64,
    /// Output.
    pub output: u64,
}

/// How large a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// For trifles: the cheapest and fastest.
    Tiny,
    /// For everyday requests.
    Small,
    /// For hard ones.
    Large,
    /// Thinks before it answers.
    Reasoning,
}

impl Size {
    /// The lower-case name used in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Large => "large",
            Self::Reasoning => "reasoning",
        }
    }
}

/// Where the router learns the [`Traits`] of a target. `()` knows none; a closure is one.
///
/// Asked once for each place of a route and model, and kept beside it.
pub trait Catalog: Send + Sync {
    /// Those of `target`, whose model is filled in where the request names one.
    fn traits(&self, target: &Target) -> Traits;
}

impl Catalog for () {
    fn traits(&self, _: &Target) -> Traits {
        Traits::default()
    }
}

impl<F: Fn(&Target) -> Traits + Send + Sync> Catalog for F {
    fn traits(&self, target: &Target) -> Traits {
        self(target)
    }
}

impl Traits {
    /// What it lacks for a request; `None`: it can serve it, as far as is known.
    pub fn lack(&self, ask: &Ask) -> Option<Lack> {
        Lack::of(self, ask, needs(ask), self.window)
    }

    /// Its window for such a call with these headers.
    pub(crate) fn window_for(&self, ask: &Ask, headers: &HeaderMap) -> Option<u64> {
        let asks = |wider: &&Wider| {
            let mut lines = headers.get_all(&wider.header).iter();
            !wider.lost.contains(&ask.operation) && lines.any(|line| wider.is_asked_by(line))
        };
        let asked = self.wider.iter().filter(asks).map(|wider| wider.window).max();
        self.window.map(|window| asked.unwrap_or(window).max(window))
    }

    /// The same, where nothing is said of what it can't do.
    pub(crate) fn trusted(self) -> Self {
        Self { can: None, window: None, max_output: None, ..self }
    }

    /// Whether it can serve a request by what is known, not only for lack of knowledge; asked of one
    /// that lacks nothing.
    pub(crate) fn surely_able(&self, ask: Option<&Ask>, needs: Needs) -> bool {
        let long = ask.is_some_and(|ask| ask.input_tokens > ANY_WINDOW);
        (needs.is_empty() || self.can.is_some()) && (!long || self.window.is_some())
    }

    /// What a request would cost, with `output` tokens a reply where that is known and this share
    /// of the input cached, rounded up; `None`: no price is known.
    ///
    /// ```
    /// use tollway_core::{Ask, Operation, Prompt, Usd};
    /// use tollway_route::{PriceTier, Traits};
    ///
    /// // 2.5 and 10 USD for a million tokens.
    /// let price = PriceTier { from: 0, input: 2_500_000, cached: 1_250_000, output: 10_000_000 };
    /// let traits = Traits { prices: [price].into(), ..Traits::default() };
    /// let ask = Ask::new(Operation::ChatCompletions).with_prompt(Prompt::new(1_000));
    /// assert_eq!(traits.cost(&ask, Some(100.0), 0.0), Some("0.0035".parse().unwrap()));
    /// assert_eq!(traits.cost(&ask, Some(100.0), 0.5), Some("0.002875".parse().unwrap()));
    /// ```
    pub fn cost(&self, ask: &Ask, output: Option<f32>, cached_share: f32) -> Option<Usd> {
        if self.free {
            return Some(Usd::ZERO);
        }
        let input = ask.input_tokens;
        let tier = self.prices.iter().rev().find(|tier| tier.from <= input);
        let tier = tier.or(self.prices.first())?;
        // In 64 bits, which are quick: they saturate at 18 million USD.
        let cached = input.saturating_mul(PerMille::of(cached_share).get().into()) / 1000;
        let output = if ask.operation.has_output() { expected_output(ask, output) } else { 0 };
        let picos = (input.saturating_sub(cached))
            .saturating_mul(tier.input)
            .saturating_add(cached.saturating_mul(tier.cached))
            .saturating_add(output.saturating_mul(tier.output));
        Some(Usd::from_nanos(picos.div_ceil(1000)))
    }
}

/// What a request needs of whoever serves it.
pub(crate) fn needs(ask: &Ask) -> Needs {
    ask.needs | if ask.stream { Needs::STREAMING } else { Needs::NONE }
}

fn expected_output(ask: &Ask, mean: Option<f32>) -> u64 {
    let bound = ask.max_output_tokens.unwrap_or(u64::MAX);
    let one = mean.map_or(USUAL_OUTPUT, |mean| (mean + 0.5) as u64);
    one.saturating_mul(ask.choices.max(1).into()).min(bound)
}
