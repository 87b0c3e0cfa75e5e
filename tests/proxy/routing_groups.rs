//! What is chosen in a group within a group is told and counted, and chosen anew after a failure.

use std::time::Duration;

use tollway::simulate::SimulateConfig;

use super::{
    routing::{World, field, says, takes},
    support::*,
};

fn failing(after: Duration) -> SimulateConfig {
    SimulateConfig {
        latency: after,
        error_rate: 1.0,
        error_status: 503,
        ..SimulateConfig::default()
    }
}

/// The numbers of a counter's lines that have all of these in them.
fn count(world: &World, name: &str, with: &[&str]) -> f64 {
    let metrics = world.stack.telemetry().render();
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    let lines = lines.filter(|line| with.iter().all(|label| line.contains(label)));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

const PLACES: &str = "callers: { identify: header x-user }
providers:
  a: { simulate: { latency: 10ms } }
  b: { simulate: { latency: 20ms } }
  c: { simulate: { latency: 30ms } }
  d: { simulate: { latency: 40ms } }
routing: { min_samples: 1, explore: 0% }
";

#[tokio::test(start_paused = true)]
async fn after_a_failure_a_group_within_is_ordered_by_what_was_learnt_meanwhile() {
    let world = World::new(&format!(
        "{PLACES}routes:
  - {{ match: {{ header: {{ x-to: a }} }}, targets: [a/m] }}
  - {{ match: {{ header: {{ x-to: b }} }}, targets: [b/m] }}
  - {{ match: {{ header: {{ x-to: c }} }}, targets: [c/m] }}
  - {{ name: it, targets: [{{ strategy: {{ latency: whole }}, targets: [a/m, b/m, c/m] }}, d/m] }}
"
    ))
    .await;
    for to in ["a", "b", "c"] {
        assert_eq!(world.send(&[("x-to", to)], &says("m", "Hi")).await.status, 200);
    }
    // While the first is at it, the second becomes slow.
    world.set("a", failing(Duration::from_secs(5)));
    world.set("b", takes(3_000));
    let body = says("m", "Hi");
    let (reply, _) = tokio::join!(world.send(&[], &body), world.send(&[("x-to", "b")], &body));
    assert_eq!(reply.header("x-tollway-attempts"), "a/m;503, c/m;200");
    let reason = field(&reply.headers, "reason");
    assert!(reason.contains("c/m: lowest p95 to the end") && reason.contains("b/m"), "{reason}");
}

/// An A/B test whose arms are counted by half is none.
#[tokio::test(start_paused = true)]
async fn an_arm_within_a_failover_is_told_and_counted_for_every_request() {
    let arms = "{ strategy: { split: user }, targets: [{ name: one, targets: [a/m] }, { name: two, targets: [b/m] }] }";
    let world = World::new(&format!(
        "{PLACES}routes:
  - {{ name: within, match: {{ model: within }}, targets: [{arms}, d/m] }}
  - {{ name: behind, match: {{ model: behind }}, targets: [d/m, {arms}] }}
  - {{ name: affine, match: {{ model: affine }}, targets: [{{ strategy: {{ affinity: user }}, targets: [a/m, c/m] }}, d/m] }}
"
    ))
    .await;
    let users: Vec<String> = (0..20).map(|number| format!("user-{number}")).collect();
    for user in &users {
        let reply = world.send(&[("x-user", user)], &says("within", "Hi")).await;
        let arm = field(&reply.headers, "arm");
        let target = field(&reply.headers, "target");
        let expected = if target == "\"a/m\"" { "\"one\"" } else { "\"two\"" };
        assert_eq!(arm, expected, "{reply:?}");
        assert!(field(&reply.headers, "reason").contains(": its arm of the split"), "{reply:?}");
        let reply = world.send(&[("x-user", user)], &says("affine", "Hi")).await;
        let reason = field(&reply.headers, "reason");
        assert!(reason.contains(": where the same requests go"), "{reply:?}");
        // Of order alone nothing is told.
        let reply = world.send(&[("x-user", user)], &says("behind", "Hi")).await;
        assert!(!reply.headers.contains_key("x-tollway-decision"), "{reply:?}");
    }
    let counted = |route: &str| {
        let of = format!("route=\"{route}\"");
        count(&world, "tollway_decisions_total{", &[&of, "arm=\"one\""])
            + count(&world, "tollway_decisions_total{", &[&of, "arm=\"two\""])
    };
    until("all are counted", || counted("within") == 20.0).await;
    assert_eq!(counted("behind"), 0.0);
    world.set("d", failing(Duration::ZERO));
    for user in &users {
        let reply = world.send(&[("x-user", user)], &says("behind", "Hi")).await;
        assert_eq!(reply.status, 200);
        assert!(!field(&reply.headers, "arm").is_empty(), "{reply:?}");
    }
    until("all are counted", || counted("behind") == 20.0).await;
}
