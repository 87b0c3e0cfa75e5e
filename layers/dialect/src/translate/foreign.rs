//! A conversation that was translated may come back to a provider that speaks the client's form:
//! then what is marked as another provider's reasoning must not reach it.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use super::{
    Field, Form, Losses, Strictness, Translated,
    hub::{MARK, MARK_IN_BASE64, Signature},
};
use crate::{
    BadRequest,
    json::{Json, Object},
};

/// Stands for a signature that there is none of (Gemini's documentation of thought signatures).
pub(crate) const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Made once: that takes half as long as the search of a short body.
static FIND_MARK: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(MARK));
static FIND_MARK_IN_BASE64: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(MARK_IN_BASE64));

/// The body without other providers' reasoning, and what that was; `None` if there is none in it,
/// which a search for the mark tells in passing.
///
/// # Errors
///
/// It is not to be lost.
pub(crate) fn strip(
    body: &Bytes,
    form: Form,
    strictness: Strictness,
) -> Result<Option<Translated>, BadRequest> {
    let mark = match form {
        Form::Chat | Form::Responses | Form::Messages => &FIND_MARK,
        Form::Generate => &FIND_MARK_IN_BASE64,
    };
    if mark.find(body).is_none() {
        return Ok(None);
    }
    // What can't be read is for the provider to refuse.
    let Ok(Json::Object(mut request)) = Json::read(body) else { return Ok(None) };
    let mut gone = Gone { form, fields: Vec::new(), any: false };
    match form {
        Form::Chat => chat(&mut request, &mut gone),
        Form::Responses => keep(&mut request, "input", |item| {
            let said = item.get("summary").and_then(Json::as_array).is_some_and(|all| {
                all.iter().filter_map(Json::as_object).any(|piece| says(piece, "text"))
            });
            !gone.takes(item, &["encrypted_content"], said.then_some(Field::ThinkingText))
        }),
        Form::Messages => messages(&mut request, &mut gone),
        Form::Generate => generate(&mut request, &mut gone),
    }
    // The mark was in a text.
    if !gone.any {
        return Ok(None);
    }
    let mut losses = Losses::new(form, form, strictness);
    gone.fields.into_iter().try_for_each(|field| losses.lose(field))?;
    let body = Json::Object(request).to_vec().into();
    Ok(Some(Translated { body, dropped: losses.header() }))
}

/// What has been taken out.
struct Gone {
    form: Form,
    fields: Vec<Field>,
    any: bool,
}

impl Gone {
    /// Whether one of these members is a signature of another provider's: then the object has to
    /// go, and with it `said`, or at least the signature.
    fn takes(&mut self, object: &Object<'_>, keys: &[&str], said: Option<Field>) -> bool {
        let marked = keys.iter().filter_map(|key| object.str(key));
        let Some(text) = marked.into_iter().find(|text| text.starts_with(MARK)) else {
            return false;
        };
        self.any = true;
        // A mark of nothing is there for clients' sake.
        let signed = Signature::read(self.form, text.into()).some().map(|_| Field::Signature);
        self.fields.extend(said.or(signed));
        true
    }
}

/// The field is Tollway's own, and what is thought stands beside it once more.
fn chat(request: &mut Object<'_>, gone: &mut Gone) {
    keep(request, "messages", |message| {
        let told = says(message, "reasoning_content") || says(message, "reasoning");
        let mut taken = false;
        keep(message, "thinking_blocks", |block| {
            let said = (says(block, "thinking") && !told).then_some(Field::ThinkingText);
            let takes = gone.takes(block, &["signature", "data"], said);
            taken |= takes;
            !takes
        });
        drop_empty(message, "thinking_blocks");
        let nothing = |(key, value): (&str, &Json<'_>)| key == "role" || value.is_null();
        !(taken && message.iter().all(nothing))
    });
}

fn messages(request: &mut Object<'_>, gone: &mut Gone) {
    // Of the assistant's last message.
    let mut thoughtless = false;
    keep(request, "messages", |message| {
        let mut taken = false;
        keep(message, "content", |block| {
            let said = says(block, "thinking").then_some(Field::ThinkingText);
            let takes = is_thought(block) && gone.takes(block, &["signature", "data"], said);
            taken |= takes;
            !takes
        });
        each(message, "content", |block| {
            keep(block, "citations", |citation| {
                !gone.takes(citation, &["encrypted_index"], Some(Field::Citations))
            });
            drop_empty(block, "citations");
        });
        if message.str("role") == Some("assistant") {
            thoughtless = taken;
        }
        // A message of thoughts alone: an empty one is refused, and two of the user's are not.
        !(taken && is_empty(message.get("content")))
    });
    // A model amid its calls that is to think on has to be shown what it thought before them.
    let thinks = request.get("thinking").and_then(Json::as_object);
    if thinks.is_some_and(|thinks| thinks.str("type") == Some("enabled"))
        && thoughtless
        && is_amid_calls(request.get("messages"))
    {
        request.take("thinking");
        gone.fields.push(Field::Thinking);
    }
}

fn is_thought(block: &Object<'_>) -> bool {
    matches!(block.str("type"), Some("thinking" | "redacted_thinking"))
}

/// Whether a conversation ends with what tools said, and what asked for them begins with no thought.
fn is_amid_calls(messages: Option<&Json<'_>>) -> bool {
    let Some([.., Json::Object(asked), Json::Object(told)]) = messages.and_then(Json::as_array)
    else {
        return false;
    };
    let blocks = |message: &Object<'_>, is: &dyn Fn(&Object<'_>) -> bool| {
        let content = message.get("content").and_then(Json::as_array).unwrap_or_default();
        content.iter().filter_map(Json::as_object).map(is).collect::<Vec<_>>()
    };
    blocks(told, &|block| block.str("type") == Some("tool_result")).contains(&true)
        && blocks(asked, &is_thought).first() == Some(&false)
}

fn generate(request: &mut Object<'_>, gone: &mut Gone) {
    each(request, "contents", |content| {
        each(content, "parts", |part| {
            for (_, value) in part.iter_mut().filter(|(key, _)| is_signature(key)) {
                if value.as_str().is_some_and(|text| text.starts_with(MARK_IN_BASE64)) {
                    *value = NO_SIGNATURE.into();
                    gone.any = true;
                    gone.fields.push(Field::Signature);
                }
            }
        });
    });
}

fn is_signature(key: &str) -> bool {
    matches!(key, "thoughtSignature" | "thought_signature")
}

fn says(object: &Object<'_>, key: &str) -> bool {
    object.str(key).is_some_and(|text| !text.is_empty())
}

/// The objects in the array of this name.
fn each<'a>(object: &mut Object<'a>, key: &str, mut change: impl FnMut(&mut Object<'a>)) {
    keep(object, key, |item| {
        change(item);
        true
    });
}

fn is_empty(value: Option<&Json<'_>>) -> bool {
    value.and_then(Json::as_array).is_some_and(<[_]>::is_empty)
}

fn drop_empty(object: &mut Object<'_>, key: &str) {
    if is_empty(object.get(key)) {
        object.retain(|name| name != key);
    }
}

/// Those of the objects in the array of this name that are to be kept, and all that is no object.
fn keep<'a>(object: &mut Object<'a>, key: &str, mut keep: impl FnMut(&mut Object<'a>) -> bool) {
    for (_, value) in object.iter_mut().filter(|(name, _)| *name == key) {
        let Some(items) = value.as_array_mut() else { continue };
        items.retain_mut(|item| match item {
            Json::Object(item) => keep(item),
            _ => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn strip(body: &Bytes, form: Form) -> Option<Bytes> {
        told(body, form).map(|(body, _)| body)
    }

    fn told(body: &Bytes, form: Form) -> Option<(Bytes, String)> {
        let Translated { body, dropped } =
            super::strip(body, form, Strictness::default()).unwrap()?;
        Some((body, dropped.map_or(String::new(), |names| names.to_str().unwrap().to_owned())))
    }

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
    fn what_goes_is_told_or_refused() {
        let mark = |of: Form| Signature::new(Form::Messages, "AA==").text(of).into_owned();
        let gemini = Signature::new(Form::Messages, "AA==").text(Form::Generate).into_owned();
        let unsigned = Signature::unsigned().text(Form::Messages).into_owned();
        let theirs = Signature::new(Form::Generate, "AA==").text(Form::Messages).into_owned();
        let content =
            |block: Value| json!({"messages": [{"role": "assistant", "content": [block]}]});
        let thinking = |text: &str, signature: &str| {
            content(json!({"type": "thinking", "thinking": text, "signature": signature}))
        };
        let item = |summary: Value| json!({"input": [{"type": "reasoning", "summary": summary, "encrypted_content": mark(Form::Responses)}]});
        let blocks = json!([{"type": "thinking", "thinking": "t", "signature": theirs}]);
        let cited =
            json!({"type": "text", "text": "t", "citations": [{"encrypted_index": unsigned}]});
        for (form, body, expected) in [
            (Form::Messages, thinking("t", &theirs), "thinking"),
            (Form::Messages, thinking("t", &unsigned), "thinking"),
            (Form::Messages, thinking("", &theirs), "thinking.signature"),
            (Form::Messages, thinking("", &unsigned), ""),
            (
                Form::Messages,
                content(json!({"type": "redacted_thinking", "data": theirs})),
                "thinking.signature",
            ),
            (Form::Messages, content(cited), "citations"),
            (Form::Responses, item(json!([{"type": "summary_text", "text": "t"}])), "reasoning"),
            (Form::Responses, item(json!([])), "reasoning.encrypted_content"),
            (
                Form::Chat,
                json!({"messages": [{"role": "assistant", "content": "a", "thinking_blocks": blocks}]}),
                "reasoning_content",
            ),
            (
                Form::Chat,
                json!({"messages": [{"role": "assistant", "content": "a", "reasoning_content": "t", "thinking_blocks": blocks}]}),
                "thinking_blocks",
            ),
            (
                Form::Generate,
                json!({"contents": [{"parts": [{"text": "", "thoughtSignature": gemini}]}]}),
                "thoughtSignature",
            ),
        ] {
            let body = Bytes::from(body.to_string());
            let (_, dropped) = told(&body, form).unwrap();
            assert_eq!(dropped, expected, "{form}: {body:?}");
            let strict = Strictness { refuse_meaning: true, refuse_harmless: true };
            let refused = super::strip(&body, form, strict).err();
            let param = refused.as_ref().and_then(BadRequest::param).unwrap_or_default();
            assert_eq!(param, expected);
            assert!(refused.is_none_or(|refused| refused.message().contains("another provider")));
        }
    }

    #[test]
    fn what_is_left_is_valid() {
        let mark = Signature::new(Form::Generate, "AA==").text(Form::Messages).into_owned();
        let thought = json!({"type": "thinking", "thinking": "t", "signature": mark});
        let call = json!({"type": "tool_use", "id": "c", "name": "f", "input": {}});
        let result = json!({"type": "tool_result", "tool_use_id": "c", "content": "r"});
        let body = |thinking: &str, first: Value| {
            let thinking = json!({"type": thinking});
            json!({"messages": [
                {"role": "user", "content": []},
                {"role": "assistant", "content": [first, thought, call]},
                {"role": "user", "content": [result]},
            ], "thinking": thinking})
        };
        let own = json!({"type": "thinking", "thinking": "u", "signature": "own"});
        let text = json!({"type": "text", "text": "a"});
        for (thinking, first, kept) in
            [("enabled", &text, false), ("enabled", &own, true), ("adaptive", &text, true)]
        {
            let body = Bytes::from(body(thinking, first.clone()).to_string());
            let left: Value =
                serde_json::from_slice(&strip(&body, Form::Messages).unwrap()).unwrap();
            assert_eq!(left["messages"][1]["content"], json!([first, call]));
            // The client's own emptiness is its own affair.
            assert_eq!(left["messages"][0]["content"], json!([]));
            assert_eq!(left.get("thinking").is_some(), kept, "{thinking} after {first}");
        }
        let block = json!({"type": "thinking", "thinking": "t", "signature": mark});
        let message = json!({"role": "assistant", "content": null, "thinking_blocks": [block]});
        let body = json!({"messages": [message, {"role": "user", "content": "a"}]}).to_string();
        assert_eq!(
            strip(&body.into(), Form::Chat).unwrap(),
            r#"{"messages":[{"content":"a","role":"user"}]}"#
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
