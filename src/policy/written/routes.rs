use schemars::{Schema, SchemaGenerator, json_schema};

use crate::policy::{
    node::{Node, Value},
    read::{At, Named, OneOrMany, Read, Reader},
    section::section,
    values::*,
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
        /// failover (in order), round_robin or weighted. Default failover.
        may strategy: StrategyName,
        /// Where to: `openai`, `anthropic/claude-sonnet-5-5`, or with a weight `openai: 60`.
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

/// `provider`, `provider/model`, or one of these with a weight.
#[derive(Clone, Debug)]
pub(in crate::policy) struct TargetWritten {
    pub(in crate::policy) to: At<Text>,
    pub(in crate::policy) weight: Option<At<Count>>,
}

impl Read for TargetWritten {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Map(_) = &node.value else {
            return Some(Self { to: At::read(node, path, reader)?, weight: None });
        };
        let entries = reader.entries(node, path, "`provider/model: weight`")?;
        let [(name, span, weight)] = entries.as_slice() else {
            reader
                .error(node.span, path, "a target is one name and its weight")
                .help("write each target on its own line: `- openai/gpt-4o: 60`");
            return None;
        };
        let to = At { value: Text((*name).into()), span: *span, path: path.into() };
        Some(Self { to, weight: Some(At::read(weight, path, reader)?) })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let weight = <Count as Read>::schema(generator);
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "object", "additionalProperties": weight, "minProperties": 1, "maxProperties": 1 },
        ] })
    }
}
