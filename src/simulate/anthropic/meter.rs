//! Counts a prompt as it is read, and notes where its prefixes to be cached end.

use std::time::Duration;

use serde_json::Value;

use super::{
    super::{
        random::hash,
        text::{MEDIA_TOKENS, message_tokens},
    },
    check::{Checked, at, given, object, one_of, only, plain, tag},
};

/// At most this many prefixes a request.
const POINTS: usize = 4;

/// How long a prefix is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ttl {
    FiveMinutes,
    OneHour,
}

impl Ttl {
    pub(super) fn duration(self) -> Duration {
        Duration::from_secs(if self == Self::OneHour { 3600 } else { 300 })
    }
}

/// A prefix of the prompt that is to be cached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) hash: u64,
    /// From the prompt's start.
    pub(super) tokens: u64,
    pub(super) ttl: Ttl,
}

#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Of the messages before this one.
    before: u64,
    /// Of this one; `None`: none has begun.
    bytes: Option<usize>,
    hash: u64,
    pub(super) points: Vec<Point>,
    /// The request caches nothing.
    idle: bool,
}

impl Meter {
    pub(super) fn new(idle: bool) -> Self {
        Self { idle, ..Self::default() }
    }

    /// Another message, or the system prompt.
    pub(super) fn begin(&mut self, what: &str) {
        self.before = self.tokens();
        self.bytes = Some(0);
        self.mix(what.as_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes = self.bytes.map(|bytes| bytes.saturating_add(text.len()));
    }

    /// An image or a document.
    pub(super) fn media(&mut self) {
        self.before = self.before.saturating_add(MEDIA_TOKENS);
    }

    pub(super) fn tokens(&self) -> u64 {
        self.before.saturating_add(self.bytes.map_or(0, message_tokens))
    }

    fn mix(&mut self, bytes: &[u8]) {
        if !self.idle {
            self.hash = hash(&(self.hash ^ hash(bytes)).to_be_bytes());
        }
    }

    /// The end of a block or a tool, which may be the end of a prefix.
    pub(super) fn block(&mut self, value: &Value, path: &str) -> Checked<()> {
        if self.idle {
            return Ok(());
        }
        let mut plain = value.clone();
        let mark = plain.as_object_mut().and_then(|fields| fields.remove("cache_control"));
        self.mix(plain.to_string().as_bytes());
        match mark {
            Some(mark) if !mark.is_null() => self.mark(&mark, &at(path, "cache_control")),
            _ => Ok(()),
        }
    }

    /// All so far is a prefix.
    pub(super) fn mark(&mut self, control: &Value, path: &str) -> Checked<()> {
        let control = object(control, path)?;
        only(control, path, &["type", "ttl"])?;
        tag(control, path, &["ephemeral"])?;
        let ttl = given(control, "ttl").map(|ttl| one_of(ttl, &at(path, "ttl"), &["5m", "1h"]));
        let ttl = if ttl.transpose()? == Some("1h") { Ttl::OneHour } else { Ttl::FiveMinutes };
        self.points.push(Point { hash: self.hash, tokens: self.tokens(), ttl });
        if self.points.len() > POINTS {
            let count = self.points.len();
            return Err(plain(format!(
                "A maximum of {POINTS} blocks with cache_control may be provided. Found {count}."
            )));
        }
        Ok(())
    }
}
