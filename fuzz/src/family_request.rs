//! Requests of Messages and generateContent: what is read of a body, the model put into body or
//! path, and whose call a path is.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde_json::Value;
use tollway_core::{Ask, Dialect, Operation};
use tollway_dialect::{
    BadRequest, ErrorReply, anthropic,
    gemini::{self, Call},
    recognize,
};

/// Has to be written with escapes, and is in no sample.
const MODEL: &str = "q\"\\\u{e9}/other";

/// The first byte's top bit says which family's body it is; or it is a path.
pub fn check(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    match first {
        b'/' => path(data),
        0x80.. => messages(text),
        _ => generate(text),
    }
}

fn messages(text: &[u8]) {
    let (ask, edits) = match anthropic::request::read(Operation::Messages, text) {
        Ok(read) => read,
        Err(refused) => return is_proper(&refused),
    };
    is_sound(&ask, text, Dialect::Anthropic);
    let body = Bytes::copy_from_slice(text);
    assert_eq!(edits.apply(&body, None, true).as_ptr(), body.as_ptr(), "copied for nothing");
    let out = edits.apply(&body, Some(MODEL), true);
    let (again, _) = anthropic::request::read(Operation::Messages, &out).expect("it was right");
    assert_eq!(again, ask.with_model(MODEL));
    if let (Ok(mut before), Ok(after)) =
        (serde_json::from_slice::<Value>(text), serde_json::from_slice::<Value>(&out))
    {
        before["model"] = MODEL.into();
        assert_eq!(before, after, "more than the model has changed");
    }
}

fn generate(text: &[u8]) {
    let call = Call::of("/v1beta/models/m:streamGenerateContent").expect("it is one");
    match gemini::request::read(&call, text) {
        Ok(ask) => {
            assert!(ask.stream && ask.choices > 0 && ask.model() == Some("m"));
            is_sound(&ask, text, Dialect::Gemini);
        }
        Err(refused) => is_proper(&refused),
    }
}

fn is_sound(ask: &Ask, text: &[u8], dialect: Dialect) {
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok(), "no JSON, but read");
    assert!(ask.dialect == dialect && ask.choices > 0);
    let named = ask.model().unwrap_or_default();
    assert!(!named.is_empty() && named.len() <= 256 && !named.chars().any(char::is_control));
}

fn is_proper(refused: &BadRequest) {
    assert!(refused.status().is_client_error() && !refused.message().is_empty());
    for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
        let body = ErrorReply::of_request(refused).body_in(dialect);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["error"]["message"], refused.message());
    }
}

fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (dialect, _) = recognize(&Method::POST, text, &HeaderMap::new());
    let Ok(uri) = text.parse::<Uri>() else { return };
    let Some(call) = Call::of(uri.path()) else { return };
    let read = recognize(&Method::POST, uri.path(), &HeaderMap::new());
    assert_eq!(read, (Dialect::Gemini, call.operation));
    assert_eq!(dialect, Dialect::Gemini);
    // Spelled in another way, it is the same call.
    let encoded: String = uri.path().chars().map(spelled).collect();
    assert_eq!(Call::of(&encoded), Some(call), "{encoded}");
}

/// Letters encoded, everything else as it is.
fn spelled(letter: char) -> String {
    match letter {
        // A digit may belong to an escape.
        'g'..='z' => format!("%{:02X}", u32::from(letter)),
        letter => letter.to_string(),
    }
}
