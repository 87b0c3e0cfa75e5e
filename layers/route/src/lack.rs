use tollway_core::{Ask, Needs};

use crate::Traits;

/// A prompt is surely too long for a window from this many times its length on: its tokens are an
/// estimate, which nothing may have corrected yet.
const SURELY: u64 = 2;

/// What a target lacks for a request. The later, the less is amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Lack {
    /// It can't see images.
    Vision,
    /// It can't call tools.
    Tools,
    /// It can't promise JSON.
    Json,
    /// It doesn't stream.
    Streaming,
    /// It takes no audio.
    Audio,
    /// Its longest reply is shorter than asked.
    Output,
    /// The prompt is more than twice as long as its window, by estimate.
    Window,
    /// It doesn't reason, and would answer without.
    Reasoning,
    /// The prompt is longer than its window, by an estimate that may be wrong by so much.
    Room,
}

impl Lack {
    /// The gravest of what a target with these traits, and this window, lacks.
    pub(crate) fn of(
        traits: &Traits,
        ask: &Ask,
        needs: Needs,
        window: Option<u64>,
    ) -> Option<Self> {
        let lacks = traits.can.map_or(Needs::NONE, |can| needs.without(can));
        let all = [
            (Needs::VISION, Self::Vision),
            (Needs::TOOLS, Self::Tools),
            (Needs::JSON, Self::Json),
            (Needs::STREAMING, Self::Streaming),
            (Needs::AUDIO, Self::Audio),
        ];
        // Most lack nothing.
        if !lacks.is_empty() {
            if let Some((_, lack)) = all.into_iter().find(|(need, _)| lacks.contains(*need)) {
                return Some(lack);
            }
        }
        // The bound is that of all choices together, a model's that of each.
        let each = |all: u64| all.div_ceil(ask.choices.max(1).into());
        let longer = |max| ask.max_output_tokens.is_some_and(|asked| each(asked) > max);
        if traits.max_output.is_some_and(longer) {
            return Some(Self::Output);
        }
        let over = |times: u64| {
            window.is_some_and(|window| ask.input_tokens > window.saturating_mul(times))
        };
        if over(SURELY) {
            return Some(Self::Window);
        }
        if !lacks.is_empty() {
            return Some(Self::Reasoning);
        }
        over(1).then_some(Self::Room)
    }

    /// Whether the target can serve the request perhaps, or in part: it may be tried where nobody is
    /// better.
    pub fn is_doubtful(self) -> bool {
        matches!(self, Self::Reasoning | Self::Room)
    }

    /// In a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vision => "it can't see images",
            Self::Tools => "it can't call tools",
            Self::Json => "it can't promise JSON",
            Self::Streaming => "it doesn't stream",
            Self::Audio => "it takes no audio",
            Self::Output => "its longest reply is shorter than asked",
            Self::Window => "the prompt is longer than its window",
            Self::Reasoning => "it doesn't reason",
            Self::Room => "the prompt looks longer than its window",
        }
    }

    /// What nobody can who lacks it.
    pub(crate) fn ability(self) -> &'static str {
        match self {
            Self::Vision => "see images",
            Self::Tools => "call tools",
            Self::Json => "promise JSON",
            Self::Streaming => "stream",
            Self::Audio => "take audio",
            Self::Output => "give as long a reply as is asked for",
            Self::Window | Self::Room => "take a prompt of this length",
            Self::Reasoning => "reason",
        }
    }
}
