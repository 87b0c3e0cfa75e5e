use serde_json::json;

use super::query::decoded;
use crate::telemetry::{Decision, Decisions};

/// Which of the latest decisions are asked for: `?last=20&route=chat&target=groq/llama`.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    last: usize,
    route: Option<String>,
    target: Option<String>,
}

const USAGE: &str = "may be asked: last=N, route=NAME, target=PROVIDER or target=PROVIDER/MODEL\n";

impl Asked {
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut asked = Self { last: usize::MAX, route: None, target: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value).ok_or_else(|| format!("{name}: bad encoding\n"))?;
            match name {
                "last" => {
                    asked.last =
                        value.parse().map_err(|_| format!("last: not a number; {USAGE}"))?;
                }
                "route" => asked.route = Some(value),
                "target" => asked.target = Some(value),
                _ => return Err(format!("unknown: `{name}`; {USAGE}")),
            }
        }
        Ok(asked)
    }

    /// The latest first, as JSON.
    pub(super) fn among(&self, decisions: &Decisions) -> String {
        let latest = decisions.latest(usize::MAX);
        let wanted = latest.iter().filter(|one| self.wants(one)).take(self.last);
        json!({ "decisions": wanted.map(Decision::json).collect::<Vec<_>>() }).to_string()
    }

    fn wants(&self, decision: &Decision) -> bool {
        let of_route = self.route.as_ref().is_none_or(|route| **route == *decision.plan.route);
        let of_target = self.target.as_ref().is_none_or(|wanted| {
            let chosen = decision.target.as_ref().or(decision.chosen().map(|one| &one.target));
            chosen.is_some_and(|it| **it.provider() == **wanted || it.to_string() == *wanted)
        });
        of_route && of_target
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::{Candidate, Plan, Target};

    use super::*;

    #[test]
    fn questions_are_read_or_refused() {
        let asked = Asked::parse("last=3&route=a%20b+c&&target=groq%2fllama").unwrap();
        let expected =
            Asked { last: 3, route: Some("a b c".into()), target: Some("groq/llama".into()) };
        assert_eq!(asked, expected);
        for wrong in ["last=", "last=-1", "model=x", "route=%2", "route=%zz", "target=%ff"] {
            assert!(Asked::parse(wrong).unwrap_err().ends_with('\n'), "{wrong}");
        }
    }

    #[test]
    fn decisions_are_found_by_route_and_target() {
        let decision = |route: &str, provider: &str| {
            let target = Target::new(provider, "main", Some("m".into()));
            Decision::new(Plan::new(route, "cost", [Candidate::new(target, "lowest cost")]))
        };
        let all = [decision("a", "x"), decision("a", "y"), decision("b", "x")];
        let found = |query: &str| -> Vec<usize> {
            let asked = Asked::parse(query).unwrap();
            (0..all.len()).filter(|at| asked.wants(&all[*at])).collect()
        };
        assert_eq!(found(""), [0, 1, 2]);
        assert_eq!(found("route=a"), [0, 1]);
        assert_eq!(found("target=x"), [0, 2]);
        assert_eq!(found("target=y/m"), [1]);
        assert!(found("target=y/n").is_empty());
        assert_eq!(found("route=b&target=x/m"), [2]);
    }
}
