use std::borrow::Cow;

use super::{citations, extra_content, finish, for_client, thinking, usage};
use crate::{
    json::{Json, Object},
    translate::{
        Asked, Form,
        hub::{Body, Choice, Reply},
    },
};

pub(crate) fn write_reply<'a>(reply: Reply<'a>, asked: &'a Asked) -> Object<'a> {
    let mut made = 0;
    let choices: Vec<_> =
        reply.choices.into_iter().map(|choice| write_choice(choice, asked, &mut made)).collect();
    Object::new()
        .with("id", reply.id.unwrap_or_else(|| asked.id("chatcmpl-", 0).into()))
        .with("object", "chat.completion")
        .with("created", reply.created.unwrap_or(asked.now))
        .with("model", reply.model.unwrap_or(Cow::Borrowed(&asked.model)))
        .with("choices", choices)
        .with_some("usage", reply.usage.map(|counts| usage::write(&counts)))
        .with_some("service_tier", reply.service_tier)
}

fn write_choice<'a>(choice: Choice<'a>, asked: &Asked, made: &mut u32) -> Object<'a> {
    let mut said = Said::default();
    for part in choice.parts {
        said.add(part.body, asked, made);
    }
    Object::new()
        .with("index", choice.index)
        .with("message", said.message())
        .with("logprobs", choice.logprobs)
        .with("finish_reason", choice.finish.map(finish::name))
}

/// A message's members.
#[derive(Default)]
struct Said<'a> {
    text: Option<Cow<'a, str>>,
    refusal: Option<Cow<'a, str>>,
    reasoning: Option<Cow<'a, str>>,
    annotations: Vec<Object<'a>>,
    blocks: Vec<Json<'a>>,
    signed: bool,
    calls: Vec<Object<'a>>,
    images: Vec<Object<'a>>,
}

fn append<'a>(all: &mut Option<Cow<'a, str>>, text: Cow<'a, str>) {
    match all {
        Some(all) if all.is_empty() => *all = text,
        Some(all) => all.to_mut().push_str(&text),
        None => *all = Some(text),
    }
}

impl<'a> Said<'a> {
    fn add(&mut self, body: Body<'a>, asked: &Asked, made: &mut u32) {
        match body {
            Body::Text { text, citations } => {
                append(&mut self.text, text);
                self.annotations.extend(citations.into_iter().map(citations::write));
            }
            Body::Refusal(text) => append(&mut self.refusal, text),
            Body::Thinking { text, signature } => {
                if !text.is_empty() {
                    append(&mut self.reasoning, text.clone());
                }
                self.signed |= signature.is_some();
                let signature = signature.map(|signature| signature.text(Form::Chat));
                self.blocks.push(thinking::block(text, signature).into());
            }
            Body::Redacted(data) => {
                self.signed = true;
                self.blocks.push(thinking::redacted(data.text(Form::Chat)).into());
            }
            Body::ToolCall { id, name, arguments, signature } => {
                let id = id.unwrap_or_else(|| {
                    *made += 1;
                    asked.id("call_", *made).into()
                });
                let function =
                    Object::new().with("name", name).with("arguments", arguments.into_text());
                let extra = signature.map(|signature| extra_content(for_client(&signature)));
                let call = Object::new()
                    .with("id", id)
                    .with("type", "function")
                    .with("function", function)
                    .with_some("extra_content", extra);
                self.calls.push(call);
            }
            Body::Image { source, .. } => {
                if let Some(url) = source.into_url() {
                    let image = Object::new().with("url", url);
                    let image = Object::new().with("type", "image_url").with("image_url", image);
                    self.images.push(image);
                }
            }
            // No provider answers with them.
            Body::Document { .. } | Body::Audio { .. } | Body::ToolResult { .. } => {}
        }
    }

    fn message(self) -> Object<'a> {
        let else_said = !self.calls.is_empty() || self.refusal.is_some();
        let text = self.text.or_else(|| (!else_said).then_some(Cow::Borrowed("")));
        // Without a signature, the blocks say nothing that the text doesn't.
        let blocks = Some(self.blocks).filter(|_| self.signed);
        Object::new()
            .with("role", "assistant")
            .with("content", text)
            .with("refusal", self.refusal)
            .with_some("reasoning_content", self.reasoning)
            .with_some("thinking_blocks", blocks)
            .with_some("annotations", Some(self.annotations).filter(|all| !all.is_empty()))
            .with_some("tool_calls", Some(self.calls).filter(|all| !all.is_empty()))
            .with_some("images", Some(self.images).filter(|all| !all.is_empty()))
    }
}
