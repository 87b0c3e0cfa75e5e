//! `:generateContent`, `:streamGenerateContent` and `:countTokens`.

use serde_json::{Value, json};

use super::{
    super::{
        State,
        draft::{Call, Draft},
        future::Exchange,
    },
    Outcome, Verb, admit,
    contents::{self, Conversation, call_signature, signs},
    is_array, proto,
    read::{self, wrong},
    request::Ask,
    stream::Chunks,
    streamed,
};

/// A reply before it takes the form of one piece or of chunks.
pub(super) struct Reply {
    id: String,
    model: String,
    seed: u64,
    pub(super) draft: Draft,
    pub(super) shows_thoughts: bool,
    candidates: u32,
    said: Conversation,
    no_usage: bool,
}

pub(super) fn generate(state: &State, x: &mut Exchange, model: &str, verb: Verb) -> Outcome {
    let ask = Ask::read(x, model)?;
    let draft = Draft::new(x, &ask.plan, "call_");
    let reply = Reply {
        id: x.id(""),
        model: model.to_owned(),
        seed: x.config.seed,
        draft,
        shows_thoughts: ask.shows_thoughts,
        candidates: ask.candidates,
        said: ask.said,
        no_usage: x.without_usage(),
    };
    let output = reply.output();
    let tokens = reply.said.tokens().saturating_add(output);
    admit(state, x, model, tokens)?;
    if verb == Verb::Stream {
        return Ok(streamed(x, Box::new(Chunks::new(reply, is_array(x))), tokens));
    }
    Ok(super::json(x, &reply.whole(), (output, tokens)))
}

pub(super) fn count_tokens(x: &Exchange, model: &str) -> Outcome {
    let request = read::body(&x.body, &proto::COUNT)?;
    let inner = request.get("generateContentRequest");
    if inner.is_some() && request.get("contents").is_some() {
        return wrong("contents and generate_content_request are mutually exclusive.");
    }
    let said =
        contents::read(inner.unwrap_or(&request), x.config.seed, model, "CountTokensRequest")?;
    let counted = json!({"totalTokens": said.tokens(), "promptTokensDetails": said.details()});
    Ok(super::json(x, &counted, (0, 0)))
}

impl Conversation {
    fn tokens(&self) -> u64 {
        self.text_tokens.saturating_add(self.media_tokens)
    }

    fn details(&self) -> Value {
        let all = [("TEXT", self.text_tokens), ("IMAGE", self.media_tokens)];
        let some = all.into_iter().filter(|(_, tokens)| *tokens > 0);
        some.map(|(modality, tokens)| json!({"modality": modality, "tokenCount": tokens})).collect()
    }
}

impl Reply {
    fn output(&self) -> u64 {
        self.draft.output().saturating_mul(u64::from(self.candidates))
    }

    pub(super) fn finish_reason(&self) -> &'static str {
        if self.draft.cut { "MAX_TOKENS" } else { "STOP" }
    }

    /// The call as a part; `None`: its arguments were cut. The first one of several has the signature.
    pub(super) fn call(&self, call: &Call, first: bool) -> Option<Value> {
        let args: Value = serde_json::from_str(&call.arguments.text).ok()?;
        let mut part = json!({"functionCall": {"name": call.name, "args": args}});
        // The older ones have no ids.
        if !self.model.starts_with("gemini-2") && !self.model.starts_with("gemini-1") {
            part["functionCall"]["id"] = json!(call.id);
        }
        if first && signs(&self.model) {
            part["thoughtSignature"] = json!(call_signature(self.seed, &call.name));
        }
        Some(part)
    }

    /// The signature that comes with a text.
    pub(super) fn text_signature(&self) -> Option<String> {
        let thinks = self.draft.thoughts.is_some() && signs(&self.model);
        thinks.then(|| call_signature(self.seed, ""))
    }

    /// A response whose candidates all have these parts; usage with so many tokens of thought and of
    /// answer so far.
    pub(super) fn response(
        &self,
        parts: Vec<Value>,
        finish: Option<&str>,
        (thoughts, answer): (u64, u64),
    ) -> Value {
        let mut response = json!({"modelVersion": self.model, "responseId": self.id});
        if self.draft.refused {
            response["promptFeedback"] = json!({"blockReason": "PROHIBITED_CONTENT"});
        } else {
            let candidate = |index: u32| {
                let mut candidate = json!({"content": {"role": "model"}, "index": index});
                if !parts.is_empty() {
                    candidate["content"]["parts"] = json!(parts);
                }
                if let Some(reason) = finish {
                    candidate["finishReason"] = json!(reason);
                }
                candidate
            };
            response["candidates"] = (0..self.candidates).map(candidate).collect();
        }
        if !self.no_usage {
            response["usageMetadata"] = self.usage(thoughts, answer);
        }
        response
    }

    /// Counts of nothing are left out.
    fn usage(&self, thoughts: u64, answer: u64) -> Value {
        let times = u64::from(self.candidates);
        let (prompt, thoughts, answer) = (self.said.tokens(), thoughts * times, answer * times);
        let mut usage = json!({
            "promptTokenCount": prompt,
            "totalTokenCount": prompt + thoughts + answer,
            "promptTokensDetails": self.said.details(),
        });
        for (name, tokens) in [("candidatesTokenCount", answer), ("thoughtsTokenCount", thoughts)] {
            if tokens > 0 {
                usage[name] = json!(tokens);
            }
        }
        usage
    }

    fn whole(&self) -> Value {
        let draft = &self.draft;
        let mut parts = Vec::new();
        if let Some(thoughts) = draft.thoughts.as_ref().filter(|_| self.shows_thoughts) {
            parts.push(json!({"text": thoughts.text, "thought": true}));
        }
        if !draft.text.text.is_empty() {
            let mut part = json!({"text": draft.text.text});
            if let Some(signature) = self.text_signature() {
                part["thoughtSignature"] = json!(signature);
            }
            parts.push(part);
        }
        let calls = draft.calls.iter().enumerate();
        parts.extend(calls.filter_map(|(n, call)| self.call(call, n == 0)));
        let tokens = (draft.thinking_tokens(), draft.answer_tokens());
        self.response(parts, Some(self.finish_reason()), tokens)
    }
}
