/// When the head of a streamed reply is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commit {
    /// With the first content, so that a dead start or an error before it can still fail over.
    #[default]
    FirstToken,
    /// At once.
    Head,
}

/// Settings of [`Attempt`](crate::Attempt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptConfig {
    /// Ask upstream for the usage of streams whose caller did not; what comes of it is kept from
    /// the caller. Default true.
    pub ask_for_usage: bool,
    /// When a stream's head is handed out. Default [`Commit::FirstToken`].
    pub commit: Commit,
    /// An answer that the provider withholds, or the model refuses, before any of it came, is a
    /// [`Failure`](tollway_core::Failure) of class `ContentFilter`, so that a retry can go
    /// elsewhere; the reply is as it came. Default false.
    pub fail_refusals: bool,
    /// Most bytes of a stream held back while waiting for content; more are handed out.
    /// Default 64 KiB.
    pub max_held: usize,
    /// Most events held back while waiting for content. Default 64.
    pub max_held_events: usize,
    /// Most bytes of an error reply that are read; of one that begins as JSON, the rest streams on.
    /// Default 64 KiB.
    pub max_error: usize,
    /// Largest JSON reply that is read; a larger one streams on unmetered. Default 8 MiB.
    pub max_reply: usize,
    /// Largest event of a stream that is read; a larger one passes unread. Default 1 MiB.
    pub max_event: usize,
    /// Tell the caller of a stream of chat, completions, Responses, Messages or generateContent that
    /// broke after its head had gone out, by an error event in its own dialect and a clean end; an
    /// event that is not finished then waits for its end instead of leaving in halves, so that no
    /// half is ever read. In Gemini's array nothing is told. If false, a broken connection breaks the body, and a stream that stops just ends.
    /// Default true.
    pub tell_interruptions: bool,
}

impl Default for AttemptConfig {
    fn default() -> Self {
        Self {
            ask_for_usage: true,
            commit: Commit::default(),
            fail_refusals: false,
            max_held: 64 << 10,
            max_held_events: 64,
            max_error: 64 << 10,
            max_reply: 8 << 20,
            max_event: crate::sse::DEFAULT_MAX_EVENT,
            tell_interruptions: true,
        }
    }
}
