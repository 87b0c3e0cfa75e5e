//! Where a request was sent and why: as a header's line and as JSON.

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use serde_json::{Value, json};
use tollway_core::{Candidate, PerMille, Plan, Target, Usd};
use tollway_retry::Attempts;

use super::RequestId;
use crate::policy::Tell;

/// Whether a plan is told of on its reply and counted.
pub(crate) fn is_told(tell: Tell, plan: &Plan) -> bool {
    tell == Tell::Always || plan.chosen
}

/// A decision, and what became of it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// As it was made.
    pub plan: Plan,
    /// What was left of the plan after the last failure.
    pub rescored: Option<Plan>,
    /// All attempts, where there was more than one or the only one failed.
    pub attempts: Option<Attempts>,
    /// Who gave the reply, else who was asked last; `None`: nobody was.
    pub target: Option<Target>,
    /// What makes the request look as hard as it does.
    pub judgement: Option<String>,
    /// `None`: no request was sent, or none has ended.
    pub outcome: Option<Outcome>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its id.
    pub request: RequestId,
    /// When it ended.
    pub at: SystemTime,
    /// Who asked.
    pub user: Option<Arc<str>>,
    /// The model that was asked for.
    pub model: Option<Arc<str>>,
    /// Of the reply; `None`: the client left before.
    pub status: Option<u16>,
    /// The reply broke off.
    pub failed: bool,
    /// What it cost, where that is known.
    pub cost: Option<Usd>,
    /// From the request's head to the first content token.
    pub first_token: Option<Duration>,
    /// From the request's head to the reply's end.
    pub whole: Duration,
}

impl Decision {
    /// A decision of which nothing has become yet.
    pub fn new(plan: Plan) -> Self {
        Self { plan, rescored: None, attempts: None, target: None, judgement: None, outcome: None }
    }

    /// Whether it is told of on its reply and counted: by its plan, or by what was left of it.
    pub(super) fn is_told(&self, tell: Tell) -> bool {
        is_told(tell, &self.plan) || self.rescored.as_ref().is_some_and(|rest| rest.chosen)
    }

    /// The plan that chose last.
    fn latest(&self) -> &Plan {
        self.rescored.as_ref().unwrap_or(&self.plan)
    }

    /// Who replied or was asked last, else who was chosen, as the plan that named it last saw it.
    pub fn chosen(&self) -> Option<&Candidate> {
        match &self.target {
            None => self.latest().candidates.first(),
            Some(target) => self.candidate(target),
        }
    }

    /// A target as the plan that named it last saw it.
    fn candidate(&self, target: &Target) -> Option<&Candidate> {
        let plans = [self.rescored.as_ref(), Some(&self.plan)].into_iter().flatten();
        plans.filter_map(|plan| plan.candidate(target)).next()
    }

    fn arm_of(&self, target: &Target) -> Option<&str> {
        self.candidate(target)?.arm.as_deref()
    }

    /// The arm of an A/B split that the reply came from, else the one that was chosen.
    pub fn arm(&self) -> Option<&Arc<str>> {
        self.chosen()?.arm.as_ref()
    }

    /// Why it is the one that [`chosen`](Self::chosen) names.
    pub fn reason(&self) -> String {
        let first = self.latest().candidates.first();
        match self.chosen() {
            Some(chosen) if Some(&chosen.target) != first.map(|first| &first.target) => {
                format!("{}: {}", chosen.target, chosen.reason)
            }
            _ => self.latest().sentence().to_string(),
        }
    }

    /// The decision as one line: a dictionary of structured fields (RFC 8941).
    pub fn line(&self) -> String {
        let (plan, chosen) = (self.latest(), self.chosen());
        let mut line = String::with_capacity(512);
        let target = self.target.as_ref().or(chosen.map(|chosen| &chosen.target));
        push(&mut line, "target", target.map(Text));
        push(&mut line, "route", Some(Text(&plan.route)));
        push(&mut line, "rule", plan.rule.as_ref().map(Text));
        push(&mut line, "strategy", Some(plan.strategy));
        push(&mut line, "arm", self.arm().map(Text));
        push(&mut line, "complexity", plan.complexity);
        // Where nothing was compared there is none.
        let confidence = Some(plan.confidence).filter(|it| *it > PerMille::ZERO);
        push(&mut line, "confidence", confidence);
        let cost = chosen.and_then(|chosen| chosen.cost);
        push(&mut line, "cost-nano-usd", cost.map(|cost| cost.nanos().min(MOST)));
        let latency = chosen.and_then(|chosen| chosen.latency);
        push(&mut line, "latency-ms", latency.map(|it| it.as_millis().min(MOST.into())));
        push(&mut line, "tried", self.attempts.as_ref().map(|all| Tried(self, all)));
        push(&mut line, "reason", Some(Text(self.reason())));
        line
    }

    /// The same as a header's value.
    pub fn header(&self) -> HeaderValue {
        // Nothing but printable ASCII is ever pushed.
        HeaderValue::from_str(&self.line()).unwrap_or(HeaderValue::from_static(""))
    }

    /// All of it as JSON: what a dry run answers and the list of recent decisions shows.
    pub fn json(&self) -> Value {
        let (plan, chosen) = (self.latest(), self.chosen());
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let candidate = |one: &Candidate| {
            json!({
                "target": one.target.to_string(),
                "key": &**one.target.key(),
                "reason": one.reason,
                "score": one.score.map(|score| f64::from(score.get()) / 1e3),
                "cost_usd": one.cost.map(|cost| cost.to_string()),
                "latency_ms": one.latency.map(millis),
                "samples": one.samples,
                "arm": one.arm.as_deref(),
            })
        };
        let target = self.target.as_ref().or(chosen.map(|chosen| &chosen.target));
        let mut all = json!({
            "target": target.map(ToString::to_string),
            "key": target.map(|target| &**target.key()),
            "reason": self.reason(),
            "route": &*plan.route,
            "rule": plan.rule.as_deref(),
            "strategy": plan.strategy,
            "arm": self.arm().map(|arm| &**arm),
            "complexity": plan.complexity,
            "judgement": self.judgement,
            "confidence": f64::from(plan.confidence.get()) / 1e3,
            "estimate": {
                "cost_usd": chosen.and_then(|one| one.cost).map(|cost| cost.to_string()),
                "latency_ms": chosen.and_then(|one| one.latency).map(millis),
                "latency_of": if plan.first_token { "first_token" } else { "whole" },
                "samples": chosen.map(|one| one.samples),
            },
            "candidates": self.plan.candidates.iter().map(candidate).collect::<Vec<_>>(),
            "passed_over": plan.rejected.iter().map(|one| json!({
                "target": one.target.to_string(),
                "key": &**one.target.key(),
                "reason": one.reason,
            })).collect::<Vec<_>>(),
            "tried": self.attempts.as_ref().map(|all| all.iter().map(|one| json!({
                "target": one.target.as_ref().map(ToString::to_string),
                "key": one.target.as_ref().map(|target| &**target.key()),
                "arm": one.target.as_ref().and_then(|target| self.arm_of(target)),
                "status": one.status.map(|status| status.as_u16()),
                "failure": one.class.map(|class| class.as_str()),
                "waited_ms": millis(one.waited),
                "elapsed_ms": millis(one.elapsed),
            })).collect::<Vec<_>>()),
        });
        if let (Some(outcome), Value::Object(fields)) = (&self.outcome, &mut all) {
            let at = jiff::Timestamp::try_from(outcome.at);
            fields.insert(
                "outcome".into(),
                json!({
                    "request_id": outcome.request.to_string(),
                    "at": at.ok().map(|at| format!("{at:.3}")),
                    "user": outcome.user.as_deref(),
                    "asked_model": outcome.model.as_deref(),
                    "status": outcome.status,
                    "failed": outcome.failed,
                    "cost_usd": outcome.cost.map(|cost| cost.to_string()),
                    "first_token_ms": outcome.first_token.map(millis),
                    "whole_ms": millis(outcome.whole),
                }),
            );
        }
        all
    }
}

/// The largest integer of a structured field.
const MOST: u64 = 999_999_999_999_999;

fn push(line: &mut String, name: &str, value: Option<impl fmt::Display>) {
    let Some(value) = value else { return };
    if !line.is_empty() {
        line.push_str(", ");
    }
    line.push_str(name);
    line.push('=');
    let _ = write!(line, "{value}");
}

/// A string in quotes; what such a string can't hold becomes `?`.
struct Text<T>(T);

impl<T: fmt::Display> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write!(Quoted(f), "{}", self.0)?;
        f.write_char('"')
    }
}

/// What stands between the quotes.
struct Quoted<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Quoted<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
        // Nearly all are plain, and go in one piece.
        if text.bytes().all(plain) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(self.0, "\\{c}"),
            ' '..='~' => self.0.write_char(c),
            _ => self.0.write_char('?'),
        })
    }
}

/// Targets in the order they were tried, each with its status or failure, and its arm of a split.
struct Tried<'a>(&'a Decision, &'a Attempts);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('(')?;
        for (nth, one) in self.1.iter().enumerate() {
            let space = if nth > 0 { " " } else { "" };
            let target = one.target.as_ref().map(ToString::to_string).unwrap_or_default();
            write!(f, "{space}{}", Text(target))?;
            if let Some(status) = one.status {
                write!(f, ";status={}", status.as_u16())?;
            }
            if let Some(class) = one.class {
                write!(f, ";failure={}", class.as_str())?;
            }
            if let Some(arm) = one.target.as_ref().and_then(|target| self.0.arm_of(target)) {
                write!(f, ";arm={}", Text(arm.to_owned()))?;
            }
        }
        f.write_char(')')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let target = Target::new("groq", "main", Some("l\u{e9}\"a\\ma".into()));
        let first = Candidate {
            cost: Some(Usd::from_nanos(123)),
            latency: Some(Duration::from_millis(310)),
            samples: 7,
            ..Candidate::new(target, "lowest cost")
        };
        let plan = Plan::new("chat", "cost", [first]);
        Plan { confidence: PerMille::new(872), rule: Some("auto: simple".into()), ..plan }
    }

    #[test]
    fn a_line_is_a_dictionary_of_structured_fields() {
        assert_eq!(
            Decision::new(plan()).line(),
            r#"target="groq/l?\"a\\ma", route="chat", rule="auto: simple", strategy=cost, confidence=0.872, cost-nano-usd=123, latency-ms=310, reason="groq/l?\"a\\ma: lowest cost, 310 ms, about 0.000000123 USD; 7 samples; by rule `auto: simple`""#
        );
    }
}
