//! Names, places, and other things that are one of a few.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Uri};
use ipnet::IpNet;
use schemars::{Schema, json_schema};

use super::{Share, pattern};
use crate::policy::read::Scalar;

/// Declares a value that is one of a few names.
macro_rules! one_of {
    ($(#[doc = $doc:literal])+ $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::policy) enum $name { $($variant,)+ }

        impl Scalar for $name {
            const EXPECTED: &'static str =
                concat!("one of: ", one_of!(@list $($word)+));
            const NAMES: &'static [&'static str] = &[$($word),+];

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err("is not a choice here".into()),
                }
            }

            fn schema() -> Schema {
                json_schema!({ "enum": Self::NAMES })
            }
        }
    };
    (@list $first:literal $($word:literal)*) => { concat!($first $(, ", ", $word)*) };
}
pub(super) use one_of;

one_of!(
    /// Shape of a log line.
    LogFormatName { Json = "json", Pretty = "pretty", }
);
one_of!(
    /// A wire protocol.
    DialectName { OpenAi = "openai", Anthropic = "anthropic", Gemini = "gemini", }
);
one_of!(
    /// One of the four APIs that are translated between.
    FormName {
        Chat = "chat", Responses = "responses", Messages = "messages", Generate = "generate",
    }
);
one_of!(
    /// How a model is told how much to think.
    ReasoningName {
        None = "none", Effort = "effort", Switch = "switch", Adaptive = "adaptive",
        Budget = "budget", Level = "level",
    }
);
one_of!(
    /// What becomes of what can't be translated.
    LossName { Refuse = "refuse", Drop = "drop", }
);
one_of!(
    /// Use of HTTP/2.
    Http2Name { Auto = "auto", Only = "only", Never = "never", }
);
one_of!(
    /// Shape of a quota.
    ShapeName { Bucket = "bucket", Sliding = "sliding", Calendar = "calendar", }
);
one_of!(
    /// What a limit takes for a reply that is yet to come.
    ReserveName { Usual = "usual", Most = "most", }
);
one_of!(
    /// What a limit does while the store that instances share is away.
    AwayName { Local = "local", Open = "open", Closed = "closed", }
);
one_of!(
    /// What becomes of the upstream when the client leaves.
    HangupName { Cancel = "cancel", Drain = "drain", }
);
one_of!(
    /// From when on a reply is final.
    CommitName { FirstToken = "first_token", Head = "head", }
);
one_of!(
    /// Whether a model still answers.
    StatusName { Active = "active", Deprecated = "deprecated", Retired = "retired", }
);
one_of!(
    /// A kind of failure.
    ClassName {
        RateLimit = "rate_limit", Quota = "quota", Overloaded = "overloaded", Server = "server",
        Timeout = "timeout", Network = "network", Auth = "auth", Invalid = "invalid",
        NotFound = "not_found", ContextLength = "context_length",
        ContentFilter = "content_filter", Cancelled = "cancelled",
    }
);

/// Declares a value that some other type's `FromStr` reads.
macro_rules! parsed {
    ($name:ty, $expected:literal, $not:literal) => {
        impl Scalar for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| $not.into())
            }

            fn schema() -> Schema {
                json_schema!({ "type": "string" })
            }
        }
    };
}

parsed!(
    SocketAddr,
    "an address and a port, such as 127.0.0.1:8080",
    "is not an address with a port"
);
parsed!(
    tollway_dialect::translate::Field,
    "a field that is translated, such as temperature or image_url",
    "is not the name of such a field"
);
parsed!(HeaderName, "the name of a header, such as x-user-id", "is not the name of a header");
parsed!(jiff::civil::Date, "a day, such as 2026-12-31", "is not a day");

/// A network or a single address.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Net(pub(in crate::policy) IpNet);

impl Scalar for Net {
    const EXPECTED: &'static str = "a network or an address, such as 10.0.0.0/8 or 192.0.2.7";

    fn parse(text: &str) -> Result<Self, String> {
        let net = text.parse().or_else(|_| text.parse().map(|one: std::net::IpAddr| one.into()));
        net.map(Self).map_err(|_| "is not a network".into())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// The value of a header; shown to nobody, as many carry credentials.
#[derive(Clone, Debug)]
pub(in crate::policy) struct HeaderText(pub(in crate::policy) HeaderValue);

impl Scalar for HeaderText {
    const EXPECTED: &'static str = "the value of a header, in plain characters";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let mut value: HeaderValue =
            text.parse().map_err(|_| "cannot be sent in a header".to_owned())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Where a provider is.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Url(pub(in crate::policy) Uri);

impl Scalar for Url {
    const EXPECTED: &'static str = "a URL such as https://api.example.com/v1";

    fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| "is not a URL")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("does not start with http:// or https://".into());
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("holds a user name: a key belongs into `api_key`".into());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("has a query or a fragment; paths are added to it".into());
        }
        Ok(Self(uri))
    }

    fn schema() -> Schema {
        pattern("^https?://[^@?#]+$")
    }
}

/// Where a caller's identity comes from.
#[derive(Clone, Debug)]
pub(in crate::policy) struct SourceName(pub(in crate::policy) crate::policy::Source);

impl Scalar for SourceName {
    const EXPECTED: &'static str = "one of: key, header NAME, provider_key, ip";
    const NAMES: &'static [&'static str] = &["key", "header", "provider_key", "ip"];

    fn parse(text: &str) -> Result<Self, String> {
        use crate::policy::Source;
        Ok(Self(match text.split_once(' ').unwrap_or((text, "")) {
            ("key", "") => Source::Key,
            ("provider_key", "") => Source::ProviderKey,
            ("ip", "") => Source::Ip,
            ("header", name) if !name.is_empty() => {
                Source::Header(name.trim().parse().map_err(|_| "names no header")?)
            }
            ("header", _) => return Err("does not say which header: `header x-user-id`".into()),
            _ => return Err("is not a way to tell callers".into()),
        }))
    }

    fn schema() -> Schema {
        pattern("^(key|provider_key|ip|header [A-Za-z0-9-]+)$")
    }
}

/// Whose requests share a bucket.
#[derive(Clone, Debug)]
pub(in crate::policy) struct ScopeName(pub(in crate::policy) crate::policy::Scope);

impl Scalar for ScopeName {
    const EXPECTED: &'static str =
        "one of: all, user, key, ip, provider, provider_key, model, tag NAME";
    const NAMES: &'static [&'static str] =
        &["all", "user", "key", "ip", "provider", "provider_key", "model", "tag"];

    fn parse(text: &str) -> Result<Self, String> {
        use crate::policy::Scope;
        Ok(Self(match text.split_once(' ').unwrap_or((text, "")) {
            ("all", "") => Scope::All,
            ("user", "") => Scope::User,
            ("key", "") => Scope::Key,
            ("ip", "") => Scope::Ip,
            ("provider", "") => Scope::Provider,
            ("provider_key", "") => Scope::ProviderKey,
            ("model", "") => Scope::Model,
            ("tag", name) if !name.is_empty() => Scope::Tag(name.trim().into()),
            ("tag", _) => return Err("does not say which tag: `tag team`".into()),
            _ => return Err("is not a scope".into()),
        }))
    }

    fn schema() -> Schema {
        pattern("^(all|user|key|ip|provider|provider_key|model|tag .+)$")
    }
}

/// How a credential is sent.
#[derive(Clone, Debug)]
pub(in crate::policy) enum AuthName {
    Bearer,
    Header(HeaderName),
    None,
    Passthrough,
}

impl Scalar for AuthName {
    const EXPECTED: &'static str = "one of: bearer, header NAME, none, passthrough";
    const NAMES: &'static [&'static str] = &["bearer", "header", "none", "passthrough"];

    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(' ').unwrap_or((text, "")) {
            ("bearer", "") => Self::Bearer,
            ("none", "") => Self::None,
            ("passthrough", "") => Self::Passthrough,
            ("header", name) if !name.is_empty() => {
                Self::Header(name.trim().parse().map_err(|_| "names no header")?)
            }
            _ => return Err("is not a way to send a key".into()),
        })
    }

    fn schema() -> Schema {
        pattern("^(bearer|none|passthrough|header [A-Za-z0-9-]+)$")
    }
}

/// How waits vary.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct JitterText(pub(in crate::policy) crate::policy::Jitter);

impl Scalar for JitterText {
    const EXPECTED: &'static str = "a percentage such as 25%, or one of: none, full, decorrelated";
    const NAMES: &'static [&'static str] = &["none", "full", "decorrelated"];

    fn parse(text: &str) -> Result<Self, String> {
        use crate::policy::Jitter;
        Ok(Self(match text {
            "none" => Jitter::None,
            "full" => Jitter::Full,
            "decorrelated" => Jitter::Decorrelated,
            _ => match Share::parse(text)?.0 {
                0.0 => Jitter::None,
                share => Jitter::Share(share),
            },
        }))
    }

    fn schema() -> Schema {
        pattern("^(none|full|decorrelated|[0-9.]+\\s*%)$")
    }
}

/// SHA-256 in hexadecimal.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Digest(pub(in crate::policy) [u8; 32]);

impl Scalar for Digest {
    const EXPECTED: &'static str = "64 hexadecimal digits, as `tollway keys new` prints them";
    /// Somebody may have put the key itself here.
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("is not a SHA-256".into());
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).map_err(|_| "is not a SHA-256")?;
        }
        Ok(Self(bytes))
    }

    fn schema() -> Schema {
        pattern("^[0-9a-fA-F]{64}$")
    }
}
