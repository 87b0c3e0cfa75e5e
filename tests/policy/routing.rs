//! What policies say of routing: what it is read as, and what mistakes in it are told.

use std::time::Duration;

use tollway::policy::*;
use tollway_core::{Needs, PerMille, Usd};

use super::{parse, told};

fn check(text: &str, expected: &str) {
    let told = told(text);
    assert!(told == expected, "told:\n{told}\nexpected:\n{expected}");
}

#[test]
fn policy_broken_strategies() {
    check(
        r"providers: { openai: {}, anthropic: {}, sim: { simulate: {} } }
routes:
  - { match: { model: a }, strategy: latncy, targets: [openai] }
  - { match: { model: b }, strategy: score, targets: [openai] }
  - { match: { model: c }, strategy: { scoer: { latency: 60 } }, targets: [openai] }
  - { match: { model: d }, strategy: { score: { latency: 0, cost: 0 } }, targets: [openai] }
  - { match: { model: e }, strategy: { latency: whole, split: user }, targets: [openai] }
  - { match: { model: f }, strategy: { split: prompt }, targets: [openai] }
  - { match: { model: g }, strategy: { affinity: { header: a b } }, targets: [openai] }
  - { match: { model: h }, strategy: {}, targets: [openai] }
  - { match: { model: i }, strategy: [cost], targets: [openai] }
",
        r"error: `latncy` is no strategy
 --> policy.yaml:3:38 (routes[0].strategy)
  |
3 |   - { match: { model: a }, strategy: latncy, targets: [openai] }
  |                                      ^^^^^^
  = expected one of: failover, round_robin, weighted, least_busy, latency, cost, power_of_two, capability, or a section with score, affinity, split or nearest
  = help: did you mean `latency`?

error: `score` needs to know more
 --> policy.yaml:4:38 (routes[1].strategy)
  |
4 |   - { match: { model: b }, strategy: score, targets: [openai] }
  |                                      ^^^^^
  = help: write it like `strategy: { score: { latency: 60, cost: 40 } }`

error: unknown key `scoer`
 --> policy.yaml:5:40 (routes[2].strategy.scoer)
  |
5 |   - { match: { model: c }, strategy: { scoer: { *******: ** } }, targets: [openai] }
  |                                        ^^^^^
  = help: did you mean `score`?

error: no share is above 0, so nothing counts
 --> policy.yaml:6:47 (routes[3].strategy.score)
  |
6 |   - { match: { model: d }, strategy: { score: { latency: 0, cost: 0 } }, targets: [openai] }
  |                                               ^
  = expected shares of latency and cost, such as `{ latency: 60, cost: 40 }`

error: 2 strategies at once
 --> policy.yaml:7:38 (routes[4].strategy)
  |
7 |   - { match: { model: e }, strategy: { latency: whole, split: user }, targets: [openai] }
  |                                      ^
  = expected one of: latency, score, affinity, split, nearest

error: `prompt` is not a choice here
 --> policy.yaml:8:47 (routes[5].strategy.split)
  |
8 |   - { match: { model: f }, strategy: { split: prompt }, targets: [openai] }
  |                                               ^^^^^^
  = expected one of: user

error: `a b` is not the name of a header
 --> policy.yaml:9:60 (routes[6].strategy.affinity.header)
  |
9 |   - { match: { model: g }, strategy: { affinity: { header: a b } }, targets: [openai] }
  |                                                            ^^^
  = expected the name of a header, such as x-user-id

error: there is no strategy here
  --> policy.yaml:10:38 (routes[7].strategy)
   |
10 |   - { match: { model: h }, strategy: {}, targets: [openai] }
   |                                      ^
   = expected one of: latency, score, affinity, split, nearest

error: a list where a single value belongs
  --> policy.yaml:11:38 (routes[8].strategy)
   |
11 |   - { match: { model: i }, strategy: [****], targets: [openai] }
   |                                      ^
   = expected one of: failover, round_robin, weighted, least_busy, latency, cost, power_of_two, capability, or a section with score, affinity, split or nearest
",
    );
}

#[test]
fn policy_broken_regions() {
    check(
        r"providers: { openai: { region: us }, anthropic: { region: eu }, sim: { simulate: {} } }
routes:
  - match: { model: a }
    strategy: { nearest: { header: x-region, default: eua, order: { asia: [us, eru], eu: us } } }
    targets: [openai, anthropic]
  - { match: { model: b }, strategy: { nearest: { order: { eu: us } } }, targets: [openai, anthropic] }
  - { match: { model: c }, strategy: { nearest: { header: x-region } }, targets: [sim] }
  - { match: { model: d }, strategy: { nearest: { tag: region, default: us } }, targets: [openai] }
  - { match: { model: e }, strategy: { nearest: { header: x-region, default: us-west } }, targets: [openai, anthropic] }
",
        r"error: no target here is in the region `eua`
 --> policy.yaml:4:55 (routes[0].strategy.nearest.default)
  |
4 |     strategy: { nearest: { header: x-region, default: eua, order: { asia: [us, eru], eu: us } } }
  |                                                       ^^^
  = help: did you mean `eu`?

error: no target here is in the region `eru`
 --> policy.yaml:4:80 (routes[0].strategy.nearest.order.asia[1])
  |
4 |     strategy: { nearest: { header: x-region, default: eua, order: { asia: [us, eru], eu: us } } }
  |                                                                                ^^^
  = help: did you mean `eu`?

error: nothing tells where a caller is
 --> policy.yaml:6:49 (routes[1].strategy.nearest)
  |
6 |   - { match: { model: b }, strategy: { nearest: { order: { eu: us } } }, targets: [openai, anthropic] }
  |                                                 ^
  = expected one or more of `header`, `tag`, `default`

error: no target here has a region, so none is nearer than another
 --> policy.yaml:7:49 (routes[2].strategy.nearest)
  |
7 |   - { match: { model: c }, strategy: { nearest: { header: x-region } }, targets: [sim] }
  |                                                 ^
  = help: give providers a `region`, or make groups: `{ region: eu, targets: [...] }`

error: it tells nobody's region: no key has this tag
 --> policy.yaml:8:56 (routes[3].strategy.nearest.tag)
  |
8 |   - { match: { model: d }, strategy: { nearest: { tag: region, default: us } }, targets: [openai] }
  |                                                        ^^^^^^
  = help: tags are given to keys: `tags: { team: search }`
",
    );
}

#[test]
fn policy_broken_groups() {
    check(
        r"providers: { openai: {}, anthropic: {}, sim: { simulate: {} } }
routes:
  - { match: { model: a }, targets: [{ strategy: cost, targets: [] }, openai] }
  - { match: { model: b }, targets: [{ strategy: cost }, openai] }
  - { match: { model: c }, targets: [{ openai: 1, anthropic: 2 }] }
  - { match: { model: d }, targets: [{ region: us, targets: [openai, { name: more, targets: [openai] }] }] }
  - { match: { model: e }, targets: [{ strategy: weighted, trgets: [openai] }] }
",
        r"error: the group has no target
 --> policy.yaml:3:65 (routes[0].targets[0].targets)
  |
3 |   - { match: { model: a }, targets: [{ strategy: cost, targets: [] }, openai] }
  |                                                                 ^
  = expected `[provider]` or `[provider/model]`

error: the key `targets` is missing
 --> policy.yaml:4:38 (routes[1].targets[0])
  |
4 |   - { match: { model: b }, targets: [{ strategy: cost }, openai] }
  |                                      ^

error: a target is one name and its weight
 --> policy.yaml:5:38 (routes[2].targets[0])
  |
5 |   - { match: { model: c }, targets: [{ openai: *, anthropic: * }] }
  |                                      ^
  = help: write each target on its own line: `- openai/gpt-4o: 60`

error: the same target stands here twice
 --> policy.yaml:6:94 (routes[3].targets[0].targets[1].targets[0])
  |
6 |   - { match: { model: d }, targets: [{ region: us, targets: [openai, { name: more, targets: [openai] }] }] }
  |                                                                                              ^^^^^^
  = help: to try a target again, use `retry.attempts`

error: unknown key `trgets`
 --> policy.yaml:7:60 (routes[4].targets[0].trgets)
  |
7 |   - { match: { model: e }, targets: [{ strategy: weighted, trgets: [******] }] }
  |                                                            ^^^^^^
  = help: did you mean `targets`?
",
    );
}

#[test]
fn policy_broken_groups_too_deep() {
    check(
        r"providers: { openai: {}, anthropic: {}, sim: { simulate: {} } }
routes:
  - targets:
      - { name: a, targets: [{ name: b, targets: [{ name: c, targets: [{ name: d, targets: [{ name: e, targets: [{ name: f, targets: [{ name: g, targets: [sim] }] }] }] }] }] }] }
",
        r"error: groups in groups, too deep to be followed
 --> policy.yaml:4:155 (routes[0].targets[0].targets[0].targets[0].targets[0].targets[0].targets[0].targets[0].targets)
  |
4 |       - { name: a, targets: [{ name: b, targets: [{ name: c, targets: [{ name: d, targets: [{ name: e, targets: [{ name: f, targets: [{ name: g, targets: [sim] }] }] }] }] }] }] }
  |                                                                                                                                                           ^
  = expected at most 6 inside each other
",
    );
}

#[test]
fn policy_broken_splits() {
    check(
        r"providers: { openai: {}, anthropic: {}, sim: { simulate: {} } }
routes:
  - { match: { model: a }, strategy: { split: user }, targets: [openai: 9, { weight: 1, targets: [anthropic] }] }
  - { match: { model: b }, strategy: { split: user }, targets: [openai, { name: openai, targets: [anthropic] }] }
  - { match: { model: c }, strategy: { split: user }, targets: [openai] }
",
        r"error: an arm of the split is a group without a name
 --> policy.yaml:3:76 (routes[0].targets[1])
  |
3 |   - { match: { model: a }, strategy: { split: user }, targets: [openai: 9, { weight: 1, targets: [anthropic] }] }
  |                                                                            ^
  = help: give it a `name`: the arms are counted apart by it

error: two arms of the split have the name `openai`
 --> policy.yaml:4:73 (routes[1].targets[1])
  |
4 |   - { match: { model: b }, strategy: { split: user }, targets: [openai, { name: openai, targets: [anthropic] }] }
  |                                                                         ^
  = help: give each its own `name`: the arms are counted apart by it

error: a split of one arm splits nothing
 --> policy.yaml:5:38 (routes[2].strategy)
  |
5 |   - { match: { model: c }, strategy: { split: user }, targets: [openai] }
  |                                      ^
  = help: add the target that it is compared with
",
    );
}

#[test]
fn policy_broken_what_a_wrong_key_stands_for_is_not_missing() {
    check(
        r"providers: { openai: {}, anthropic: { region: eu } }
routes:
  - { match: { model: a }, strategy: { score: { latancy: 60 } }, targets: [openai] }
  - { match: { model: b }, strategy: { split: { head: x-user } }, targets: [openai, anthropic] }
  - { match: { model: c }, strategy: { nearest: { heder: x-region } }, targets: [openai, anthropic] }
",
        r"error: unknown key `latancy`
 --> policy.yaml:3:49 (routes[0].strategy.score.latancy)
  |
3 |   - { match: { model: a }, strategy: { score: { latancy: ** } }, targets: [openai] }
  |                                                 ^^^^^^^
  = help: did you mean `latency`?

error: unknown key `head`
 --> policy.yaml:4:49 (routes[1].strategy.split.head)
  |
4 |   - { match: { model: b }, strategy: { split: { head: ****** } }, targets: [openai, anthropic] }
  |                                                 ^^^^
  = help: did you mean `header`?

error: unknown key `heder`
 --> policy.yaml:5:51 (routes[2].strategy.nearest.heder)
  |
5 |   - { match: { model: c }, strategy: { nearest: { heder: ******** } }, targets: [openai, anthropic] }
  |                                                   ^^^^^
  = help: did you mean `header`?
",
    );
}

#[test]
fn policy_broken_weights_that_nobody_reads() {
    check(
        r"providers: { openai: {}, anthropic: {}, sim: { simulate: {} } }
routes:
  - { match: { model: a }, strategy: cost, targets: [openai: 60, { weight: 2, targets: [anthropic] }] }
  - { match: { model: b }, targets: [openai], rules: [{ prefer: [anthropic: 2, sim: 1], strategy: latency }] }
",
        r"error: nobody reads this weight: only weighted, least_busy, affinity and split do
 --> policy.yaml:3:62 (routes[0].targets[0])
  |
3 |   - { match: { model: a }, strategy: cost, targets: [openai: 60, { weight: 2, targets: [anthropic] }] }
  |                                                              ^^
  = help: say `strategy: weighted`, or take the weight away

error: nobody reads this weight: only weighted, least_busy, affinity and split do
 --> policy.yaml:3:76 (routes[0].targets[1].weight)
  |
3 |   - { match: { model: a }, strategy: cost, targets: [openai: 60, { weight: 2, targets: [anthropic] }] }
  |                                                                            ^
  = help: say `strategy: weighted`, or take the weight away

error: nobody reads this weight: only weighted, least_busy, affinity and split do
 --> policy.yaml:4:77 (routes[1].rules[0].prefer[0])
  |
4 |   - { match: { model: b }, targets: [openai], rules: [{ prefer: [anthropic: 2, sim: 1], strategy: latency }] }
  |                                                                             ^
  = help: say `strategy: weighted`, or take the weight away

error: nobody reads this weight: only weighted, least_busy, affinity and split do
 --> policy.yaml:4:85 (routes[1].rules[0].prefer[1])
  |
4 |   - { match: { model: b }, targets: [openai], rules: [{ prefer: [anthropic: 2, sim: 1], strategy: latency }] }
  |                                                                                     ^
  = help: say `strategy: weighted`, or take the weight away
",
    );
}

#[test]
fn policy_broken_rules_that_never_hold() {
    check(
        r#"providers: { openai: {}, anthropic: {}, sim: { simulate: {} } }
routes:
  - match: { model: a }
    targets: [openai]
    rules:
      - { name: x, when: { input_tokens: ">100k", size: [tiny, small] }, prefer: anthropic }
      - { name: x, when: { input_tokens: 20k..1k, max_cost: <0, max_latency: 2s }, prefer: opnai/gpt-4o }
      - { when: { needs: [visoin], complexity: hard, size: [], tag: { tier: free } }, prefer: { size: [huge] } }
      - { when: { time: [mon-fri 18:00, weekend, "08:00-08:00"], task: [] }, prefer: [] }
"#,
        r#"error: the rule never holds: no `tiny` prompt has `>100k` tokens (`input_tokens`)
 --> policy.yaml:6:57 (routes[0].rules[0].when.size)
  |
6 |       - { name: x, when: { input_tokens: ">100k", size: [tiny, small] }, prefer: anthropic }
  |                                                         ^
  = help: take one of the two away

error: there are two rules with the name `x`
 --> policy.yaml:7:17 (routes[0].rules[1].name)
  |
7 |       - { name: x, when: { input_tokens: 20k..1k, max_cost: <0, max_latency: 2s }, prefer: opnai/gpt-4o }
  |                 ^
  = help: the other one is in line 6; give each its own name

error: `20k..1k` is an empty range: nothing lies in it
 --> policy.yaml:7:42 (routes[0].rules[1].when.input_tokens)
  |
7 |       - { name: x, when: { input_tokens: 20k..1k, max_cost: <0, max_latency: 2s }, prefer: opnai/gpt-4o }
  |                                          ^^^^^^^
  = expected `>`, `>=`, `<` or `<=` and a number, or two numbers: `>100k`, `1k..20k` (up to, not with, the second)

error: `<0` is an empty range: nothing lies in it
 --> policy.yaml:7:61 (routes[0].rules[1].when.max_cost)
  |
7 |       - { name: x, when: { input_tokens: 20k..1k, max_cost: <0, max_latency: 2s }, prefer: opnai/gpt-4o }
  |                                                             ^^
  = expected `>`, `>=`, `<` or `<=` and USD, or two amounts: `<0.01`, `0.01..0.05` (up to, not with, the second)

error: `2s` is no range
 --> policy.yaml:7:78 (routes[0].rules[1].when.max_latency)
  |
7 |       - { name: x, when: { input_tokens: 20k..1k, max_cost: <0, max_latency: 2s }, prefer: opnai/gpt-4o }
  |                                                                              ^^
  = expected `>`, `>=`, `<` or `<=` and a time, or two times: `<2s`, `500ms..2s` (up to, not with, the second)

error: there is no provider `opnai`
 --> policy.yaml:7:92 (routes[0].rules[1].prefer)
  |
7 |       - { name: x, when: { input_tokens: 20k..1k, max_cost: <0, max_latency: 2s }, prefer: opnai/gpt-4o }
  |                                                                                            ^^^^^^^^^^^^
  = help: did you mean `openai/gpt-4o`?

error: `visoin` is not a choice here
 --> policy.yaml:8:27 (routes[0].rules[2].when.needs[0])
  |
8 |       - { when: { needs: [visoin], complexity: hard, size: [], tag: { tier: free } }, prefer: { size: [huge] } }
  |                           ^^^^^^
  = expected one of: vision, tools, json, reasoning, streaming, audio
  = help: did you mean `vision`?

error: `hard` is not a choice here
 --> policy.yaml:8:48 (routes[0].rules[2].when.complexity)
  |
8 |       - { when: { needs: [visoin], complexity: hard, size: [], tag: { tier: free } }, prefer: { size: [huge] } }
  |                                                ^^^^
  = expected one of: simple, moderate, complex

error: an empty list matches nothing
 --> policy.yaml:8:60 (routes[0].rules[2].when.size)
  |
8 |       - { when: { needs: [visoin], complexity: hard, size: [], tag: { tier: free } }, prefer: { size: [huge] } }
  |                                                            ^
  = help: leave the key out to match all

error: the rule never holds: no key has this tag
 --> policy.yaml:8:71 (routes[0].rules[2].when.tag.tier)
  |
8 |       - { when: { needs: [visoin], complexity: hard, size: [], tag: { tier: free } }, prefer: { size: [huge] } }
  |                                                                       ^^^^
  = help: tags are given to keys: `tags: { team: search }`

error: `huge` is not a choice here
 --> policy.yaml:8:104 (routes[0].rules[2].prefer.size[0])
  |
8 |       - { when: { needs: [visoin], complexity: hard, size: [], tag: { tier: free } }, prefer: { size: [huge] } }
  |                                                                                                        ^^^^
  = expected one of: tiny, small, large, reasoning

error: `mon-fri 18:00` has no end: `08:00-18:00`
 --> policy.yaml:9:26 (routes[0].rules[3].when.time[0])
  |
9 |       - { when: { time: [mon-fri 18:00, weekend, "08:00-08:00"], task: [] }, prefer: [] }
  |                          ^^^^^^^^^^^^^
  = expected days, hours or both (UTC), such as `mon-fri 08:00-18:00`, `sat,sun` or `22:00-06:00`

error: `weekend` names no day of the week that is known
 --> policy.yaml:9:41 (routes[0].rules[3].when.time[1])
  |
9 |       - { when: { time: [mon-fri 18:00, weekend, "08:00-08:00"], task: [] }, prefer: [] }
  |                                         ^^^^^^^
  = expected days, hours or both (UTC), such as `mon-fri 08:00-18:00`, `sat,sun` or `22:00-06:00`

error: `08:00-08:00` is an empty time: it ends where it begins
 --> policy.yaml:9:50 (routes[0].rules[3].when.time[2])
  |
9 |       - { when: { time: [mon-fri 18:00, weekend, "08:00-08:00"], task: [] }, prefer: [] }
  |                                                  ^^^^^^^^^^^^^
  = expected days, hours or both (UTC), such as `mon-fri 08:00-18:00`, `sat,sun` or `22:00-06:00`

error: an empty list matches nothing
 --> policy.yaml:9:72 (routes[0].rules[3].when.task)
  |
9 |       - { when: { time: [mon-fri 18:00, weekend, "08:00-08:00"], task: [] }, prefer: [] }
  |                                                                        ^
  = help: leave the key out to match all

error: the rule has no target
 --> policy.yaml:9:86 (routes[0].rules[3].prefer)
  |
9 |       - { when: { time: [mon-fri 18:00, weekend, "08:00-08:00"], task: [] }, prefer: [] }
  |                                                                                      ^
  = expected `[provider]` or `[provider/model]`
"#,
    );
}

#[test]
fn policy_broken_rules_never_reached() {
    check(
        r"providers: { openai: {}, anthropic: {}, sim: { simulate: {} } }
routes:
  - match: { model: a }
    targets: [openai]
    rules:
      - { name: all, prefer: anthropic }
      - { when: { needs: tools }, prefer: sim }
  - match: { model: b }
    targets: [openai]
    rules:
      - { when: { needs: tools }, prefer: sim }
      - { when: { needs: tools }, strategy: cost }
      - { when: { caller: x } }
",
        r"error: the rule is never reached
 --> policy.yaml:7:9 (routes[0].rules[1])
  |
7 |       - { when: { needs: tools }, prefer: sim }
  |         ^
  = help: rule `all` in line 6 holds for every request that this one is for; move this one before it

error: the rule is never reached
  --> policy.yaml:12:9 (routes[1].rules[1])
   |
12 |       - { when: { needs: tools }, strategy: cost }
   |         ^
   = help: rule `rule-1` in line 11 holds for every request that this one is for; move this one before it

error: the rule changes nothing
  --> policy.yaml:13:9 (routes[1].rules[2])
   |
13 |       - { when: { caller: x } }
   |         ^
   = expected one or more of `prefer`, `strategy`, `free_first`, `max_cost`, `max_latency`
",
    );
}

#[test]
fn policy_broken_sets() {
    check(
        r"providers: { openai: {}, anthropic: {}, sim: { simulate: {} } }
routes:
  - { match: { model: a }, use: [vison, auto, auto], targets: [openai/gpt-5.6-luna] }
",
        r"error: `vison` is not a choice here
 --> policy.yaml:3:34 (routes[0].use[0])
  |
3 |   - { match: { model: a }, use: [vison, auto, auto], targets: [openai/gpt-5.6-luna] }
  |                                  ^^^^^
  = expected one of: budget, quality, vision, fast, auto
  = help: did you mean `vision`?

error: stands here twice
 --> policy.yaml:3:47 (routes[0].use[2])
  |
3 |   - { match: { model: a }, use: [vison, auto, auto], targets: [openai/gpt-5.6-luna] }
  |                                               ^^^^
  = help: the second one is never reached
",
    );
}

#[test]
fn policy_broken_sets_never_reached() {
    check(
        r"providers: { openai: {} }
routes:
  - { match: { model: a }, use: [budget, auto], targets: [openai/gpt-5.6-luna] }
  - { match: { model: b }, use: vision, targets: [openai/gpt-5.6-luna], rules: [{ name: all, strategy: cost }] }
  - { match: { model: c }, use: vision, targets: [openai/gpt-5.6-luna], rules: [{ name: vision, strategy: cost }] }
",
        r"error: the set `auto` is never reached
 --> policy.yaml:3:42 (routes[0].use[1])
  |
3 |   - { match: { model: a }, use: [budget, auto], targets: [openai/gpt-5.6-luna] }
  |                                          ^^^^
  = help: the set `budget` holds for every request; take one of the two away

error: the set `vision` is never reached
 --> policy.yaml:4:33 (routes[1].use)
  |
4 |   - { match: { model: b }, use: vision, targets: [openai/gpt-5.6-luna], rules: [{ name: all, strategy: cost }] }
  |                                 ^^^^^^
  = help: rule `all` in line 4 holds for every request; take one of the two away
",
    );
}

#[test]
fn policy_broken_callers_in_two_places() {
    check(
        r"providers: { openai: { region: us }, anthropic: { region: eu }, sim: { simulate: {} } }
routes:
  - strategy: { nearest: { header: x-region } }
    targets:
      - { name: g, strategy: { nearest: { header: x-region } }, targets: [openai/gpt-4o, anthropic/claude-haiku-5-5] }
      - { name: h, strategy: { nearest: { header: x-place } }, targets: [openai, anthropic] }
",
        r"error: no target here has a region, so none is nearer than another
 --> policy.yaml:3:26 (routes[0].strategy.nearest)
  |
3 |   - strategy: { nearest: { header: x-region } }
  |                          ^
  = help: give providers a `region`, or make groups: `{ region: eu, targets: [...] }`

error: the route's callers are said to be elsewhere already
 --> policy.yaml:6:41 (routes[0].targets[1].strategy.nearest)
  |
6 |       - { name: h, strategy: { nearest: { header: x-place } }, targets: [openai, anthropic] }
  |                                         ^
  = help: write the same in both: the other one is in line 3
",
    );
}

#[test]
fn policy_broken_more_places_than_can_be_tried() {
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}: \"${{K{n}_KEY}}\"")).collect();
    let keys = keys.join(", ");
    let told = told(&format!(
        "providers:\n  a: {{ base_url: http://a, keys: {{ {keys} }} }}\n  b: {{ base_url: http://b, keys: {{ {keys} }} }}\nroutes:\n  - {{ targets: [a], rules: [{{ prefer: b }}] }}\n"
    ));
    let expected = r"error: 80 targets with those of its rules, each key of a provider counted
 --> policy.yaml:5:16 (routes[0].targets)
  |
5 |   - { targets: [a], rules: [{ prefer: b }] }
  |                ^
  = expected at most 64
";
    assert!(told == expected, "{told}");
}

#[test]
fn policy_broken_routing_and_health() {
    check(
        r"providers: { openai: {}, anthropic: {}, sim: { simulate: {} } }
routing:
  min_samples: 0
  window: 0s
  explore: 5
  expect: { latency: all }
  header: sometimes
  decisions: 2M
  auto: { moderate_from: 70, complex_from: 65, weights: { code: many, cod: 5, tools: { point: 3 } } }
health:
  degraded: { success: 40%, p95: 0s }
  down: { success: 50%, failures: 0 }
  recover_after: 0s
  probe: { interval: 5s, timeout: 10s, path: models }
",
        r"error: `0` does not work here
 --> policy.yaml:3:16 (routing.min_samples)
  |
3 |   min_samples: 0
  |                ^
  = expected a whole number from 1

error: a time of zero would let nothing through
 --> policy.yaml:4:11 (routing.window)
  |
4 |   window: 0s
  |           ^^
  = expected a time above zero

error: `5` has no percent sign
 --> policy.yaml:5:12 (routing.explore)
  |
5 |   explore: 5
  |            ^
  = expected a percentage from 0% to 100%

error: `all` is not a choice here
 --> policy.yaml:6:22 (routing.expect.latency)
  |
6 |   expect: { latency: all }
  |                      ^^^
  = expected one of: first_token, whole

error: `sometimes` is not a choice here
 --> policy.yaml:7:11 (routing.header)
  |
7 |   header: sometimes
  |           ^^^^^^^^^
  = expected one of: chosen, always, never

error: `2M` is too large
 --> policy.yaml:8:14 (routing.decisions)
  |
8 |   decisions: 2M
  |              ^^
  = expected at most 100000

error: a request would be complex from 65 points on, and moderate from 70: none is moderate
 --> policy.yaml:9:44 (routing.auto.complex_from)
  |
9 |   auto: { moderate_from: 70, complex_from: 65, weights: { code: many, cod: 5, tools: { point: * } } }
  |                                            ^^
  = expected `moderate_from` below `complex_from`

error: `many` is not a whole number
 --> policy.yaml:9:65 (routing.auto.weights.code)
  |
9 |   auto: { moderate_from: 70, complex_from: 65, weights: { code: many, cod: 5, tools: { point: * } } }
  |                                                                 ^^^^
  = expected a whole number from -1000 to 1000

error: `cod` is nothing that is counted
 --> policy.yaml:9:71 (routing.auto.weights.cod)
  |
9 |   auto: { moderate_from: 70, complex_from: 65, weights: { code: many, cod: 5, tools: { point: * } } }
  |                                                                       ^^^
  = expected one of: ask_length, prompt_length, turns, tools, images, schema, code, trace, maths, figures, proof, reasoning, analysis, design, task, topic, constraints, questions, items, length_asked, trivial, brief, context, earlier, narrow, clauses
  = help: did you mean `code`?

error: unknown key `point`
 --> policy.yaml:9:88 (routing.auto.weights.tools.point)
  |
9 |   auto: { moderate_from: 70, complex_from: 65, weights: { code: many, cod: 5, tools: { point: * } } }
  |                                                                                        ^^^^^
  = help: did you mean `points`?

error: a time of zero would let nothing through
  --> policy.yaml:11:34 (health.degraded.p95)
   |
11 |   degraded: { success: 40%, p95: 0s }
   |                                  ^^
   = expected a time above zero

error: a target would be down before it is degraded (below 40%)
  --> policy.yaml:12:20 (health.down.success)
   |
12 |   down: { success: 50%, failures: 0 }
   |                    ^^^
   = help: `down.success` is at most `degraded.success`

error: `0` does not work here
  --> policy.yaml:12:35 (health.down.failures)
   |
12 |   down: { success: 50%, failures: 0 }
   |                                   ^
   = expected a whole number from 1

error: a time of zero would let nothing through
  --> policy.yaml:13:18 (health.recover_after)
   |
13 |   recover_after: 0s
   |                  ^^
   = expected a time above zero

error: a probe would still wait when the next one begins
  --> policy.yaml:14:35 (health.probe.timeout)
   |
14 |   probe: { interval: 5s, timeout: 10s, path: models }
   |                                   ^^^
   = help: `timeout` is at most `interval`

error: `models` does not begin with a slash
  --> policy.yaml:14:46 (health.probe.path)
   |
14 |   probe: { interval: 5s, timeout: 10s, path: models }
   |                                              ^^^^^^
   = expected a path behind the base URL, such as /models
",
    );
}

#[test]
fn policy_broken_probe_of_no_path() {
    check(
        "\
providers: { sim: { simulate: {} } }
health: { probe: { path: \"/mod els\" } }
",
        r#"error: `/mod els` holds what no path can
 --> policy.yaml:2:26 (health.probe.path)
  |
2 | health: { probe: { path: "/mod els" } }
  |                          ^^^^^^^^^^
  = expected a path behind the base URL, such as /models
"#,
    );
}

#[test]
fn policy_broken_probes() {
    check(
        r"health: { probe: on }
providers:
  openai: { probe: none }
  anthropic: { probe: { interval: 0s } }
",
        r"error: `on` is not a choice here
 --> policy.yaml:1:18 (health.probe)
  |
1 | health: { probe: on }
  |                  ^^
  = expected `off`, or a section with interval, jitter, timeout, path

error: `none` is not a choice here
 --> policy.yaml:3:20 (providers.openai.probe)
  |
3 |   openai: { probe: none }
  |                    ^^^^
  = expected `off`, or a section with interval, jitter, timeout, path

error: a time of zero would let nothing through
 --> policy.yaml:4:35 (providers.anthropic.probe.interval)
  |
4 |   anthropic: { probe: { interval: 0s } }
  |                                   ^^
  = expected a time above zero
",
    );
}

const TWO: &str =
    "providers: { openai: { region: us }, anthropic: { region: eu }, sim: { simulate: {} } }\n";

/// The first route of a policy with the usual providers.
fn route(rest: &str) -> Route {
    parse(&format!("{TWO}routes:\n  - {{ {rest} }}\n")).routes.remove(0)
}

fn warned(rest: &str) -> Vec<String> {
    let warnings = parse(&format!("{TWO}routes:\n  - {{ {rest} }}\n")).warnings;
    warnings.into_iter().map(|w| format!("{} {}: {}", w.place, w.path, w.message)).collect()
}

#[test]
fn policy_strategies() {
    let two = "targets: [openai, anthropic]";
    let strategy = |text: &str| route(&format!("strategy: {text}, {two}")).group.strategy;
    assert_eq!(route(two).group.strategy, Strategy::Failover);
    for (text, expected) in [
        ("failover", Strategy::Failover),
        ("round_robin", Strategy::RoundRobin),
        ("weighted", Strategy::Weighted),
        ("least_busy", Strategy::LeastBusy),
        ("cost", Strategy::Cost),
        ("power_of_two", Strategy::PowerOfTwo),
        ("capability", Strategy::Capability),
        ("latency", Strategy::Latency { of: Of::FirstToken }),
        ("{ latency: whole }", Strategy::Latency { of: Of::Whole }),
        ("{ score: { latency: 60, cost: 40 } }", Strategy::Score { latency: 60, cost: 40 }),
        ("{ score: { cost: 1 } }", Strategy::Score { latency: 0, cost: 1 }),
        ("{ affinity: prompt }", Strategy::Affinity { by: By::Prompt }),
        ("{ affinity: { header: X-Chat } }", Strategy::Affinity { by: header("x-chat") }),
        ("{ split: user }", Strategy::Split { by: By::User }),
        ("{ split: { header: x-user } }", Strategy::Split { by: header("x-user") }),
    ] {
        assert_eq!(strategy(text), expected, "{text}");
    }
    let nearest =
        "{ nearest: { header: x-region, default: eu, order: { asia: [us, eu], eu: us } } }";
    let near = route(&format!("strategy: {nearest}, {two}"));
    assert_eq!(near.group.strategy, Strategy::Nearest);
    let nearest = near.nearest.unwrap();
    assert_eq!(nearest.default.as_deref(), Some("eu"));
    assert_eq!(nearest.order[0], ("asia".into(), vec!["us".into(), "eu".into()]));
    let expecting = format!(
        "routing: {{ expect: {{ latency: whole }} }}\n{TWO}routes: [{{ strategy: latency, {two} }}]"
    );
    assert_eq!(parse(&expecting).routes[0].group.strategy, Strategy::Latency { of: Of::Whole });
}

#[test]
fn more_samples_than_a_window_will_hold_are_warned_of() {
    let warned = |routing: &str| -> Vec<String> {
        let policy =
            parse(&format!("routing: {{ {routing} }}\n{TWO}routes: [{{ targets: [openai] }}]"));
        let told = policy.warnings.into_iter();
        told.map(|w| format!("{} {}: {}", w.place, w.path, w.message)).collect()
    };
    for sensible in ["min_samples: 30000", "min_samples: 60000, window: 10m", "window: 1ms"] {
        assert_eq!(warned(sensible), [""; 0], "{sensible}");
    }
    assert_eq!(
        warned("min_samples: 1M, window: 10s"),
        [
            "policy.yaml:1:25 routing.min_samples: no target's figures would count before it has given \
          100000 replies a second for the whole window (10 s): at most 1000 make sense with it"
        ]
    );
    assert_eq!(warned("min_samples: 30001").len(), 1);
}

fn header(name: &'static str) -> By {
    By::Header(http::HeaderName::from_static(name))
}

#[test]
fn policy_groups_nest_and_know_their_region() {
    let route = route(
        "strategy: weighted, targets: [sim: 3, { name: both, weight: 2, strategy: cost, targets: [openai/gpt-5.6-luna, { region: eu, targets: [openai, sim/x] }] }, { targets: [anthropic] }]",
    );
    let members = &route.group.members;
    let weights: Vec<u32> = members.iter().map(|member| member.weight.get()).collect();
    assert_eq!(weights, [3, 2, 1]);
    let regions: Vec<_> = members.iter().map(|member| member.region.as_deref()).collect();
    assert_eq!(regions, [None, None, Some("eu")], "one region, or none");
    let Node::Group(both) = &members[1].node else { panic!() };
    assert_eq!((both.name.as_deref(), &both.strategy), (Some("both"), &Strategy::Cost));
    assert_eq!(both.members[1].region.as_deref(), Some("eu"), "what is written counts");
    let places: Vec<String> = route
        .places()
        .map(|place| format!("{}/{}", place.provider, place.model.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(places, ["sim/-", "openai/gpt-5.6-luna", "openai/-", "sim/x", "anthropic/-"]);
}

/// With several keys, each place is a group of its own once more.
#[test]
fn policy_groups_as_deep_as_they_may_be_are_built() {
    let deep =
        (0..6).fold("sim".to_owned(), |inner, n| format!("{{ name: g{n}, targets: [{inner}] }}"));
    let policy = parse(&format!(
        "providers: {{ sim: {{ keys: {{ a: , b: }}, simulate: {{}} }} }}\nroutes: [{{ targets: [{deep}] }}]"
    ));
    assert!(tollway::stack::Stack::new(&policy).is_ok());
}

/// Names of providers that a group's keys could be taken for.
#[test]
fn policy_targets_of_odd_names_keep_their_weights() {
    let policy = parse(
        "providers: { targets: { simulate: {} }, weight: { simulate: {} }, region: { simulate: {} } }
routes: [{ strategy: weighted, targets: [targets: 60, weight: 2, region: 5k] }]",
    );
    let members = policy.routes[0].group.members.iter();
    let weights: Vec<u32> = members.map(|member| member.weight.get()).collect();
    assert_eq!(weights, [60, 2, 5_000]);
}

#[test]
fn policy_rules() {
    let mut route = route(
        "targets: [openai/gpt-5.6-sol, sim], rules: [
    { name: seeing, when: { needs: [vision, tools] }, prefer: [anthropic/claude-sonnet-5-5: 60, openai: 40] },
    { when: { input_tokens: '>100k', max_cost: <=0.5, max_latency: 500ms..2s, reasoning: true }, prefer: anthropic },
    { when: { complexity: complex, task: 'code*', size: [tiny, huge], caller: 'batch-*' }, prefer: { size: [reasoning] }, strategy: latency },
    { when: { time: [mon-fri 08:00-18:00, '22:00-06:00'] }, strategy: cost, free_first: true, max_cost: 0.02, max_latency: 3s },
    { prefer: [openai, sim], strategy: round_robin }]",
    );
    let names: Vec<_> = route.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["seeing", "rule-2", "rule-3", "rule-4", "rule-5"]);
    let last = route.rules.pop().unwrap();
    assert_eq!((last.when.clone(), last.strategy.clone()), (When::default(), None));
    assert_eq!(last.preferred().unwrap().strategy, Strategy::RoundRobin, "that of its own list");

    let [seeing, long, hard, daily] = &route.rules[..] else { panic!() };
    assert_eq!(seeing.when.needs, Needs::VISION | Needs::TOOLS);
    let preferred = seeing.preferred().unwrap();
    assert_eq!(preferred.strategy, Strategy::Weighted, "weights are there to be read");
    assert_eq!(preferred.members[0].weight.get(), 60);

    assert_eq!(long.when.input_tokens, Between::from(100_001));
    assert_eq!(long.when.max_cost, Between::to(Usd::from_nanos(500_000_000)));
    let nanos = Duration::from_nanos;
    let times = Between { from: Some(nanos(500_000_000)), to: Some(nanos(1_999_999_999)) };
    assert_eq!((long.when.max_latency, long.when.reasoning), (times, Some(true)));
    assert_eq!(long.preferred().unwrap().strategy, Strategy::Failover);

    assert_eq!(hard.when.complexity, [Complexity::Complex]);
    assert_eq!(hard.when.size, [SizeClass::Tiny, SizeClass::Huge]);
    assert!(hard.when.task[0].matches("code-review"));
    assert_eq!(hard.when.callers.len(), 2, "user, or name of the key");
    assert_eq!(hard.prefer, Prefer::Sizes(vec![vec![Size::Reasoning]]));
    assert_eq!(hard.strategy, Some(Strategy::Latency { of: Of::FirstToken }));

    let night = TimeRange { days: Days::ALL, from: 1320, to: 360 };
    assert_eq!(daily.when.time[1], night);
    assert_eq!((daily.max_cost, daily.free_first), (Some(Usd::from_nanos(20_000_000)), true));
    assert_eq!(daily.max_latency, Some(Duration::from_secs(3)));
}

/// A rule's strategy orders the route's own targets, so it reads their weights.
#[test]
fn policy_weights_may_be_read_by_a_rule() {
    let route = route(
        "targets: [openai: 3, sim], rules: [{ when: { needs: tools }, strategy: { affinity: user } }]",
    );
    assert_eq!(route.group.members[0].weight.get(), 3);
}

#[test]
fn policy_warns_of_models_that_cannot_what_a_rule_is_about() {
    let prefer = |needs: &str, model: &str| {
        warned(&format!(
            "targets: [openai], rules: [{{ when: {{ needs: {needs} }}, prefer: [{model}] }}]"
        ))
    };
    assert_eq!(
        prefer("[tools, vision]", "sim/openai/gpt-oss-20b"),
        [
            "policy.yaml:3:79 routes[0].rules[0].prefer[0]: the rule is for requests that need vision, and `sim/openai/gpt-oss-20b` has none by the registry: it will be passed over"
        ]
    );
    assert_eq!(prefer("vision", "{ name: g, targets: [sim/openai/gpt-oss-20b] }").len(), 1);
    assert_eq!(prefer("tools", "sim/openai/gpt-oss-20b").len(), 0);
    assert_eq!(prefer("vision", "sim/of-my-own").len(), 0, "nothing is known of it");
    assert_eq!(
        prefer("audio", "openai/gpt-5.6-sol").len(),
        0,
        "the registry knows nothing of sound"
    );
}

#[test]
fn policy_sizes_are_tried_in_turn_or_compared() {
    let prefer = |size: &str| {
        let rules = format!("rules: [{{ prefer: {{ size: {size} }} }}], targets: [openai]");
        route(&rules).rules.remove(0).prefer
    };
    let sizes = |all: &[&[Size]]| Prefer::Sizes(all.iter().map(|some| some.to_vec()).collect());
    assert_eq!(prefer("tiny"), sizes(&[&[Size::Tiny]]));
    assert_eq!(prefer("[tiny, small]"), sizes(&[&[Size::Tiny], &[Size::Small]]));
    let together = sizes(&[&[Size::Tiny, Size::Small], &[Size::Large]]);
    assert_eq!(prefer("[[tiny, small], large]"), together);
    check(
        r#"providers: { openai: {} }
routes:
  - targets: [openai/gpt-5.6-sol]
    rules: [{ prefer: { size: [reasoning, [], [reasoning]] } }]
"#,
        r"error: there is no size in the list
 --> policy.yaml:4:43 (routes[0].rules[0].prefer.size[1])
  |
4 |     rules: [{ prefer: { size: [reasoning, [], [reasoning]] } }]
  |                                           ^
  = expected one of: tiny, small, large, reasoning

error: the same size stands here twice
 --> policy.yaml:4:48 (routes[0].rules[0].prefer.size[2][0])
  |
4 |     rules: [{ prefer: { size: [reasoning, [], [reasoning]] } }]
  |                                                ^^^^^^^^^
",
    );
}

#[test]
fn policy_warns_of_sizes_that_no_target_has() {
    let size = "rules: [{ prefer: { size: [reasoning, tiny] } }], targets:";
    assert_eq!(
        warned(&format!("{size} [openai/gpt-5.6-sol]")),
        [
            "policy.yaml:3:45 routes[0].rules[0].prefer.size[1]: no target of the route has a model that is known to be `tiny`: name one, or give yours a `size` under `models:`"
        ]
    );
    assert_eq!(
        warned(&format!("{size} [openai/gpt-5.6-sol, {{ targets: [openai/gpt-5.6-luna] }}]")).len(),
        0
    );
    assert_eq!(
        warned("use: auto, targets: [openai]"),
        [
            "policy.yaml:3:12 routes[0].use: `auto` chooses by the size of models, and no target of the route has a model whose size is known: name models, or give yours a `size` under `models:`"
        ]
    );
    assert_eq!(warned("use: [auto, vision], targets: [openai/gpt-5.6-luna]").len(), 0);
    let own = format!(
        "models: [{{ id: mine, provider: sim, size: large }}]\n{TWO}routes: [{{ use: auto, targets: [sim/mine] }}]"
    );
    assert_eq!(parse(&own).warnings, []);
}

#[test]
fn policy_sets_stand_behind_the_rules_of_the_route() {
    let route = route(
        "targets: [openai/gpt-5.6-sol, openai/gpt-5.6-luna], use: [vision, auto], rules: [
    { name: 'auto: complex', prefer: anthropic },
    { name: mine, when: { needs: tools }, strategy: cost },
    { name: vision, when: { needs: [vision, json] }, prefer: sim }]",
    );
    let names: Vec<&str> = route.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names[..2], ["mine", "vision"]);
    assert!(names[2..].iter().all(|name| name.starts_with("auto: ")), "{names:?}");
    let find = |name: &str| route.rules.iter().find(|rule| &*rule.name == name).unwrap();
    let complex = find("auto: complex");
    assert!(complex.preferred().is_some(), "what the route says instead");
    assert_eq!(complex.when.complexity, [Complexity::Complex], "the set's, as none is written");
    assert_eq!(find("vision").when.needs, Needs::VISION | Needs::JSON);
    assert!(matches!(find("auto: simple").prefer, Prefer::Sizes(_)));
}

#[test]
fn policy_weights_of_auto() {
    let usual = Weights::default();
    let auto = |text: &str| parse(&format!("{TWO}routing: {{ auto: {{ {text} }} }}")).routing.auto;
    assert_eq!(auto(""), usual);
    let weights = auto(
        "moderate_from: 1, complex_from: 2, reasoning_from: 3, weights: { code: 40, trivial: -5, maths: { reasoning: 9, at_most: 2 } }",
    );
    assert_eq!((weights.moderate, weights.complex, weights.reasoning), (1, 2, 3));
    let code = weights.get(Feature::Code);
    assert_eq!((code.points, code.at_most), (40, usual.get(Feature::Code).at_most));
    assert_eq!(weights.get(Feature::Trivial).points, -5);
    let maths = weights.get(Feature::Maths);
    assert_eq!(
        (maths.points, maths.reasoning, maths.at_most),
        (usual.get(Feature::Maths).points, 9, 2)
    );
}

#[test]
fn policy_routing_and_health() {
    let policy = parse(TWO);
    let Routing { min_samples, window, explore, expect, header, decisions, .. } = policy.routing;
    assert_eq!((min_samples.get(), window.as_secs(), explore), (10, 300, PerMille::new(50)));
    assert_eq!((expect, header, decisions), (None, Tell::Chosen, 1000));
    assert_eq!(policy.health, Thresholds::default());
    assert!(policy.providers.iter().all(|provider| provider.probe.is_none()));

    let policy = parse(
        "
routing: { explore: 0%, header: never, decisions: 0 }
health:
  degraded: { p95: 20s }
  down: { success: 97% }
  recover_after: 1m
  probe: { interval: 3s, path: /health }
providers:
  openai: { probe: off }
  anthropic: { probe: { timeout: 1s } }
  groq: { region: us }
",
    );
    assert_eq!(policy.health.cooldown, Duration::from_secs(60));
    assert_eq!((policy.routing.explore, policy.routing.header), (PerMille::ZERO, Tell::Never));
    assert_eq!(policy.health.slow_whole, Some(Duration::from_secs(20)));
    assert_eq!(policy.health.degraded_below, 970, "at least that of `down`");
    let [openai, anthropic, groq] = &policy.providers[..] else { panic!() };
    assert_eq!(openai.probe, None);
    let probe = anthropic.probe.as_ref().unwrap();
    assert_eq!(
        (probe.pacing.every.as_secs(), probe.timeout.as_secs(), &*probe.path),
        (3, 1, "/health")
    );
    assert_eq!(groq.probe.as_ref().unwrap().timeout.as_secs(), 3, "never longer than the interval");
    assert_eq!(groq.region.as_deref(), Some("us"));
}

/// What the registry says, and what it doesn't, of every model in it: what is in its list it can, and
/// of the rest it can't; only of audio nothing is known but where it stands.
#[test]
fn policy_capabilities_of_every_model_that_is_known() {
    let text = include_str!("../../config/models.yaml");
    let written: serde_json::Value = serde_yaml::from_str(text).unwrap();
    let every = ["streaming", "tools", "vision", "json", "reasoning", "audio"];
    let registry = Registry::embedded();
    let models = written["models"].as_array().unwrap();
    assert_eq!(models.len(), registry.models.len());
    for (model, known) in models.iter().zip(&registry.models) {
        assert_eq!(model["id"].as_str(), Some(&*known.id));
        let listed: Vec<&str> = model["capabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let can = known.can().unwrap();
        for name in every {
            let need = Needs::from_name(name).unwrap();
            let expected = listed.contains(&name) || name == "audio";
            assert_eq!(can.contains(need), expected, "{}: {name}", known.id);
        }
        assert!(!known.is_free(), "{}", known.id);
    }
}

#[test]
fn policy_capabilities_of_own_models() {
    let own = |rest: &str| {
        let policy = parse(&format!("models: [{{ id: mine, provider: sim, {rest} }}]\n{TWO}"));
        policy.registry.model("mine").cloned().unwrap()
    };
    assert_eq!(own("size: tiny").can(), None, "nothing is written");
    assert_eq!(own("capabilities: []").can(), None);
    let hears = own("capabilities: [audio, vision]");
    assert_eq!(hears.capabilities, Some(Needs::AUDIO | Needs::VISION));
    assert_eq!(own("capabilities: [vision]").can(), hears.can());
    // One that hears makes no other deaf.
    let policy = parse(&format!(
        "models: [{{ id: mine, provider: sim, capabilities: [audio] }}]\n{TWO}routes: [{{ rules: [{{ when: {{ needs: audio }}, prefer: openai/gpt-5.6-sol }}], targets: [sim/mine] }}]"
    ));
    assert_eq!(policy.warnings, []);
    let wrong =
        told(&format!("models: [{{ id: mine, provider: sim, capabilities: [visoin] }}]\n{TWO}"));
    assert!(wrong.contains("`visoin`") && wrong.contains("did you mean `vision`?"), "{wrong}");
    // What is not said of a known model is as it was.
    let cheaper =
        parse(&format!("models: [{{ id: gpt-5.6-sol, provider: openai, free: true }}]\n{TWO}"));
    let before = Registry::embedded().model("gpt-5.6-sol").unwrap().clone();
    let after = cheaper.registry.model("gpt-5.6-sol").unwrap();
    assert_eq!((after.can(), after.is_free()), (before.can(), true));
}

#[test]
fn policy_free_models_and_providers() {
    let own = |rest: &str| {
        let policy = parse(&format!("models: [{{ id: mine, provider: sim, {rest} }}]\n{TWO}"));
        policy.registry.model("mine").unwrap().is_free()
    };
    assert!(own("price: { input: 0, output: 0 }"), "by its price");
    assert!(own("price: { input: 1, output: 2 }, free: true"), "by its word");
    assert!(!own("price: { input: 0, output: 2 }"));
    assert!(!own("size: tiny"), "what has no price may have one");
    let policy = parse("providers: { lab: { free: true, simulate: {} }, sim: { simulate: {} } }");
    let free: Vec<bool> = policy.providers.iter().map(|one| one.free).collect();
    assert_eq!(free, [true, false]);
}

#[test]
fn policy_broken_windows() {
    let window = |text: &str| format!("context_window: 128k, max_input: 100k, windows: [{text}]");
    for (model, right) in [
        (
            "windows: [{ header: x-b, value: a, tokens: 1M }]".to_owned(),
            "nothing says what the model takes without the header",
        ),
        (
            window("{ header: X-Tollway-Long, value: a, tokens: 1M }"),
            "is for Tollway alone, and no provider sees it",
        ),
        (window("{ header: x-tollway_long, value: a, tokens: 1M }"), "is for Tollway alone"),
        (
            window("{ header: authorization, value: '*', tokens: 1M }"),
            "it says who asks, and nothing of prompts",
        ),
        (
            window("{ header: x-b, value: a, tokens: 0 }"),
            "`0` is no more than the model takes without the header",
        ),
        (
            window("{ header: x-b, value: a, tokens: 100k }"),
            "`100k` is no more than the model takes without the header",
        ),
        (window("{ header: x-b, value: a, tokens: 100k }"), "expected more than 100000 tokens"),
        (
            window("{ header: x-b, value: a, tokens: 1M }, { header: X-B, value: a, tokens: 2M }"),
            "the same value of this header stands here twice",
        ),
    ] {
        let text = format!(
            "providers: {{ openai: {{}} }}\nmodels: [{{ id: my, provider: openai, {model} }}]\n"
        );
        let told = told(&text);
        assert!(told.contains(right), "{text}told:\n{told}");
        assert_eq!(told.matches("error:").count(), 1, "{told}");
    }
    let two = "{ header: x-b, value: a, tokens: 100001 }, { header: x-b, value: b, tokens: 1M }";
    let right = window(two);
    parse(&format!(
        "providers: {{ openai: {{}} }}\nmodels: [{{ id: my, provider: openai, {right} }}]\n"
    ));
}
