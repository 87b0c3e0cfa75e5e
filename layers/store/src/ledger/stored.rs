//! A row as JSON: how Redis keeps it and how it is shown.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use tollway_core::{Caller, Tags, Target, Usage, Usd};

use super::{
    Decided, Row,
    row::{ending_name, ending_of, micros},
};

type Text<'a> = Option<Cow<'a, str>>;

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    at: u64,
    request: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<std::net::IpAddr>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    operation: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked_model: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider_key: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<Tokens>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cost_nano_usd: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    attempts: u32,
    whole_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_token_us: Option<u64>,
    upstream_us: u64,
    ending: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strategy: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arm: Text<'a>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Tokens {
    input: u64,
    cached: u64,
    cache_write: u64,
    cache_write_1h: u64,
    input_audio: u64,
    output: u64,
    reasoning: u64,
    output_audio: u64,
    estimated: bool,
}

impl From<&Usage> for Tokens {
    fn from(of: &Usage) -> Self {
        Self {
            input: of.input,
            cached: of.cached,
            cache_write: of.cache_write,
            cache_write_1h: of.cache_write_1h,
            input_audio: of.input_audio,
            output: of.output,
            reasoning: of.reasoning,
            output_audio: of.output_audio,
            estimated: of.is_estimate(),
        }
    }
}

impl From<Tokens> for Usage {
    fn from(of: Tokens) -> Self {
        let mut usage = Self::new(of.input, of.output);
        usage.cached = of.cached;
        usage.cache_write = of.cache_write;
        usage.cache_write_1h = of.cache_write_1h;
        usage.input_audio = of.input_audio;
        usage.reasoning = of.reasoning;
        usage.output_audio = of.output_audio;
        if of.estimated { usage.estimated() } else { usage }
    }
}

fn text(text: Option<&std::sync::Arc<str>>) -> Text<'_> {
    text.map(|text| Cow::Borrowed(&**text))
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (caller, target) = (&self.caller, self.target.as_ref());
        let decision = self.decision.as_ref();
        let stored = Stored {
            at: self.at,
            request: self.request.to_string(),
            user: text(caller.user.as_ref()),
            key: text(caller.key.as_ref()),
            ip: caller.ip,
            tags: borrowed(&caller.tags),
            operation: Cow::Borrowed(&self.operation),
            asked_model: text(self.asked_model.as_ref()),
            provider: text(target.map(Target::provider)),
            provider_key: text(target.map(Target::key)),
            model: text(target.and_then(Target::model)),
            tokens: self.usage.as_ref().map(Into::into),
            cost_nano_usd: self.cost.map(Usd::nanos),
            status: self.status,
            attempts: self.attempts,
            whole_us: micros(self.whole),
            first_token_us: self.first_token.map(micros),
            upstream_us: micros(self.upstream),
            ending: Cow::Borrowed(ending_name(self.ending)),
            route: decision.map(|made| Cow::Borrowed(&*made.route)),
            rule: text(decision.and_then(|made| made.rule.as_ref())),
            strategy: decision.map(|made| Cow::Borrowed(&*made.strategy)),
            arm: text(decision.and_then(|made| made.arm.as_ref())),
        };
        stored.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(from)?;
        let request = stored.request.parse().map_err(D::Error::custom)?;
        let shared = |text: Text<'_>| text.map(|text| text.as_ref().into());
        let mut caller = Caller::default();
        caller.user = shared(stored.user);
        caller.key = shared(stored.key);
        caller.ip = stored.ip;
        caller.tags = stored.tags.iter().map(|(k, v)| (k.as_ref(), v.as_ref())).collect();
        let key = stored.provider_key.unwrap_or_default();
        let model = stored.model;
        let target = stored.provider.map(|provider| {
            Target::new(provider.as_ref(), key.as_ref(), model.map(|model| model.as_ref().into()))
        });
        let (rule, arm) = (shared(stored.rule), shared(stored.arm));
        let strategy = stored.strategy.unwrap_or_default().into_owned();
        let decision = stored.route.map(|route| Decided {
            route: route.as_ref().into(),
            rule,
            strategy: Cow::Owned(strategy),
            arm,
        });
        Ok(Self {
            caller,
            operation: Cow::Owned(stored.operation.into_owned()),
            asked_model: shared(stored.asked_model),
            target,
            usage: stored.tokens.map(Into::into),
            cost: stored.cost_nano_usd.map(Usd::from_nanos),
            status: stored.status,
            attempts: stored.attempts,
            whole: Duration::from_micros(stored.whole_us),
            first_token: stored.first_token_us.map(Duration::from_micros),
            upstream: Duration::from_micros(stored.upstream_us),
            decision,
            ..Self::new(stored.at, request, ending_of(&stored.ending))
        })
    }
}

fn borrowed(tags: &Tags) -> BTreeMap<Cow<'_, str>, Cow<'_, str>> {
    tags.iter().map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(&**value))).collect()
}

/// Tags as a JSON object; `None`: there are none.
#[cfg(feature = "sqlite")]
pub(crate) fn tags_to_json(tags: &Tags) -> Option<String> {
    let tags = borrowed(tags);
    if tags.is_empty() { None } else { serde_json::to_string(&tags).ok() }
}

#[cfg(feature = "sqlite")]
pub(crate) fn tags_from_json(text: &str) -> Tags {
    let tags: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
    tags.into_iter().collect()
}
