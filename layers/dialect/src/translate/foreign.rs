//! A conversation that was translated may come back to a provider that speaks the client's form:
//! then what is marked as another provider's reasoning must not reach it.

use bytes::Bytes;

use super::{
    Form,
    hub::{MARK, MARK_IN_BASE64},
};
use crate::json::{Json, Object};

/// Stands for a signature that there is none of (Gemini's documentation of thought signatures).
pub(crate) const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// The body without other providers' reasoning; `None` if there is none in it, which a search for
/// the mark tells in passing.
pub(crate) fn strip(body: &Bytes, form: Form) -> Option<Bytes> {
    let mark = match form {
        Form::Chat | Form::Responses | Form::Messages => MARK,
        Form::Generate => MARK_IN_BASE64,
    };
    memchr::memmem::find(body, mark.as_bytes())?;
    let Json::Object(mut request) = Json::read(body).ok()? else { return None };
    match form {
        Form::Chat => each(&mut request, "messages", |message| {
            // The field is Tollway's own.
            keep(message, "thinking_blocks", |block| {
                !(marked(block, "signature") || marked(block, "data"))
            });
            drop_empty(message, "thinking_blocks");
        }),
        Form::Responses => keep(&mut request, "input", |item| !marked(item, "encrypted_content")),
        Form::Messages => {
            each(&mut request, "messages", |message| {
                keep(message, "content", |block| {
                    let kind = block.str("type");
                    let thought = matches!(kind, Some("thinking" | "redacted_thinking"));
                    !(thought && (marked(block, "signature") || marked(block, "data")))
                });
                each(message, "content", |block| {
                    keep(block, "citations", |citation| !marked(citation, "encrypted_index"));
                    drop_empty(block, "citations");
                });
            });
            // A message of thoughts alone; an empty one is refused.
            keep(&mut request, "messages", |message| !is_empty(message.get("content")));
        }
        Form::Generate => each(&mut request, "contents", |content| {
            each(content, "parts", |part| {
                for (_, value) in part.iter_mut().filter(|(key, _)| is_signature(key)) {
                    if value.as_str().is_some_and(|text| text.starts_with(MARK_IN_BASE64)) {
                        *value = NO_SIGNATURE.into();
                    }
                }
            });
        }),
    }
    Some(Json::Object(request).to_vec().into())
}

fn is_signature(key: &str) -> bool {
    matches!(key, "thoughtSignature" | "thought_signature")
}

fn marked(object: &Object<'_>, key: &str) -> bool {
    object.str(key).is_some_and(|text| text.starts_with(MARK))
}

/// The objects in the array of this name.
fn each<'a>(object: &mut Object<'a>, key: &str, mut change: impl FnMut(&mut Object<'a>)) {
    for (_, value) in object.iter_mut().filter(|(name, _)| *name == key) {
        let Some(items) = value.as_array_mut() else { continue };
        items.iter_mut().for_each(|item| {
            if let Json::Object(item) = item {
                change(item);
            }
        });
    }
}

fn is_empty(value: Option<&Json<'_>>) -> bool {
    value.and_then(Json::as_array).is_some_and(<[_]>::is_empty)
}

fn drop_empty(object: &mut Object<'_>, key: &str) {
    if is_empty(object.get(key)) {
        object.retain(|name| name != key);
    }
}

fn keep(object: &mut Object<'_>, key: &str, keep: impl Fn(&Object<'_>) -> bool) {
    for (_, value) in object.iter_mut().filter(|(name, _)| *name == key) {
        let Some(items) = value.as_array_mut() else { continue };
        items.retain(|item| item.as_object().is_none_or(&keep));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::hub::Signature;

    #[test]
    fn only_what_is_marked_goes() {
        let foreign = Signature::new(Form::Generate, "AA==").text(Form::Messages);
        let body = format!(
            r#"{{"x":1.50,"messages":[{{"role":"assistant","content":[{{"type":"thinking","thinking":"a","signature":"{foreign}"}},{{"type":"thinking","thinking":"b","signature":"own"}},{{"type":"text","text":"tollway:"}}]}},{{"content":"tollway:"}}]}}"#
        );
        let stripped = strip(&body.into(), Form::Messages).unwrap();
        assert_eq!(
            stripped,
            r#"{"x":1.5,"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"b","signature":"own"},{"type":"text","text":"tollway:"}]},{"content":"tollway:"}]}"#
        );
    }

    #[test]
    fn a_citation_without_proof_goes_and_a_message_of_which_nothing_is_left() {
        let mark = Signature::unsigned().text(Form::Messages);
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":"a"}},{{"role":"assistant","content":[{{"type":"thinking","thinking":"b","signature":"{mark}"}}]}},{{"role":"assistant","content":[{{"type":"text","text":"c","citations":[{{"encrypted_index":"{mark}"}}]}},{{"type":"text","text":"d","citations":[{{"encrypted_index":"own"}},{{"encrypted_index":"{mark}"}}]}}]}}]}}"#
        );
        assert_eq!(
            strip(&body.into(), Form::Messages).unwrap(),
            r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"text","text":"c"},{"type":"text","text":"d","citations":[{"encrypted_index":"own"}]}]}]}"#
        );
    }

    #[test]
    fn openais_apis_get_no_thought_of_others() {
        let mark = Signature::new(Form::Generate, "AA==").text(Form::Chat);
        let body = format!(
            r#"{{"messages":[{{"role":"assistant","content":"a","thinking_blocks":[{{"type":"thinking","thinking":"b","signature":"{mark}"}}]}}]}}"#
        );
        assert_eq!(
            strip(&body.into(), Form::Chat).unwrap(),
            r#"{"messages":[{"role":"assistant","content":"a"}]}"#
        );
        let mark = Signature::unsigned().text(Form::Responses);
        let body = format!(
            r#"{{"input":[{{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"{mark}"}},{{"role":"user","content":"a"}}]}}"#
        );
        assert_eq!(
            strip(&body.into(), Form::Responses).unwrap(),
            r#"{"input":[{"role":"user","content":"a"}]}"#
        );
    }

    #[test]
    fn gemini_gets_its_placeholder() {
        let foreign = Signature::new(Form::Messages, "AA==").text(Form::Generate);
        let body = format!(
            r#"{{"contents":[{{"parts":[{{"functionCall":{{}},"thoughtSignature":"{foreign}"}}]}}]}}"#
        );
        let stripped = strip(&body.into(), Form::Generate).unwrap();
        let expected = r#"{"contents":[{"parts":[{"functionCall":{},"thoughtSignature":"skip_thought_signature_validator"}]}]}"#;
        assert_eq!(stripped, expected);
    }

    #[test]
    fn what_has_no_mark_is_not_even_read() {
        assert!(strip(&Bytes::from_static(b"{\"messages\": broken"), Form::Messages).is_none());
    }
}
