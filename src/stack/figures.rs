//! Figures of targets as JSON: shown by the admin listener, and read back by who asks why.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use tokio::time::Instant;
use tollway_core::{Target, Usd};
use tollway_pace::{GaugeStatus, KeyStatus};
use tollway_rate_limit::Standing;
use tollway_route::{
    Availability, Figures, Health, Live, Quantiles, TargetState, Track,
    facts::{GroupFacts, Snapshot, TargetFacts},
};

use super::{Stack, breaker::Circuit};

impl Stack {
    /// What is known of targets, of each and together by provider and by model, as JSON; sorted.
    pub fn show_targets(&self) -> String {
        let all = self.known_targets();
        let groups = |groups: &[GroupFacts]| groups.iter().map(group).collect::<Vec<_>>();
        json!({
            "targets": all.targets.iter().map(|facts| self.target(facts)).collect::<Vec<_>>(),
            "providers": groups(&all.providers),
            "models": groups(&all.models),
        })
        .to_string()
    }

    /// The figures of targets that routes name and of those that had traffic, as they are now.
    pub(super) fn known_targets(&self) -> Snapshot {
        let places = self.policy.routes.iter().flat_map(|route| route.places());
        let named: HashSet<_> =
            places.filter_map(|place| Some((&place.provider, place.model.as_ref()?))).collect();
        let listed = |model: &str| self.policy.registry.model(model).is_some();
        let is_named = |target: &Target| {
            target
                .model()
                .is_some_and(|model| named.contains(&(target.provider(), model)) || listed(model))
        };
        self.facts().snapshot(Instant::now(), is_named)
    }

    fn target(&self, facts: &TargetFacts) -> Value {
        let target = &facts.target;
        let mut shown = figures(&facts.figures);
        shown["provider"] = (&**target.provider()).into();
        shown["model"] = target.model().map(|model| &**model).into();
        shown["key"] = (&**target.key()).into();
        shown["out"] = self.decider.state().availability(target).reason().into();
        shown["issues"] = facts.issues.iter().map(ToString::to_string).collect();
        let error = |error: &tollway_route::facts::PastError| json!({ "class": error.class.as_str(), "seconds_ago": error.age.as_secs() });
        shown["errors"] = facts.errors.iter().map(error).collect();
        let room = self.decider.state().room(target);
        shown["limits"] = room.iter().map(|(limit, enforced)| room_of(limit, *enforced)).collect();
        shown["pacing"] = self.pacing().status(&Circuit::of(target)).map(|it| told(&it)).into();
        shown
    }
}

/// What is left of one of the policy's limits.
fn room_of(limit: &Standing, enforced: bool) -> Value {
    json!({
        "limit": &*limit.limit,
        "unit": limit.unit.as_str(),
        "capacity": limit.capacity,
        "remaining": limit.remaining,
        "waiting": limit.waiting,
        "full_in_seconds": limit.reset.map(|wait| wait.as_secs_f64()),
        "enforced": enforced,
    })
}

/// What is probably left of the provider's own.
fn told(status: &KeyStatus<Circuit>) -> Value {
    let gauge = |gauge: &GaugeStatus| json!({ "unit": gauge.unit.as_str(), "limit": gauge.limit, "remaining": gauge.remaining, "full_in_seconds": gauge.full_in.as_secs_f64() });
    json!({
        "limits": status.gauges.iter().map(gauge).collect::<Vec<_>>(),
        "blocked_for_seconds": status.blocked_for.map(|wait| wait.as_secs_f64()),
        "waiting": status.waiting,
    })
}

fn group(facts: &GroupFacts) -> Value {
    let mut shown = figures(&facts.figures);
    shown["name"] = (&*facts.name).into();
    shown["targets"] = facts.targets.into();
    shown
}

fn figures(figures: &Figures) -> Value {
    let times = |times: Option<Quantiles>| {
        times.map(
            |it| json!({ "p50": millis(it.p50), "p95": millis(it.p95), "p99": millis(it.p99) }),
        )
    };
    json!({
        "health": figures.health.as_str(),
        "samples": figures.samples,
        "first_token_ms": times(figures.first_token),
        "whole_ms": times(figures.whole),
        "peak_seconds": short(figures.peak_ewma),
        "success": short(figures.success),
        "tokens_per_second": figures.tokens_per_second.map(short),
        "cost_usd": figures.cost.map(|cost| cost.to_string()),
        "output_tokens": figures.output_tokens.map(short),
        "cached_share": short(figures.cached_share),
        "in_flight": figures.in_flight,
        "usual_in_flight": short(figures.usual_in_flight),
    })
}

#[expect(clippy::cast_precision_loss, reason = "whole nanoseconds for a hundred days")]
fn millis(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}

/// The shortest decimal that is read as the same number again.
fn short(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| number.into())
}

/// What was known of targets at some moment, by what [`Stack::show_targets`] gave then.
#[derive(Clone, Debug, Default)]
pub struct Facts(Arc<HashMap<Target, Saved>>);

#[derive(Clone, Debug)]
struct Saved {
    figures: Figures,
    out: Option<Availability>,
}

impl Facts {
    /// Reads them. What is not given of a target counts as not known, and nothing is known of targets
    /// that are not there.
    ///
    /// # Errors
    ///
    /// It is not such a JSON, or holds a key that means nothing.
    ///
    /// ```
    /// use tollway::stack::Facts;
    ///
    /// let text = r#"{"targets":[{"provider":"groq","samples":40,"whole_ms":{"p50":90,"p95":250,"p99":400}}]}"#;
    /// assert!(Facts::parse(text).is_ok());
    /// assert!(Facts::parse(r#"{"targets":[{"provider":"groq","smaples":40}]}"#).is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let written: Written = serde_json::from_str(text)?;
        let each = written.targets.into_iter().map(|one| (one.target(), one.saved()));
        Ok(Self(Arc::new(each.collect())))
    }

    /// Of whom something is known, in no order.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.0.keys()
    }
}

impl Track for Facts {
    fn slot(&self, target: &Target) -> Arc<dyn Live> {
        match self.0.get(target) {
            Some(saved) => Arc::new(saved.clone()),
            None => Arc::new(()),
        }
    }
}

impl Live for Saved {
    fn figures(&self, _: Instant) -> Figures {
        self.figures
    }
}

impl TargetState for Facts {
    fn availability(&self, target: &Target) -> Availability {
        self.0.get(target).and_then(|saved| saved.out).unwrap_or(Availability::Ready)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    targets: Vec<WrittenTarget>,
    #[serde(default, rename = "providers")]
    _providers: IgnoredAny,
    #[serde(default, rename = "models")]
    _models: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTarget {
    provider: String,
    #[serde(default)]
    model: Option<String>,
    #[serde(default = "default_key")]
    key: String,
    #[serde(default)]
    health: WrittenHealth,
    #[serde(default)]
    out: Option<String>,
    #[serde(default)]
    samples: u32,
    #[serde(default)]
    first_token_ms: Option<WrittenTimes>,
    #[serde(default)]
    whole_ms: Option<WrittenTimes>,
    #[serde(default)]
    peak_seconds: f32,
    #[serde(default = "all")]
    success: f32,
    #[serde(default)]
    tokens_per_second: Option<f32>,
    #[serde(default)]
    cost_usd: Option<WrittenUsd>,
    #[serde(default)]
    output_tokens: Option<f32>,
    #[serde(default)]
    cached_share: f32,
    #[serde(default)]
    in_flight: u32,
    #[serde(default)]
    usual_in_flight: f32,
    #[serde(default, rename = "issues")]
    _issues: IgnoredAny,
    #[serde(default, rename = "errors")]
    _errors: IgnoredAny,
    #[serde(default, rename = "limits")]
    _limits: IgnoredAny,
    #[serde(default, rename = "pacing")]
    _pacing: IgnoredAny,
}

fn default_key() -> String {
    "default".to_owned()
}

fn all() -> f32 {
    1.0
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenHealth {
    #[default]
    Healthy,
    Degraded,
    Down,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTimes {
    p50: Millis,
    p95: Millis,
    p99: Millis,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct Millis(Duration);

impl TryFrom<f64> for Millis {
    type Error = &'static str;

    fn try_from(millis: f64) -> Result<Self, &'static str> {
        // A year and a day: sums of such times are far from overflow.
        if !(0.0..=3.2e10).contains(&millis) {
            return Err("expected milliseconds");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        Ok(Self(Duration::from_nanos((millis * 1e6).round() as u64)))
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct WrittenUsd(Usd);

impl TryFrom<String> for WrittenUsd {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        text.parse().map(Self).map_err(|_| "expected an amount in USD, as text")
    }
}

impl WrittenTarget {
    fn target(&self) -> Target {
        let model = self.model.as_deref().map(Into::into);
        Target::new(&*self.provider, &*self.key, model)
    }

    fn saved(&self) -> Saved {
        let times = |times: Option<WrittenTimes>| {
            times.map(|it| Quantiles { p50: it.p50.0, p95: it.p95.0, p99: it.p99.0 })
        };
        let figures = Figures {
            samples: self.samples,
            first_token: times(self.first_token_ms),
            whole: times(self.whole_ms),
            peak_ewma: self.peak_seconds,
            success: self.success,
            tokens_per_second: self.tokens_per_second,
            cost: self.cost_usd.map(|cost| cost.0),
            output_tokens: self.output_tokens,
            wordiness: None,
            cached_share: self.cached_share,
            in_flight: self.in_flight,
            usual_in_flight: self.usual_in_flight,
            // They are taken as they were when they were saved.
            stale: false,
            health: match self.health {
                WrittenHealth::Healthy => Health::Healthy,
                WrittenHealth::Degraded => Health::Degraded,
                WrittenHealth::Down => Health::Down,
            },
        };
        let outs = [Availability::BreakerOpen, Availability::LimitFull, Availability::KeyBenched];
        let out = self.out.as_deref().map(|said| {
            let known = outs.into_iter().find(|out| out.reason() == Some(said));
            known.unwrap_or(Availability::Out("out, by the figures given"))
        });
        Saved { figures, out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        let times = |ms: f64| {
            let part = |share: f64| Duration::from_secs_f64(ms * share / 1e3);
            Some(Quantiles { p50: part(0.5), p95: part(1.0), p99: part(1.7) })
        };
        let known = Figures {
            samples: 1240,
            first_token: times(310.017),
            whole: times(4_200.3),
            peak_ewma: 0.413,
            success: 0.987_654_3,
            tokens_per_second: Some(81.3),
            cost: Some("0.000123".parse().unwrap()),
            output_tokens: Some(80.1),
            wordiness: None,
            cached_share: 0.1,
            in_flight: 3,
            usual_in_flight: 2.2,
            stale: false,
            health: Health::Degraded,
        };
        let mut shown = figures(&known);
        for (name, text) in [("provider", "groq"), ("model", "llama"), ("key", "main")] {
            shown[name] = text.into();
        }
        shown["out"] = "breaker open".into();
        shown["issues"] = json!(["5 of the last 20 requests failed"]);
        (shown["limits"], shown["pacing"]) = (json!([{ "limit": "all" }]), json!({ "waiting": 1 }));
        let facts = Facts::parse(&json!({ "targets": [shown], "models": [] }).to_string()).unwrap();
        let target = Target::new("groq", "main", Some("llama".into()));
        assert_eq!(Track::slot(&facts, &target).figures(Instant::now()), known);
        assert_eq!(facts.availability(&target), Availability::BreakerOpen);
        let other = Target::new("groq", "spare", Some("llama".into()));
        assert_eq!(Track::slot(&facts, &other).figures(Instant::now()), Figures::default());
        assert_eq!(facts.availability(&other), Availability::Ready);
    }

    #[test]
    fn what_means_nothing_is_an_error() {
        for (text, said) in [
            ("{}", "targets"),
            (r#"{"targets":[{}]}"#, "provider"),
            (r#"{"targets":[{"provider":"a","colour":1}]}"#, "colour"),
            (r#"{"targets":[{"provider":"a","health":"ill"}]}"#, "ill"),
            (r#"{"targets":[{"provider":"a","cost_usd":"much"}]}"#, "USD"),
            (r#"{"targets":[{"provider":"a","whole_ms":{"p50":1,"p95":-2,"p99":3}}]}"#, "millis"),
        ] {
            let error = Facts::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
