use std::fmt;

use tollway_core::{Plan, Target};

use crate::Lack;

/// Targets that a refusal names; of more it tells how many.
const MAX_NAMED: usize = 8;

/// The request's route has no target that can serve it; answer with 400, for OpenAI's clients with
/// code `context_length_exceeded` where it [is too long](Self::is_too_long).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoneAble(Box<Unable>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Unable {
    plan: Plan,
    lacks: Vec<Lack>,
    /// Of the request, by estimate.
    tokens: u64,
    /// The largest window among targets that lack nothing else.
    window: Option<u64>,
}

impl NoneAble {
    /// `lacks`: of each that `plan` passed over, in its order, with its window.
    pub(crate) fn new(plan: Plan, lacks: &[(Lack, Option<u64>)], tokens: u64) -> Self {
        let short = lacks.iter().filter(|(lack, _)| *lack == Lack::Window);
        let window = short.filter_map(|(_, window)| *window).max();
        let lacks = lacks.iter().map(|(lack, _)| *lack).collect();
        Self(Box::new(Unable { plan, lacks, tokens, window }))
    }

    /// The decision: no candidate, and everybody passed over with the reason.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// What the targets lack that come nearest to what is asked.
    pub fn lack(&self) -> Lack {
        self.0.lacks.iter().copied().max().unwrap_or(Lack::Vision)
    }

    /// Whether a shorter prompt could be served.
    pub fn is_too_long(&self) -> bool {
        self.lack() == Lack::Window
    }

    /// Targets and what they lack; several keys of one provider count once.
    fn each(&self) -> Vec<(&Target, Lack)> {
        let all = self.0.plan.rejected.iter().map(|one| &one.target);
        let mut each: Vec<_> = all.zip(self.0.lacks.iter().copied()).collect();
        each.dedup_by(|(a, _), (b, _)| a.provider() == b.provider() && a.model() == b.model());
        each
    }
}

impl fmt::Display for NoneAble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (each, route, lack) = (self.each(), &self.0.plan.route, self.lack());
        let alike = each.iter().all(|(_, one)| *one == lack);
        match self.0.window.filter(|_| lack == Lack::Window) {
            // In the words by which clients know it.
            Some(window) => write!(
                f,
                "This prompt is too long: it has about {} tokens, and the maximum context length \
                 among the targets of route `{route}` is {window} tokens",
                self.0.tokens
            )?,
            None if alike => write!(f, "No target of route `{route}` can {}", lack.ability())?,
            None => write!(f, "No target of route `{route}` can serve this request")?,
        }
        for (nth, (target, lack)) in each.iter().take(MAX_NAMED).enumerate() {
            write!(f, "{} {target}", if nth == 0 { ":" } else { "," })?;
            if !alike {
                write!(f, " ({})", lack.as_str())?;
            }
        }
        if let Some(more @ 1..) = each.len().checked_sub(MAX_NAMED) {
            write!(f, " and {more} more")?;
        }
        f.write_str(
            ". Whoever operates this proxy can correct what is known of a model, under `models:` \
             in its policy.",
        )
    }
}

impl std::error::Error for NoneAble {}
