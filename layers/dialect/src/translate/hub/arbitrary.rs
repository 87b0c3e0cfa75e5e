//! Values of the hub, for the property tests of every form.

use std::borrow::Cow;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::Number;
use tollway_core::Usage;

use super::{
    Arguments, Body, Choice, Citation, Effort, Event, Finish, Format, Part, Reply, Request,
    Signature, Source, StreamError, Thinking, Tool, ToolChoice, Turn,
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
    let mut events = vec![Event::Start {
        id: reply.id.clone(),
        model: reply.model.clone(),
        created: reply.created,
    }];
    for choice in &reply.choices {
        let mut calls = 0;
        for part in &choice.parts {
            events_of(&part.body, choice.index, &mut calls, letters, &mut events);
        }
        if let Some(finish) = choice.finish {
            let stop_sequence = choice.stop_sequence.clone();
            events.push(Event::Finish { choice: choice.index, finish, stop_sequence });
        }
    }
    events.extend(reply.usage.map(Event::Usage));
    events.push(Event::End);
    events
}

fn pieces(text: &str, letters: usize) -> Vec<Text> {
    let all: Vec<char> = text.chars().collect();
    all.chunks(letters.max(1)).map(|piece| piece.iter().collect::<String>().into()).collect()
}

fn events_of(
    body: &Body<'static>,
    choice: u32,
    calls: &mut u32,
    letters: usize,
    events: &mut Vec<Event<'static>>,
) {
    match body.clone() {
        Body::Text { text, citations } => {
            let texts = pieces(&text, letters).into_iter();
            events.extend(texts.map(|text| Event::Text { choice, text }));
            let citations = citations.into_iter();
            events.extend(citations.map(|citation| Event::Citation { choice, citation }));
        }
        Body::Refusal(text) => {
            let texts = pieces(&text, letters).into_iter();
            events.extend(texts.map(|text| Event::Refusal { choice, text }));
        }
        Body::Thinking { text, signature } => {
            let texts = pieces(&text, letters).into_iter();
            events.extend(texts.map(|text| Event::Thinking { choice, text }));
            events.extend(signature.map(|signature| Event::Signature { choice, signature }));
        }
        Body::Redacted(data) => events.push(Event::Redacted { choice, data }),
        Body::ToolCall { id, name, arguments, signature } => {
            let call = *calls;
            *calls += 1;
            events.push(Event::ToolStart { choice, call, id, name, signature });
            let texts = pieces(&arguments.into_text(), letters).into_iter();
            events.extend(texts.map(|json| Event::ToolArguments { choice, call, json }));
        }
        other => panic!("{other:?} can't stream"),
    }
}

/// What a stream's events come to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Collected {
    pub(crate) reply: Reply<'static>,
    pub(crate) error: Option<StreamError<'static>>,
    /// The provider said that it was over.
    pub(crate) complete: bool,
}

impl Collected {
    /// Takes one more event in, and panics where the rules of [`Event`] are broken.
    pub(crate) fn see(&mut self, event: Event<'_>) {
        assert!(!self.complete && self.error.is_none(), "{event:?} after the end");
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let signed = |made: Signature<'_>| Signature::new(made.of, made.data.into_owned());
        let push = |all: &mut Self, choice, body| all.choice(choice).parts.push(Part::new(body));
        match event {
            Event::Start { id, model, created } => {
                assert_eq!(self.reply, Reply::default(), "started twice, or late");
                let (id, model) = (id.map(own), model.map(own));
                self.reply = Reply { id, model, created, ..Reply::default() };
            }
            Event::Text { choice, text } => match self.last(choice) {
                Some(Body::Text { text: all, citations }) if citations.is_empty() => {
                    all.to_mut().push_str(&text)
                }
                _ => push(self, choice, Body::Text { text: own(text), citations: Vec::new() }),
            },
            Event::Citation { choice, citation } => match self.last(choice) {
                Some(Body::Text { citations, .. }) => citations.push(Citation {
                    url: own(citation.url),
                    title: citation.title.map(own),
                    range: citation.range,
                    quote: citation.quote.map(own),
                }),
                other => panic!("a citation of {other:?}"),
            },
            Event::Refusal { choice, text } => match self.last(choice) {
                Some(Body::Refusal(all)) => all.to_mut().push_str(&text),
                _ => push(self, choice, Body::Refusal(own(text))),
            },
            Event::Thinking { choice, text } => match self.last(choice) {
                Some(Body::Thinking { text: all, signature: None }) => all.to_mut().push_str(&text),
                _ => push(self, choice, Body::Thinking { text: own(text), signature: None }),
            },
            Event::Signature { choice, signature } => match self.last(choice) {
                Some(Body::Thinking { signature: place @ None, .. }) => {
                    *place = Some(signed(signature));
                }
                _ => {
                    let signature = Some(signed(signature));
                    push(self, choice, Body::Thinking { text: "".into(), signature });
                }
            },
            Event::Redacted { choice, data } => push(self, choice, Body::Redacted(signed(data))),
            Event::ToolStart { choice, call, id, name, signature } => {
                assert_eq!(self.calls(choice).count(), call as usize, "numbered from 0, in order");
                let arguments = Arguments::Text("".into());
                let (id, name, signature) = (id.map(own), own(name), signature.map(signed));
                push(self, choice, Body::ToolCall { id, name, arguments, signature });
            }
            Event::ToolArguments { choice, call, json } => {
                match self.calls(choice).nth(call as usize) {
                    Some(Arguments::Text(all)) => all.to_mut().push_str(&json),
                    other => panic!("arguments of {other:?}"),
                }
            }
            Event::Logprobs { choice, logprobs } => {
                self.choice(choice).logprobs = Some(logprobs.into_owned());
            }
            Event::Finish { choice, finish, stop_sequence } => {
                let choice = self.choice(choice);
                assert_eq!(choice.finish, None, "finished twice");
                choice.finish = Some(finish);
                choice.stop_sequence = stop_sequence.map(own);
            }
            Event::Usage(usage) => self.reply.usage = Some(usage),
            Event::Error(StreamError { class, message, code }) => {
                let (message, code) = (own(message), code.map(own));
                self.error = Some(StreamError { class, message, code });
            }
            Event::End => self.complete = true,
        }
    }

    fn choice(&mut self, index: u32) -> &mut Choice<'static> {
        let choices = &mut self.reply.choices;
        let place = choices.iter().position(|choice| choice.index == index);
        let place = place.unwrap_or_else(|| {
            choices.push(Choice { index, ..Choice::default() });
            choices.len() - 1
        });
        &mut choices[place]
    }

    fn last(&mut self, index: u32) -> Option<&mut Body<'static>> {
        self.choice(index).parts.last_mut().map(|part| &mut part.body)
    }

    fn calls(&mut self, index: u32) -> impl Iterator<Item = &mut Arguments<'static>> {
        self.choice(index).parts.iter_mut().filter_map(|part| match &mut part.body {
            Body::ToolCall { arguments, .. } => Some(arguments),
            _ => None,
        })
    }
}

/// An answer's texts of one kind, joined.
pub(crate) fn joined(choice: &Choice<'_>, text: impl Fn(&Body<'_>) -> Option<String>) -> String {
    choice.parts.iter().filter_map(|part| text(&part.body)).collect()
}
