use std::borrow::Cow;

use super::{
    echo,
    finish::{self, Outcome},
    thought, usage, write_items,
};
use crate::{
    json::{Json, Object},
    translate::{
        Asked,
        hub::{Body, Part, Reply, Signature},
    },
};

/// There is one answer in this form, so a second choice is left out.
pub(crate) fn write_reply<'a>(reply: Reply<'a>, asked: &'a Asked) -> Object<'a> {
    let choice = reply.choices.into_iter().next().unwrap_or_default();
    let outcome = finish::outcome(choice.finish);
    let mut items = Items { asked, all: Vec::new(), message: Vec::new(), logprobs: None, ids: 0 };
    items.logprobs = match choice.logprobs {
        Some(Json::Object(mut logprobs)) => logprobs.take("content"),
        _ => None,
    };
    for part in choice.parts {
        items.push(part);
    }
    let created = reply.created.unwrap_or(asked.now);
    let mut response = Object::new()
        .with("id", echo::id(reply.id.as_deref(), asked))
        .with("object", "response")
        .with("created_at", created)
        .with("completed_at", (outcome.status == "completed").then(|| created.max(asked.now)))
        .with("status", outcome.status)
        .with("error", outcome.error())
        .with("incomplete_details", outcome.incomplete_details())
        .with("model", reply.model.unwrap_or(Cow::Borrowed(&asked.model)))
        .with("output", items.end(outcome))
        .with("usage", reply.usage.as_ref().map(usage::write))
        .with("service_tier", reply.service_tier);
    for (name, value) in echo::echo(asked).into_members() {
        response.push(name, value);
    }
    response
}

struct Items<'a> {
    asked: &'a Asked,
    all: Vec<Object<'a>>,
    /// The content of the message that is being put together.
    message: Vec<Object<'a>>,
    /// Of the first text.
    logprobs: Option<Json<'a>>,
    ids: u32,
}

impl<'a> Items<'a> {
    fn push(&mut self, part: Part<'a>) {
        match part.body {
            Body::Text { text, citations } => {
                let length = text.chars().count() as u64;
                let annotations = citations
                    .into_iter()
                    .map(|citation| write_items::annotation(citation, length))
                    .collect();
                let logprobs = self.logprobs.take().unwrap_or_else(|| Json::Array(Vec::new()));
                self.message.push(write_items::text(text, annotations, Some(logprobs)));
            }
            Body::Refusal(text) => self.message.push(write_items::refusal(text)),
            Body::Thinking { text, signature } => self.thought(Some(text), signature),
            Body::Redacted(data) => self.thought(None, Some(data)),
            Body::ToolCall { id, name, arguments, signature } => {
                if signature.is_some() {
                    self.thought(None, signature);
                }
                self.close("completed");
                let item = self.id("fc_");
                let id = id.unwrap_or_else(|| self.id("call_"));
                let call = write_items::call(Some(item), id, name, arguments.into_text());
                self.all.push(call.with("status", "completed"));
            }
            Body::ToolResult { .. } => {}
            file => self.message.push(write_items::text(file.left_out(), Vec::new(), None)),
        }
    }

    fn thought(&mut self, text: Option<Cow<'a, str>>, signature: Option<Signature<'a>>) {
        self.close("completed");
        let (id, sealed) = thought::unseal(&signature.unwrap_or_else(Signature::unsigned));
        let id = id.unwrap_or_else(|| self.id("rs_"));
        self.all.push(write_items::reasoning(Some(id), text, Some(sealed)));
    }

    fn id(&mut self, prefix: &str) -> Cow<'a, str> {
        self.ids += 1;
        self.asked.id(prefix, self.ids).into()
    }

    fn close(&mut self, status: &'static str) {
        if !self.message.is_empty() {
            let content = std::mem::take(&mut self.message);
            let id = self.id("msg_");
            self.all.push(write_items::message(id, status, content));
        }
    }

    fn end(mut self, outcome: Outcome) -> Vec<Object<'a>> {
        self.close(outcome.of_last_item());
        self.all
    }
}
