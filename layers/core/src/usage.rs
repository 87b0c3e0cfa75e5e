/// Where token counts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UsageSource {
    /// The provider said so.
    #[default]
    Reported,
    /// Tollway's own estimate: the provider sent no usage, or the client left before it came.
    Estimated,
}

/// Tokens of one reply, in classes that are priced apart.
///
/// Totals include their parts: `input` includes cached reads and writes, `output` includes
/// reasoning. Providers that count otherwise (Anthropic's `input_tokens` leaves cache out) are
/// brought to this form when they are read. Unknown usage is `Option::None`, never a zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// All input tokens.
    pub input: u64,
    /// Input read from the provider's prompt cache; part of `input`.
    pub cached: u64,
    /// Input written to the provider's prompt cache at the default (5-minute) price; part of `input`.
    pub cache_write: u64,
    /// Input written to the provider's 1-hour prompt cache; part of `input`, not of `cache_write`.
    pub cache_write_1h: u64,
    /// Audio input; part of `input`.
    pub input_audio: u64,
    /// All output tokens.
    pub output: u64,
    /// Reasoning tokens; part of `output`.
    pub reasoning: u64,
    /// Audio output; part of `output`.
    pub output_audio: u64,
    /// Whether the provider reported this.
    pub source: UsageSource,
}

impl Usage {
    /// Usage with these totals and no finer classes.
    pub fn new(input: u64, output: u64) -> Self {
        Self { input, output, ..Self::default() }
    }

    /// The same counts, marked as Tollway's own estimate.
    pub fn estimated(mut self) -> Self {
        self.source = UsageSource::Estimated;
        self
    }

    /// Whether the counts are Tollway's own estimate.
    pub fn is_estimate(&self) -> bool {
        self.source == UsageSource::Estimated
    }

    /// Input and output together.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
