use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, value::RawValue};

use super::{
    super::{
        draft::{Function, Plan},
        text::message_tokens,
    },
    error::Error,
};

/// What matters of a request for text, whichever of the three endpoints it came to.
#[derive(Debug, Deserialize)]
pub(super) struct Ask<'a> {
    #[serde(borrow, default)]
    pub(super) model: Option<Text<'a>>,
    #[serde(borrow, default)]
    messages: Option<Items<'a>>,
    #[serde(borrow, default)]
    input: Option<Items<'a>>,
    #[serde(borrow, default)]
    prompt: Option<Items<'a>>,
    #[serde(borrow, default)]
    pub(super) instructions: Option<Text<'a>>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_output_tokens: Option<u32>,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(borrow, default)]
    pub(super) tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_choice: Option<&'a RawValue>,
    #[serde(default)]
    parallel_tool_calls: Option<bool>,
    /// What was said before is kept at the provider.
    #[serde(default, alias = "conversation")]
    pub(super) previous_response_id: Option<IgnoredAny>,
    #[serde(borrow, default)]
    response_format: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    // Of the embeddings and images endpoints.
    #[serde(borrow, default)]
    pub(super) encoding_format: Option<Text<'a>>,
    #[serde(default)]
    pub(super) dimensions: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

impl<'a> Ask<'a> {
    /// Reads a JSON body; what is wrong with it becomes the 400 that OpenAI would give.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Box<Error>> {
        serde_json::from_slice(body).map_err(|error| {
            Box::new(if error.is_data() {
                Error::invalid(format!("Invalid request body: {error}."))
            } else {
                Error::invalid(format!(
                    "We could not parse the JSON body of your request. (HINT: This likely means you \
                     aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, \
                     but what was sent was not valid JSON: {error}.)"
                ))
            })
        })
    }

    pub(super) fn model(&self) -> Result<&str, Box<Error>> {
        match &self.model {
            Some(model) if !model.0.is_empty() => Ok(&model.0),
            _ => Err(Box::new(Error::invalid("you must provide a model parameter"))),
        }
    }

    pub(super) fn items(&self, name: &'static str) -> Result<&[Item<'a>], Box<Error>> {
        let items = self.all();
        if items.is_empty() {
            let text = format!("Missing required parameter: '{name}'.");
            let mut error = Error::invalid(text).param(name);
            error.code = Some("missing_required_parameter");
            return Err(Box::new(error));
        }
        Ok(items)
    }

    /// Messages, input or prompt, as the endpoint calls it.
    fn all(&self) -> &[Item<'a>] {
        let items = self.messages.as_ref().or(self.input.as_ref()).or(self.prompt.as_ref());
        items.map_or(&[][..], |items| &items.0)
    }

    pub(super) fn choices(&self) -> u32 {
        self.n.unwrap_or(1).clamp(1, 128)
    }

    pub(super) fn streams(&self) -> bool {
        self.stream == Some(true)
    }

    pub(super) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true))
    }

    /// The caller's bound on output tokens.
    pub(super) fn bound(&self) -> Option<u32> {
        self.max_completion_tokens.or(self.max_tokens).or(self.max_output_tokens)
    }

    pub(super) fn input_tokens(&self) -> u64 {
        let items = self.all();
        let instructions =
            self.instructions.as_ref().map_or(0, |text| message_tokens(text.0.len()));
        items.iter().map(Item::tokens).sum::<u64>() + instructions
    }

    /// The last text a user wrote.
    pub(super) fn echo(&self) -> &str {
        let items = self.all();
        let users = |item: &&Item<'_>| item.role.as_deref().is_none_or(|role| role == "user");
        items.iter().rev().find(users).map_or("", |item| &item.text)
    }

    /// What the reply has to say.
    pub(super) fn plan(&self) -> Result<Plan<'_>, Box<Error>> {
        Ok(Plan {
            echo: Cow::Borrowed(self.echo()),
            thinks: false,
            bound: self.bound(),
            functions: self.functions()?,
            schema: self.schema()?,
            parallel: self.parallel_tool_calls != Some(false),
        })
    }

    /// The functions to call, if any is to be called.
    fn functions(&self) -> Result<Vec<Function>, Box<Error>> {
        let Some(tools) = self.tools else { return Ok(vec![]) };
        let last = self.all().last();
        if last.is_some_and(|item| item.is_tool_result) {
            return Ok(vec![]);
        }
        let choice = value(self.tool_choice, "tool_choice")?;
        let function = |tool: &Value| tool.get("function").unwrap_or(tool).clone();
        let named = function(&choice).get("name").and_then(Value::as_str).map(str::to_owned);
        if choice.as_str() == Some("none") {
            return Ok(vec![]);
        }
        let tools = value(Some(tools), "tools")?;
        let all = tools.as_array().into_iter().flatten().map(function);
        let found = all.filter_map(|function| {
            let name = function.get("name")?.as_str()?.to_owned();
            let fits = named.as_ref().is_none_or(|named| *named == name);
            let schema =
                function.get("parameters").cloned().unwrap_or_else(|| serde_json::json!({}));
            fits.then_some(Function { name, schema })
        });
        let found: Vec<Function> = found.collect();
        if found.is_empty() && named.is_some() {
            let text = "Tool choice names a function that is not in 'tools'.";
            return Err(Box::new(Error::invalid(text).param("tool_choice")));
        }
        Ok(found)
    }

    /// The JSON Schema that the reply has to follow, if it has to be JSON.
    fn schema(&self) -> Result<Option<Value>, Box<Error>> {
        let format = if self.text.is_some() {
            value(self.text, "text")?.get("format").cloned().unwrap_or_default()
        } else {
            value(self.response_format, "response_format")?
        };
        Ok(match format.get("type").and_then(Value::as_str) {
            Some("json_object") => Some(serde_json::json!({
                "type": "object", "required": ["reply"], "properties": {"reply": {"type": "string"}},
            })),
            Some("json_schema") => {
                let holder = format.get("json_schema").unwrap_or(&format);
                Some(
                    holder
                        .get("schema")
                        .cloned()
                        .unwrap_or_else(|| serde_json::json!({"type": "object"})),
                )
            }
            _ => None,
        })
    }
}

fn value(raw: Option<&RawValue>, name: &'static str) -> Result<Value, Box<Error>> {
    raw.map_or(Ok(Value::Null), |raw| serde_json::from_str(raw.get())).map_err(|error| {
        Box::new(Error::invalid(format!("Invalid value for '{name}': {error}.")).param(name))
    })
}

/// A string, borrowed from the body where it has no escapes.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Strings)
    }
}

/// One message, or one text or one row of token numbers to embed.
#[derive(Debug, Default)]
pub(super) struct Item<'a> {
    pub(super) role: Option<Cow<'a, str>>,
    /// The last text part.
    pub(super) text: Cow<'a, str>,
    bytes: usize,
    numbers: u64,
    is_tool_result: bool,
    /// Ids of the calls that it makes.
    pub(super) calls: Vec<Cow<'a, str>>,
    /// The id of the call that it is the result of.
    pub(super) answers: Option<Cow<'a, str>>,
}

impl Item<'_> {
    pub(super) fn tokens(&self) -> u64 {
        if self.numbers > 0 { self.numbers } else { message_tokens(self.bytes) }
    }
}

/// A string, or a list of messages, of strings, of token numbers, or of rows of them.
#[derive(Debug, Default)]
pub(super) struct Items<'a>(pub(super) Vec<Item<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Shape).map(|shape| match shape {
            Shaped::One(item) => Items(vec![item]),
            Shaped::Many(items) => Items(items),
        })
    }
}

enum Shaped<'a> {
    One(Item<'a>),
    Many(Vec<Item<'a>>),
}

struct Shape;

impl<'de> Visitor<'de> for Shape {
    type Value = Shaped<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Shaped::One(of_text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Shaped::One(of_text(Cow::Owned(text.to_owned()))))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Shaped::One(Item { numbers: 1, ..Item::default() }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Message::deserialize(MapAccessDeserializer::new(map)).map(|m| Shaped::One(m.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items: Vec<Item<'de>> = Vec::new();
        while let Some(One(item)) = list.next_element()? {
            match items.last_mut() {
                // A row of token numbers is one input.
                Some(last) if last.numbers > 0 && item.numbers == 1 => last.numbers += 1,
                _ => items.push(item),
            }
        }
        Ok(Shaped::Many(items))
    }
}

/// An element of the list; a list there is a row of token numbers.
struct One<'a>(Item<'a>);

impl<'de> Deserialize<'de> for One<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Shape).map(|shape| match shape {
            Shaped::One(item) => One(item),
            // Rows of one number must not melt into one row.
            Shaped::Many(rows) => One(Item {
                numbers: rows.iter().map(|i| i.numbers).sum::<u64>().max(2),
                ..Item::default()
            }),
        })
    }
}

fn of_text(text: Cow<'_, str>) -> Item<'_> {
    Item { bytes: text.len(), text, ..Item::default() }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Option<Text<'a>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default, alias = "output", alias = "text")]
    content: Option<Content<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow, default)]
    tool_call_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    call_id: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
}

impl<'a> From<Message<'a>> for Item<'a> {
    fn from(message: Message<'a>) -> Self {
        let content = message.content.unwrap_or_default();
        let role = message.role.map(|role| role.0);
        let kind = message.kind.as_ref().map_or("", |kind| &kind.0);
        let result = kind == "function_call_output";
        let is_tool_result = result || role.as_deref() == Some("tool");
        // An item of the Responses API that is no message has no role.
        let role = match kind {
            "function_call_output" => Some(Cow::Borrowed("tool")),
            "function_call" | "reasoning" => Some(Cow::Borrowed("assistant")),
            _ => role,
        };
        let called = message.tool_calls.into_iter().flatten();
        let mut calls: Vec<Cow<'a, str>> = called.filter_map(|call| Some(call.id?.0)).collect();
        let mut answers = message.tool_call_id.map(|id| id.0);
        match message.call_id {
            Some(id) if kind == "function_call" => calls.push(id.0),
            Some(id) if result => answers = Some(id.0),
            _ => {}
        }
        Self {
            role,
            text: content.text,
            bytes: content.bytes,
            numbers: 0,
            is_tool_result,
            calls,
            answers,
        }
    }
}

/// The text of a message: a string, or parts of which some are text.
#[derive(Default)]
struct Content<'a> {
    text: Cow<'a, str>,
    bytes: usize,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Contents;
        impl<'de> Visitor<'de> for Contents {
            type Value = Content<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Content { text: Cow::Borrowed(text), bytes: text.len() })
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Content { text: Cow::Owned(text.to_owned()), bytes: text.len() })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Content::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut content = Content::default();
                while let Some(part) = list.next_element::<Part<'de>>()? {
                    if let Some(text) = part.text {
                        content.bytes += text.0.len();
                        content.text = text.0;
                    }
                }
                Ok(content)
            }
        }
        from.deserialize_any(Contents)
    }
}
