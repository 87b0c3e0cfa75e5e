//! Reading a request and changing it in place: every byte but those that are changed stays, and
//! the outcome is the same JSON but for the fields that were changed.

use bytes::Bytes;
use serde_json::{Value, json};
use tollway_core::{Ask, Operation};
use tollway_dialect::openai::{Edits, request};

/// Has to be written with escapes, and is in no sample.
const MODEL: &str = "q\"\\\u{e9}/other";

const OPERATIONS: [Operation; 5] = [
    Operation::ChatCompletions,
    Operation::Completions,
    Operation::Responses,
    Operation::Embeddings,
    Operation::Moderations,
];

/// The first byte says which call it is.
pub fn check(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let operation = OPERATIONS[usize::from(first & 0x7f) % OPERATIONS.len()];
    let read = request::read(operation, text);
    let (ask, edits) = match read {
        Ok(read) => read,
        Err(refused) => {
            let body: Value = serde_json::from_slice(&refused.to_body()).expect("JSON");
            assert_eq!(body["error"]["message"], refused.message());
            assert!(refused.status().is_client_error() && !refused.message().is_empty());
            return;
        }
    };
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok(), "no JSON, but read");
    assert!(ask.choices > 0 && ask.operation == operation);
    assert!(ask.model() != Some(""));
    let named = ask.model().unwrap_or_default();
    assert!(named.len() <= 256 && !named.chars().any(char::is_control), "{named:?}");
    // Half a letter was read as this; the name can't be looked for in the body by it.
    if named.contains(char::REPLACEMENT_CHARACTER) {
        return;
    }
    let body = Bytes::copy_from_slice(text);
    let same = edits.apply(&body, None, false);
    assert_eq!(same.as_ptr(), body.as_ptr(), "copied for nothing");
    let mut expected = serde_json::from_slice::<Value>(text).ok();
    let renamed = rename(&body, &ask, &edits, expected.as_mut());
    ask_for_usage(&body, &ask, &edits);
    ask_for_usage(&renamed.0, &renamed.1, &renamed.2);
    both(&body, &renamed.0, &renamed.2, &edits);
}

type Renamed = (Bytes, Ask, Edits);

fn rename(body: &Bytes, ask: &Ask, edits: &Edits, expected: Option<&mut Value>) -> Renamed {
    let out = edits.apply(body, Some(MODEL), false);
    let marker = Value::from(MODEL).to_string();
    let (again, edits) = request::read(ask.operation, &out).expect("it was right before");
    let Some(model) = ask.model() else {
        assert_eq!(out, body);
        return (out, again, edits);
    };
    assert_eq!(again, ask.clone().with_model(MODEL));
    let found: Vec<_> = positions(&out, marker.as_bytes()).collect();
    let at = found.into_iter().find(|at| {
        let after = &out[at + marker.len()..];
        let Some(end) = body.len().checked_sub(after.len()).filter(|end| end >= at) else {
            return false;
        };
        out[..*at] == body[..*at]
            && *after == body[end..]
            && serde_json::from_slice::<String>(&body[*at..end]).is_ok_and(|old| old == model)
    });
    assert!(at.is_some(), "other bytes changed: {}", String::from_utf8_lossy(&out));
    if let Some(expected) = expected {
        expected["model"] = MODEL.into();
        assert_eq!(serde_json::from_slice::<Value>(&out).ok().as_ref(), Some(&*expected));
    }
    (out, again, edits)
}

fn ask_for_usage(body: &Bytes, ask: &Ask, edits: &Edits) {
    let out = edits.apply(body, None, true);
    let (mut again, settled) = request::read(ask.operation, &out).expect("it was right before");
    assert!(again.wants_usage);
    again.wants_usage = ask.wants_usage;
    assert_eq!(again, *ask);
    let twice = settled.apply(&out, None, true);
    assert_eq!(twice.as_ptr(), out.as_ptr(), "asked twice");
    // One place changed: text was put in, or took the place of `null` or `false`.
    let before = body.iter().zip(&out).take_while(|(a, b)| a == b).count();
    let most = body.len() - before;
    let after = body.iter().rev().zip(out.iter().rev()).take(most).take_while(|(a, b)| a == b);
    let gone = most - after.count();
    assert!(gone <= 5 && (!ask.wants_usage || gone == 0), "{gone} bytes gone");
    assert!(out.len() <= body.len() + 45, "{} bytes more", out.len() - body.len());
    if let Ok(mut expected) = serde_json::from_slice::<Value>(body) {
        let options = &mut expected["stream_options"];
        if options.is_null() {
            *options = json!({});
        }
        options["include_usage"] = true.into();
        assert_eq!(serde_json::from_slice::<Value>(&out).ok(), Some(expected));
    }
}

/// Both changes at once are the two changes, one after the other.
fn both(body: &Bytes, renamed: &Bytes, after_rename: &Edits, edits: &Edits) {
    let at_once = edits.apply(body, Some(MODEL), true);
    assert_eq!(at_once, after_rename.apply(renamed, None, true));
}

fn positions<'a>(text: &'a [u8], part: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    text.windows(part.len()).enumerate().filter(move |(_, at)| *at == part).map(|(at, _)| at)
}
