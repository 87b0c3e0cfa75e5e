use std::borrow::Cow;

use super::lenient;
use crate::{
    BadRequest,
    json::{At, Object},
    translate::{
        Form,
        hub::{Body, Part, Signature},
    },
};

/// Takes the reasoning out of an assistant's message. `thinking_blocks` say all that
/// `reasoning_content` says, and more.
pub(super) fn take<'a>(
    message: &mut Object<'a>,
    at: &At<'_>,
    parts: &mut Vec<Part<'a>>,
) -> Result<(), BadRequest> {
    let blocks = message.array("thinking_blocks", at)?.unwrap_or_default();
    let text = take_text(message);
    let before = parts.len();
    for (n, block) in blocks.into_iter().enumerate() {
        let at = at.key("thinking_blocks");
        parts.extend(read_block(block.into_object(&at.index(n))?));
    }
    if parts.len() == before {
        parts.extend(text.map(|text| Part::new(Body::Thinking { text, signature: None })));
    }
    Ok(())
}

/// `reasoning_content`, or Groq's `reasoning`.
pub(super) fn take_text<'a>(message: &mut Object<'a>) -> Option<Cow<'a, str>> {
    let (first, second) = (lenient(message, "reasoning_content"), lenient(message, "reasoning"));
    first.or(second)
}

/// One of `thinking_blocks`; `None` if it says nothing.
pub(super) fn read_block(mut block: Object<'_>) -> Option<Part<'_>> {
    let signed = |text| Signature::read(Form::Chat, text);
    if let Some(data) = lenient(&mut block, "data") {
        return Some(Part::new(Body::Redacted(signed(data))));
    }
    let text = lenient(&mut block, "thinking").unwrap_or_default();
    let signature = lenient(&mut block, "signature").map(signed);
    let says = !text.is_empty() || signature.is_some();
    says.then(|| Part::new(Body::Thinking { text, signature }))
}

pub(super) fn block<'a>(text: Cow<'a, str>, signature: Option<Cow<'a, str>>) -> Object<'a> {
    let block = Object::new().with("type", "thinking").with("thinking", text);
    block.with_some("signature", signature)
}

pub(super) fn redacted(data: Cow<'_, str>) -> Object<'_> {
    Object::new().with("type", "redacted_thinking").with("data", data)
}
