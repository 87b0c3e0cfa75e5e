use std::time::Duration;

use tollway_core::{Needs, Usd};

use super::{Between, Prefer, Rule, SizeClass, Then, When};
use crate::{Of, Size, Strategy, auto::Complexity};

/// Names of the ready-made sets.
pub const READY: [&str; 5] = ["budget", "quality", "vision", "fast", "auto"];

/// Money a client can't mean for a large model.
const THRIFTY: Usd = Usd::from_nanos(2_000_000);
/// Time in which a client can't mean a slow one.
const HURRIED: Duration = Duration::from_secs(2);

/// A ready-made set of rules; `None`: there is none of this name.
///
/// | set | what it does |
/// |---|---|
/// | `budget` | what is free first, then the cheapest that is able |
/// | `quality` | the largest models first |
/// | `vision` | prompts with images to the larger models, all else as the route says |
/// | `fast` | the lowest time to the first token |
/// | `auto` | by the client's bounds (0.002 USD, 2 s) cheap or fast; prompts from 100,000 tokens on where the window is known to hold them; else simple prompts to tiny and small models, moderate ones to small and large, complex ones to large, and what takes thinking to models that reason; of each of these what is free first |
///
/// Models of several sizes are compared by the route's strategy; failover takes the smaller first.
///
/// ```
/// use tollway_route::{READY, ready};
///
/// assert!(READY.iter().all(|name| !ready(name).unwrap().is_empty()));
/// assert_eq!(ready("none"), None);
/// ```
pub fn ready(name: &str) -> Option<Vec<Rule>> {
    use Size::{Large, Reasoning, Small, Tiny};
    let any = When::default;
    let sizes = |sizes: &[&[Size]]| {
        let sizes = sizes.iter().map(|together| together.to_vec()).collect();
        Then { prefer: Prefer::Sizes(sizes), ..Then::default() }
    };
    let graded = |graded: &[&[Size]]| Then { free_first: true, ..sizes(graded) };
    let by = |strategy| Then { strategy: Some(strategy), ..Then::default() };
    let cheap = || Then { free_first: true, ..by(Strategy::Cost) };
    let fast = || by(Strategy::Latency { of: Of::FirstToken });
    let looks = |hard| When { complexity: vec![hard], ..any() };
    let needs = |needs| When { needs, ..any() };
    let rule = |name: &str, when, then| Rule { name: name.into(), when, then };
    Some(match name {
        "budget" => vec![rule("budget", any(), cheap())],
        "quality" => {
            vec![rule("quality", any(), sizes(&[&[Reasoning], &[Large], &[Small], &[Tiny]]))]
        }
        "vision" => {
            vec![rule("vision", needs(Needs::VISION), sizes(&[&[Large, Reasoning], &[Small]]))]
        }
        "fast" => vec![rule("fast", any(), fast())],
        "auto" => vec![
            rule("auto: cheap", When { max_cost: Between::to(THRIFTY), ..any() }, cheap()),
            rule("auto: fast", When { max_latency: Between::to(HURRIED), ..any() }, fast()),
            rule(
                "auto: long",
                When { size: vec![SizeClass::Huge], ..any() },
                by(Strategy::Capability),
            ),
            rule("auto: thinking", needs(Needs::REASONING), graded(&[&[Reasoning], &[Large]])),
            rule(
                "auto: reasoning",
                When { reasoning: Some(true), ..looks(Complexity::Complex) },
                graded(&[&[Reasoning], &[Large]]),
            ),
            rule(
                "auto: complex",
                looks(Complexity::Complex),
                graded(&[&[Large], &[Reasoning], &[Small]]),
            ),
            rule("auto: moderate", looks(Complexity::Moderate), graded(&[&[Small, Large]])),
            rule("auto: simple", looks(Complexity::Simple), graded(&[&[Tiny, Small], &[Large]])),
        ],
        _ => return None,
    })
}
