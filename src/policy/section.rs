//! Sections of the policy: declared once, read and described from that.

/// Declares a section once: its keys are what the reader takes, what the schema lists and what
/// suggestions are made from.
macro_rules! section {
    ($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $help:literal])+ $need:ident $key:ident: $kind:ty,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default)]
        pub(in crate::policy) struct $name {
            $(pub(in crate::policy) $key: Option<$crate::policy::read::At<$kind>>,)+
        }

        impl $crate::policy::read::Read for $name {
            fn read(
                node: &$crate::policy::node::Node,
                path: &str,
                reader: &mut $crate::policy::read::Reader<'_>,
            ) -> Option<Self> {
                const KEYS: &[&str] = &[$($crate::policy::section::bare(stringify!($key))),+];
                let mut section = Self::default();
                $(let mut $key = false;)+
                for (key, span, value) in reader.entries(node, path, "keys and values")? {
                    let inner = $crate::policy::read::join(path, key);
                    $(if key == $crate::policy::section::bare(stringify!($key)) {
                        $key = true;
                        section.$key = $crate::policy::read::At::read(value, &inner, reader);
                        continue;
                    })+
                    // What it stands for is not missing.
                    let meant = reader.unknown_key(key, span, path, KEYS);
                    $($key |= meant == Some($crate::policy::section::bare(stringify!($key)));)+
                }
                $(if !$key && stringify!($need) == "must" {
                    let key = $crate::policy::section::bare(stringify!($key));
                    reader.error(node.span, path, format!("the key `{key}` is missing"));
                })+
                Some(section)
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut properties = serde_json::Map::new();
                let mut required: Vec<serde_json::Value> = vec![];
                $(
                    let mut schema = <$kind as $crate::policy::read::Read>::schema(generator);
                    let help = concat!($($help, "\n"),+);
                    schema.insert("description".into(), $crate::policy::section::tidy(help).into());
                    let key = $crate::policy::section::bare(stringify!($key));
                    if stringify!($need) == "must" {
                        required.push(key.into());
                    }
                    properties.insert(key.into(), schema.into());
                )+
                let mut schema = schemars::json_schema!({
                    "description": $crate::policy::section::tidy(concat!($($doc, "\n"),+)),
                    "type": ["object", "null"],
                    "additionalProperties": false,
                    "properties": properties,
                });
                if !required.is_empty() {
                    schema.insert("type".into(), "object".into());
                    schema.insert("required".into(), required.into());
                }
                schema
            }
        }
    };
}
pub(super) use section;

/// A key without the `r#` of a Rust keyword.
pub(super) const fn bare(key: &'static str) -> &'static str {
    match key.as_bytes() {
        [b'r', b'#', ..] => key.split_at(2).1,
        _ => key,
    }
}

/// A doc comment as one paragraph.
pub(super) fn tidy(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
