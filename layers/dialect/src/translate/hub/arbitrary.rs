//! Values of the hub, for the property tests of every form.

use std::borrow::Cow;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::Number;
use tollway_core::Usage;

use super::{
    Arguments, Body, Choice, Citation, Effort, Event, Finish, Format, Gathered, Part, Reply,
    Request, Signature, Source, Thinking, Tool, ToolChoice, Turn,
};
use crate::{
    json::{Json, Object},
    translate::Form,
};

pub(crate) type Text = Cow<'static, str>;

/// What is easily broken: quotes, line ends, letters of several bytes.
pub(crate) fn text() -> impl Strategy<Value = Text> {
    const PIECES: [&str; 12] =
        ["a", " ", "\"", "\\", "\n", "\r", "ß", "東", "🙂", "\u{2028}", "data:", "{}"];
    vec(select(&PIECES[..]), 1..6).prop_map(|pieces| pieces.concat().into())
}

pub(crate) fn word() -> impl Strategy<Value = Text> {
    "[a-z][a-z0-9_]{0,7}".prop_map(Cow::Owned)
}

pub(crate) fn base64() -> impl Strategy<Value = Text> {
    "([A-Za-z0-9+/]{4}){1,4}".prop_map(Cow::Owned)
}

pub(crate) fn object() -> impl Strategy<Value = Json<'static>> {
    vec((word(), text()), 0..3).prop_map(|members| {
        let mut object = Object::new();
        for (key, value) in members {
            if object.get(&key).is_none() {
                object.push(key, value);
            }
        }
        object.into()
    })
}

/// As the text of an object.
pub(crate) fn arguments() -> impl Strategy<Value = Arguments<'static>> {
    object().prop_map(|object| Arguments::Text(object.to_text().into()))
}

pub(crate) fn signature(of: Form) -> impl Strategy<Value = Signature<'static>> {
    base64().prop_map(move |data| Signature::new(of, data))
}

pub(crate) fn image() -> impl Strategy<Value = Source<'static>> {
    prop_oneof![
        word().prop_map(|word| Source::Url(format!("https://x.test/{word}.png").into())),
        base64().prop_map(|data| Source::Data { mime: "image/png".into(), data }),
    ]
}

pub(crate) fn pdf() -> impl Strategy<Value = Source<'static>> {
    base64().prop_map(|data| Source::Data { mime: "application/pdf".into(), data })
}

/// A web page, without quote.
pub(crate) fn citation() -> impl Strategy<Value = Citation<'static>> {
    let range = option::of((0u64..9, 1u64..9).prop_map(|(start, len)| (start, start + len)));
    (word(), option::of(text()), range).prop_map(|(word, title, range)| Citation {
        url: format!("https://x.test/{word}").into(),
        title,
        range,
        quote: None,
    })
}

/// A call with an id, without signature.
pub(crate) fn call() -> impl Strategy<Value = Part<'static>> {
    (base64(), word(), arguments()).prop_map(|(id, name, arguments)| {
        Part::new(Body::ToolCall { id: Some(id), name, arguments, signature: None })
    })
}

/// A signed thought.
pub(crate) fn thought(of: Form) -> impl Strategy<Value = Part<'static>> {
    (text(), signature(of)).prop_map(|(text, signature)| {
        Part::new(Body::Thinking { text, signature: Some(signature) })
    })
}

pub(crate) fn redacted(of: Form) -> impl Strategy<Value = Part<'static>> {
    signature(of).prop_map(|data| Part::new(Body::Redacted(data)))
}

pub(crate) fn finish() -> impl Strategy<Value = Finish> {
    select(&[Finish::Stop, Finish::Length, Finish::ToolCalls, Finish::Filtered][..])
}

/// What OpenAI's forms can tell.
pub(crate) fn usage() -> impl Strategy<Value = Usage> {
    (1..1000u64, 0..1000u64, 0..1000u64, 0..1000u64, 0..1000u64).prop_map(
        |(input, output, cached, written, reasoning)| {
            let mut usage = Usage::new(input, output);
            usage.cached = cached.min(input);
            usage.cache_write = written.min(input - usage.cached);
            usage.reasoning = reasoning.min(output);
            usage
        },
    )
}

pub(crate) fn tool() -> impl Strategy<Value = Tool<'static>> {
    (word(), option::of(text()), option::of(object()), any::<Option<bool>>()).prop_map(
        |(name, description, schema, strict)| Tool {
            name,
            description,
            schema,
            strict,
            cache_control: None,
        },
    )
}

/// Any but a choice of several.
pub(crate) fn tool_choice() -> impl Strategy<Value = ToolChoice<'static>> {
    prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        word().prop_map(ToolChoice::Named),
    ]
}

pub(crate) fn format() -> impl Strategy<Value = Format<'static>> {
    let schema = (word(), option::of(text()), object(), any::<Option<bool>>());
    prop_oneof![
        Just(Format::Json),
        schema.prop_map(|(name, description, schema, strict)| Format::Schema {
            name: Some(name),
            description,
            schema,
            strict,
        }),
    ]
}

pub(crate) fn effort() -> impl Strategy<Value = Effort> {
    use Effort::{High, Low, Max, Medium, Minimal, None, XHigh};
    select(&[None, Minimal, Low, Medium, High, XHigh, Max][..])
}

fn number() -> impl Strategy<Value = Option<Number>> {
    option::of((0..200u32).prop_filter_map("finite", |n| Number::from_f64(f64::from(n) / 64.0)))
}

/// Everything that OpenAI's chat form can say but the turns; other forms clear what they can't.
pub(crate) fn request(
    turns: impl Strategy<Value = Vec<Turn<'static>>>,
) -> impl Strategy<Value = Request<'static>> {
    let numbers = (number(), number(), number(), number(), option::of(0..9u64));
    let counts = (option::of(1..9000u64), option::of(2..9u64), option::of(0..20u64));
    let words = (word(), option::of(word()), option::of(word()), vec(text(), 0..4));
    let shape = (option::of(format()), option::of(effort()), any::<bool>());
    let tools = (vec(tool(), 0..3), option::of(tool_choice()), any::<bool>());
    (turns, numbers, counts, words, shape, tools).prop_map(
        |(turns, numbers, counts, words, shape, (tools, tool_choice, one))| Request {
            turns,
            temperature: numbers.0,
            top_p: numbers.1,
            frequency_penalty: numbers.2,
            presence_penalty: numbers.3,
            seed: numbers.4.map(Number::from),
            max_tokens: counts.0,
            choices: counts.1,
            logprobs: counts.2,
            model: words.0,
            verbosity: words.1,
            user: words.2,
            stop: words.3,
            format: shape.0,
            thinking: shape
                .1
                .map(|effort| Thinking { effort: Some(effort), ..Thinking::default() }),
            stream: shape.2,
            tool_choice: tool_choice.filter(|_| !tools.is_empty()),
            parallel_tools: (one && !tools.is_empty()).then_some(false),
            tools,
            ..Request::default()
        },
    )
}

/// A whole answer with one choice of these parts.
pub(crate) fn reply(
    parts: impl Strategy<Value = Vec<Part<'static>>>,
) -> impl Strategy<Value = Reply<'static>> {
    (parts, finish(), word(), word(), 1..2_000_000_000u64, option::of(usage())).prop_map(
        |(parts, finish, id, model, created, usage)| {
            let called = parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
            let finish = match finish {
                Finish::Stop | Finish::ToolCalls if called => Finish::ToolCalls,
                Finish::ToolCalls => Finish::Stop,
                finish => finish,
            };
            let choice = Choice { parts, finish: Some(finish), ..Choice::default() };
            Reply {
                id: Some(id),
                model: Some(model),
                created: Some(created),
                choices: vec![choice],
                usage,
                service_tier: None,
            }
        },
    )
}

/// Any JSON whose objects have these keys, and whose strings are sometimes these words.
pub(crate) fn json(words: &'static [&'static str]) -> impl Strategy<Value = Json<'static>> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(|number| Json::Number(number.into())),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Json::Null, Json::Number)),
        (0..4u64).prop_map(Json::from),
        text().prop_map(Json::from),
        select(words).prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::Array),
            vec((select(words), inner), 0..6).prop_map(|members| {
                let mut object = Object::new();
                for (key, value) in members {
                    object.push(key, value);
                }
                object.into()
            }),
        ]
    })
}

/// The document with the node `place` (counted modulo, depth first) replaced.
pub(crate) fn mutated<'a>(mut json: Json<'a>, place: usize, by: Json<'a>) -> Json<'a> {
    fn count(json: &Json<'_>) -> usize {
        1 + match json {
            Json::Array(items) => items.iter().map(count).sum(),
            Json::Object(object) => object.iter().map(|(_, value)| count(value)).sum(),
            _ => 0,
        }
    }
    fn replace<'a>(json: &mut Json<'a>, place: &mut usize, by: &mut Option<Json<'a>>) {
        if *place == 0 {
            if let Some(by) = by.take() {
                *json = by;
            }
            return;
        }
        *place -= 1;
        let mut inner = |value: &mut Json<'a>| {
            if by.is_some() {
                replace(value, place, by);
            }
        };
        match json {
            Json::Array(items) => items.iter_mut().for_each(inner),
            Json::Object(object) => object.iter_mut().for_each(|(_, value)| inner(value)),
            _ => {}
        }
    }
    let mut place = place % count(&json);
    replace(&mut json, &mut place, &mut Some(by));
    json
}

/// The same answer as a stream, its texts in pieces of so many letters; calls are one after the
/// other.
pub(crate) fn stream_of(reply: &Reply<'static>, letters: usize) -> Vec<Event<'static>> {
    let mut events = Vec::new();
    reply.clone().tell(&mut |event| match event {
        Event::Text { choice, text } => {
            events.extend(pieces(&text, letters).map(|text| Event::Text { choice, text }));
        }
        Event::Refusal { choice, text } => {
            events.extend(pieces(&text, letters).map(|text| Event::Refusal { choice, text }));
        }
        Event::Thinking { choice, text } => {
            events.extend(pieces(&text, letters).map(|text| Event::Thinking { choice, text }));
        }
        Event::ToolArguments { choice, call, json } => {
            let pieces = pieces(&json, letters);
            events.extend(pieces.map(|json| Event::ToolArguments { choice, call, json }));
        }
        event => events.push(event),
    });
    events
}

fn pieces(text: &str, letters: usize) -> impl Iterator<Item = Text> {
    let all: Vec<char> = text.chars().collect();
    let pieces: Vec<_> = all.chunks(letters.max(1)).map(|piece| piece.iter().collect()).collect();
    pieces.into_iter().map(|piece: String| piece.into())
}

/// What a stream's events come to, if they keep to the rules of [`Event`].
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Collected(Gathered);

impl std::ops::Deref for Collected {
    type Target = Gathered;

    fn deref(&self) -> &Gathered {
        &self.0
    }
}

impl Collected {
    /// Takes one more event in, and panics where a rule is broken.
    pub(crate) fn see(&mut self, event: Event<'_>) {
        assert!(!self.complete && self.error.is_none(), "{event:?} after the end");
        match &event {
            Event::Start { .. } => {
                assert_eq!(self.reply, Reply::default(), "started twice, or late");
            }
            Event::Citation { choice, .. } => {
                let last = self.parts(*choice).last().map(|part| &part.body);
                assert!(matches!(last, Some(Body::Text { .. })), "a citation of {last:?}");
            }
            Event::ToolStart { choice, call, .. } => {
                assert_eq!(self.calls(*choice), *call as usize, "numbered from 0, in order");
            }
            Event::ToolArguments { choice, call, .. } => {
                assert!((*call as usize) < self.calls(*choice), "arguments of no call: {event:?}");
            }
            Event::Finish { choice, .. } => {
                let choice = self.reply.choices.iter().find(|known| known.index == *choice);
                assert_eq!(choice.and_then(|choice| choice.finish), None, "finished twice");
            }
            _ => {}
        }
        self.0.see(event);
    }

    fn parts(&self, index: u32) -> &[Part<'static>] {
        let choice = self.reply.choices.iter().find(|choice| choice.index == index);
        choice.map_or(&[], |choice| &choice.parts)
    }

    fn calls(&self, index: u32) -> usize {
        let calls = self.parts(index).iter();
        calls.filter(|part| matches!(part.body, Body::ToolCall { .. })).count()
    }
}

/// An answer's texts of one kind, joined.
pub(crate) fn joined(choice: &Choice<'_>, text: impl Fn(&Body<'_>) -> Option<String>) -> String {
    choice.parts.iter().filter_map(|part| text(&part.body)).collect()
}
