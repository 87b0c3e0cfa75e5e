//! Whatever two forms both have a name for, by the table of fields, crosses from one to the other;
//! whatever the other has none for is told.

use std::collections::HashMap;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Number, Value};

use super::{
    Asked, Field, Fit, Form, Losses, Stream, Strictness,
    hub::{
        Body, Choice, Effort, Format, Part, Reply, Request, Role, Source, Thinking, Tool,
        ToolChoice, Turn,
        arbitrary::{self, Collected, base64, stream_of, word},
    },
    read_reply, read_request, request, settle, stream, write_reply, write_request,
};
use crate::{
    json::{Json, Object},
    sse,
};

const LENIENT: Strictness = Strictness { refuse_meaning: false, refuse_harmless: false };

/// All pairs of two different forms.
pub(super) fn cells() -> impl Iterator<Item = (Form, Form)> {
    let all = Form::ALL.into_iter().flat_map(|from| Form::ALL.map(|to| (from, to)));
    all.filter(|(from, to)| from != to)
}

/// Neither blank at an end, which some forms cut off, nor an object, which some unpack.
fn text() -> impl Strategy<Value = arbitrary::Text> {
    arbitrary::text().prop_map(|text| format!("x{text}x").into())
}

fn schema() -> Json<'static> {
    let member = Object::new().with("type", "string");
    Object::new()
        .with("type", "object")
        .with("properties", Object::new().with("a", member))
        .with("required", vec!["a"])
        .with("additionalProperties", false)
        .into()
}

/// A question, calls, their results, and so on, with files among the texts.
fn turns() -> impl Strategy<Value = Vec<Turn<'static>>> {
    let image = base64().prop_map(|data| Body::Image {
        source: Source::Data { mime: "image/png".into(), data },
        detail: None,
    });
    let pdf = arbitrary::pdf().prop_map(|source| Body::Document { source, name: None });
    let audio = base64().prop_map(|data| Body::Audio { data, format: "wav".into() });
    let file = prop_oneof![image, pdf, audio];
    let asked = (text(), vec(file, 0..2)).prop_map(|(text, files)| {
        let files = files.into_iter().map(Part::new);
        Turn::new(Role::User, [Part::text(text)].into_iter().chain(files).collect())
    });
    let calls = vec((word(), arbitrary::object(), text()), 0..3);
    let round = (asked, option::of(text()), calls);
    (option::of(text()), vec(round, 1..3), text()).prop_map(|(system, rounds, last)| {
        let mut turns = Vec::new();
        turns.extend(system.map(|text| Turn::new(Role::System, vec![Part::text(text)])));
        for (number, (asked, said, calls)) in rounds.into_iter().enumerate() {
            turns.push(asked);
            let mut answer: Vec<_> = said.into_iter().map(Part::text).collect();
            let mut results = Vec::new();
            for (place, (name, arguments, text)) in calls.into_iter().enumerate() {
                let id = Some(format!("call_{number}_{place}").into());
                let arguments = super::hub::Arguments::Value(arguments);
                let content = vec![Part::text(text)];
                let call = Body::ToolCall { id: id.clone(), name, arguments, signature: None };
                answer.push(Part::new(call));
                let result = Body::ToolResult { id, name: None, content, is_error: false };
                results.push(Part::new(result));
            }
            turns.push(Turn::new(Role::Assistant, answer));
            turns.push(Turn::new(Role::User, results));
        }
        turns.push(Turn::new(Role::User, vec![Part::text(last)]));
        turns.retain(|turn| !turn.parts.is_empty());
        turns
    })
}

fn requests() -> impl Strategy<Value = Request<'static>> {
    let number = || option::of((0..=64u32).prop_map(|n| Number::from_f64(f64::from(n) / 64.0)));
    let numbers = (number(), number(), number(), number(), option::of(1..99u64));
    let counts =
        (option::of(1200..9000u64), option::of(2..9u64), option::of(1..20u64), option::of(0..9u64));
    let effort = select(&[Effort::Low, Effort::Medium, Effort::High][..]);
    let words = (option::of(word()), option::of(word()), vec(word(), 0..4), option::of(effort));
    let tools = vec((word(), option::of(text()), any::<Option<bool>>()), 0..3);
    let choice = option::of(arbitrary::tool_choice());
    let shape = (any::<bool>(), tools, choice, any::<bool>());
    (turns(), numbers, counts, words, shape).prop_map(
        |(turns, numbers, counts, words, (formed, tools, choice, one))| {
            let tools: Vec<_> = tools
                .into_iter()
                .map(|(name, description, strict)| Tool {
                    name,
                    description,
                    schema: Some(schema()),
                    strict,
                    cache_control: None,
                })
                .collect();
            let some = !tools.is_empty();
            Request {
                turns,
                temperature: numbers.0.flatten(),
                top_p: numbers.1.flatten(),
                frequency_penalty: numbers.2.flatten(),
                presence_penalty: numbers.3.flatten(),
                top_k: numbers.4.map(Number::from),
                max_tokens: counts.0,
                choices: counts.1,
                logprobs: counts.2,
                seed: counts.3.map(Number::from),
                verbosity: words.0,
                user: words.1,
                stop: words.2,
                thinking: words
                    .3
                    .map(|effort| Thinking { effort: Some(effort), ..Thinking::default() }),
                format: formed.then(|| Format::Schema {
                    name: None,
                    description: None,
                    schema: schema(),
                    strict: None,
                }),
                parallel_tools: (one && some && choice != Some(ToolChoice::None)).then_some(false),
                tool_choice: choice.filter(|_| some),
                tools,
                ..Request::default()
            }
        },
    )
}

/// All that a request says, each thing under the field that stands for it. Texts, which every form
/// has, stand alone; ids are told by which call they are of.
#[derive(Debug, Default)]
struct Facts {
    fields: Vec<(Field, String)>,
    /// By role; joined, for some forms put a line end between what others write as one.
    texts: [String; 3],
    calls: Vec<(String, String)>,
    results: Vec<(Option<usize>, String)>,
}

impl Facts {
    fn of(request: Request<'_>) -> Self {
        let mut facts = Self::default();
        let mut add = |field, value: Option<String>| {
            facts.fields.extend(value.map(|value| (field, value)));
        };
        let number = |number: Option<Number>| number?.as_f64().map(|number| number.to_string());
        add(Field::MaxTokens, request.max_tokens.map(|n| n.to_string()));
        add(Field::Temperature, number(request.temperature));
        add(Field::TopP, number(request.top_p));
        add(Field::TopK, number(request.top_k));
        add(Field::FrequencyPenalty, number(request.frequency_penalty));
        add(Field::PresencePenalty, number(request.presence_penalty));
        add(Field::Seed, number(request.seed));
        add(Field::Choices, request.choices.map(|n| n.to_string()));
        add(Field::Logprobs, request.logprobs.map(|n| n.to_string()));
        add(Field::Stop, (!request.stop.is_empty()).then(|| request.stop.join("|")));
        add(Field::Verbosity, request.verbosity.map(Into::into));
        add(Field::User, request.user.map(Into::into));
        add(Field::Thinking, request.thinking.map(|thinking| format!("{:?}", thinking.effort)));
        add(Field::ParallelTools, request.parallel_tools.filter(|all| !all).map(|_| "".into()));
        let choice = request.tool_choice.filter(|choice| *choice != ToolChoice::Auto);
        add(Field::ToolChoice, choice.map(|choice| format!("{choice:?}")));
        add(
            Field::JsonSchema,
            request.format.map(|format| match format {
                Format::Schema { schema, .. } => schema.to_text(),
                Format::Json => "any".into(),
            }),
        );
        for tool in request.tools {
            add(Field::StrictTools, (tool.strict == Some(true)).then(|| tool.name.to_string()));
            let schema = tool.schema.map(|schema| schema.to_text());
            let told = format!("{} {:?} {schema:?}", tool.name, tool.description);
            add(Field::Tools, Some(told));
        }
        let mut calls = HashMap::new();
        for turn in request.turns {
            for part in turn.parts {
                facts.part(turn.role, part.body, &mut calls);
            }
        }
        facts
    }

    fn part(&mut self, role: Role, body: Body<'_>, calls: &mut HashMap<String, usize>) {
        match body {
            Body::Text { text, .. } => self.texts[role as usize] += &text.replace('\n', ""),
            Body::Image { source: Source::Data { data, .. }, .. } => {
                self.fields.push((Field::ImageData, data.into()));
            }
            Body::Document { source: Source::Data { data, .. }, .. } => {
                self.fields.push((Field::DocumentData, data.into()));
            }
            Body::Audio { data, .. } => self.fields.push((Field::AudioData, data.into())),
            Body::ToolCall { id, name, arguments, .. } => {
                calls.insert(id.unwrap_or_default().into(), calls.len());
                self.calls.push((name.into(), arguments.into_text().into()));
            }
            Body::ToolResult { id, content, .. } => {
                let of = calls.get(&*id.unwrap_or_default()).copied();
                let said = content.iter().filter_map(Part::as_text).collect();
                self.results.push((of, said));
            }
            other => panic!("{other:?} came from nowhere"),
        }
    }
}

fn crosses(given: &Request<'static>, from: Form, to: Form) {
    // As a client of the one form can say it, which is not all.
    let mut said = given.clone();
    let (fit, mut losses) = (Fit::new(from), Losses::new(from, from, LENIENT));
    settle::settle(&mut said, &fit, &mut losses).unwrap();
    let body = Json::Object(write_request(&mut said, &fit, &mut losses).unwrap()).to_vec();
    let before = Facts::of(read_request(from, Json::read(&body).unwrap()).unwrap());
    let asked = Asked::new(from, "M", body.clone());
    let sent = request(&asked, "target", &Fit::new(to), LENIENT).unwrap();
    let after = Facts::of(read_request(to, Json::read(&sent.body).unwrap()).unwrap());
    let dropped = sent.dropped.map_or(String::new(), |names| names.to_str().unwrap().to_owned());
    let dropped: Vec<_> = dropped.split(", ").collect();
    let told = |field: Field| field.name(from).is_some_and(|name| dropped.contains(&name));
    for fact in &before.fields {
        let kept = after.fields.contains(fact);
        // With thinking comes a choice of sampling that is not the client's.
        let sure = to != Form::Messages || given.thinking.is_none();
        let may_be_kept = fact.0.name(to).is_some();
        assert!(kept || told(fact.0), "{from} to {to}: {fact:?} is lost, {dropped:?}");
        assert!(kept || !may_be_kept || !sure, "{from} to {to}: {fact:?} need not be lost");
        // More than one field may go by a name.
        let rightly = before
            .fields
            .iter()
            .any(|other| other.0.name(from) == fact.0.name(from) && !after.fields.contains(other));
        assert!(!told(fact.0) || rightly || !sure, "{from} to {to}: {fact:?} is not lost");
    }
    for fact in after.fields.iter().filter(|(field, _)| *field != Field::MaxTokens) {
        assert!(before.fields.contains(fact), "{from} to {to}: {fact:?} is made up");
    }
    assert_eq!(after.texts, before.texts, "{from} to {to}");
    assert_eq!(after.calls, before.calls, "{from} to {to}");
    assert_eq!(after.results, before.results, "{from} to {to}");
}

/// What every form can answer.
fn replies() -> impl Strategy<Value = Reply<'static>> {
    let thought = text().prop_map(|text| Part::new(Body::Thinking { text, signature: None }));
    let said = text().prop_map(Part::text);
    let call = (word(), arbitrary::call()).prop_map(|(id, mut call)| {
        if let Body::ToolCall { id: place, .. } = &mut call.body {
            *place = Some(id);
        }
        call
    });
    let parts = (option::of(thought), said, vec(call, 0..3)).prop_map(|(thought, said, calls)| {
        thought.into_iter().chain([said]).chain(calls).collect()
    });
    arbitrary::reply(parts).prop_map(|mut reply| {
        if let Some(usage) = &mut reply.usage {
            // Gemini has no word for it.
            usage.cache_write = 0;
        }
        reply
    })
}

/// The same of every form's answer.
fn told(reply: &Reply<'_>) -> String {
    let choice = reply.choices.first().cloned().unwrap_or_else(Choice::default);
    let (mut text, mut thought, mut calls) = (String::new(), String::new(), Vec::new());
    for part in choice.parts {
        match part.body {
            Body::Text { text: more, .. } => text += &more,
            Body::Thinking { text: more, .. } => thought += &more,
            Body::ToolCall { id, name, arguments, .. } => {
                let arguments: Value = serde_json::from_str(&arguments.into_text()).unwrap();
                calls.push(format!("{id:?} {name} {arguments}"));
            }
            other => panic!("{other:?} came from nowhere"),
        }
    }
    let (finish, usage, model) = (choice.finish, reply.usage, &reply.model);
    format!("{text:?} {thought:?} {calls:?} {finish:?} {usage:?} {model:?}")
}

fn collected(form: Form, body: &[u8]) -> Collected {
    let (mut parser, mut reader, mut at) = (sse::Parser::new(), stream::reader(form), 0);
    let mut all = Collected::default();
    while let Some(event) = parser.next(body, &mut at) {
        let Some(data) = event.data else { continue };
        reader.read(event.name, data, &mut |event| all.see(event)).unwrap();
    }
    if !all.complete {
        reader.end(&mut |event| all.see(event));
    }
    all
}

fn asked(form: Form) -> Asked {
    let mut asked = Asked::new(form, "M", r#"{"input":"Hi"}"#);
    (asked.stream, asked.wants_usage) = (true, true);
    asked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_cross(given in requests()) {
        for (from, to) in cells() {
            crosses(&given, from, to);
        }
    }

    #[test]
    fn replies_cross(given in replies()) {
        for (client, provider) in cells() {
            let (asked, theirs) = (asked(client), asked(provider));
            let body = Json::Object(write_reply(given.clone(), &theirs)).to_vec();
            let crossed = super::reply(&body, provider, &asked).unwrap();
            let crossed = read_reply(client, Json::read(&crossed).unwrap()).unwrap();
            prop_assert_eq!(told(&crossed), told(&given), "{} to {}", provider, client);
        }
    }

    #[test]
    fn streams_cross(given in replies(), letters in 1..9usize, size in 1..200usize) {
        for (client, provider) in cells() {
            let (asked, theirs) = (asked(client), asked(provider));
            let (mut body, mut writer) = (Vec::new(), stream::writer(&theirs));
            stream_of(&given, letters).into_iter().for_each(|event| writer.write(event, &mut body));
            let [whole, cut] = [body.len(), size].map(|size| {
                let (mut stream, mut out) = (Stream::new(provider, &asked), Vec::new());
                body.chunks(size).for_each(|chunk| stream.feed(chunk, &mut out));
                stream.finish(&mut out);
                out
            });
            prop_assert_eq!(&whole, &cut, "{} to {}", provider, client);
            let crossed = collected(client, &whole);
            prop_assert!(crossed.complete && crossed.error.is_none());
            prop_assert_eq!(told(&crossed.reply), told(&given), "{} to {}", provider, client);
        }
    }

    #[test]
    fn a_whole_is_told_as_a_stream_and_a_stream_as_a_whole(given in replies(), letters in 1..9usize) {
        for (client, provider) in cells() {
            let (asked, theirs) = (asked(client), asked(provider));
            let body = Json::Object(write_reply(given.clone(), &theirs)).to_vec();
            let stream = super::reply_as_stream(&body, provider, &asked).unwrap();
            let crossed = collected(client, &stream);
            prop_assert!(crossed.complete && crossed.error.is_none());
            prop_assert_eq!(told(&crossed.reply), told(&given), "{} to {}", provider, client);

            let (mut body, mut writer) = (Vec::new(), stream::writer(&theirs));
            stream_of(&given, letters).into_iter().for_each(|event| writer.write(event, &mut body));
            let whole = super::stream_as_reply(&body, provider, &asked).unwrap();
            let crossed = read_reply(client, Json::read(&whole).unwrap()).unwrap();
            prop_assert_eq!(told(&crossed), told(&given), "{} to {}", provider, client);
        }
    }
}
