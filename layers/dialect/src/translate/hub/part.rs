use std::borrow::Cow;

use super::Signature;
use crate::{
    BadRequest,
    json::{At, Json, Object},
};

/// One piece of a turn or of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part<'a> {
    pub(crate) body: Body<'a>,
    /// Anthropic's `cache_control`, also accepted from OpenAI clients; as it was written.
    pub(crate) cache_control: Option<Json<'a>>,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body<'a> {
    Text {
        text: Cow<'a, str>,
        citations: Vec<Citation<'a>>,
    },
    Image {
        source: Source<'a>,
        /// OpenAI's `detail`.
        detail: Option<Cow<'a, str>>,
    },
    /// A PDF, or plain text, to be read by the model.
    Document {
        source: Source<'a>,
        name: Option<Cow<'a, str>>,
    },
    Audio {
        /// Base64.
        data: Cow<'a, str>,
        /// `wav`, `mp3`: without `audio/`.
        format: Cow<'a, str>,
    },
    /// The model wants a tool called.
    ToolCall {
        /// `None` where the provider makes none; a writer that needs one makes it.
        id: Option<Cow<'a, str>>,
        name: Cow<'a, str>,
        arguments: Arguments<'a>,
        signature: Option<Signature<'a>>,
    },
    /// What the tool said.
    ToolResult {
        /// The call's id; Gemini may leave it out, then the `n`th result answers the `n`th call of
        /// that name.
        id: Option<Cow<'a, str>>,
        /// Of the tool; `None` where the form doesn't say, then the call of that id tells.
        name: Option<Cow<'a, str>>,
        /// Texts, images and documents.
        content: Vec<Part<'a>>,
        is_error: bool,
    },
    /// The model's reasoning, to be given back unchanged.
    Thinking {
        text: Cow<'a, str>,
        signature: Option<Signature<'a>>,
    },
    /// Reasoning that only the provider can read.
    Redacted(Signature<'a>),
    Refusal(Cow<'a, str>),
}

/// What a stretch of an answer is taken from; only web pages are known to more than one form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Citation<'a> {
    pub(crate) url: Cow<'a, str>,
    pub(crate) title: Option<Cow<'a, str>>,
    /// Where in the answer's text the stretch begins and ends, in characters.
    pub(crate) range: Option<(u64, u64)>,
    /// The words it is taken from.
    pub(crate) quote: Option<Cow<'a, str>>,
}

/// Where an image or a document is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source<'a> {
    Url(Cow<'a, str>),
    Data {
        /// `image/png`
        mime: Cow<'a, str>,
        /// Base64.
        data: Cow<'a, str>,
    },
    /// An id at one provider.
    File(Cow<'a, str>),
}

/// A tool call's arguments: OpenAI writes them as a string, which may be no JSON at all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arguments<'a> {
    Text(Cow<'a, str>),
    Value(Json<'a>),
}

/// What arguments that are no JSON object stand under where a form has an object for them: the name
/// by which Anthropic tells its clients to wrap them, so that its models know it.
pub(crate) const UNREADABLE: &str = "INVALID_JSON";

/// A call's id that is no longer than a provider takes: a longer one is told by its hash, which is
/// the same wherever the id is met.
pub(crate) fn bounded_id(id: Cow<'_, str>, most: usize) -> Cow<'_, str> {
    if id.len() <= most {
        return id;
    }
    // FNV-1a, of 64 bits.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("call_{hash:016x}").into()
}

impl<'a> Part<'a> {
    pub(crate) fn new(body: Body<'a>) -> Self {
        Self { body, cache_control: None }
    }

    pub(crate) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::new(Body::Text { text: text.into(), citations: Vec::new() })
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.body {
            Body::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

impl Body<'_> {
    /// Stands for a file in an answer, in a form whose answers have none.
    pub(crate) fn left_out(&self) -> &'static str {
        match self {
            Self::Image { .. } => "[An image was left out: this API has no place for it.]",
            _ => "[A file was left out: this API has no place for it.]",
        }
    }
}

impl<'a> Source<'a> {
    /// An URL as OpenAI's forms give it, which may be a `data:` URL (RFC 2397).
    pub(crate) fn from_url(url: Cow<'a, str>) -> Self {
        let found = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        let Some((mime, data)) = found else { return Self::Url(url) };
        let (mime, data) = (mime.len(), data.len());
        match url {
            Cow::Borrowed(url) => Self::Data {
                mime: Cow::Borrowed(&url[5..5 + mime]),
                data: Cow::Borrowed(&url[url.len() - data..]),
            },
            Cow::Owned(url) => Self::Data {
                mime: Cow::Owned(url[5..5 + mime].to_owned()),
                data: Cow::Owned(url[url.len() - data..].to_owned()),
            },
        }
    }

    /// The URL of OpenAI's forms; `None` for a file's id.
    pub(crate) fn into_url(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Url(url) => Some(url),
            Self::Data { mime, data } => Some(format!("data:{mime};base64,{data}").into()),
            Self::File(_) => None,
        }
    }
}

impl<'a> Arguments<'a> {
    /// As OpenAI writes them; what was no JSON object once comes back as it was.
    pub(crate) fn into_text(self) -> Cow<'a, str> {
        let value = match self {
            Self::Text(text) if text.trim().is_empty() => return Cow::Borrowed("{}"),
            Self::Text(text) => return text,
            Self::Value(value) => value,
        };
        let wrapped = value.as_object().filter(|object| object.iter().count() == 1);
        match wrapped.and_then(|object| object.str(UNREADABLE)) {
            Some(text) => Cow::Owned(text.to_owned()),
            None => Cow::Owned(value.to_text()),
        }
    }

    /// As the others' answers have them: an object, whatever the model wrote.
    pub(crate) fn into_object(self) -> Object<'a> {
        let text = match self {
            Self::Value(Json::Object(object)) => return object,
            Self::Value(other) => other.to_text().into(),
            Self::Text(text) => text,
        };
        if text.trim().is_empty() {
            return Object::new();
        }
        let read = match &text {
            Cow::Borrowed(text) => Json::read(text.as_bytes()),
            Cow::Owned(text) => Json::read(text.as_bytes()).map(Json::into_owned),
        };
        match read {
            Ok(Json::Object(object)) => object,
            _ => Object::new().with(UNREADABLE, text),
        }
    }

    /// As the others write them; text that is no JSON object can't be.
    pub(crate) fn into_value(self, at: &At<'_>) -> Result<Json<'a>, BadRequest> {
        let text = match self {
            Self::Value(value) => return Ok(value),
            Self::Text(text) => text,
        };
        if text.trim().is_empty() {
            return Ok(Object::new().into());
        }
        let value = match &text {
            Cow::Borrowed(text) => Json::read(text.as_bytes()),
            Cow::Owned(text) => Json::read(text.as_bytes()).map(Json::into_owned),
        };
        match value {
            Ok(value @ Json::Object(_)) => Ok(value),
            Ok(other) => Err(at.expected("a JSON object in a string", &other)),
            Err(error) => Err(at.bad(format_args!(
                "must hold a JSON object, but it can't be read: {error}. The provider that this \
                 request goes to takes tool arguments as an object"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_are_bounded_and_stay_apart() {
        let [a, b] = ["a", "b"].map(|letter| letter.repeat(70));
        let short = |id: &str| bounded_id(id.to_owned().into(), 64).into_owned();
        assert_eq!(short("call_1"), "call_1");
        assert_eq!(short(&a), short(&a));
        assert_ne!(short(&a), short(&b));
        assert_eq!(short(&a).len(), 21);
    }

    #[test]
    fn data_urls() {
        for url in [
            Cow::Borrowed("data:image/png;base64,AAAA"),
            Cow::Owned("data:image/png;base64,AAAA".to_owned()),
        ] {
            let source = Source::from_url(url.clone());
            assert_eq!(source, Source::Data { mime: "image/png".into(), data: "AAAA".into() });
            assert_eq!(source.into_url(), Some(url));
        }
        for url in ["https://x/a.png", "data:,x", "data:text/plain,a;base64"] {
            assert_eq!(Source::from_url(url.into()), Source::Url(url.into()));
        }
    }

    #[test]
    fn arguments_in_both_forms() {
        let at = At::Root.key("arguments");
        let text = |text| Arguments::Text(Cow::Borrowed(text));
        assert_eq!(text(" ").into_value(&at).unwrap().to_text(), "{}");
        assert_eq!(text("{\"a\": 1}").into_value(&at).unwrap().to_text(), "{\"a\":1}");
        assert!(text("[1]").into_value(&at).is_err());
        assert!(text("{").into_value(&at).is_err());
        assert_eq!(text("{").into_text(), "{");
        assert_eq!(text("").into_text(), "{}");
        for unreadable in ["{", "[1]", "x"] {
            let wrapped = text(unreadable).into_object();
            assert_eq!(wrapped.str(UNREADABLE), Some(unreadable));
            assert_eq!(Arguments::Value(wrapped.into()).into_text(), unreadable);
        }
    }
}
