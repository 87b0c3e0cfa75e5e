//! `POST /messages` and `POST /messages/count_tokens`.

use serde_json::{Value, json};

use super::{
    super::{
        State,
        draft::{Call, Draft, signature},
        future::Exchange,
        text::Generated,
    },
    Outcome, admit,
    cache::{Cache, Input},
    error,
    request::Ask,
    stream::Blocks,
    streamed,
};

/// A reply before it takes the form of one piece or of events.
pub(super) struct Reply {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) draft: Draft,
    pub(super) signature: String,
    pub(super) input: Input,
    pub(super) no_usage: bool,
    /// What is sent if the reply fails in its midst.
    pub(super) late_error: String,
}

pub(super) fn messages(state: &State, cache: &Cache, x: &mut Exchange) -> Outcome {
    let ask = Ask::read(x, true)?;
    let mut draft = Draft::new(x, &ask.plan, "toolu_01");
    if ask.thinks_silently {
        let words = draft.thoughts.take();
        draft.thoughts = words.map(Generated::unspoken);
    }
    let tokens = ask.input.saturating_add(draft.output());
    let levels = admit(state, x, tokens)?;
    let thought = draft.thoughts.as_ref().map_or("", |thoughts| &thoughts.text);
    let reply = Reply {
        id: x.id("msg_01"),
        model: ask.model,
        signature: signature(x.config.seed, thought),
        input: cache.take(&ask.points, ask.input),
        no_usage: x.without_usage(),
        late_error: error::late(x),
        draft,
    };
    let mut answer = if ask.streams {
        streamed(x, Box::new(Blocks::new(reply)), tokens)
    } else {
        super::json(x, &reply.whole(), (reply.draft.output(), tokens))
    };
    error::rate_headers(&levels, answer.response.headers_mut());
    Ok(answer)
}

pub(super) fn count_tokens(x: &Exchange) -> Outcome {
    let ask = Ask::read(x, false)?;
    Ok(super::json(x, &json!({"input_tokens": ask.input}), (0, 0)))
}

impl Reply {
    pub(super) fn stop_reason(&self) -> &'static str {
        match (self.draft.refused, self.draft.cut) {
            (true, _) => "refusal",
            (false, true) => "max_tokens",
            (false, false) if !self.draft.calls.is_empty() => "tool_use",
            _ => "end_turn",
        }
    }

    /// Usage with this many output tokens so far.
    pub(super) fn usage(&self, output: u64) -> Value {
        let input = self.input;
        let mut usage = json!({
            "input_tokens": input.plain,
            "cache_creation_input_tokens": input.written_5m + input.written_1h,
            "cache_read_input_tokens": input.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": input.written_5m,
                "ephemeral_1h_input_tokens": input.written_1h,
            },
            "output_tokens": output,
            "service_tier": "standard",
        });
        if self.draft.thoughts.is_some() {
            let thinking = self.draft.thinking_tokens().min(output);
            usage["output_tokens_details"] = json!({"thinking_tokens": thinking});
        }
        usage
    }

    /// The message with this content.
    pub(super) fn message(
        &self,
        content: &[Value],
        stop_reason: Option<&str>,
        output: u64,
    ) -> Value {
        let mut message = json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": stop_reason, "stop_sequence": null,
        });
        if !self.no_usage {
            message["usage"] = self.usage(output);
        }
        message
    }

    fn whole(&self) -> Value {
        let mut content = Vec::new();
        if let Some(thoughts) = &self.draft.thoughts {
            content.push(json!({
                "type": "thinking", "thinking": thoughts.text, "signature": self.signature,
            }));
        }
        if !self.draft.text.text.is_empty() {
            content.push(json!({"type": "text", "text": self.draft.text.text}));
        }
        content.extend(self.draft.calls.iter().map(tool_use));
        self.message(&content, Some(self.stop_reason()), self.draft.output())
    }
}

/// A call whose arguments were cut has none.
fn tool_use(call: &Call) -> Value {
    let input: Value = serde_json::from_str(&call.arguments.text).unwrap_or_else(|_| json!({}));
    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
}
