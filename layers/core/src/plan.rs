use std::{fmt, sync::Arc, time::Duration};

use crate::{Target, Usd};

/// A share in thousandths, 0 to 1000: what is told of scores and odds, so that plans can be compared.
///
/// ```
/// use tollway_core::PerMille;
///
/// assert_eq!(PerMille::of(0.8724).get(), 872);
/// assert_eq!(PerMille::of(f32::NAN), PerMille::ZERO);
/// assert_eq!(PerMille::new(1_200), PerMille::FULL);
/// assert_eq!(PerMille::new(50).to_string(), "0.050");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerMille(u16);

impl PerMille {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// All.
    pub const FULL: Self = Self(1000);

    /// This many thousandths, 1000 at most.
    pub const fn new(thousandths: u16) -> Self {
        Self(if thousandths > 1000 { 1000 } else { thousandths })
    }

    /// The nearest to a share of 0 to 1; what lies outside is moved in, and what is no number is 0.
    pub fn of(share: f32) -> Self {
        // By adding a half: `round` is a call on processors it can't count on.
        Self((share.clamp(0.0, 1.0) * 1000.0 + 0.5) as u16)
    }

    /// In thousandths.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for PerMille {
    /// As a decimal of 0 to 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A target the router would use, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where to send.
    pub target: Target,
    /// Why it stands at this place of the plan, in a few words.
    pub reason: &'static str,
    /// How it did beside the others, the best 1000; `None`: its strategy doesn't compare.
    pub score: Option<PerMille>,
    /// What the request would cost there, as far as prices are known.
    pub cost: Option<Usd>,
    /// How long 95 of 100 replies take there: to the first token or to the end, whichever the
    /// route goes by.
    pub latency: Option<Duration>,
    /// Replies that the estimates rest on.
    pub samples: u32,
    /// Which arm of an A/B split it stands in: of the outermost, where splits nest.
    pub arm: Option<Arc<str>>,
}

impl Candidate {
    /// A candidate of which nothing is estimated.
    pub fn new(target: Target, reason: &'static str) -> Self {
        Self { target, reason, score: None, cost: None, latency: None, samples: 0, arm: None }
    }
}

/// A target the router passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The target.
    pub target: Target,
    /// Why not, in a few words ("breaker open", "bucket empty").
    pub reason: &'static str,
}

/// The router's decision: candidates in the order to try them, and what was passed over.
///
/// Shared and cheap to clone, so a decision that never changes is made once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Name of the route that matched.
    pub route: Arc<str>,
    /// Name of the route's rule that held.
    pub rule: Option<Arc<str>>,
    /// The strategy's name.
    pub strategy: &'static str,
    /// How hard the request was judged to be, where a rule asked.
    pub complexity: Option<&'static str>,
    /// How sure the choice is, by the number of samples and the lead over the next; 0 where it
    /// rests on no figures, but on an order, turns or chance.
    pub confidence: PerMille,
    /// Whether its latencies are those to the first token, not to the end of a reply.
    pub first_token: bool,
    /// In the order to try. Never empty.
    pub candidates: Arc<[Candidate]>,
    /// Passed over; the last resort of nobody.
    pub rejected: Arc<[Rejected]>,
}

impl Plan {
    /// A plan with these candidates, of which at least one must be given, and nothing else to tell.
    pub fn new(
        route: impl Into<Arc<str>>,
        strategy: &'static str,
        candidates: impl IntoIterator<Item = Candidate>,
    ) -> Self {
        Self {
            route: route.into(),
            rule: None,
            strategy,
            complexity: None,
            confidence: PerMille::ZERO,
            first_token: false,
            candidates: candidates.into_iter().collect(),
            rejected: Arc::default(),
        }
    }

    /// A plan that goes down a fixed list.
    ///
    /// ```
    /// use tollway_core::{Plan, Target};
    ///
    /// let plan = Plan::failover([Target::new("a", "main", None), Target::new("b", "main", None)]);
    /// assert_eq!(plan.candidates.len(), 2);
    /// ```
    pub fn failover(targets: impl IntoIterator<Item = Target>) -> Self {
        let candidate = |target| Candidate::new(target, "next in the list");
        Self::new("fixed", "failover", targets.into_iter().map(candidate))
    }

    /// The candidate for `target`, if it is one.
    pub fn candidate(&self, target: &Target) -> Option<&Candidate> {
        self.candidates.iter().find(|one| one.target == *target)
    }

    /// Why the first candidate is first, in one sentence. Nothing is written until it is printed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollway_core::{Candidate, Plan, Target};
    ///
    /// let measured = |provider: &str, ms| Candidate {
    ///     latency: Some(Duration::from_millis(ms)),
    ///     samples: 1240,
    ///     ..Candidate::new(Target::new(provider, "main", None), "lowest p95 to the first token")
    /// };
    /// let plan = Plan::new("chat", "latency", [measured("a", 310), measured("b", 420)]);
    /// assert_eq!(
    ///     plan.sentence().to_string(),
    ///     "a: lowest p95 to the first token, 310 ms against 420 ms of b; 1240 samples",
    /// );
    /// ```
    pub fn sentence(&self) -> impl fmt::Display + '_ {
        Sentence(self)
    }
}

struct Sentence<'a>(&'a Plan);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        let Some(first) = plan.candidates.first() else { return f.write_str("no target is left") };
        let second = plan.candidates.get(1);
        write!(f, "{}: {}", first.target, first.reason)?;
        if let Some(latency) = first.latency {
            write!(f, ", {} ms", latency.as_millis())?;
            if let Some((other, theirs)) = second.and_then(|next| Some((next, next.latency?))) {
                write!(f, " against {} ms of {}", theirs.as_millis(), other.target)?;
            }
        }
        if let Some(cost) = first.cost {
            write!(f, ", about {cost} USD")?;
            if let Some((other, theirs)) = second.and_then(|next| Some((next, next.cost?))) {
                write!(f, " against {theirs} USD of {}", other.target)?;
            }
        }
        if first.samples > 0 {
            write!(f, "; {} samples", first.samples)?;
        }
        if let Some(rule) = &plan.rule {
            write!(f, "; by rule `{rule}`")?;
        }
        if let Some(complexity) = plan.complexity {
            write!(f, "; the request looks {complexity}")?;
        }
        if let Some(arm) = &first.arm {
            write!(f, "; arm `{arm}`")?;
        }
        Ok(())
    }
}
