use http::HeaderName;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::policy::{
    node::{Node, Value},
    read::{At, Named, OneOrMany, Read, Reader, Scalar},
    section::section,
    values::*,
    written::TargetWritten,
};

section! {
    /// What is preferred for some requests.
    RuleWritten {
        /// Its name in decisions. Default: rule-1, rule-2...
        may name: Text,
        /// The requests; every key has to hold. Default: all.
        may when: WhenWritten,
        /// What comes first: targets, with weights or without, or the route's targets of a size:
        /// `{ size: [large, reasoning] }`, or `{ size: [[tiny, small], large] }` where the strategy
        /// compares tiny ones and small ones. The route's own targets stand behind it.
        may prefer: PreferWritten,
        /// How targets are ordered in place of the route's strategy; with a list of targets in
        /// `prefer`, how those are.
        may strategy: StrategyWritten,
        /// Targets that cost nothing come first. Default false.
        may free_first: bool,
        /// Targets that would cost more USD come last.
        may max_cost: Money,
        /// Targets that would take longer come last.
        may max_latency: Time,
    }
}

section! {
    /// What a request has to be for a rule; every key has to hold.
    WhenWritten {
        /// All of these: vision, tools, json, reasoning, streaming, audio.
        may needs: OneOrMany<NeedName>,
        /// Tokens of the prompt: `>100k`, `1k..20k`.
        may input_tokens: Within<Count>,
        /// What the client is ready to pay (`x-tollway-max-cost`): `<0.01`.
        may max_cost: Within<Money>,
        /// How long the client is ready to wait (`x-tollway-max-latency`): `<2s`.
        may max_latency: Within<Time>,
        /// How hard it is, by `routing.auto`: simple, moderate or complex; one of these.
        may complexity: OneOrMany<ComplexityName>,
        /// Whether it reads as if it took thinking, by `routing.auto`.
        may reasoning: bool,
        /// How long the prompt is: tiny (under 200 tokens), small (2k), medium (20k), large (100k)
        /// or huge; one of these.
        may size: OneOrMany<PromptSizeName>,
        /// What the client says it is for (`x-tollway-task`, else `metadata.task` in the body); one
        /// of these, `*` stands for any text.
        may task: OneOrMany<Text>,
        /// Users or names of keys; one of these.
        may caller: OneOrMany<Text>,
        /// Tags of the caller's key.
        may tag: Named<Text>,
        /// Hours of the week in the policy's time zone; one of these: `mon-fri 08:00-18:00`.
        may time: OneOrMany<Hours>,
    }
}

/// Targets, or sizes of the route's targets.
#[derive(Clone, Debug)]
pub(in crate::policy) enum PreferWritten {
    Targets(OneOrMany<TargetWritten>),
    Sizes(At<OneOrMany<OneOrMany<SizeName>>>),
}

section! {
    /// The route's targets of a size.
    SizesWritten {
        /// tiny, small, large or reasoning; the one to try first stands first. Those in a list of
        /// their own count as one, of which the strategy compares all targets; failover and
        /// capability, which compare nothing, take them in turn.
        must size: OneOrMany<OneOrMany<SizeName>>,
    }
}

impl Read for PreferWritten {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(entries) if entries.iter().any(|(key, _)| key.name == "size") => {
                SizesWritten::read(node, path, reader)?.size.map(Self::Sizes)
            }
            _ => OneOrMany::read(node, path, reader).map(Self::Targets),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let sizes = SizesWritten::schema(generator);
        let targets = OneOrMany::<TargetWritten>::schema(generator);
        json_schema!({ "anyOf": [sizes, targets] })
    }
}

/// A name, or one of the strategies that need more than that.
#[derive(Clone, Debug)]
pub(in crate::policy) enum StrategyWritten {
    Name(StrategyName),
    Latency(At<TimingName>),
    Score(At<ScoreWritten>),
    Affinity(At<Sticky<AffinityName>>),
    Split(At<Sticky<SplitName>>),
    Nearest(At<NearestWritten>),
}

section! {
    /// A strategy that needs more than a name; exactly one of these.
    StrategyMapWritten {
        /// Lowest 95th percentile of the time to the first token, or to the whole reply.
        may latency: TimingName,
        /// Latency and cost together, by these shares.
        may score: ScoreWritten,
        /// The same target for the same user, prompt or header, so that providers' caches hit.
        may affinity: Sticky<AffinityName>,
        /// An A/B test: each user, or value of a header, keeps its arm.
        may split: Sticky<SplitName>,
        /// The targets nearest to the caller first.
        may nearest: NearestWritten,
    }
}

section! {
    /// What latency and cost count.
    ScoreWritten {
        /// Share of latency.
        may latency: Count,
        /// Share of cost.
        may cost: Count,
    }
}

section! {
    /// Where callers are, and what is near to them.
    NearestWritten {
        /// The header that names the caller's region.
        may header: HeaderName,
        /// The tag of the caller's key that names it, where the header doesn't.
        may tag: Text,
        /// The region of all others.
        may default: Text,
        /// What comes next behind the caller's own region, the nearest first: `{ eu: [us, asia] }`.
        may order: Named<OneOrMany<Text>>,
    }
}

section! {
    /// A header.
    HeaderWritten {
        /// Its name.
        must header: HeaderName,
    }
}

/// One of a few names, or `{ header: NAME }`.
#[derive(Clone, Debug)]
pub(in crate::policy) enum Sticky<T> {
    Name(T),
    Header(HeaderName),
}

impl<T: Scalar> Read for Sticky<T> {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Map(_) = node.value {
            let header = HeaderWritten::read(node, path, reader)?.header?;
            return Some(Self::Header(header.value));
        }
        T::read(node, path, reader).map(Self::Name)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let name = <T as Read>::schema(generator);
        let header = HeaderWritten::schema(generator);
        json_schema!({ "anyOf": [name, header] })
    }
}

const ONE_STRATEGY: &str = "one of: latency, score, affinity, split, nearest";
const EVERY_STRATEGY: &str = "one of: failover, round_robin, weighted, least_busy, latency, cost, power_of_two, capability, or a section with score, affinity, split or nearest";

impl Read for StrategyWritten {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            return name(node, path, reader).map(Self::Name);
        };
        let before = reader.count();
        let map = StrategyMapWritten::read(node, path, reader)?;
        let mut all = [
            map.latency.map(Self::Latency),
            map.score.map(Self::Score),
            map.affinity.map(Self::Affinity),
            map.split.map(Self::Split),
            map.nearest.map(Self::Nearest),
        ]
        .into_iter()
        .flatten();
        match (all.next(), all.next()) {
            (Some(one), None) => return Some(one),
            _ if reader.count() > before => {}
            _ => {
                let message = match entries.len() {
                    0 => "there is no strategy here".to_owned(),
                    many => format!("{many} strategies at once"),
                };
                reader.error(node.span, path, message).expected(ONE_STRATEGY);
            }
        }
        None
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let name = <StrategyName as Read>::schema(generator);
        let map = StrategyMapWritten::schema(generator);
        json_schema!({ "anyOf": [name, map] })
    }
}

fn name(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<StrategyName> {
    let value = reader.scalar(node, path, EVERY_STRATEGY, false)?;
    let text = At { value, span: node.span, path: path.into() };
    if let Ok(name) = StrategyName::parse(text.value.trim()) {
        return Some(name);
    }
    let quote = reader.quote(&text);
    match shape(text.value.trim()) {
        Some(shape) => reader
            .wrong(&text, format!("`{quote}` needs to know more"))
            .help(format!("write it like `strategy: {shape}`")),
        None => {
            let more = ["score", "affinity", "split", "nearest"];
            let names = StrategyName::NAMES.iter().copied().chain(more);
            let said = reader.wrong(&text, format!("`{quote}` is no strategy"));
            said.expected(EVERY_STRATEGY).did_you_mean(&quote, names.collect::<Vec<_>>())
        }
    };
    None
}

/// How a strategy is written that is more than its name.
fn shape(name: &str) -> Option<&'static str> {
    Some(match name {
        "score" => "{ score: { latency: 60, cost: 40 } }",
        "affinity" => "{ affinity: user }",
        "split" => "{ split: user }",
        "nearest" => "{ nearest: { header: x-region } }",
        _ => return None,
    })
}
