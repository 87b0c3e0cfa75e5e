use schemars::{Schema, SchemaGenerator, json_schema};

use crate::policy::{
    node::{Node, Value},
    read::{At, Read, Reader},
    section::section,
    values::*,
};

section! {
    /// A key of a provider, with its share.
    ProviderKeyWritten {
        /// The key: `${NAME}`, or `file:/path`.
        may api_key: Hidden,
        /// Its share of the provider's requests, beside the other keys. Default 1.
        may weight: Count,
    }
}

/// The secret alone, or with a weight. A simulated provider's keys need neither.
#[derive(Clone, Debug)]
pub(in crate::policy) struct KeyOrSecret(pub(in crate::policy) ProviderKeyWritten);

impl Read for KeyOrSecret {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Map(_) | Value::Null = node.value {
            return ProviderKeyWritten::read(node, path, reader).map(Self);
        }
        let api_key = Some(At::read(node, path, reader)?);
        Some(Self(ProviderKeyWritten { api_key, weight: None }))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let key = ProviderKeyWritten::schema(generator);
        let secret = <Hidden as Read>::schema(generator);
        json_schema!({ "anyOf": [secret, key] })
    }
}
