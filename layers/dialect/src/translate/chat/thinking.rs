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

/// Takes the reasoning out of an assistant's message. As a rule `thinking_blocks` say all that
/// `reasoning_content` says, and more. What nobody knows of a block is given to `left`.
pub(super) fn take<'a>(
    message: &mut Object<'a>,
    at: &At<'_>,
    parts: &mut Vec<Part<'a>>,
    left: &mut dyn FnMut(Object<'a>),
) -> Result<(), BadRequest> {
    let blocks = message.array("thinking_blocks", at)?.unwrap_or_default();
    let text = take_text(message);
    let before = parts.len();
    let mut in_blocks = String::new();
    for (n, block) in blocks.into_iter().enumerate() {
        let at = at.key("thinking_blocks");
        let mut block = block.into_object(&at.index(n))?;
        let part = read_block(&mut block);
        if let Some(Part { body: Body::Thinking { text, .. }, .. }) = &part {
            in_blocks.push_str(text);
        }
        parts.extend(part);
        left(block);
    }
    match text {
        Some(text) if in_blocks.is_empty() => {
            parts.insert(before, Part::new(Body::Thinking { text, signature: None }));
        }
        // Another thought than those of the blocks, which the order does not tell.
        Some(text) if text != in_blocks => message.push("reasoning_content", text),
        _ => {}
    }
    Ok(())
}

/// `reasoning_content`, or Groq's `reasoning`; both where they are one.
pub(super) fn take_text<'a>(message: &mut Object<'a>) -> Option<Cow<'a, str>> {
    let first = lenient(message, "reasoning_content");
    match &first {
        Some(text) if message.str("reasoning").is_some_and(|second| second != &**text) => first,
        Some(_) => {
            lenient(message, "reasoning");
            first
        }
        None => lenient(message, "reasoning"),
    }
}

/// One of `thinking_blocks`; `None` if it says nothing.
pub(super) fn read_block<'a>(block: &mut Object<'a>) -> Option<Part<'a>> {
    let signed = |text| Signature::read(Form::Chat, text);
    block.take("type");
    if let Some(data) = lenient(block, "data") {
        return Some(Part::new(Body::Redacted(signed(data))));
    }
    let text = lenient(block, "thinking").unwrap_or_default();
    let signature = lenient(block, "signature").map(signed);
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
