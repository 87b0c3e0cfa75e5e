//! What a reply says, before it takes a dialect's form.

use std::borrow::Cow;

use serde_json::Value;

use super::{future::Exchange, random::hash, schema, text::Generated, write::base64};

/// Length of what is thought, in tokens.
const THOUGHTS: u32 = 8;

/// A function that the reply may call.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) schema: Value,
}

/// What a request asks for, as far as the words of its reply go.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// The last text that a user wrote.
    pub(super) echo: Cow<'a, str>,
    pub(super) thinks: bool,
    /// On thoughts and answer together, in tokens.
    pub(super) bound: Option<u32>,
    /// The answer is an instance of it.
    pub(super) schema: Option<Value>,
    /// Called in turn, as many calls as there are to be; none: the answer is a text.
    pub(super) functions: Vec<Function>,
    /// Several calls in one reply are allowed.
    pub(super) parallel: bool,
}

/// A call: which function, and its arguments as JSON.
pub(super) struct Call {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) arguments: Generated,
}

pub(super) struct Draft {
    pub(super) thoughts: Option<Generated>,
    /// Empty where there are calls.
    pub(super) text: Generated,
    pub(super) calls: Vec<Call>,
    /// The caller's bound cut it.
    pub(super) cut: bool,
    /// Nothing was said, the content being what it is.
    pub(super) refused: bool,
}

impl Draft {
    /// Says what `plan` asks for; calls get ids with this prefix.
    pub(super) fn new(x: &mut Exchange, plan: &Plan<'_>, prefix: &str) -> Self {
        if x.refuses_content() {
            return Self { refused: true, ..Self::silent() };
        }
        let mut left = plan.bound;
        let mut draft = Self::silent();
        if plan.thinks {
            let thoughts = Generated::words("Let me think:", THOUGHTS, left, &mut x.random);
            draft.spend(&mut left, &thoughts);
            draft.thoughts = Some(thoughts);
        }
        let fill = fill(&plan.echo);
        let instance = |schema: &Value| schema::instance(schema, &fill);
        if !plan.functions.is_empty() {
            let asked = x.fate.control.as_deref().and_then(|control| control.calls).unwrap_or(1);
            let count = if plan.parallel { asked } else { asked.min(1) };
            for (n, function) in (0..count).zip(plan.functions.iter().cycle()) {
                if draft.cut || left == Some(0) {
                    draft.cut = true;
                    break;
                }
                let arguments = arguments(instance(&function.schema));
                let arguments = Generated::json(arguments, left);
                draft.spend(&mut left, &arguments);
                let id = x.nth_id(prefix, u64::from(n));
                draft.calls.push(Call { name: function.name.clone(), id, arguments });
            }
        } else {
            draft.text = match &plan.schema {
                Some(schema) => Generated::json(instance(schema).to_string(), left),
                None => Generated::words(&plan.echo, x.fate.output_tokens, left, &mut x.random),
            };
            draft.cut |= draft.text.cut;
        }
        draft
    }

    fn silent() -> Self {
        let text = Generated::json(String::new(), None);
        Self { thoughts: None, text, calls: Vec::new(), cut: false, refused: false }
    }

    fn spend(&mut self, left: &mut Option<u32>, generated: &Generated) {
        self.cut |= generated.cut;
        *left = left.map(|left| left.saturating_sub(generated.tokens));
    }

    pub(super) fn thinking_tokens(&self) -> u64 {
        self.thoughts.as_ref().map_or(0, |thoughts| u64::from(thoughts.tokens))
    }

    /// Tokens of the answer itself.
    pub(super) fn answer_tokens(&self) -> u64 {
        let calls: u64 = self.calls.iter().map(|call| u64::from(call.arguments.tokens)).sum();
        calls + u64::from(self.text.tokens)
    }

    pub(super) fn output(&self) -> u64 {
        self.thinking_tokens() + self.answer_tokens()
    }
}

fn fill(echo: &str) -> String {
    let echo = echo.trim();
    if echo.is_empty() { "text".to_owned() } else { echo.chars().take(64).collect() }
}

/// Arguments are an object, whatever their schema says.
fn arguments(instance: Value) -> String {
    if instance.is_object() { instance.to_string() } else { "{}".to_owned() }
}

/// The signature of a thought: only a provider of the same seed makes and takes it.
pub(super) fn signature(seed: u64, thought: &str) -> String {
    let (mut bytes, mut state) = ([0; 48], seed ^ hash(thought.as_bytes()));
    for chunk in bytes.chunks_mut(8) {
        state = hash(&state.to_be_bytes());
        chunk.copy_from_slice(&state.to_be_bytes());
    }
    base64(&bytes)
}
