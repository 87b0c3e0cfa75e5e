//! From an order to the plan that is told.

use std::sync::Arc;

use tollway_core::{Candidate, PerMille, Plan, Rejected};

use crate::{
    Of,
    estimate::Estimate,
    live::{LiveRoute, LiveRule},
    order::Order,
    resolved::Resolved,
    tree::Tree,
};

/// Samples at which half the confidence is there that samples can give.
const HALF_SAMPLES: f32 = 20.0;
/// Lead at which half of it is there that a lead can give.
const HALF_LEAD: f32 = 0.05;

/// Under what a plan was made.
pub(crate) struct Head<'a> {
    pub(crate) route: &'a LiveRoute,
    pub(crate) rule: Option<&'a LiveRule>,
    pub(crate) tree: &'a Tree,
}

impl Head<'_> {
    /// Of the first group that has the place: what a rule prefers, or else the rule's or route's own.
    fn arm(&self, place: usize) -> Option<&Arc<str>> {
        let preferred = self.rule.and_then(|live| live.preferred.as_ref());
        let own = self.rule.and_then(|live| live.own.as_ref()).unwrap_or(&self.route.tree);
        preferred.into_iter().chain([own]).find(|tree| tree.places.contains(place))?.arm(place)
    }
}

/// `out`: what is told as passed over. `estimates` may be missing, where none were made; `of` is the
/// time that is told.
pub(crate) fn plan(
    head: &Head<'_>,
    among: &Resolved,
    out: &[(usize, &'static str)],
    order: &Order,
    (estimates, of): (&[Estimate], Of),
) -> Plan {
    let entries = order.entries.as_slice();
    // By number, so that the list's length is known and it is allocated once.
    let candidates = (0..entries.len()).map(|index| {
        let entry = entries.get(index).copied().unwrap_or_default();
        let place = usize::from(entry.place);
        let known = estimates.get(place).copied().unwrap_or_default();
        Candidate {
            target: among.targets.get(place).expect("orders name places of the route").clone(),
            reason: entry.reason,
            score: entry.score.get(),
            cost: known.cost,
            latency: known.latency(of),
            samples: known.samples,
            arm: head.arm(place).cloned(),
        }
    });
    let rejected = || {
        out.iter().map(|(at, reason)| Rejected {
            target: among.targets.get(*at).expect("only places of the route are out").clone(),
            reason,
        })
    };
    let first = entries.first().and_then(|entry| estimates.get(usize::from(entry.place)));
    Plan {
        route: head.route.route.name.clone(),
        rule: head.rule.map(|live| live.rule.name.clone()),
        strategy: head.tree.strategy().as_str(),
        chosen: head.rule.is_some() || !head.tree.strategy().is_fixed() || order.chosen,
        complexity: None,
        first_token: !estimates.is_empty() && of == Of::FirstToken,
        rival: order.rival,
        confidence: confidence(order.lead, first.map_or(0, |first| first.samples)),
        candidates: candidates.collect(),
        rejected: if out.is_empty() { Arc::default() } else { rejected().collect() },
    }
}

/// Little from few samples, little from a narrow lead, and near 1 from many samples and a wide one.
fn confidence(lead: Option<f32>, samples: u32) -> PerMille {
    let Some(lead) = lead else { return PerMille::ZERO };
    let samples = samples as f32;
    PerMille::of(samples / (samples + HALF_SAMPLES) * (lead / (lead + HALF_LEAD)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_takes_samples_and_a_lead() {
        assert_eq!(confidence(None, 1_000), PerMille::ZERO);
        assert_eq!(confidence(Some(0.5), 0), PerMille::ZERO);
        assert_eq!(confidence(Some(0.0), 1_000), PerMille::ZERO);
        assert!(confidence(Some(0.9), 10_000).get() > 930);
        assert!(confidence(Some(0.05), 10_000) < confidence(Some(0.3), 10_000));
        assert!(confidence(Some(0.3), 10) < confidence(Some(0.3), 100));
    }
}
