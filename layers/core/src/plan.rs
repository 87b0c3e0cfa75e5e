use std::{
    fmt::{self, Write},
    sync::Arc,
    time::Duration,
};

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
        let digit = |power: u16| char::from(b'0' + (self.0 / power % 10) as u8);
        let digits = [digit(1000), '.', digit(100), digit(10), digit(1)];
        digits.into_iter().try_for_each(|digit| f.write_char(digit))
    }
}

/// A target the router would use, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where to send.
    pub target: Target,
    /// Why it stands at this place of the plan, in a few words.
    pub reason: &'static str,
    /// How good it is beside the best of all that its strategy compared, which has 1000; `None`: its
    /// strategy doesn't compare. What a rule or a bound puts behind others may have more than they.
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
    /// Whether more than the order written and turns chose its first: a rule, a bound, figures, a hash
    /// or a region, be it in a group within.
    pub chosen: bool,
    /// How hard the request was judged to be, where a rule asked.
    pub complexity: Option<&'static str>,
    /// How sure the choice is, by the number of samples and the lead over the next; 0 where it
    /// rests on no figures, but on an order, turns or chance.
    pub confidence: PerMille,
    /// Whether its latencies are those to the first token, not to the end of a reply.
    pub first_token: bool,
    /// Which candidate, by its place in the list, the first was compared with: the best of the others
    /// that it was chosen among. `None`: nobody, be it that its strategy doesn't compare or that it
    /// stands before all others for another reason.
    pub rival: Option<usize>,
    /// In the order to try. Empty only where the request is refused, because nobody can serve it.
    pub candidates: Arc<[Candidate]>,
    /// Those that should not be tried. A candidate is among them only where all are, as the last
    /// resort.
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
            chosen: false,
            complexity: None,
            confidence: PerMille::ZERO,
            first_token: false,
            rival: None,
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
    /// let plan = Plan { rival: Some(1), ..plan };
    /// assert_eq!(
    ///     plan.sentence().to_string(),
    ///     "a: lowest p95 to the first token, 310 ms against 420 ms of b; 1240 samples",
    /// );
    /// ```
    pub fn sentence(&self) -> impl fmt::Display + '_ {
        Sentence(self)
    }
}

/// Targets that a sentence names at most.
const MANY: usize = 8;

struct Sentence<'a>(&'a Plan);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        let Some(first) = plan.candidates.first() else {
            f.write_str("no target can serve it")?;
            for (nth, one) in plan.rejected.iter().take(MANY).enumerate() {
                let before = if nth == 0 { ":" } else { "," };
                write!(f, "{before} {} ({})", one.target, one.reason)?;
            }
            return Ok(());
        };
        let rival = plan.rival.and_then(|at| plan.candidates.get(at));
        write!(f, "{}: {}", first.target, first.reason)?;
        if let Some(latency) = first.latency {
            write!(f, ", {} ms", latency.as_millis())?;
            if let Some((other, theirs)) = rival.and_then(|it| Some((it, it.latency?))) {
                write!(f, " against {} ms of {}", theirs.as_millis(), other.target)?;
            }
        }
        if let Some(cost) = first.cost {
            write!(f, ", about {cost} USD")?;
            if let Some((other, theirs)) = rival.and_then(|it| Some((it, it.cost?))) {
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
