//! How a conversation began: what all its turns share, in whichever of the four forms it is held.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::{FixedState, FoldHasher};
use tollway_dialect::prompt::{Piece, Role};

/// Hashes what stands before the model's first answer: the same for every turn of a conversation, and
/// another for another, however long a start they share. By the start alone, all who ask by one long
/// system prompt would ask one place.
#[derive(Clone)]
pub(super) struct Opening {
    /// Apart from what is said: a body may have them behind its messages.
    instructions: FoldHasher<'static>,
    said: FoldHasher<'static>,
    /// What the client calls it says more than any text.
    named: Option<FoldHasher<'static>>,
    /// The next message is the instructions; this one is.
    instructs: (bool, bool),
    asked: bool,
    answered: bool,
    any: bool,
}

/// The same numbers in every process, so that several proxies agree.
fn hasher() -> FoldHasher<'static> {
    FixedState::with_seed(0).build_hasher()
}

impl Opening {
    pub(super) fn new() -> Self {
        Self {
            instructions: hasher(),
            said: hasher(),
            named: None,
            instructs: (false, false),
            asked: false,
            answered: false,
            any: false,
        }
    }

    pub(super) fn see(&mut self, piece: &Piece<'_>) {
        match *piece {
            Piece::Session(name) if !name.is_empty() => {
                self.named.get_or_insert_with(hasher).write(name.as_bytes());
            }
            Piece::Instructions => self.instructs.0 = true,
            Piece::Message(role) => self.begin(role),
            Piece::Act => self.answered = true,
            Piece::Text { text, .. } if !text.is_empty() => self.read(text),
            _ => {}
        }
    }

    fn begin(&mut self, role: Role) {
        self.instructs = (false, self.instructs.0);
        match role {
            // A greeting before any question is how the application begins all its conversations.
            Role::Assistant => self.answered |= self.asked,
            // It was called.
            Role::Tool => self.answered = true,
            Role::User => self.asked = true,
            Role::System => {}
        }
    }

    fn read(&mut self, text: &str) {
        let hash = match self.instructs.1 {
            true => &mut self.instructions,
            false if self.answered => return,
            false => &mut self.said,
        };
        hash.write(text.as_bytes());
        self.any = true;
    }

    /// `None`: it doesn't show how it began.
    pub(super) fn number(&self) -> Option<u64> {
        if let Some(named) = &self.named {
            return Some(named.finish());
        }
        let mut whole = self.said.clone();
        whole.write_u64(self.instructions.finish());
        (self.asked && self.any).then(|| whole.finish())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tollway_core::Operation;
    use tollway_dialect::prompt;

    use super::*;

    fn of(operation: Operation, body: impl ToString) -> Option<u64> {
        let mut opening = Opening::new();
        prompt::visit(operation, body.to_string().as_bytes(), &mut |piece: Piece<'_>| {
            opening.see(&piece);
        });
        opening.number()
    }

    /// Each turn of each conversation has the number of its first, and no other conversation has it.
    fn kept(operation: Operation, field: &str, rest: &Value, turns: &[Value]) {
        let at = |turns: &[Value]| {
            let mut body = rest.clone();
            body[field] = turns.to_vec().into();
            of(operation, body)
        };
        let began = at(&turns[..1]);
        assert!(began.is_some(), "{turns:?}");
        for end in 2..=turns.len() {
            assert_eq!(at(&turns[..end]), began, "{:?}", &turns[..end]);
        }
        let other: Value = turns[0].to_string().replace("Why?", "How?").parse().unwrap();
        assert_ne!(at(&[other]), began, "{turns:?}");
    }

    #[test]
    fn chat() {
        let said = |role: &str, text: &str| json!({ "role": role, "content": text });
        let call = json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "c",
            "type": "function", "function": { "name": "f", "arguments": "{}" } }] });
        let result = json!({ "role": "tool", "tool_call_id": "c", "content": "42" });
        let old = json!({ "role": "assistant", "content": null,
            "function_call": { "name": "f", "arguments": "{}" } });
        for turns in [
            vec![said("user", "Why?"), said("assistant", "So."), said("user", "And?")],
            vec![said("user", "Why?"), call, result, said("assistant", "42."), said("user", "!")],
            vec![said("user", "Why?"), old, json!({ "role": "function", "content": "42" })],
            vec![said("user", "Why?"), said("assistant", "So."), said("system", "Be brief.")],
            vec![json!({ "content": "Why?", "role": "user" }), said("assistant", "So.")],
        ] {
            kept(Operation::ChatCompletions, "messages", &json!({ "model": "m" }), &turns);
        }
    }

    #[test]
    fn responses() {
        let asked = json!({ "role": "user", "content": "Why?" });
        let out = |kind: &str| json!({ "type": kind, "call_id": "c", "output": "42" });
        let item = |kind: &str| {
            json!({ "type": kind, "id": "i", "call_id": "c", "name": "f",
            "arguments": "{}", "input": "x", "output": "42", "content": [{ "text": "hm" }] })
        };
        let thought = json!({ "type": "reasoning", "id": "r", "encrypted_content": "x",
            "summary": [{ "type": "summary_text", "text": "hm" }],
            "content": [{ "type": "reasoning_text", "text": "hm" }] });
        let said = json!({ "type": "message", "role": "assistant", "id": "m",
            "content": [{ "type": "output_text", "text": "So." }] });
        let more = json!({ "role": "user", "content": "And?" });
        let instructed = json!({ "instructions": "Be kind." });
        for kind in [
            "function_call",
            "custom_tool_call",
            "computer_call",
            "mcp_call",
            "mcp_list_tools",
            "mcp_approval_request",
            "web_search_call",
            "file_search_call",
            "local_shell_call",
            "code_interpreter_call",
            "image_generation_call",
            "item_reference",
            "compaction",
        ] {
            let turns = [asked.clone(), item(kind), out("function_call_output"), more.clone()];
            kept(Operation::Responses, "input", &instructed, &turns);
        }
        let call = item("function_call");
        let turns = [asked, thought, call, out("function_call_output"), said, more];
        for rest in [json!({}), instructed] {
            kept(Operation::Responses, "input", &rest, &turns);
        }
    }

    #[test]
    fn messages_and_generate_content() {
        let block = |role: &str, block: Value| json!({ "role": role, "content": [block] });
        let turns = [
            block("user", json!({ "type": "text", "text": "Why?" })),
            block("assistant", json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} })),
            block("user", json!({ "type": "tool_result", "tool_use_id": "t", "content": "42" })),
            json!({ "role": "assistant", "content": "So." }),
            json!({ "role": "user", "content": "And?" }),
        ];
        let system = json!([{ "type": "text", "text": "Be kind." }]);
        kept(Operation::Messages, "messages", &json!({ "system": system }), &turns);
        let part = |role: &str, part: Value| json!({ "role": role, "parts": [part] });
        let turns = [
            part("user", json!({ "text": "Why?" })),
            part("model", json!({ "functionCall": { "name": "f", "args": {} } })),
            part("user", json!({ "functionResponse": { "name": "f", "response": { "r": "42" } } })),
            part("model", json!({ "text": "So." })),
        ];
        let system = json!({ "parts": [{ "text": "Be kind." }] });
        kept(
            Operation::GenerateContent,
            "contents",
            &json!({ "systemInstruction": system }),
            &turns,
        );
    }

    /// OpenAI's and Anthropic's own libraries write them behind the messages.
    #[test]
    fn instructions_may_stand_behind_the_messages() {
        let first = r#"{"messages":[{"role":"user","content":"Why?"}],"system":"Be kind."}"#;
        let then = r#"{"messages":[{"role":"user","content":"Why?"},
            {"role":"assistant","content":"So."},{"role":"user","content":"And?"}],"system":"Be kind."}"#;
        let before = r#"{"system":"Be kind.","messages":[{"role":"user","content":"Why?"}]}"#;
        let began = of(Operation::Messages, first);
        assert_eq!(of(Operation::Messages, then), began);
        assert_eq!(of(Operation::Messages, before), began);
        assert_ne!(of(Operation::Messages, first.replace("kind", "brief")), began);
    }

    /// One that all conversations of an application begin with tells none from another.
    #[test]
    fn a_greeting_is_no_answer() {
        let began = [
            json!({ "role": "system", "content": "Be kind." }),
            json!({ "role": "assistant", "content": "How can I help?" }),
            json!({ "role": "user", "content": "Why?" }),
        ];
        let at = |turns: &[Value]| of(Operation::ChatCompletions, json!({ "messages": turns }));
        let other =
            [began[0].clone(), began[1].clone(), json!({ "role": "user", "content": "How?" })];
        let grown = [&began[..], &[json!({ "role": "assistant", "content": "So." })]].concat();
        assert_eq!(at(&grown), at(&began));
        assert_ne!(at(&other), at(&began));
        assert_eq!(at(&began[..2]), None, "nothing is asked");
        assert_eq!(at(&[json!({ "role": "user", "content": "" })]), None);
    }

    /// What continues something that the provider keeps shows no beginning, unless it says what it is.
    #[test]
    fn a_conversation_is_known_by_its_name() {
        let outputs = json!([{ "type": "function_call_output", "call_id": "c", "output": "42" }]);
        for name in ["conversation", "prompt_cache_key"] {
            let at = |input: Value, before: Option<&str>, called: &str| {
                let body = json!({ "input": input, "previous_response_id": before, name: called,
                    "instructions": "Be kind." });
                of(Operation::Responses, body)
            };
            let began = at(json!("Why?"), None, "c1");
            assert!(began.is_some());
            assert_eq!(at(outputs.clone(), Some("resp_1"), "c1"), began);
            assert_eq!(at(json!("And?"), Some("resp_2"), "c1"), began);
            assert_ne!(at(json!("Why?"), None, "c2"), began);
        }
        let body = json!({ "conversation": { "id": "c1" }, "input": "Why?" });
        let same = json!({ "conversation": "c1", "input": "And?" });
        assert_eq!(of(Operation::Responses, body), of(Operation::Responses, same));
        let unnamed = json!({ "input": outputs, "previous_response_id": "resp_1",
            "instructions": "Be kind." });
        assert_eq!(of(Operation::Responses, unnamed), None);
    }
}
