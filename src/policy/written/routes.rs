use schemars::{Schema, SchemaGenerator, json_schema};

use crate::policy::{
    node::{Key, Node, Value},
    read::{At, List, Named, OneOrMany, Read, Reader},
    section::section,
    values::*,
    written::{RuleWritten, StrategyWritten},
};

section! {
    /// What becomes of what a provider's API has no place for, where a request is translated.
    TranslationWritten {
        /// What changes the answer's meaning: refuse (400, naming the field), or drop. What is
        /// dropped is told in `x-tollway-dropped`. Default refuse.
        may meaning: LossName,
        /// What doesn't: drop, or refuse. Default drop.
        may harmless: LossName,
    }
}

section! {
    /// What happens to streams.
    StreamsWritten {
        /// When the client leaves: cancel upstream, or drain what has begun, to know the usage.
        /// Default cancel.
        may on_hangup: HangupName,
        /// From when on a reply can't fail over: first_token or head. Default first_token.
        may commit: CommitName,
    }
}

section! {
    /// Which requests go where.
    RouteWritten {
        /// Its name in logs and metrics. Default: route-1, route-2...
        may name: Text,
        /// What a request has to be. Default: anything.
        may r#match: MatchWritten,
        /// Rules that are there already: budget, quality, vision, fast, auto. They come behind
        /// `rules`; a rule of the same name takes the place of theirs.
        may r#use: OneOrMany<SetName>,
        /// How the targets are ordered: failover, round_robin, weighted, least_busy, latency,
        /// cost, power_of_two, capability, or `{ score: { latency: 60, cost: 40 } }`, `{ affinity: user }`,
        /// `{ split: user }`, `{ nearest: { header: x-region } }`. Default failover.
        may strategy: StrategyWritten,
        /// What is preferred for which requests; the first rule that holds decides.
        may rules: List<RuleWritten>,
        /// Where to: `openai`, `anthropic/claude-sonnet-5-5`, with a weight `openai: 60`, or a
        /// group of targets `{ strategy: latency, targets: [...] }`.
        must targets: OneOrMany<TargetWritten>,
    }
}

section! {
    /// What a request has to be; every key has to match. `*` stands for any text.
    MatchWritten {
        /// Model names.
        may model: OneOrMany<Text>,
        /// Paths: `/v1/embeddings`.
        may path: OneOrMany<Text>,
        /// Headers and their values.
        may header: Named<Text>,
        /// Users or names of keys.
        may caller: OneOrMany<Text>,
        /// Tags of the caller's key.
        may tag: Named<Text>,
    }
}

/// `provider`, `provider/model`, one of these with a weight, or a group.
#[derive(Clone, Debug)]
pub(in crate::policy) enum TargetWritten {
    Place { to: At<Text>, weight: Option<At<Count>> },
    Group(Box<GroupWritten>),
}

section! {
    /// Targets that count as one. Groups nest to any depth.
    GroupWritten {
        /// Its name in decisions; an arm of a split needs one.
        may name: Text,
        /// How its targets are ordered, as of a route. Default failover.
        may strategy: StrategyWritten,
        /// Its share, where the strategy around it reads weights. Default 1.
        may weight: Count,
        /// The region that its targets are in. Default: their providers'.
        may region: Text,
        /// The targets.
        must targets: OneOrMany<TargetWritten>,
    }
}

/// Keys that only a group has; anything else in a target's map is a name and its weight.
const GROUP: [&str; 4] = ["strategy", "weight", "region", "targets"];

impl Read for TargetWritten {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Map(written) = &node.value else {
            return Some(Self::Place { to: At::read(node, path, reader)?, weight: None });
        };
        // `region: 60` is a provider of that name, as ever.
        let own = |key: &Key| GROUP.contains(&key.name.as_str());
        let group = match &written[..] {
            [(key, value)] => own(key) && !value.is_number(),
            several => several.iter().any(|(key, _)| own(key)),
        };
        if group {
            return GroupWritten::read(node, path, reader).map(|group| Self::Group(group.into()));
        }
        let entries = reader.entries(node, path, "`provider/model: weight`")?;
        let [(name, span, weight)] = entries.as_slice() else {
            reader
                .error(node.span, path, "a target is one name and its weight")
                .help("write each target on its own line: `- openai/gpt-4o: 60`");
            return None;
        };
        let to = At { value: Text((*name).into()), span: *span, path: path.into() };
        Some(Self::Place { to, weight: Some(At::read(weight, path, reader)?) })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let weight = <Count as Read>::schema(generator);
        let group = GroupWritten::schema(generator);
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "object", "additionalProperties": weight, "minProperties": 1, "maxProperties": 1 },
            group,
        ] })
    }
}
